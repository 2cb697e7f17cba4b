//! All roles and bindings, ready for questions.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::rule::Rule;
use crate::attributes::{Attributes, Decision, Object, quote};
use crate::user::{SERVICE_ACCOUNT, User};

/// A resource that the policy is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Roles of the cluster.
    ClusterRole,
    /// Roles of a namespace.
    Role,
    /// Bindings for the cluster.
    ClusterRoleBinding,
    /// Bindings for a namespace.
    RoleBinding,
}

impl Source {
    /// The source with this plural name.
    pub fn of_resource(plural: &str) -> Option<Self> {
        Some(match plural {
            "clusterroles" => Source::ClusterRole,
            "roles" => Source::Role,
            "clusterrolebindings" => Source::ClusterRoleBinding,
            "rolebindings" => Source::RoleBinding,
            _ => return None,
        })
    }
}

/// Namespace (empty for the cluster) and name.
type Key = (Box<str>, Box<str>);

fn key(namespace: &str, name: &str) -> Key {
    (namespace.into(), name.into())
}

/// Somebody that bindings name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(Box<str>),
    Group(Box<str>),
}

#[derive(Debug)]
struct Binding {
    /// Namespace (empty for the cluster) and name of the role.
    role: Key,
    name: Box<str>,
    namespace: Box<str>,
    subjects: Vec<Subject>,
}

/// Bindings by whom they name.
#[derive(Debug, Default)]
struct Bindings {
    by_user: HashMap<Box<str>, Vec<Arc<Binding>>>,
    by_group: HashMap<Box<str>, Vec<Arc<Binding>>>,
}

impl Bindings {
    fn change(&mut self, subject: &Subject, change: impl FnOnce(&mut Vec<Arc<Binding>>)) {
        let (map, name) = match subject {
            Subject::User(name) => (&mut self.by_user, name),
            Subject::Group(name) => (&mut self.by_group, name),
        };
        let list = map.entry(name.clone()).or_default();
        change(list);
        if list.is_empty() {
            map.remove(name);
        }
    }

    fn is_empty(&self) -> bool {
        self.by_user.is_empty() && self.by_group.is_empty()
    }
}

/// Why somebody has a rule.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    binding: &'a Binding,
    subject: &'a Subject,
}

impl fmt::Display for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding {
            role, name, namespace, ..
        } = self.binding;
        let role_kind = if role.0.is_empty() { "ClusterRole" } else { "Role" };
        if namespace.is_empty() {
            write!(f, "ClusterRoleBinding {}", quote(name))?;
        } else {
            write!(f, "RoleBinding {}", quote(&format!("{name}/{namespace}")))?;
        }
        write!(f, " of {role_kind} {} to ", quote(&role.1))?;
        match self.subject {
            Subject::Group(name) => write!(f, "Group {}", quote(name)),
            Subject::User(name) => match crate::user::split_service_account(name) {
                Some((namespace, name)) => write!(f, "ServiceAccount {}", quote(&format!("{name}/{namespace}"))),
                None => write!(f, "User {}", quote(name)),
            },
        }
    }
}

/// The roles and bindings of a cluster.
#[derive(Debug, Default)]
pub struct Policy {
    roles: HashMap<Key, Arc<[Rule]>>,
    bindings: HashMap<Key, Arc<Binding>>,
    /// By namespace, empty for the cluster.
    by_subject: HashMap<Box<str>, Bindings>,
}

impl Policy {
    /// Takes note of an object, or of its absence.
    pub fn set(&mut self, source: Source, namespace: &str, name: &str, object: Option<&Value>) {
        let key = key(namespace, name);
        match source {
            Source::ClusterRole | Source::Role => match object {
                Some(role) => {
                    self.roles.insert(key, Rule::of_role(role).into());
                }
                None => {
                    self.roles.remove(&key);
                }
            },
            Source::ClusterRoleBinding | Source::RoleBinding => {
                if let Some(old) = self.bindings.remove(&key) {
                    self.unbind(&old);
                }
                if let Some(binding) = object {
                    self.bind(key, binding);
                }
            }
        }
    }

    fn bind(&mut self, key: Key, object: &Value) {
        let (namespace, name) = key.clone();
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
        let of_cluster = text("/roleRef/kind") == "ClusterRole";
        let role_namespace = if of_cluster { "".into() } else { namespace.clone() };
        let list = object.get("subjects").and_then(Value::as_array).into_iter().flatten();
        let binding = Arc::new(Binding {
            role: (role_namespace, text("/roleRef/name").into()),
            name,
            subjects: list.filter_map(|subject| subject_of(subject, &namespace)).collect(),
            namespace: namespace.clone(),
        });
        let place = self.by_subject.entry(namespace).or_default();
        for subject in &binding.subjects {
            place.change(subject, |list| list.push(binding.clone()));
        }
        self.bindings.insert(key, binding);
    }

    fn unbind(&mut self, binding: &Arc<Binding>) {
        let Some(place) = self.by_subject.get_mut(&binding.namespace) else {
            return;
        };
        for subject in &binding.subjects {
            place.change(subject, |list| list.retain(|other| !Arc::ptr_eq(other, binding)));
        }
        if place.is_empty() {
            self.by_subject.remove(&binding.namespace);
        }
    }

