//! The audit policy: what of which requests is written down.

use serde_json::Value;

use crate::attributes::{Attributes, Object, Resource};
use crate::user::User;

/// How much is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    None,
    /// Who did what when.
    Metadata,
    /// And what was sent.
    Request,
    /// And what was answered.
    RequestResponse,
}

impl Level {
    /// As events name it.
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Level::None, Level::Metadata, Level::Request, Level::RequestResponse]
            .into_iter()
            .find(|level| level.name() == text)
    }
}

/// When something is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before anything is done.
    RequestReceived,
    /// When a long answer begins.
    ResponseStarted,
    /// When the answer is complete.
    ResponseComplete,
}

impl Stage {
    /// As events name it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
        }
    }
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is something else.
    #[error("the audit policy has to be a Policy of audit.k8s.io/v1")]
    Kind,
    /// Without rules nothing would be written.
    #[error("the audit policy has no rules")]
    Empty,
    /// A rule has a level that does not exist.
    #[error("rule {0} of the audit policy has no known level")]
    Level(usize),
}

/// The rules, of which the first that matches decides.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<(Level, Value)>,
    omit_stages: Vec<String>,
    omit_managed_fields: bool,
}

/// What is to be written of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// How much.
    pub level: Level,
    /// Whether field ownership is left out of objects.
    pub omit_managed_fields: bool,
    omit_stages: Vec<String>,
}

impl Ruling {
    /// Whether anything is written at a stage.
    pub fn covers(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omit_stages.iter().any(|omitted| omitted == stage.name())
    }
}

fn texts<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
    let list = rule.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

impl Policy {
    /// Reads an `audit.k8s.io/v1` Policy.
    pub fn from_value(policy: &Value) -> Result<Self, PolicyError> {
        if policy["kind"] != "Policy" || policy["apiVersion"] != "audit.k8s.io/v1" {
            return Err(PolicyError::Kind);
        }
        let rules = policy["rules"]
            .as_array()
            .filter(|rules| !rules.is_empty())
            .ok_or(PolicyError::Empty)?;
        let read = rules.iter().enumerate().map(|(at, rule)| {
            let level = rule["level"]
                .as_str()
                .and_then(Level::parse)
                .ok_or(PolicyError::Level(at))?;
            Ok((level, rule.clone()))
        });
        Ok(Policy {
            rules: read.collect::<Result<_, _>>()?,
            omit_stages: texts(policy, "omitStages").into_iter().map(str::to_owned).collect(),
            omit_managed_fields: policy["omitManagedFields"].as_bool().unwrap_or(false),
        })
    }

    /// What is to be written of a request.
    pub fn rule_on(&self, asked: &Attributes<'_>) -> Ruling {
        let found = self.rules.iter().find(|(_, rule)| matches(rule, asked));
        let mut omit_stages = self.omit_stages.clone();
        let Some((level, rule)) = found else {
            return Ruling {
                level: Level::None,
                omit_managed_fields: true,
                omit_stages,
            };
        };
        omit_stages.extend(texts(rule, "omitStages").into_iter().map(str::to_owned));
        Ruling {
            level: *level,
            omit_managed_fields: rule["omitManagedFields"].as_bool().unwrap_or(self.omit_managed_fields),
            omit_stages,
        }
    }
}

fn matches(rule: &Value, asked: &Attributes<'_>) -> bool {
    let none_or = |list: &[&str], wanted: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|one| wanted(one));
    whom(rule, asked.user)
        && none_or(&texts(rule, "verbs"), &|verb| verb == asked.verb)
        && match asked.object {
            Object::Resource(resource) => {
                let resources = rule
                    .get("resources")
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                let (namespaces, urls) = (texts(rule, "namespaces"), texts(rule, "nonResourceURLs"));
                // A rule about other paths says nothing about resources.
                urls.is_empty()
                    && none_or(&namespaces, &|namespace| namespace == resource.namespace)
                    && (resources.is_empty() || resources.iter().any(|rule| covers(rule, &resource)))
            }
            Object::Path(path) => {
                let about_resources = rule
                    .get("resources")
                    .is_some_and(|it| it.as_array().is_some_and(|it| !it.is_empty()));
                let placed = !texts(rule, "namespaces").is_empty();
                !about_resources
                    && !placed
                    && none_or(&texts(rule, "nonResourceURLs"), &|url| {
                        url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start))
                    })
            }
        }
}

