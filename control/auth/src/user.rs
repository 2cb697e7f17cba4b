//! Who asks.

use serde_json::{Map, Value, json};

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of nodes.
pub const NODES: &str = "system:nodes";
/// The group of everybody with credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of those without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of all service accounts; those of one namespace have it with `:NAMESPACE` behind it.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What the user name of a service account begins with; namespace and name follow.
pub const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// What the user name of a node begins with.
pub const NODE: &str = "system:node:";

/// An authenticated user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name; of a certificate its common name.
    pub name: String,
    /// Tells users apart that had the same name at different times; mostly empty.
    pub uid: String,
    /// The groups; of a certificate its organizations.
    pub groups: Vec<String>,
    /// What else the authenticator knows, by key.
    pub extra: Vec<(String, Vec<String>)>,
    /// Whether it is a part of this process.
    pub internal: bool,
}

impl User {
    /// A user with credentials, in these groups.
    pub fn new(name: impl Into<String>, groups: Vec<String>) -> Self {
        let mut user = User {
            name: name.into(),
            groups,
            ..User::default()
        };
        user.join(AUTHENTICATED);
        user
    }

    /// Notes the certificate (DER) that named the user, so that logs and `kubectl auth whoami` can tell it from others.
    #[must_use]
    pub fn with_certificate(mut self, der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let key = "authentication.kubernetes.io/credential-id".to_owned();
        self.extra.push((key, vec![format!("X509SHA256={hex}")]));
        self
    }

    /// A part of this process, such as the controllers.
    pub fn internal(name: &str) -> Self {
        let mut user = Self::new(name, Vec::new());
        user.internal = true;
        user
    }

    /// Somebody without credentials.
    pub fn anonymous() -> Self {
        User {
            name: ANONYMOUS.into(),
            groups: vec![UNAUTHENTICATED.into()],
            ..User::default()
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let groups = vec![
            SERVICE_ACCOUNTS.into(),
            format!("{SERVICE_ACCOUNTS}:{namespace}"),
            AUTHENTICATED.into(),
        ];
        User {
            name: format!("{SERVICE_ACCOUNT}{namespace}:{name}"),
            uid: uid.into(),
            groups,
            ..User::default()
        }
    }

    /// Adds a group.
    pub fn join(&mut self, group: &str) {
        if !self.is_in(group) {
            self.groups.push(group.into());
        }
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// Whether no credentials were given.
    pub fn is_anonymous(&self) -> bool {
        self.is_in(UNAUTHENTICATED)
    }

    /// Whether nothing is forbidden to the user.
    pub fn is_master(&self) -> bool {
        self.internal || self.is_in(MASTERS)
    }

    /// The node this is, if it is one: in the group of nodes, with a name that says which.
    pub fn node(&self) -> Option<&str> {
        let node = self.name.strip_prefix(NODE).filter(|name| !name.is_empty())?;
        self.is_in(NODES).then_some(node)
    }

    /// Namespace and name of the service account this is, if it is one.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        split_service_account(&self.name)
    }

    /// The values under a key of `extra`.
    pub fn extra(&self, key: &str) -> &[String] {
        self.extra
            .iter()
            .find(|(own, _)| own == key)
            .map_or(&[], |(_, values)| values)
    }

    /// As `authentication.k8s.io/v1` UserInfo.
    pub fn to_value(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            let extra: Map<String, Value> = self
                .extra
                .iter()
                .map(|(key, values)| (key.clone(), values.as_slice().into()))
                .collect();
            info["extra"] = extra.into();
        }
        info
    }
}

/// Namespace and name of a service account's user name.
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_nodes_and_service_accounts() {
        let mut node = User::new("system:node:n1", vec![]);
        assert_eq!(node.node(), None);
        node.join(NODES);
        assert_eq!(node.node(), Some("n1"));
        let account = User::service_account("ns", "sa", "u");
        assert_eq!(account.as_service_account(), Some(("ns", "sa")));
        assert!(account.is_in("system:serviceaccounts:ns"));
        for wrong in [
            "system:serviceaccount:a",
            "system:serviceaccount:a:b:c",
            "system:serviceaccount::b",
            "x",
        ] {
            assert_eq!(split_service_account(wrong), None, "{wrong}");
        }
        assert!(User::internal("x").is_master() && !User::anonymous().is_master());
    }
}
