//! Nobody gives away more than they have: what may be written into roles and bindings.

use serde_json::Value;

use super::policy::Policy;
use super::rule::{Rule, uncovered};
use super::{GROUP, Source};
use crate::attributes::{Attributes, Object, Resource};
use crate::user::User;

fn may(policy: &Policy, user: &User, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let resource = Resource {
        group: GROUP,
        version: "v1",
        resource,
        namespace,
        name,
        ..Resource::default()
    };
    policy.allows(&Attributes {
        user,
        verb,
        object: Object::Resource(resource),
    })
}

fn everything() -> [Rule; 2] {
    let all: Box<[Box<str>]> = ["*".into()].into();
    [
        Rule {
            verbs: all.clone(),
            groups: all.clone(),
            resources: all.clone(),
            ..Rule::default()
        },
        Rule {
            verbs: all.clone(),
            urls: all,
            ..Rule::default()
        },
    ]
}

/// Refuses a role that holds more than its writer has, unless that is allowed by the verb `escalate`.
/// The text says what is missing.
pub fn check_role(
    policy: &Policy,
    user: &User,
    source: Source,
    namespace: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), String> {
    let part = |object: &Value, key: &str| object.get(key).filter(|value| !value.is_null()).cloned();
    let same = |key: &str| old.is_some_and(|old| part(old, key) == part(new, key));
    if user.is_master() || (same("rules") && same("aggregationRule")) {
        return Ok(());
    }
    let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    let resource = if source == Source::Role {
        "roles"
    } else {
        "clusterroles"
    };
    if may(policy, user, "escalate", resource, namespace, name) {
        return Ok(());
    }
    if !same("rules") {
        confirm(policy, user, namespace, &Rule::of_role(new))?;
    }
    // An aggregation may take in anything later.
    let aggregated = [Some(new), old]
        .into_iter()
        .flatten()
        .any(|role| part(role, "aggregationRule").is_some());
    if source == Source::ClusterRole && aggregated {
        confirm(policy, user, "", &everything())
            .map_err(|why| format!("must have cluster-admin privileges to use an aggregationRule: {why}"))?;
    }
    Ok(())
}

/// Refuses a binding to a role that holds more than its writer has, unless that is allowed by the verb `bind`.
pub fn check_binding(
    policy: &Policy,
    user: &User,
    namespace: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), BindingError> {
    let part = |object: &Value, key: &str| object.get(key).filter(|value| !value.is_null()).cloned();
    let same = |key: &str| old.is_some_and(|old| part(old, key) == part(new, key));
    if user.is_master() || (same("roleRef") && same("subjects")) {
        return Ok(());
    }
    let text = |path: &str| new.pointer(path).and_then(Value::as_str).unwrap_or("");
    let (kind, name) = (text("/roleRef/kind"), text("/roleRef/name"));
    let (resource, role_namespace) = match kind {
        "Role" => ("roles", namespace),
        _ => ("clusterroles", ""),
    };
    if may(policy, user, "bind", resource, namespace, name) {
        return Ok(());
    }
    let Some(rules) = policy.role(role_namespace, name) else {
        return Err(BindingError::NoRole {
            resource,
            name: name.to_owned(),
        });
    };
    confirm(policy, user, namespace, rules).map_err(BindingError::Escalation)
}

/// Why a binding may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// The role does not exist, so that it cannot be known what it gives.
    #[error("{resource} {name:?} not found")]
    NoRole {
        /// `roles` or `clusterroles`.
        resource: &'static str,
        /// The name.
        name: String,
    },
    /// It gives more than the writer has.
    #[error("{0}")]
    Escalation(String),
}

fn confirm(policy: &Policy, user: &User, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
    let missing = uncovered(policy.rules(user, namespace), wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    let mut text = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:",
        user.name,
        groups.join(" ")
    );
    for rule in compact(missing) {
        text.push('\n');
        text.push_str(&describe(&rule));
    }
    Err(text)
}

/// Rules that differ in nothing but their verb, as one.
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut out: Vec<Rule> = Vec::new();
    for rule in rules {
        let like = |other: &&mut Rule| {
            (&other.groups, &other.resources, &other.names, &other.urls)
                == (&rule.groups, &rule.resources, &rule.names, &rule.urls)
        };
        match out.iter_mut().find(like) {
            Some(same) => {
                let verbs = same.verbs.iter().chain(&rule.verbs).cloned();
                same.verbs = verbs.collect();
            }
            None => out.push(rule),
        }
    }
    out
}

fn describe(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.names),
        ("NonResourceURLs", &rule.urls),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| {
            let list: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
            format!("{name}:[{}]", list.join(" "))
        })
        .collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(rules: Value) -> Policy {
        let mut policy = Policy::default();
        policy.set(Source::ClusterRole, "", "own", Some(&json!({"rules": rules})));
        let binding =
            json!({"roleRef": {"kind": "ClusterRole", "name": "own"}, "subjects": [{"kind": "User", "name": "bob"}]});
        policy.set(Source::RoleBinding, "ns", "own", Some(&binding));
        policy
    }

    fn pods() -> Value {
        json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]})
    }

    #[test]
    fn roles_hold_no_more_than_their_writer_has() {
        let bob = User::new("bob", vec!["dev".into()]);
        let role = json!({"metadata": {"name": "r"}, "rules": [pods()]});
        let check = |policy: &Policy, namespace, old| check_role(policy, &bob, Source::Role, namespace, &role, old);
        assert_eq!(check(&policy(json!([pods()])), "ns", None), Ok(()));
        assert_eq!(
            check(&policy(json!([])), "ns", None).unwrap_err(),
            "user \"bob\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not \
             currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"list\"]}"
        );
        assert!(check(&policy(json!([pods()])), "other", None).is_err());
        assert_eq!(check(&policy(json!([])), "ns", Some(&role)), Ok(()));
        let escalate =
            json!([{"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"], "resourceNames": ["r"]}]);
        assert_eq!(check(&policy(escalate), "ns", None), Ok(()));
    }

    #[test]
    fn aggregation_needs_everything() {
        let bob = User::new("bob", vec![]);
        let role = json!({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": []}});
        let why = check_role(&policy(json!([pods()])), &bob, Source::ClusterRole, "", &role, None).unwrap_err();
        assert!(why.starts_with("must have cluster-admin privileges"), "{why}");
        let master = User::new("x", vec!["system:masters".into()]);
        assert_eq!(
            check_role(&Policy::default(), &master, Source::ClusterRole, "", &role, None),
            Ok(())
        );
    }

    #[test]
    fn bindings_give_no_more_than_their_writer_has() {
        let bob = User::new("bob", vec![]);
        let binding = |role: &str| json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": []});
        let with = |rules| {
            let mut policy = policy(rules);
            policy.set(Source::ClusterRole, "", "pods", Some(&json!({"rules": [pods()]})));
            policy
        };
        let check = |policy: &Policy, role: &str| check_binding(policy, &bob, "ns", &binding(role), None);
        assert_eq!(check(&with(json!([pods()])), "pods"), Ok(()));
        assert!(matches!(
            check(&with(json!([])), "pods"),
            Err(BindingError::Escalation(_))
        ));
        assert!(matches!(
            check(&with(json!([])), "none"),
            Err(BindingError::NoRole { .. })
        ));
        let bind = json!([{"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["pods"]}]);
        assert_eq!(check(&with(bind), "pods"), Ok(()));
    }
}
