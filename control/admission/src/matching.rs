//! Which requests a webhook or a policy is for: rules, and selectors of namespaces and objects.

use barepod_kinds::value::{list_at, strings, text};
use barepod_schema::selector::LabelSelector;
use serde_json::Value;

/// A request as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub operation: &'a str,
    /// The group.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The plural name.
    pub resource: &'a str,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The name; empty if it is not known yet.
    pub name: &'a str,
}

impl Asked<'_> {
    /// Whether it is about configurations of admission itself, which nobody may lock himself out of.
    pub fn is_exempt(&self) -> bool {
        self.group == "admissionregistration.k8s.io"
            && matches!(
                self.resource,
                "validatingwebhookconfigurations"
                    | "mutatingwebhookconfigurations"
                    | "validatingadmissionpolicies"
                    | "validatingadmissionpolicybindings"
                    | "mutatingadmissionpolicies"
                    | "mutatingadmissionpolicybindings"
            )
    }
}

/// One rule with its operations.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

fn any(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

impl Rule {
    fn from_value(rule: &Value) -> Self {
        let list = |key: &str| strings(rule, &[key]).map(str::to_owned).collect();
        Rule {
            operations: list("operations"),
            groups: list("apiGroups"),
            versions: list("apiVersions"),
            resources: list("resources"),
            names: list("resourceNames"),
            scope: text(rule, "scope").to_owned(),
        }
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        // A Namespace is in itself, but no namespaced object.
        let namespaced = !asked.namespace.is_empty() && (!asked.group.is_empty() || asked.resource != "namespaces");
        let scope = match self.scope.as_str() {
            "Namespaced" => namespaced,
            "Cluster" => !namespaced,
            _ => true,
        };
        scope
            && any(&self.operations, asked.operation)
            && any(&self.groups, asked.group)
            && any(&self.versions, asked.version)
            && (self.names.is_empty() || self.names.iter().any(|name| name == asked.name))
            && self.resources.iter().any(|own| {
                let (resource, subresource) = own.split_once('/').unwrap_or((own, ""));
                (resource == "*" || resource == asked.resource)
                    && (subresource == "*" || subresource == asked.subresource)
            })
    }
}

/// What a webhook or a policy is for.
#[derive(Debug, Clone)]
pub struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    equivalent: bool,
    /// `None` if it cannot be read, which matches nothing.
    namespaces: Option<LabelSelector>,
    objects: Option<LabelSelector>,
}

impl Matching {
    /// Reads the fields of a webhook.
    pub fn of_webhook(webhook: &Value) -> Self {
        Self::read(webhook, "rules", "")
    }

    /// Reads `matchConstraints` or `matchResources` of a policy or a binding. Without rules, a binding's matches all.
    pub fn of_policy(resources: &Value) -> Self {
        Self::read(resources, "resourceRules", "excludeResourceRules")
    }

