//! The schemas and levels that every cluster has.

use serde_json::{Value, json};

use super::GROUP;

/// Annotation of objects that the API server may change.
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// An object that every cluster has.
#[derive(Debug, Clone, PartialEq)]
pub struct Default {
    /// The object.
    pub object: Value,
    /// Whether the cluster cannot do without it.
    pub mandatory: bool,
}

impl Default {
    /// Its name.
    pub fn name(&self) -> &str {
        self.object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// Whether it is a FlowSchema, and not a PriorityLevelConfiguration.
    pub fn is_schema(&self) -> bool {
        self.object["kind"] == "FlowSchema"
    }

    /// What is to be written over a present object, or `None` if that is as wanted or somebody's own.
    pub fn correct(&self, present: &Value) -> Option<Value> {
        let key = AUTOUPDATE.replace('/', "~1");
        let own = present
            .pointer(&format!("/metadata/annotations/{key}"))
            .is_some_and(|value| value == "false");
        if (own && !self.mandatory) || agrees(&self.object["spec"], &present["spec"]) {
            return None;
        }
        let mut next = present.clone();
        next["spec"] = self.object["spec"].clone();
        Some(next)
    }
}

/// Whether what is wanted is there; defaults that were filled in do not matter.
fn agrees(wanted: &Value, present: &Value) -> bool {
    match (wanted, present) {
        (Value::Object(wanted), Value::Object(present)) => wanted
            .iter()
            .all(|(key, value)| present.get(key).is_some_and(|own| agrees(value, own))),
        (Value::Array(wanted), Value::Array(present)) => {
            wanted.len() == present.len() && wanted.iter().zip(present).all(|(a, b)| agrees(a, b))
        }
        (wanted, present) => wanted == present,
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let annotations = json!({AUTOUPDATE: "true"});
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {"name": name, "annotations": annotations}, "spec": spec,
    })
}

/// Queues, their length, and a flow's hand.
type Queuing = (u32, u32, u32);

/// Name, shares, percent that others may use, and queuing.
const LEVELS: [(&str, u32, u32, Queuing); 6] = [
    ("system", 30, 33, (64, 50, 6)),
    ("node-high", 40, 25, (64, 50, 6)),
    ("leader-election", 10, 0, (16, 50, 4)),
    ("workload-high", 40, 50, (128, 50, 6)),
    ("workload-low", 100, 90, (128, 50, 6)),
    ("global-default", 20, 50, (128, 50, 6)),
];

fn level(name: &str, shares: u32, lendable: u32, response: Value) -> Value {
    let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    object(
        "PriorityLevelConfiguration",
        name,
        json!({"type": "Limited", "limited": limited}),
    )
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}})
}

