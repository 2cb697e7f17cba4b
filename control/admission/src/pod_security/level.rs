//! Levels and versions, as labels of namespaces name them.

use std::fmt;

use barepod_kinds::{Invalid, Kind};
use serde_json::{Map, Value};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is asked of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Privileged,
    /// No known way to more privileges.
    Baseline,
    /// What is known to be good practice.
    Restricted,
}

impl Level {
    /// By name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "privileged" => Level::Privileged,
            "baseline" => Level::Baseline,
            "restricted" => Level::Restricted,
            _ => return None,
        })
    }
}

/// A level as some minor version of Kubernetes had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The level.
    pub level: Level,
    /// The minor version; `None` is the latest.
    pub version: Option<u32>,
}

impl Policy {
    /// The minor version, for comparisons.
    pub fn minor(self) -> u32 {
        self.version.unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })?;
        match self.version {
            Some(minor) => write!(f, ":v1.{minor}"),
            None => f.write_str(":latest"),
        }
    }
}

fn version(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let minor = text.strip_prefix("v1.")?;
    let digits = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
    digits.then(|| minor.parse().ok().map(Some)).flatten()
}

/// What a namespace asks of its pods. Levels that ask nothing are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policies {
    /// Others are refused.
    pub enforce: Option<Policy>,
    /// Others are noted.
    pub audit: Option<Policy>,
    /// Others are warned of.
    pub warn: Option<Policy>,
}

impl Policies {
    /// Reads labels; `None` if they ask nothing. What cannot be read asks the most.
    pub fn of_labels(labels: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| labels.get(&format!("{PREFIX}{name}")).and_then(Value::as_str);
        let read = |name: &str| {
            let level = text(name)?;
            let level = Level::parse(level).unwrap_or(Level::Restricted);
            let version = text(&format!("{name}-version")).and_then(version).flatten();
            (level != Level::Privileged).then_some(Policy { level, version })
        };
        if !labels.keys().any(|key| key.starts_with(PREFIX)) {
            return None;
        }
        let policies = Policies {
            enforce: read("enforce"),
            audit: read("audit"),
            warn: read("warn"),
        };
        (policies != Policies::default()).then_some(policies)
    }
}

/// What is wrong with the labels of a namespace.
pub fn label_errors(labels: &Map<String, Value>) -> Vec<Invalid> {
    let mut errors = Vec::new();
    for name in ["enforce", "audit", "warn"] {
        let mut check = |key: String, good: &dyn Fn(&str) -> bool, detail: &str| {
            if let Some(text) = labels.get(&key).and_then(Value::as_str)
                && !good(text)
            {
                errors.push(Invalid {
                    field: format!("metadata.labels[{key}]"),
                    kind: Kind::Invalid,
                    value: text.into(),
                    detail: detail.into(),
                });
            }
        };
        let levels = "must be one of privileged, baseline, restricted";
        check(format!("{PREFIX}{name}"), &|text| Level::parse(text).is_some(), levels);
        let versions = "must be \"latest\" or \"v1.x\"";
        check(
            format!("{PREFIX}{name}-version"),
            &|text| version(text).is_some(),
            versions,
        );
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_say_level_and_version() {
        let read = |labels: Value| Policies::of_labels(labels.as_object().unwrap());
        let labels = json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.24",
            "pod-security.kubernetes.io/warn": "privileged"});
        let policies = read(labels).unwrap();
        assert_eq!(policies.enforce.unwrap().to_string(), "baseline:v1.24");
        assert_eq!((policies.warn, policies.audit), (None, None));
        assert_eq!(read(json!({"a": "b"})), None);
        let wrong = json!({"pod-security.kubernetes.io/audit": "x", "pod-security.kubernetes.io/warn-version": "1.2"});
        assert_eq!(label_errors(wrong.as_object().unwrap()).len(), 2);
        assert_eq!(version("v1.09"), None);
    }
}
