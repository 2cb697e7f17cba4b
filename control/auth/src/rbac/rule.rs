//! One rule of a role.

use serde_json::{Value, json};

use crate::attributes::{Attributes, Object, Resource};

type Texts = Box<[Box<str>]>;

/// A rule: verbs on resources of groups, perhaps only those of some names, or verbs on paths that are no resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs, `*` for all.
    pub verbs: Texts,
    /// Groups, `*` for all.
    pub groups: Texts,
    /// Resources, `pods/log` for a subresource, `*/scale` for that of any resource, `*` for all.
    pub resources: Texts,
    /// Names; none is any.
    pub names: Texts,
    /// Paths; a `*` at the end is any rest.
    pub urls: Texts,
}

/// Texts of an array of JSON.
fn texts(value: &Value, key: &str) -> Texts {
    let list = value.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(Into::into).collect()
}

fn has(list: &[Box<str>], wanted: &str) -> bool {
    list.iter().any(|own| &**own == wanted)
}

fn has_or_all(list: &[Box<str>], wanted: &str) -> bool {
    list.iter().any(|own| &**own == wanted || &**own == "*")
}

impl Rule {
    /// Reads a `rbac.authorization.k8s.io/v1` PolicyRule.
    pub fn from_value(rule: &Value) -> Self {
        Rule {
            verbs: texts(rule, "verbs"),
            groups: texts(rule, "apiGroups"),
            resources: texts(rule, "resources"),
            names: texts(rule, "resourceNames"),
            urls: texts(rule, "nonResourceURLs"),
        }
    }

    /// Reads the `rules` of a role.
    pub fn of_role(role: &Value) -> Vec<Self> {
        let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
        rules.map(Self::from_value).collect()
    }

    /// As a PolicyRule.
    pub fn to_value(&self) -> Value {
        let mut rule = json!({});
        for (key, list) in [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ] {
            if !list.is_empty() || key == "verbs" {
                rule[key] = list.iter().map(|text| Value::from(&**text)).collect();
            }
        }
        rule
    }

    /// Whether it allows the request.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        has_or_all(&self.verbs, asked.verb)
            && match asked.object {
                Object::Path(path) => self.urls.iter().any(|url| covers_url(url, path)),
                Object::Resource(resource) => self.applies(&resource),
            }
    }

    fn applies(&self, asked: &Resource<'_>) -> bool {
        has_or_all(&self.groups, asked.group)
            && self
                .resources
                .iter()
                .any(|own| covers_resource(own, asked.resource, asked.subresource))
            && (self.names.is_empty() || has(&self.names, asked.name))
    }

    /// The rule as many rules of one verb and one resource or path each.
    pub fn break_down(&self) -> Vec<Rule> {
        let one = |text: &str| -> Texts { [text.into()].into() };
        let names: Vec<Texts> = if self.names.is_empty() {
            vec![Texts::default()]
        } else {
            self.names.iter().map(|name| one(name)).collect()
        };
        let mut rules = Vec::new();
        for verb in &self.verbs {
            for group in &self.groups {
                for resource in &self.resources {
                    rules.extend(names.iter().map(|names| Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        names: names.clone(),
                        urls: Texts::default(),
                    }));
                }
            }
            rules.extend(self.urls.iter().map(|url| Rule {
                verbs: one(verb),
                urls: one(url),
                ..Rule::default()
            }));
        }
        rules
    }

    /// Whether whoever has this rule has everything of another, broken down one.
    pub fn covers(&self, other: &Rule) -> bool {
        let all = |list: &[Box<str>], wanted: &[Box<str>]| wanted.iter().all(|text| has_or_all(list, text));
        all(&self.verbs, &other.verbs)
            && all(&self.groups, &other.groups)
            && other.resources.iter().all(|wanted| {
                let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
                self.resources
                    .iter()
                    .any(|own| covers_resource(own, resource, subresource))
            })
            && (self.names.is_empty()
                || (!other.names.is_empty() && other.names.iter().all(|name| has(&self.names, name))))
            && other
                .urls
                .iter()
                .all(|wanted| self.urls.iter().any(|own| covers_url(own, wanted)))
    }
}

