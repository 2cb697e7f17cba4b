//! Priority and fairness: a request waits for its seat before it is worked on.

use barepod_auth::attributes::{Attributes, Object};
use http::{HeaderName, HeaderValue, Response, header};

use super::Engine;
use super::body::Body;
use super::identity::resource_of;
use super::reply;
use super::request::{Request, ResourcePath};
use super::route::verb;
use super::status::ApiError;
use crate::access::{Admitted, WIDEST};

/// How many objects of a list take one seat.
const OBJECTS_PER_SEAT: usize = 100;
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

impl Engine {
    /// Answers a request of a client when it is its turn. Those who may do everything do not have to wait.
    pub async fn handle_fairly(&self, request: Request) -> Response<Body> {
        if request.user.is_master() {
            return self.handle(request).await;
        }
        let path = ResourcePath::parse(&request.path);
        let method = request.method.as_str().to_ascii_lowercase();
        let (verb, object) = match &path {
            Some(path) => (verb(&request, path), Object::Resource(resource_of(path, ""))),
            None => (method.as_str(), Object::Path(request.path.as_str())),
        };
        let width = match &path {
            Some(path) if verb == "list" => self.width(&request, path),
            _ => 1,
        };
        let asked = Attributes {
            user: &request.user,
            verb,
            object,
        };
        match self.fairness.enter(&asked, width).await {
            Admitted::Seated(None) => self.handle(request).await,
            Admitted::Seated(Some((seat, place))) => {
                let mut response = self.handle(request).await;
                drop(seat);
                for (name, uid) in [(SCHEMA_UID, &place.schema_uid), (LEVEL_UID, &place.level_uid)] {
                    if let Ok(uid) = HeaderValue::from_str(uid) {
                        response.headers_mut().insert(name, uid);
                    }
                }
                response
            }
            Admitted::Rejected => {
                let mut response = reply::error(&ApiError::too_many_requests(), request.pretty());
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
        }
    }

    /// A long list takes as many seats as it is work.
    fn width(&self, request: &Request, path: &ResourcePath) -> usize {
        let Some(kind) = self.find(&path.group, &path.version, &path.resource) else {
            return 1;
        };
        let most = WIDEST * OBJECTS_PER_SEAT;
        let limit = request
            .query
            .number("limit")
            .ok()
            .flatten()
            .filter(|limit| *limit > 0)
            .unwrap_or(most)
            .min(most);
        let prefix = kind.prefix_in(path.namespace.as_deref());
        let range = barepod_store::Range {
            prefix: &prefix,
            limit,
            ..barepod_store::Range::default()
        };
        let objects = self.store.range(&range).map_or(0, |page| page.objects.len());
        objects.div_ceil(OBJECTS_PER_SEAT).max(1)
    }
}
