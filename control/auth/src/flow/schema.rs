//! FlowSchemas: the first one that matches a request names its priority level and its flow.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::level::Level;
use crate::attributes::{Attributes, Object, Resource};
use crate::user::{SERVICE_ACCOUNT, User};

/// Where a request belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The flow schema.
    pub schema: String,
    /// The priority level.
    pub level: String,
    /// Tells flows of the level apart.
    pub flow: u64,
    /// The UID of the schema.
    pub schema_uid: String,
    /// The UID of the priority level.
    pub level_uid: String,
}

#[derive(Debug)]
struct Schema {
    name: String,
    uid: String,
    precedence: i64,
    level: String,
    distinguisher: Distinguisher,
    rules: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    None,
    User,
    Namespace,
}

/// All schemas and priority levels.
#[derive(Debug, Default)]
pub struct Flows {
    /// In the order in which they are asked.
    schemas: Vec<Schema>,
    levels: BTreeMap<String, Level>,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn has(value: &Value, key: &str, wanted: &str) -> bool {
    let list = value.get(key).and_then(Value::as_array).into_iter().flatten();
    list.into_iter().any(|own| own == wanted || own == "*")
}

impl Flows {
    /// Takes note of a FlowSchema, or of its absence.
    pub fn schema(&mut self, name: &str, object: Option<&Value>) {
        self.schemas.retain(|schema| schema.name != name);
        let Some(object) = object else { return };
        let distinguisher = match text(object, "/spec/distinguisherMethod/type") {
            "ByUser" => Distinguisher::User,
            "ByNamespace" => Distinguisher::Namespace,
            _ => Distinguisher::None,
        };
        self.schemas.push(Schema {
            name: name.to_owned(),
            uid: text(object, "/metadata/uid").to_owned(),
            precedence: object
                .pointer("/spec/matchingPrecedence")
                .and_then(Value::as_i64)
                .unwrap_or(1000),
            level: text(object, "/spec/priorityLevelConfiguration/name").to_owned(),
            distinguisher,
            rules: object
                .pointer("/spec/rules")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
        });
        self.schemas
            .sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    }

    /// Takes note of a PriorityLevelConfiguration, or of its absence.
    pub fn level(&mut self, name: &str, object: Option<&Value>) {
        match object {
            Some(object) => self.levels.insert(name.to_owned(), Level::from_value(object)),
            None => self.levels.remove(name),
        };
    }

    /// The levels by name.
    pub fn levels(&self) -> &BTreeMap<String, Level> {
        &self.levels
    }

