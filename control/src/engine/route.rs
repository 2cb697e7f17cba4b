//! From a request to a verb.

use http::{Method, Response};

use super::body::Body;
use super::request::{Query, Request, ResourcePath};
use super::review::is_review;
use super::status::{ApiError, ApiResult};
use super::update::is_part;
use super::{Engine, Target};

impl Engine {
    pub(super) async fn route(&self, request: &Request) -> ApiResult<Response<Body>> {
        let Some(path) = ResourcePath::parse(&request.path) else {
            check_timeout(&request.query)?;
            let verb = request.method.as_str().to_ascii_lowercase();
            self.authorize(&request.user, &verb, &request.path, None, &request.query)?;
            return self.plain_path(request).await;
        };
        let asked = verb(request, &path);
        if asked != "watch" {
            check_timeout(&request.query)?;
        }
        self.authorize(&request.user, asked, &request.path, Some(&path), &request.query)?;
        if path.watch && request.method != Method::GET {
            return Err(ApiError::method_not_allowed());
        }
        let kind = self.find(&path.group, &path.version, &path.resource);
        let kind = &kind.ok_or_else(|| self.nothing_in(&path.group))?;
        if path.namespace.is_some() && !kind.resource.namespaced {
            return Err(self.nothing_in(&path.group));
        }
        if path.name.is_some() && path.namespace.is_none() && kind.resource.namespaced {
            return Err(self.nothing_in(&path.group));
        }
        let target = Target {
            kind,
            namespace: path.namespace.as_deref().unwrap_or(""),
            name: path.name.as_deref().unwrap_or(""),
        };
        if let Some(text) = kind.strategy.deprecation() {
            request.notes().warnings.push(text.to_owned());
        }
        match path.subresource.as_deref() {
            None => self.resource(request, target, asked == "watch").await,
            Some(subresource) if kind.has_subresource(subresource) => {
                self.subresource(request, target, subresource).await
            }
            Some(_) if kind.documented().is_some() => Err(target.not_found()),
            Some(_) => Err(ApiError::no_such_resource()),
        }
    }

    /// Why nothing is found in a group: of one that is built in it is the resource that is not there, of others it is the
    /// path.
    pub(super) fn nothing_in(&self, group: &str) -> ApiError {
        match self.registry.kinds().iter().any(|kind| kind.resource.group == group) {
            true => ApiError::no_such_resource(),
            false => ApiError::page_not_found(),
        }
    }

    async fn resource(&self, request: &Request, target: Target<'_>, watching: bool) -> ApiResult<Response<Body>> {
        let named = !target.name.is_empty();
        let placed = !target.namespace.is_empty() || !target.kind.resource.namespaced;
        // A parameter that is no boolean is told, not passed over.
        request.query.flag("watch")?;
        let verb = match (&request.method, named) {
            (&Method::GET | &Method::HEAD, _) if watching => "watch",
            (&Method::GET | &Method::HEAD, true) => "get",
            (&Method::GET | &Method::HEAD, false) => "list",
            (&Method::POST, false) if placed => "create",
            (&Method::PUT, true) => "update",
            (&Method::PATCH, true) => "patch",
            (&Method::DELETE, true) => "delete",
            (&Method::DELETE, false) if placed => "deletecollection",
            _ => return Err(ApiError::method_not_allowed()),
        };
        if !target.kind.resource.verbs.contains(&verb) {
            return Err(ApiError::method_not_allowed());
        }
        match verb {
            "get" | "list" if target.kind.is_core("componentstatuses") => self.components(request, target).await,
            "watch" => self.watch(request, target),
            "get" => self.get(request, target).await,
            "list" => self.list(request, target).await,
            "create" if is_review(target.kind) => self.review(request, target),
            "create" if target.kind.is_core("bindings") => self.bind(request, target).await,
            "create" => self.create(request, target).await,
            "update" => self.update(request, target, "").await,
            "patch" => self.patch(request, target, "").await,
            "delete" => self.delete(request, target).await,
            _ => self.delete_collection(request, target).await,
        }
    }

    async fn subresource(&self, request: &Request, target: Target<'_>, name: &str) -> ApiResult<Response<Body>> {
        match (name, &request.method) {
            (part, &Method::GET | &Method::HEAD) if part == "status" || is_part(part) => {
                self.get(request, target).await
            }
            (part, &Method::PUT) if part == "status" || is_part(part) => self.update(request, target, part).await,
            (part, &Method::PATCH) if part == "status" || is_part(part) => self.patch(request, target, part).await,
            ("scale", _) => self.scale(request, target).await,
            ("binding", &Method::POST) => self.bind(request, target).await,
            ("eviction", &Method::POST) => self.evict(request, target).await,
            ("token", &Method::POST) => self.request_token(request, target).await,
            ("finalize", &Method::PUT) => self.finalize(request, target).await,
            ("exec" | "attach" | "log" | "portforward" | "proxy", _) => {
                Err(ApiError::internal("streams are not available on this transport"))
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }
}

/// How long a client says that it waits has to be a length of time; no request but a watch takes longer than any.
fn check_timeout(query: &Query) -> ApiResult<()> {
    match query.get("timeout") {
        Some(text) if !text.is_empty() && barepod_cel::parse_duration(text).is_none() => {
            let message = format!("invalid timeout specified in the request URL - time: invalid duration {text:?}");
            Err(ApiError::bad_request(message))
        }
        _ => Ok(()),
    }
}

/// The verb as the authorizer names it.
pub fn verb(request: &Request, path: &ResourcePath) -> &'static str {
    verb_of(&request.method, &request.query, path)
}

/// As [`verb`], of the parts of a request.
pub fn verb_of(method: &Method, query: &Query, path: &ResourcePath) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if path.name.is_none() => "deletecollection",
        Method::DELETE => "delete",
        Method::GET if path.watch || query.flag("watch").is_ok_and(|watch| watch == Some(true)) => "watch",
        _ if path.name.is_none() => "list",
        _ => "get",
    }
}