fn covers_resource(own: &str, resource: &str, subresource: &str) -> bool {
    if own == "*" {
        return true;
    }
    match own.split_once('/') {
        None => subresource.is_empty() && own == resource,
        Some((first, second)) => {
            !subresource.is_empty() && second == subresource && (first == resource || first == "*")
        }
    }
}

fn covers_url(own: &str, wanted: &str) -> bool {
    own == wanted || own == "*" || own.strip_suffix('*').is_some_and(|prefix| wanted.starts_with(prefix))
}

/// The rules of `wanted` that nobody who has `held` has, each broken down.
pub fn uncovered<'a>(held: impl Iterator<Item = &'a Rule> + Clone, wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(Rule::break_down);
    parts
        .filter(|part| !held.clone().any(|rule| rule.covers(part)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::User;

    fn rule(value: Value) -> Rule {
        Rule::from_value(&value)
    }

    fn allows(rule: &Rule, verb: &str, group: &str, full: &str, name: &str) -> bool {
        let user = User::default();
        let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
        let resource = Resource {
            group,
            resource,
            subresource,
            name,
            ..Resource::default()
        };
        rule.allows(&Attributes {
            user: &user,
            verb,
            object: Object::Resource(resource),
        })
    }

    #[test]
    fn rules_match_verbs_groups_resources_and_names() {
        let reader = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]}));
        assert!(allows(&reader, "get", "", "pods", "x") && allows(&reader, "get", "", "pods/log", "x"));
        assert!(!allows(&reader, "list", "", "pods", "") && !allows(&reader, "get", "apps", "pods", ""));
        assert!(!allows(&reader, "get", "", "pods/exec", ""));
        let scaler = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale"]}));
        assert!(allows(&scaler, "update", "apps", "deployments/scale", "x"));
        assert!(!allows(&scaler, "update", "apps", "deployments", "x"));
        let named = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*"], "resourceNames": ["a"]}));
        assert!(allows(&named, "get", "", "pods/log", "a") && !allows(&named, "get", "", "pods", "b"));
        assert!(!allows(&named, "get", "", "pods", ""));
    }

    #[test]
    fn paths_match_whole_or_by_prefix() {
        let rule = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}));
        let user = User::default();
        let may = |path| {
            rule.allows(&Attributes {
                user: &user,
                verb: "get",
                object: Object::Path(path),
            })
        };
        assert!(may("/healthz") && may("/api/v1") && !may("/api") && !may("/healthz/x"));
        assert!(!allows(&rule, "get", "", "pods", ""));
    }

    #[test]
    fn only_what_is_held_is_covered() {
        let held = [
            rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]})),
            rule(json!({"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*"]})),
            rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]})),
            rule(json!({"verbs": ["get"], "nonResourceURLs": ["/x/*"]})),
        ];
        let missing = |value| uncovered(held.iter(), &[rule(value)]).len();
        assert_eq!(
            missing(json!({"verbs": ["get"], "apiGroups": ["", "apps"], "resources": ["pods"]})),
            0
        );
        assert_eq!(
            missing(json!({"verbs": ["get", "watch"], "apiGroups": [""], "resources": ["pods"]})),
            1
        );
        assert_eq!(
            missing(json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]})),
            1
        );
        assert_eq!(
            missing(json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["a/status"]})),
            0
        );
        let secret =
            |names| json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": names});
        assert_eq!(missing(secret(json!(["a"]))), 0);
        assert_eq!(missing(secret(json!(["a", "b"]))), 1);
        assert_eq!(missing(secret(json!([]))), 1);
        assert_eq!(missing(json!({"verbs": ["get"], "nonResourceURLs": ["/x/y", "/y"]})), 1);
    }
}
