//! Roles and bindings, followed.

use barepod_auth::rbac::{Policy, Source};
use barepod_store::Object;

use super::follow::Table;
use crate::engine::parse;

/// The policy as the store has it.
#[derive(Default)]
pub struct Roles(pub Policy);

const PREFIXES: [(&str, Source); 4] = [
    ("/rbac.authorization.k8s.io/clusterroles/", Source::ClusterRole),
    ("/rbac.authorization.k8s.io/roles/", Source::Role),
    (
        "/rbac.authorization.k8s.io/clusterrolebindings/",
        Source::ClusterRoleBinding,
    ),
    ("/rbac.authorization.k8s.io/rolebindings/", Source::RoleBinding),
];

impl Table for Roles {
    fn prefixes(&self) -> &[&'static str] {
        const { &[PREFIXES[0].0, PREFIXES[1].0, PREFIXES[2].0, PREFIXES[3].0] }
    }

    fn change(&mut self, prefix: &'static str, key: &str, _: Option<&Object>, new: Option<&Object>) {
        let Some((_, source)) = PREFIXES.iter().find(|(known, _)| *known == prefix) else {
            return;
        };
        let (namespace, name) = match source {
            Source::Role | Source::RoleBinding => key.split_once('/').unwrap_or(("", key)),
            Source::ClusterRole | Source::ClusterRoleBinding => ("", key),
        };
        self.0.set(*source, namespace, name, new.map(parse).as_ref());
    }

    fn clear(&mut self) {
        self.0 = Policy::default();
    }
}
