//! The roles and bindings that every cluster has, from the table beside this file, and how present ones are brought up
//! to it without taking away what somebody added.

use serde_json::{Map, Value, json};

use super::policy::Source;
use super::rule::{Rule, uncovered};
use super::{GROUP, aggregate};

const TABLE: &str = include_str!("defaults.txt");
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// An object that every cluster has.
#[derive(Debug, Clone, PartialEq)]
pub struct Default {
    /// What it is.
    pub source: Source,
    /// Where it is; empty for the cluster.
    pub namespace: &'static str,
    /// The object.
    pub object: Value,
}

impl Default {
    /// Its name.
    pub fn name(&self) -> &str {
        self.object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// What is to be written so that `present` has all that this object has, or `None` if it has. A present object
    /// whose annotation `autoupdate` is `false` is left alone.
    pub fn reconcile(&self, present: &Value) -> Option<Value> {
        let key = AUTOUPDATE.replace('~', "~0").replace('/', "~1");
        let protected = present.pointer(&format!("/metadata/annotations/{key}"));
        if protected.is_some_and(|value| value == "false") {
            return None;
        }
        let mut next = present.clone();
        for part in ["labels", "annotations"] {
            let (Some(wanted), Some(metadata)) = (
                self.object["metadata"][part].as_object(),
                next.get_mut("metadata").and_then(Value::as_object_mut),
            ) else {
                continue;
            };
            let slot = metadata.entry(part).or_insert(Value::Null);
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Some(map) = slot.as_object_mut() {
                for (key, value) in wanted {
                    map.entry(key).or_insert_with(|| value.clone());
                }
            }
        }
        match self.source {
            Source::ClusterRole | Source::Role => self.reconcile_rules(&mut next),
            Source::ClusterRoleBinding | Source::RoleBinding => self.reconcile_subjects(&mut next),
        }
        (next != *present).then_some(next)
    }

    /// Whether a present binding is to another role, which cannot be changed: it has to be made anew.
    pub fn replaces(&self, present: &Value) -> bool {
        let role = |object: &Value| (object["roleRef"]["kind"].clone(), object["roleRef"]["name"].clone());
        matches!(self.source, Source::ClusterRoleBinding | Source::RoleBinding) && role(&self.object) != role(present)
    }

    fn reconcile_rules(&self, next: &mut Value) {
        let wanted = &self.object["aggregationRule"]["clusterRoleSelectors"];
        if let Some(wanted) = wanted.as_array() {
            // The rules of these are somebody else's work.
            extend(next, "/aggregationRule/clusterRoleSelectors", wanted);
            if next.get("aggregationRule").is_none_or(Value::is_null) {
                next["aggregationRule"] = self.object["aggregationRule"].clone();
            }
            return;
        }
        let present = Rule::of_role(next);
        let missing = uncovered(present.iter(), &Rule::of_role(&self.object));
        if missing.is_empty() {
            return;
        }
        if !next["rules"].is_array() {
            next["rules"] = json!([]);
        }
        if let Some(rules) = next["rules"].as_array_mut() {
            rules.extend(missing.iter().map(Rule::to_value));
        }
    }

    fn reconcile_subjects(&self, next: &mut Value) {
        let Some(wanted) = self.object["subjects"].as_array() else {
            return;
        };
        if next["subjects"].is_array() {
            extend(next, "/subjects", wanted);
        } else {
            next["subjects"] = self.object["subjects"].clone();
        }
    }
}

fn extend(object: &mut Value, pointer: &str, wanted: &[Value]) {
    if let Some(list) = object.pointer_mut(pointer).and_then(Value::as_array_mut) {
        for item in wanted {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
    }
}

/// All of them. Aggregated roles have the rules that follow from the others.
pub fn defaults() -> Vec<Default> {
    let mut reader = Reader::default();
    for line in TABLE
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        reader.line(line);
    }
    let mut all = reader.all;
    // Aggregated roles may be part of others, so that it takes as many rounds as there are steps.
    loop {
        let roles: Vec<Value> = all
            .iter()
            .filter(|one| one.source == Source::ClusterRole)
            .map(|one| one.object.clone())
            .collect();
        let mut changed = false;
        for one in all.iter_mut().filter(|one| one.source == Source::ClusterRole) {
            if let Some(rules) = aggregate::aggregated(&one.object, roles.iter()) {
                let rules = Value::Array(rules);
                changed |= one.object["rules"] != rules;
                one.object["rules"] = rules;
            }
        }
        if !changed {
            return all;
        }
    }
}

#[derive(Default)]
struct Reader {
    namespace: &'static str,
    all: Vec<Default>,
}

impl Reader {
    fn line(&mut self, line: &'static str) {
        let mut words = line.split(' ');
        let first = words.next().unwrap_or("");
        match first {
            "in" => self.namespace = words.next().filter(|word| *word != "cluster").unwrap_or(""),
            "role" | "aggregate" => {
                let name = words.next().unwrap_or("");
                let object = self.push_role(name);
                for label in words.filter_map(|word| word.strip_prefix('+')) {
                    object["metadata"]["labels"][aggregate_to(label)] = "true".into();
                }
                if first == "aggregate" {
                    let labels = Map::from_iter([(aggregate_to(name), "true".into())]);
                    object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
                }
            }
            "controller" => {
                let name = words.next().unwrap_or("");
                let role = format!("system:controller:{name}");
                self.push_binding(&role, &role, &[&format!("sa:kube-system:{name}")]);
                self.push_role(&role);
            }
            "bind" => {
                let name = words.next().unwrap_or("");
                let mut subjects: Vec<&str> = words.collect();
                let role = if subjects.first() == Some(&"to") {
                    subjects.remove(0);
                    subjects.remove(0)
                } else {
                    name
                };
                self.push_binding(name, role, &subjects);
            }
            _ => {
                let rule = rule(line);
                if let Some(rules) = self.all.last_mut().and_then(|last| last.object["rules"].as_array_mut()) {
                    rules.push(rule);
                }
            }
        }
    }