    /// Every role that the user has, with the reason: those of the cluster, and those of the namespace if one is named.
    pub fn grants<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = (Grant<'a>, &'a [Rule])> + Clone {
        let places = ["", namespace];
        let number = if namespace.is_empty() { 1 } else { 2 };
        let places = places
            .into_iter()
            .take(number)
            .filter_map(|place| self.by_subject.get(place));
        let bindings = places.flat_map(move |place| {
            let own = place.by_user.get(user.name.as_str()).into_iter();
            let groups = user
                .groups
                .iter()
                .filter_map(|group| place.by_group.get(group.as_str()));
            own.chain(groups).flatten()
        });
        bindings.filter_map(move |binding| {
            let rules = self.roles.get(&binding.role)?;
            let subject = binding.subjects.iter().find(|subject| match subject {
                Subject::User(name) => **name == *user.name,
                Subject::Group(name) => user.is_in(name),
            })?;
            Some((Grant { binding, subject }, &**rules))
        })
    }

    /// Every rule that the user has in a namespace, or in the whole cluster if none is named.
    pub fn rules<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Rule> + Clone {
        self.grants(user, namespace).flat_map(|(_, rules)| rules)
    }

    /// The rules of a role; the namespace is empty for one of the cluster.
    pub fn role(&self, namespace: &str, name: &str) -> Option<&[Rule]> {
        self.roles.get(&key(namespace, name)).map(|rules| &**rules)
    }

    /// Whether a role that the user has allows the request.
    pub fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let namespace = match asked.object {
            Object::Resource(resource) => resource.namespace,
            Object::Path(_) => "",
        };
        let grant = self
            .grants(asked.user, namespace)
            .find(|(_, rules)| rules.iter().any(|rule| rule.allows(asked)));
        match grant {
            Some((grant, _)) => Decision::Allow(format!("RBAC: allowed by {grant}")),
            None => Decision::NoOpinion(String::new()),
        }
    }

    /// As [`Policy::authorize`], for those who do not care why.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        let namespace = asked.resource().map_or("", |resource| resource.namespace);
        self.rules(asked.user, namespace).any(|rule| rule.allows(asked))
    }
}

fn subject_of(subject: &Value, namespace: &str) -> Option<Subject> {
    let text = |key: &str| subject.get(key).and_then(Value::as_str).unwrap_or("");
    match text("kind") {
        "User" => Some(Subject::User(text("name").into())),
        "Group" => Some(Subject::Group(text("name").into())),
        "ServiceAccount" => {
            let own = text("namespace");
            let namespace = if own.is_empty() { namespace } else { own };
            let name = text("name");
            (!namespace.is_empty()).then(|| Subject::User(format!("{SERVICE_ACCOUNT}{namespace}:{name}").into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Resource;
    use serde_json::json;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        let reader = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        policy.set(Source::ClusterRole, "", "reader", Some(&reader));
        let writer = json!({"rules": [{"verbs": ["create"], "apiGroups": [""], "resources": ["pods"]}]});
        policy.set(Source::Role, "ns", "writer", Some(&writer));
        let binding = json!({
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "Group", "name": "dev"}],
        });
        policy.set(Source::ClusterRoleBinding, "", "readers", Some(&binding));
        let binding = json!({
            "roleRef": {"kind": "Role", "name": "writer"},
            "subjects": [{"kind": "User", "name": "bob"}, {"kind": "ServiceAccount", "name": "sa"}],
        });
        policy.set(Source::RoleBinding, "ns", "writers", Some(&binding));
        policy
    }

    fn ask(policy: &Policy, user: &User, verb: &str, namespace: &str) -> Decision {
        let resource = Resource {
            resource: "pods",
            namespace,
            ..Resource::default()
        };
        let asked = Attributes {
            user,
            verb,
            object: Object::Resource(resource),
        };
        let decision = policy.authorize(&asked);
        assert_eq!(decision.allowed(), policy.allows(&asked));
        decision
    }

    #[test]
    fn bindings_give_roles_to_users_groups_and_service_accounts() {
        let policy = policy();
        let (bob, dev) = (User::new("bob", vec![]), User::new("x", vec!["dev".into()]));
        let account = User::service_account("ns", "sa", "");
        assert_eq!(
            ask(&policy, &dev, "get", "any"),
            Decision::Allow(
                r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "dev""#.into()
            )
        );
        assert!(ask(&policy, &dev, "get", "").allowed() && !ask(&policy, &dev, "create", "ns").allowed());
        assert!(ask(&policy, &bob, "create", "ns").allowed() && !ask(&policy, &bob, "create", "").allowed());
        assert_eq!(
            ask(&policy, &account, "create", "ns"),
            Decision::Allow(
                r#"RBAC: allowed by RoleBinding "writers/ns" of Role "writer" to ServiceAccount "sa/ns""#.into()
            )
        );
        assert!(!ask(&policy, &User::service_account("other", "sa", ""), "create", "ns").allowed());
    }

    #[test]
    fn what_is_removed_gives_nothing_any_more() {
        let mut policy = policy();
        let (bob, dev) = (User::new("bob", vec![]), User::new("x", vec!["dev".into()]));
        policy.set(Source::ClusterRole, "", "reader", None);
        assert!(!ask(&policy, &dev, "get", "").allowed());
        let to_nobody = json!({"roleRef": {"kind": "Role", "name": "writer"}});
        policy.set(Source::RoleBinding, "ns", "writers", Some(&to_nobody));
        assert!(!ask(&policy, &bob, "create", "ns").allowed());
        policy.set(Source::ClusterRoleBinding, "", "readers", None);
        assert!(policy.by_subject.values().all(|place| place.is_empty()));
    }
}
