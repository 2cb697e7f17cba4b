//! CustomResourceDefinitions: there are none, and clients may ask.
//!
//! They are not served, and so discovery does not show them. But `kubectl` lists them when it meets a kind that no OpenAPI
//! document has, and reports its own failure to do so instead of the kind that does not exist.

use http::{Method, Response};
use serde_json::json;

use super::body::Body;
use super::request::{Request, ResourcePath};
use super::{Engine, reply};

impl Engine {
    /// The list of all definitions, if that is what a request is after.
    pub(super) fn list_definitions(&self, request: &Request, path: &ResourcePath) -> Option<Response<Body>> {
        let whole = path.namespace.is_none() && path.name.is_none();
        let definitions = (path.group.as_str(), path.version.as_str(), path.resource.as_str())
            == ("apiextensions.k8s.io", "v1", "customresourcedefinitions");
        let watching = request.query.flag("watch").is_ok_and(|watch| watch == Some(true));
        (whole && definitions && request.method == Method::GET && !watching).then(|| {
            let list = json!({
                "kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1",
                "metadata": {"resourceVersion": self.store.revision().to_string()}, "items": [],
            });
            reply::value(request, 200, &list)
        })
    }
}