fn resources(verbs: &[&str], groups: &[&str], resources: &[&str], namespaces: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    if !namespaces.is_empty() {
        rule["namespaces"] = namespaces.into();
    }
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn everything(subjects: Vec<Value>) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resources(&["*"], &["*"], &["*"], &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn schema(name: &str, precedence: i64, level: &str, by: &str, rules: Vec<Value>) -> Value {
    let mut spec = json!({
        "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": rules,
    });
    if !by.is_empty() {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    object("FlowSchema", name, spec)
}

/// All of them; levels first.
pub fn defaults() -> Vec<Default> {
    let everybody = || vec![group("system:unauthenticated"), group("system:authenticated")];
    let manager = "system:kube-controller-manager";
    let scheduler = "system:kube-scheduler";
    let leases = |subjects: Vec<Value>| {
        let all = resources(
            &["get", "create", "update"],
            &["coordination.k8s.io"],
            &["leases"],
            &["*"],
            false,
        );
        json!({"subjects": subjects, "resourceRules": [all]})
    };
    let exempt = object("PriorityLevelConfiguration", "exempt", json!({"type": "Exempt"}));
    let rest = level("catch-all", 5, 0, json!({"type": "Reject"}));
    let mandatory = [
        exempt,
        rest,
        schema(
            "exempt",
            1,
            "exempt",
            "",
            vec![everything(vec![group("system:masters")])],
        ),
        schema(
            "catch-all",
            10_000,
            "catch-all",
            "ByUser",
            vec![everything(everybody())],
        ),
    ];
    let levels = LEVELS.iter().map(|(name, shares, lendable, (queues, length, hand))| {
        let queuing = json!({"queues": queues, "queueLengthLimit": length, "handSize": hand});
        level(name, *shares, *lendable, json!({"type": "Queue", "queuing": queuing}))
    });
    let health = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]});
    let nodes = vec![group("system:nodes")];
    let schemas = [
        schema(
            "probes",
            2,
            "exempt",
            "",
            vec![json!({"subjects": everybody(), "nonResourceRules": [health]})],
        ),
        schema(
            "system-leader-election",
            100,
            "leader-election",
            "ByUser",
            vec![leases(vec![user(manager), user(scheduler)])],
        ),
        schema(
            "endpoint-controller",
            150,
            "workload-high",
            "ByUser",
            vec![json!({
                "subjects": [user(manager), account("kube-system", "endpoint-controller"), account("kube-system", "endpointslicemirroring-controller")],
                "resourceRules": [resources(&["get", "create", "update"], &[""], &["endpoints"], &["*"], false)],
            })],
        ),
        schema(
            "workload-leader-election",
            200,
            "leader-election",
            "ByUser",
            vec![leases(vec![account("kube-system", "*")])],
        ),
        schema(
            "system-node-high",
            400,
            "node-high",
            "ByUser",
            vec![json!({
                "subjects": nodes.clone(),
                "resourceRules": [
                    resources(&["*"], &[""], &["nodes", "nodes/status"], &["*"], true),
                    resources(&["*"], &["coordination.k8s.io"], &["leases"], &["*"], false),
                ],
            })],
        ),
        schema("system-nodes", 500, "system", "ByUser", vec![everything(nodes)]),
        schema(
            "kube-controller-manager",
            800,
            "workload-high",
            "ByNamespace",
            vec![everything(vec![user(manager)])],
        ),
        schema(
            "kube-scheduler",
            800,
            "workload-high",
            "ByNamespace",
            vec![everything(vec![user(scheduler)])],
        ),
        schema(
            "kube-system-service-accounts",
            900,
            "workload-high",
            "ByNamespace",
            vec![everything(vec![account("kube-system", "*")])],
        ),
        schema(
            "service-accounts",
            9000,
            "workload-low",
            "ByUser",
            vec![everything(vec![group("system:serviceaccounts")])],
        ),
        schema(
            "global-default",
            9900,
            "global-default",
            "ByUser",
            vec![everything(everybody())],
        ),
    ];
    let of = |mandatory: bool| move |object| Default { object, mandatory };
    let mut all: Vec<Default> = mandatory.into_iter().map(of(true)).collect();
    all.extend(levels.chain(schemas).map(of(false)));
    all.sort_by_key(Default::is_schema);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_names_a_level() {
        let all = defaults();
        for schema in all.iter().filter(|one| one.is_schema()) {
            let level = schema.object["spec"]["priorityLevelConfiguration"]["name"]
                .as_str()
                .unwrap();
            assert!(all.iter().any(|one| !one.is_schema() && one.name() == level), "{level}");
        }
        assert_eq!(all.iter().filter(|one| one.is_schema()).count(), 13);
    }

    #[test]
    fn what_somebody_made_their_own_stays() {
        let all = defaults();
        let default = all.iter().find(|one| one.name() == "service-accounts").unwrap();
        assert_eq!(default.correct(&default.object), None);
        let mut present = default.object.clone();
        present["spec"]["matchingPrecedence"] = json!(7);
        assert!(default.correct(&present).is_some());
        present["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(default.correct(&present), None);
        let mandatory = all
            .iter()
            .find(|one| one.name() == "catch-all" && one.is_schema())
            .unwrap();
        let mut present = mandatory.object.clone();
        present["spec"]["matchingPrecedence"] = json!(7);
        present["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert!(mandatory.correct(&present).is_some());
    }
}
