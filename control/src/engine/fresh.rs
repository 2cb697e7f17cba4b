//! Several control services on one store: what this one has in memory may be behind what another one has acknowledged.

use barepod_admission::Notes;
use http::{Method, Response};

use super::body::Body;
use super::request::Request;
use super::status::ApiResult;
use super::{Engine, reply, storage_error};

/// What admission says for the audit log; goes with the answer.
#[derive(Debug, Clone)]
pub struct Annotations(pub Vec<(String, String)>);

impl Engine {
    /// Answers a request. Failures become Status objects.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        self.quiet.request();
        let outcome = if self.store.is_shared() {
            self.route_shared(&request).await
        } else {
            self.route(&request).await
        };
        let mut response = outcome.unwrap_or_else(|error| reply::error(&error, request.pretty()));
        let mut notes = request.notes();
        reply::warn(&mut response, &notes.warnings);
        if !notes.audit.is_empty() {
            response
                .extensions_mut()
                .insert(Annotations(std::mem::take(&mut notes.audit)));
        }
        drop(notes);
        if request.accept.yaml() {
            response = reply::as_yaml(response);
        }
        response
    }

    /// Reads that ask for the current state wait until it is here. Other requests take what is here: a write that is
    /// based on an old state does not happen, since the store compares. What is refused because of an old state is
    /// tried again with the current one; nothing was written then.
    async fn route_shared(&self, request: &Request) -> ApiResult<Response<Body>> {
        let seen = if asks_for_current(request) {
            self.catch_up().await?
        } else {
            self.store.revision()
        };
        let outcome = self.route(request).await;
        // 504 is for a revision that is not here yet.
        let refused = outcome
            .as_ref()
            .is_err_and(|error| error.code < 500 || error.code == 504);
        if refused && self.catch_up().await? > seen {
            *request.notes() = Notes::default();
            return self.route(request).await;
        }
        outcome
    }

    async fn catch_up(&self) -> ApiResult<u64> {
        self.store.current().await.map_err(|error| storage_error(&error))
    }
}

/// Whether a request is for objects as they are now: a `get`, `list` or `watch` that names no version of its own.
fn asks_for_current(request: &Request) -> bool {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let objects = request.path.starts_with("/api/v1/") || request.path.starts_with("/apis/");
    reads && objects && request.query.text("resourceVersion").is_empty() && request.query.text("continue").is_empty()
}
