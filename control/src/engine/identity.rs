//! Who asks, and whether it may.

pub use barepod_auth::User;
use barepod_auth::attributes::{Attributes, Decision, Object, Resource};

use super::Engine;
use super::request::{Query, ResourcePath};
use super::status::{ApiError, ApiResult};

/// Paths that roles may open to those without credentials, as `system:public-info-viewer` does. No role opens others.
const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];

impl Engine {
    /// Lets the request pass, or says why not.
    pub fn authorize(
        &self,
        user: &User,
        verb: &str,
        path: &str,
        resource: Option<&ResourcePath>,
        query: &Query,
    ) -> ApiResult<()> {
        if user.is_master() {
            return Ok(());
        }
        if is_shut(user, path) {
            return Err(ApiError::unauthorized());
        }
        let asked = attributes(user, verb, path, resource, query);
        let Some(why) = self.access.refusal(&asked) else {
            return Ok(());
        };
        Err(refused(&asked, &why))
    }

    /// What [`Engine::authorize`] decides, with the reason of a yes as well; `None` of those who have to say first who
    /// they are.
    pub fn decision(
        &self,
        user: &User,
        verb: &str,
        path: &str,
        resource: Option<&ResourcePath>,
        query: &Query,
    ) -> Option<Decision> {
        let open = !is_shut(user, path);
        open.then(|| self.access.decide(&attributes(user, verb, path, resource, query)))
    }
}

fn is_shut(user: &User, path: &str) -> bool {
    user.is_anonymous() && !PUBLIC.contains(&path)
}

fn attributes<'a>(
    user: &'a User,
    verb: &'a str,
    path: &'a str,
    resource: Option<&'a ResourcePath>,
    query: &'a Query,
) -> Attributes<'a> {
    let field_selector = match verb {
        "list" | "watch" | "deletecollection" => query.text("fieldSelector"),
        _ => "",
    };
    let object = match resource {
        None => Object::Path(path),
        Some(path) => Object::Resource(resource_of(path, field_selector)),
    };
    Attributes { user, verb, object }
}

pub(crate) fn resource_of<'a>(path: &'a ResourcePath, field_selector: &'a str) -> Resource<'a> {
    let mut resource = Resource {
        group: &path.group,
        version: &path.version,
        resource: &path.resource,
        subresource: path.subresource.as_deref().unwrap_or(""),
        // A namespace is in itself, so that a role in it may be about it.
        namespace: match (&path.namespace, &path.name) {
            (Some(namespace), _) => namespace,
            (None, Some(name)) if path.group.is_empty() && path.resource == "namespaces" => name,
            _ => "",
        },
        name: path.name.as_deref().unwrap_or(""),
        field_selector,
    };
    if resource.name.is_empty() {
        // Rules about names apply to lists of one name as well.
        resource.name = resource.selects("metadata.name").unwrap_or("");
    }
    resource
}

/// 403 with the reason, if there is one to tell.
pub(super) fn refused(asked: &Attributes<'_>, why: &str) -> ApiError {
    let mut text = asked.refusal();
    if !why.is_empty() {
        text.push_str(": ");
        text.push_str(why);
    }
    match asked.object {
        Object::Path(_) => ApiError::forbidden_path(&text),
        Object::Resource(resource) => {
            ApiError::forbidden_resource(resource.group, resource.resource, resource.name, &text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_name_are_about_that_name() {
        let path = ResourcePath::parse("/api/v1/namespaces/default/pods").unwrap();
        let resource = resource_of(&path, "status.phase!=x,metadata.name=a-b");
        assert_eq!((resource.name, resource.namespace), ("a-b", "default"));
        assert_eq!(resource_of(&path, "metadata.name!=a").name, "");
        let path = ResourcePath::parse("/api/v1/namespaces/default").unwrap();
        assert_eq!(resource_of(&path, "").namespace, "default");
    }
}
