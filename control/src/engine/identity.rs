//! Who asks, and whether it may.

pub use barepod_auth::User;
use barepod_auth::attributes::{Attributes, Object, Resource};

use super::Engine;
use super::request::{Query, ResourcePath};
use super::status::{ApiError, ApiResult};

/// Paths that need no credentials.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

fn is_public(path: &str) -> bool {
    PUBLIC
        .iter()
        .any(|known| path == *known || path.strip_prefix(known).is_some_and(|rest| rest.starts_with('/')))
}

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
        if user.is_anonymous() {
            return if is_public(path) {
                Ok(())
            } else {
                Err(ApiError::unauthorized())
            };
        }
        let field_selector = match verb {
            "list" | "watch" | "deletecollection" => query.text("fieldSelector"),
            _ => "",
        };
        let object = match resource {
            None => Object::Path(path),
            Some(path) => Object::Resource(resource_of(path, field_selector)),
        };
        let asked = Attributes { user, verb, object };
        let Some(why) = self.access.refusal(&asked) else {
            return Ok(());
        };
        Err(refused(&asked, &why))
    }
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

    #[test]
    fn health_and_version_are_for_everybody() {
        assert!(is_public("/healthz") && is_public("/livez/ping") && is_public("/version"));
        assert!(!is_public("/api") && !is_public("/healthzz"));
    }
}
