//! Who asks, and whether it may.

use super::request::ResourcePath;
use super::status::{ApiError, ApiResult, quote};

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, from a certificate its common name.
    pub name: String,
    /// The groups, from a certificate its organizations.
    pub groups: Vec<String>,
    /// Whether it is a part of this process.
    pub internal: bool,
}

impl User {
    /// A part of this process, such as the controllers.
    pub fn internal(name: &str) -> Self {
        User {
            name: name.into(),
            groups: vec!["system:authenticated".into()],
            internal: true,
        }
    }

    /// Somebody without credentials.
    pub fn anonymous() -> Self {
        User {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            internal: false,
        }
    }

    /// Whether no credentials were given.
    pub fn is_anonymous(&self) -> bool {
        self.groups.iter().any(|group| group == "system:unauthenticated")
    }

    fn trusted(&self) -> bool {
        self.internal
            || self
                .groups
                .iter()
                .any(|group| group == "system:masters" || group == "system:nodes")
    }
}

/// Paths that need no credentials.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// Lets the request pass, or says why not.
pub fn authorize(user: &User, verb: &str, path: &str, resource: Option<&ResourcePath>) -> ApiResult<()> {
    let public = PUBLIC
        .iter()
        .any(|known| path == *known || path.strip_prefix(known).is_some_and(|r| r.starts_with('/')));
    if user.trusted() || public {
        return Ok(());
    }
    if user.is_anonymous() {
        return Err(ApiError::unauthorized());
    }
    let name = quote(&user.name);
    let Some(resource) = resource else {
        return Err(ApiError::forbidden_path(&format!(
            "User {name} cannot {verb} path {}",
            quote(path)
        )));
    };
    let full = match &resource.subresource {
        Some(subresource) => format!("{}/{subresource}", resource.resource),
        None => resource.resource.clone(),
    };
    let scope = match &resource.namespace {
        Some(namespace) => format!("in the namespace {}", quote(namespace)),
        None => "at the cluster scope".into(),
    };
    let group = quote(&resource.group);
    let why = format!(
        "User {name} cannot {verb} resource {} in API group {group} {scope}",
        quote(&full)
    );
    let object = resource.name.as_deref().unwrap_or("");
    Err(ApiError::forbidden_resource(
        &resource.group,
        &resource.resource,
        object,
        &why,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wording() {
        let user = User {
            name: "bob".into(),
            groups: vec!["dev".into()],
            internal: false,
        };
        let path = ResourcePath::parse("/api/v1/namespaces/default/pods").unwrap();
        let error = authorize(&user, "list", "/api/v1/namespaces/default/pods", Some(&path)).unwrap_err();
        let expected =
            r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#;
        assert_eq!((error.code, error.message.as_str()), (403, expected));
        let error = authorize(&user, "get", "/metrics", None).unwrap_err();
        assert_eq!(error.message, r#"forbidden: User "bob" cannot get path "/metrics""#);
        assert!(authorize(&User::anonymous(), "get", "/healthz", None).is_ok());
        assert!(authorize(&User::anonymous(), "get", "/livez/ping", None).is_ok());
        assert_eq!(
            authorize(&User::anonymous(), "get", "/api", None).unwrap_err().code,
            401
        );
        assert!(
            authorize(
                &User::internal("system:kube-scheduler"),
                "list",
                "/api/v1/pods",
                Some(&path)
            )
            .is_ok()
        );
    }
}
