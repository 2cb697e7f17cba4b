//! The finalize subresource of namespaces: who has cleaned up takes its name off `spec.finalizers`.

use barepod_kinds::kinds::namespace::finalize;
use http::Response;
use serde_json::Value;

use super::body::Body;
use super::decode::{self, Expected};
use super::options::WriteOptions;
use super::request::Request;
use super::status::ApiResult;
use super::update::{Edit, Update, check_name};
use super::{Engine, Target, meta, reply};

impl Engine {
    pub(super) async fn finalize(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        let options = WriteOptions::parse(request, "UpdateOptions")?;
        let expected = Expected {
            api_version: &kind.api_version,
            kind: &kind.resource.kind,
            shape: kind.structure.shape(),
        };
        let (body, warnings) = decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        check_name(&body, target)?;
        let update = Update {
            subresource: "finalize",
            book: true,
            replace: true,
        };
        let mut change = |old: &Value| {
            let mut new = finalize(old, &body);
            for key in ["uid", "resourceVersion"] {
                match meta::text(&body, key) {
                    "" => meta::of(&mut new).remove(key),
                    given => meta::of(&mut new).insert(key.into(), given.into()),
                };
            }
            Ok(new)
        };
        let answer = self
            .update_with(request, target, &options, update, Edit::Stored(&mut change))
            .await?;
        let mut response = reply::object(request, kind, 200, &answer).await?;
        reply::warn(&mut response, &warnings);
        Ok(response)
    }
}