    fn push_role(&mut self, name: &str) -> &mut Value {
        let (source, kind) = match self.namespace {
            "" => (Source::ClusterRole, "ClusterRole"),
            _ => (Source::Role, "Role"),
        };
        let object = self.object(kind, name);
        self.push(source, object)["rules"] = json!([]);
        &mut self.all.last_mut().expect("one was just pushed").object
    }

    fn push_binding(&mut self, name: &str, role: &str, subjects: &[&str]) {
        let (source, kind, role_kind) = match self.namespace {
            "" => (Source::ClusterRoleBinding, "ClusterRoleBinding", "ClusterRole"),
            _ => (Source::RoleBinding, "RoleBinding", "Role"),
        };
        let object = self.object(kind, name);
        let object = self.push(source, object);
        object["roleRef"] = json!({"apiGroup": GROUP, "kind": role_kind, "name": role});
        let subjects: Vec<Value> = subjects.iter().map(|word| subject(word)).collect();
        if !subjects.is_empty() {
            object["subjects"] = subjects.into();
        }
    }

    fn object(&self, kind: &str, name: &str) -> Value {
        let labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
        let annotations = json!({AUTOUPDATE: "true"});
        let mut metadata = json!({"name": name, "labels": labels, "annotations": annotations});
        if !self.namespace.is_empty() {
            metadata["namespace"] = self.namespace.into();
        }
        json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata})
    }

    fn push(&mut self, source: Source, object: Value) -> &mut Value {
        self.all.push(Default {
            source,
            namespace: self.namespace,
            object,
        });
        &mut self.all.last_mut().expect("one was just pushed").object
    }
}

fn aggregate_to(name: &str) -> String {
    format!("{GROUP}/aggregate-to-{name}")
}

