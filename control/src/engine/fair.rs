//! Priority and fairness: a request waits for its seat before it is worked on.

use barepod_auth::attributes::{Attributes, Object};
use barepod_auth::flow::Place;
use http::{HeaderName, HeaderValue, Method, Response, header};

use super::Engine;
use super::body::Body;
use super::identity::{User, resource_of};
use super::reply;
use super::request::{Query, Request, ResourcePath};
use super::route::verb_of;
use super::status::ApiError;
use crate::access::{Admitted, Seat, WIDEST};

/// How many objects of a list take one seat.
const OBJECTS_PER_SEAT: usize = 100;
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// The turn of a request.
pub struct Turn(Option<(Place, Seat)>);

impl Turn {
    /// It is over: says in the answer which schema and which level it was given by.
    pub fn end(self, response: &mut Response<Body>) {
        if let Some((place, _)) = self.0 {
            mark(response, &place);
        }
    }
}

impl Engine {
    /// Answers a request of a client when it is its turn.
    pub async fn handle_fairly(&self, request: Request) -> Response<Body> {
        let turn = self.turn(&request.user, &request.method, &request.path, &request.query);
        let turn = match turn.await {
            Ok(turn) => turn,
            Err(refused) => return refused,
        };
        let mut response = self.handle(request).await;
        turn.end(&mut response);
        response
    }

    /// Waits for the turn of a request.
    ///
    /// # Errors
    /// There is no place to wait; this is the answer.
    pub async fn turn(
        &self,
        user: &User,
        method: &Method,
        raw_path: &str,
        query: &Query,
    ) -> Result<Turn, Response<Body>> {
        let path = ResourcePath::parse(raw_path);
        let plain = method.as_str().to_ascii_lowercase();
        let (verb, object) = match &path {
            Some(path) => (verb_of(method, query, path), Object::Resource(resource_of(path, ""))),
            None => (plain.as_str(), Object::Path(raw_path)),
        };
        let width = match &path {
            Some(path) if verb == "list" && !user.is_master() => self.width(query, path),
            _ => 1,
        };
        match self.fairness.enter(&Attributes { user, verb, object }, width).await {
            Admitted::Unplaced => Ok(Turn(None)),
            Admitted::Seated(place, seat) => Ok(Turn(Some((place, seat)))),
            Admitted::Rejected(place) => {
                let mut response = reply::error(&ApiError::too_many_requests(), false);
                mark(&mut response, &place);
                let seconds = HeaderValue::from_static("1");
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                Err(response)
            }
        }
    }

    /// A long list takes as many seats as it is work.
    fn width(&self, query: &Query, path: &ResourcePath) -> usize {
        let Some(kind) = self.find(&path.group, &path.version, &path.resource) else {
            return 1;
        };
        let most = WIDEST * OBJECTS_PER_SEAT;
        let limit = query
            .number("limit")
            .ok()
            .flatten()
            .and_then(|limit| usize::try_from(limit).ok())
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

fn mark(response: &mut Response<Body>, place: &Place) {
    for (name, uid) in [(SCHEMA_UID, &place.schema_uid), (LEVEL_UID, &place.level_uid)] {
        if let Ok(uid) = HeaderValue::from_str(uid) {
            response.headers_mut().insert(name, uid);
        }
    }
}