fn whom(rule: &Value, user: &User) -> bool {
    let (users, groups) = (texts(rule, "users"), texts(rule, "userGroups"));
    (users.is_empty() || users.contains(&user.name.as_str()))
        && (groups.is_empty() || groups.iter().any(|group| user.is_in(group)))
}

fn covers(rule: &Value, resource: &Resource<'_>) -> bool {
    if rule["group"].as_str().unwrap_or("") != resource.group {
        return false;
    }
    let (resources, names) = (texts(rule, "resources"), texts(rule, "resourceNames"));
    let named = names.is_empty() || names.contains(&resource.name);
    let full = resource.full();
    named
        && (resources.is_empty()
            || resources.iter().any(|own| match own.split_once('/') {
                _ if *own == "*" || *own == full => true,
                _ if resource.subresource.is_empty() => false,
                Some(("*", subresource)) => subresource == resource.subresource,
                Some((name, "*")) => name == resource.resource,
                _ => false,
            }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn level(policy: &Policy, user: &User, verb: &str, full: &str) -> Level {
        let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
        let resource = Resource {
            resource,
            subresource,
            namespace: "ns",
            name: "x",
            ..Resource::default()
        };
        policy
            .rule_on(&Attributes {
                user,
                verb,
                object: Object::Resource(resource),
            })
            .level
    }

    #[test]
    fn the_first_rule_decides() {
        let policy = Policy::from_value(
            &json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
                {"level": "None", "users": ["system:kube-proxy"], "verbs": ["watch"]},
                {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "pods/*"]}]},
                {"level": "None", "nonResourceURLs": ["/healthz*"]},
                {"level": "RequestResponse", "userGroups": ["dev"], "omitManagedFields": true},
                {"level": "Request"},
            ]}),
        )
        .unwrap();
        let (bob, dev) = (User::new("bob", vec![]), User::new("x", vec!["dev".into()]));
        assert_eq!(
            level(&policy, &User::new("system:kube-proxy", vec![]), "watch", "pods"),
            Level::None
        );
        assert_eq!(level(&policy, &bob, "get", "secrets"), Level::Metadata);
        assert_eq!(level(&policy, &bob, "get", "pods/log"), Level::Metadata);
        assert_eq!(level(&policy, &dev, "get", "pods"), Level::RequestResponse);
        assert_eq!(level(&policy, &bob, "get", "pods"), Level::Request);
        let path = Attributes {
            user: &dev,
            verb: "get",
            object: Object::Path("/healthz/ping"),
        };
        let ruling = policy.rule_on(&path);
        assert_eq!(
            (ruling.level, ruling.covers(Stage::ResponseComplete)),
            (Level::None, false)
        );
        let ruling = policy.rule_on(&Attributes {
            object: Object::Path("/api"),
            ..path
        });
        assert!(
            ruling.covers(Stage::ResponseComplete)
                && !ruling.covers(Stage::RequestReceived)
                && ruling.omit_managed_fields
        );
    }

    #[test]
    fn wrong_policies_are_refused() {
        let read = |rules: Value| {
            Policy::from_value(&json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules})).map(drop)
        };
        assert_eq!(read(json!([])), Err(PolicyError::Empty));
        assert_eq!(
            read(json!([{"level": "Metadata"}, {"level": "All"}])),
            Err(PolicyError::Level(1))
        );
        assert_eq!(
            Policy::from_value(&json!({"kind": "Pod"})).map(drop),
            Err(PolicyError::Kind)
        );
    }
}