fn subject(word: &str) -> Value {
    let (kind, name) = word.split_once(':').unwrap_or(("", word));
    match kind {
        "group" => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
        "user" => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
        _ => {
            let (namespace, name) = name.split_once(':').unwrap_or(("", name));
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
    }
}

fn rule(line: &str) -> Value {
    let line = if line == "events" {
        "create,patch,update core,events.k8s.io events"
    } else {
        line
    };
    let words: Vec<&str> = line.split(' ').collect();
    let list = |at: usize| words.get(at).into_iter().flat_map(|word| word.split(','));
    let mut verbs: Vec<&str> = Vec::new();
    for word in list(0) {
        match word {
            "read" => verbs.extend(["get", "list", "watch"]),
            "write" => verbs.extend(["create", "delete", "deletecollection", "patch", "update"]),
            verb => verbs.push(verb),
        }
    }
    verbs.sort_unstable();
    if words.get(1) == Some(&"url") {
        return json!({"verbs": verbs, "nonResourceURLs": list(2).collect::<Vec<_>>()});
    }
    let groups: Vec<&str> = list(1).map(|group| if group == "core" { "" } else { group }).collect();
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": list(2).collect::<Vec<_>>()});
    if words.len() > 3 {
        rule["resourceNames"] = list(3).collect();
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::{Attributes, Object, Resource};
    use crate::rbac::Policy;
    use crate::user::User;

    fn find(source: Source, name: &str) -> Default {
        let mut all = defaults().into_iter();
        all.find(|one| one.source == source && one.name() == name).unwrap()
    }

    #[test]
    fn the_table_is_whole() {
        let all = defaults();
        for one in &all {
            let rules = one.object["rules"].as_array();
            assert!(
                rules.is_none_or(|rules| !rules.is_empty()),
                "{} has no rules",
                one.name()
            );
            for rule in rules.into_iter().flatten() {
                let has = |key: &str| rule[key].as_array().is_some_and(|list| !list.is_empty());
                assert!(
                    has("verbs") && (has("nonResourceURLs") || (has("resources") && has("apiGroups"))),
                    "{rule}"
                );
            }
            let same = |other: &&Default| {
                (other.source, other.namespace, other.name()) == (one.source, one.namespace, one.name())
            };
            assert_eq!(all.iter().filter(same).count(), 1, "{}", one.name());
            if let Some(role) = one.object["roleRef"]["name"].as_str() {
                let of = |other: &Default| {
                    other.namespace == one.namespace && other.name() == role && other.object["rules"].is_array()
                };
                assert!(all.iter().any(of), "{role} is bound but not there");
            }
        }
        assert!(all.len() > 120, "{}", all.len());
    }

    #[test]
    fn the_roles_for_people_build_on_each_other() {
        let mut policy = Policy::default();
        for one in defaults() {
            policy.set(one.source, one.namespace, one.name(), Some(&one.object));
        }
        for role in ["view", "edit", "admin"] {
            let binding =
                json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": role}]});
            policy.set(Source::RoleBinding, "ns", role, Some(&binding));
        }
        let may = |user: &str, verb: &str, group: &str, resource: &str| {
            let user = User::new(user, vec![]);
            let resource = Resource {
                group,
                resource,
                namespace: "ns",
                ..Resource::default()
            };
            policy.allows(&Attributes {
                user: &user,
                verb,
                object: Object::Resource(resource),
            })
        };
        assert!(
            may("view", "list", "", "pods") && !may("view", "get", "", "secrets") && !may("view", "create", "", "pods")
        );
        assert!(may("edit", "get", "", "secrets") && may("edit", "create", "apps", "deployments"));
        assert!(!may("edit", "create", GROUP, "roles") && may("admin", "create", GROUP, "roles"));
        assert!(may("admin", "delete", "batch", "jobs") && !may("admin", "create", "", "resourcequotas"));
    }

    #[test]
    fn present_objects_get_what_is_missing_and_keep_the_rest() {
        let wanted = find(Source::ClusterRole, "system:node-proxier");
        assert_eq!(wanted.reconcile(&wanted.object), None);
        let mut present = wanted.object.clone();
        present["rules"] = json!([{"verbs": ["*"], "apiGroups": ["x"], "resources": ["own"]}]);
        let next = wanted.reconcile(&present).unwrap();
        assert_eq!(next["rules"][0], present["rules"][0]);
        assert_eq!(
            uncovered(Rule::of_role(&next).iter(), &Rule::of_role(&wanted.object)),
            []
        );
        present["metadata"]["annotations"] = json!({AUTOUPDATE: "false"});
        assert_eq!(wanted.reconcile(&present), None);

        let binding = find(Source::ClusterRoleBinding, "cluster-admin");
        let mut present = binding.object.clone();
        present["subjects"] = json!([{"kind": "User", "apiGroup": GROUP, "name": "own"}]);
        assert_eq!(
            binding.reconcile(&present).unwrap()["subjects"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        present["roleRef"]["name"] = json!("view");
        assert!(binding.replaces(&present) && !binding.replaces(&binding.object));
    }
}
