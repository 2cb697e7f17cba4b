//! How far a rolling update may exceed and undercut the wanted number of pods.

use crate::objects::Deployment;
use barepod_client::types::IntOrString;

/// `maxSurge` and `maxUnavailable` in pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// Percentages of the wanted number: surge is rounded up, unavailable down, and one of them is at least one.
pub(super) fn limits(deployment: &Deployment) -> Limits {
    let wanted = deployment.replicas();
    if deployment.is_recreate() || wanted == 0 {
        return Limits {
            surge: 0,
            unavailable: 0,
        };
    }
    let rolling = deployment
        .spec
        .strategy
        .as_ref()
        .and_then(|s| s.rolling_update.as_ref());
    let default = IntOrString::String("25%".into());
    let surge = resolve(
        rolling.and_then(|r| r.max_surge.as_ref()).unwrap_or(&default),
        wanted,
        true,
    );
    let unavailable = resolve(
        rolling.and_then(|r| r.max_unavailable.as_ref()).unwrap_or(&default),
        wanted,
        false,
    );
    if surge == 0 && unavailable == 0 {
        return Limits { surge, unavailable: 1 };
    }
    Limits {
        surge,
        unavailable: unavailable.min(wanted),
    }
}

fn resolve(value: &IntOrString, wanted: i32, up: bool) -> i32 {
    let percent = match value {
        IntOrString::Int(number) => return (*number).max(0),
        IntOrString::String(text) => text.trim_end_matches('%').parse::<i64>().unwrap_or(0).max(0),
    };
    let product = i64::from(wanted) * percent;
    let pods = if up { (product + 99) / 100 } else { product / 100 };
    i32::try_from(pods).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(replicas: i32, rolling: Value) -> Limits {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
        let deployment = json!({"spec": {"replicas": replicas, "strategy": strategy}});
        limits(&serde_json::from_value(deployment).unwrap())
    }

    #[test]
    fn rounds_surge_up_and_unavailable_down() {
        assert_eq!(
            of(10, json!({"maxSurge": "25%", "maxUnavailable": "25%"})),
            Limits {
                surge: 3,
                unavailable: 2
            }
        );
        assert_eq!(
            of(2, Value::Null),
            Limits {
                surge: 1,
                unavailable: 0
            }
        );
        assert_eq!(
            of(10, json!({"maxSurge": 0, "maxUnavailable": "5%"})),
            Limits {
                surge: 0,
                unavailable: 1
            }
        );
        assert_eq!(
            of(3, json!({"maxSurge": 1, "maxUnavailable": 9})),
            Limits {
                surge: 1,
                unavailable: 3
            }
        );
    }
}