    fn read(holder: &Value, included: &str, excluded: &str) -> Self {
        let rules = |key: &str| list_at(holder, &[key]).iter().map(Rule::from_value).collect();
        let selector = |key: &str| match holder.get(key).filter(|selector| !selector.is_null()) {
            Some(selector) => LabelSelector::from_value(selector).ok(),
            None => Some(LabelSelector::default()),
        };
        Matching {
            rules: rules(included),
            excluded: rules(excluded),
            equivalent: text(holder, "matchPolicy") != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// Whether requests for other versions of the same objects count too.
    pub fn is_equivalent(&self) -> bool {
        self.equivalent
    }

    /// Whether there is any rule. What a binding matches without one is up to its policy.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether a rule matches, and none of the exceptions.
    pub fn rules_match(&self, asked: &Asked<'_>) -> bool {
        !self.excludes(asked) && self.rules.iter().any(|rule| rule.matches(asked))
    }

    /// Whether one of the exceptions matches.
    pub fn excludes(&self, asked: &Asked<'_>) -> bool {
        self.excluded.iter().any(|rule| rule.matches(asked))
    }

    /// Whether the selectors match. `namespace` is the object that the request is in, `None` for requests that are in
    /// none, which every selector matches.
    pub fn selects(&self, namespace: Option<&Value>, object: &Value, old: Option<&Value>) -> bool {
        let (Some(namespaces), Some(objects)) = (&self.namespaces, &self.objects) else {
            return false;
        };
        let placed = namespaces.is_empty() || namespace.is_none_or(|namespace| namespaces.matches_object(namespace));
        // What has no labels at all, as options of a connection, is in no selection.
        let labelled = |object: &Value| object.get("metadata").is_some() && objects.matches_object(object);
        placed && (objects.is_empty() || labelled(object) || old.is_some_and(labelled))
    }

    /// Whether [`Matching::selects`] needs to see the namespace.
    pub fn asks_namespace(&self) -> bool {
        self.namespaces.as_ref().is_some_and(|selector| !selector.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked<'a>(operation: &'a str, group: &'a str, full: &'a str, namespace: &'a str) -> Asked<'a> {
        let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
        Asked {
            operation,
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name: "x",
        }
    }

    #[test]
    fn rules_name_operations_resources_and_scope() {
        let rule = |resources: Value, scope: &str| {
            Matching::of_webhook(
                &json!({"rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["", "apps"],
                "apiVersions": ["v1"], "resources": resources, "scope": scope}]}),
            )
        };
        let pods = rule(json!(["pods", "pods/status", "*/scale"]), "*");
        assert!(pods.rules_match(&asked("CREATE", "", "pods", "a")));
        assert!(pods.rules_match(&asked("UPDATE", "", "pods/status", "a")));
        assert!(pods.rules_match(&asked("UPDATE", "apps", "deployments/scale", "a")));
        assert!(!pods.rules_match(&asked("DELETE", "", "pods", "a")));
        assert!(!pods.rules_match(&asked("CREATE", "batch", "pods", "a")));
        assert!(!pods.rules_match(&asked("CREATE", "", "pods/binding", "a")));
        let all = rule(json!(["*"]), "Cluster");
        assert!(all.rules_match(&asked("CREATE", "", "namespaces", "a")));
        assert!(!all.rules_match(&asked("CREATE", "", "pods", "a")));
        assert!(!all.rules_match(&asked("UPDATE", "", "nodes/status", "")));
        assert!(rule(json!(["*/*"]), "Namespaced").rules_match(&asked("UPDATE", "", "pods/status", "a")));
    }

    #[test]
    fn policies_have_exceptions_and_names() {
        let rule = |resources: Value, names: Value| {
            json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources,
                "resourceNames": names})
        };
        let matching = Matching::of_policy(&json!({"matchPolicy": "Exact",
            "resourceRules": [rule(json!(["*"]), json!([]))], "excludeResourceRules": [rule(json!(["pods"]), json!(["x"]))]}));
        assert!(!matching.is_equivalent() && matching.has_rules());
        assert!(!matching.rules_match(&asked("CREATE", "", "pods", "a")));
        let other = Asked {
            name: "y",
            ..asked("CREATE", "", "pods", "a")
        };
        assert!(matching.rules_match(&other));
    }

    #[test]
    fn selectors_see_either_state() {
        let matching = Matching::of_webhook(&json!({"namespaceSelector": {"matchLabels": {"n": "1"}},
            "objectSelector": {"matchLabels": {"o": "1"}}}));
        let with = |key: &str, value: &str| json!({"metadata": {"labels": {key: value}}});
        let (in_it, out, yes, no) = (with("n", "1"), with("n", "2"), with("o", "1"), with("o", "2"));
        assert!(matching.selects(Some(&in_it), &yes, None) && matching.selects(None, &yes, None));
        assert!(!matching.selects(Some(&out), &yes, None));
        assert!(!matching.selects(Some(&in_it), &no, None));
        assert!(matching.selects(Some(&in_it), &no, Some(&yes)));
        assert!(!matching.selects(Some(&in_it), &json!({"stdin": true}), None));
        let broken =
            Matching::of_webhook(&json!({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}));
        assert!(!broken.selects(None, &yes, None));
    }
}
