//! Reading one object.

use http::Response;

use super::body::Body;
use super::reply::{self, Answer};
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target};

impl Engine {
    pub(super) async fn get(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        self.check_revision(request)?;
        let object = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
        reply::object(request, target.kind, 200, &Answer::Stored(object)).await
    }

    /// Refuses to read at a revision that does not exist yet.
    pub(super) fn check_revision(&self, request: &Request) -> ApiResult<()> {
        match request.query.text("resourceVersion") {
            "" | "0" => Ok(()),
            _ => {
                let asked = revision(request)?.unwrap_or(0);
                let current = self.store.revision();
                if asked > current {
                    Err(ApiError::future(asked, current))
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// `resourceVersion` of the query; `None` for absent and for `0`, which is any.
pub(super) fn revision(request: &Request) -> ApiResult<Option<u64>> {
    match request.query.text("resourceVersion") {
        "" | "0" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("Invalid value: {text:?}: invalid resource version"))),
    }
}