    /// Where a request belongs; `None` if no schema with a known level matches it.
    pub fn place(&self, asked: &Attributes<'_>) -> Option<Place> {
        let schema = self.schemas.iter().find(|schema| {
            self.levels.contains_key(&schema.level) && schema.rules.iter().any(|rule| matches(rule, asked))
        })?;
        let mut hasher = DefaultHasher::new();
        schema.name.hash(&mut hasher);
        match schema.distinguisher {
            Distinguisher::None => {}
            Distinguisher::User => asked.user.name.hash(&mut hasher),
            Distinguisher::Namespace => asked
                .resource()
                .map_or("", |resource| resource.namespace)
                .hash(&mut hasher),
        }
        Some(Place {
            schema: schema.name.clone(),
            level: schema.level.clone(),
            flow: hasher.finish(),
            schema_uid: schema.uid.clone(),
            level_uid: self
                .levels
                .get(&schema.level)
                .map(|level| level.uid.clone())
                .unwrap_or_default(),
        })
    }
}

fn matches(rule: &Value, asked: &Attributes<'_>) -> bool {
    let list = |key: &str| rule.get(key).and_then(Value::as_array).into_iter().flatten();
    let whom = list("subjects").into_iter().any(|subject| names(subject, asked.user));
    whom && match asked.object {
        Object::Resource(resource) => list("resourceRules")
            .into_iter()
            .any(|rule| covers(rule, asked.verb, &resource)),
        Object::Path(path) => list("nonResourceRules").into_iter().any(|rule| {
            let urls = rule
                .get("nonResourceURLs")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let mut urls = urls.into_iter().filter_map(Value::as_str);
            has(rule, "verbs", asked.verb)
                && urls.any(|url| {
                    url == "*"
                        || url == path
                        || url
                            .strip_suffix("/*")
                            .is_some_and(|start| path.strip_prefix(start).is_some_and(|rest| rest.starts_with('/')))
                })
        }),
    }
}

fn names(subject: &Value, user: &User) -> bool {
    match text(subject, "/kind") {
        "User" => matches!(text(subject, "/user/name"), name if name == "*" || name == user.name),
        "Group" => matches!(text(subject, "/group/name"), name if name == "*" || user.is_in(name)),
        "ServiceAccount" => {
            let (namespace, name) = (
                text(subject, "/serviceAccount/namespace"),
                text(subject, "/serviceAccount/name"),
            );
            match user
                .name
                .strip_prefix(SERVICE_ACCOUNT)
                .and_then(|rest| rest.split_once(':'))
            {
                Some((own, account)) => own == namespace && (name == "*" || name == account),
                None => false,
            }
        }
        _ => false,
    }
}

fn covers(rule: &Value, verb: &str, resource: &Resource<'_>) -> bool {
    let full = resource.full();
    let placed = if resource.namespace.is_empty() {
        rule.get("clusterScope").and_then(Value::as_bool).unwrap_or(false)
    } else {
        has(rule, "namespaces", resource.namespace)
    };
    has(rule, "verbs", verb) && has(rule, "apiGroups", resource.group) && has(rule, "resources", &full) && placed
}

#[cfg(test)]
mod tests {
    use super::super::defaults;
    use super::*;
    use crate::user::{MASTERS, NODES};

    fn flows() -> Flows {
        let mut flows = Flows::default();
        for one in defaults() {
            let name = one.name().to_owned();
            if one.is_schema() {
                flows.schema(&name, Some(&one.object));
            } else {
                flows.level(&name, Some(&one.object));
            }
        }
        flows
    }

    fn place(user: &User, verb: &str, group: &str, resource: &str, namespace: &str) -> (String, u64) {
        let resource = Resource {
            group,
            resource,
            namespace,
            ..Resource::default()
        };
        let place = flows()
            .place(&Attributes {
                user,
                verb,
                object: Object::Resource(resource),
            })
            .unwrap();
        (place.level, place.flow)
    }

    #[test]
    fn everybody_has_a_place() {
        let level =
            |user: &User, group: &str, resource: &str| place(user, "update", group, resource, "kube-node-lease").0;
        assert_eq!(level(&User::new("a", vec![MASTERS.into()]), "", "pods"), "exempt");
        let node = User::new("system:node:n", vec![NODES.into()]);
        assert_eq!(level(&node, "coordination.k8s.io", "leases"), "node-high");
        assert_eq!(level(&node, "", "pods"), "system");
        assert_eq!(
            level(&User::service_account("kube-system", "dns", ""), "", "pods"),
            "workload-high"
        );
        assert_eq!(
            level(&User::service_account("ns", "sa", ""), "", "pods"),
            "workload-low"
        );
        assert_eq!(level(&User::new("bob", vec![]), "", "pods"), "global-default");
        let asked = User::anonymous();
        let probe = Attributes {
            user: &asked,
            verb: "get",
            object: Object::Path("/healthz"),
        };
        assert_eq!(flows().place(&probe).unwrap().level, "exempt");
        let other = Attributes {
            object: Object::Path("/api/v1"),
            ..probe
        };
        assert_eq!(flows().place(&other).unwrap().level, "global-default");
    }

    #[test]
    fn users_are_flows_of_their_own() {
        let flow = |name: &str| place(&User::new(name, vec![]), "get", "", "pods", "ns").1;
        assert_eq!(flow("a"), flow("a"));
        assert_ne!(flow("a"), flow("b"));
    }
}
