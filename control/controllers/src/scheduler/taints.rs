//! Taints and tolerations.

use barepod_client::types::{Taint, Toleration};

/// Whether the toleration is for the taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() && key != taint.key {
        return false;
    }
    let value = taint.value.as_deref().unwrap_or_default();
    let wanted = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "" | "Equal" => !key.is_empty() && wanted == value,
        "Exists" => true,
        // KEP-5471.
        "Lt" => compare(value, wanted, |taint, wanted| taint < wanted),
        "Gt" => compare(value, wanted, |taint, wanted| taint > wanted),
        _ => false,
    }
}

fn compare(taint: &str, wanted: &str, holds: fn(i64, i64) -> bool) -> bool {
    matches!((taint.parse(), wanted.parse()), (Ok(taint), Ok(wanted)) if holds(taint, wanted))
}

/// The first taint with one of the effects that no toleration is for.
pub(super) fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(toleration: Value) -> bool {
        let taint: Taint = serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).unwrap();
        tolerates(&serde_json::from_value(toleration).unwrap(), &taint)
    }

    #[test]
    fn matches_as_documented() {
        assert!(check(json!({"operator": "Exists"})));
        assert!(check(json!({"key": "k", "value": "v"})));
        assert!(check(json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"})));
        assert!(!check(json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})));
        assert!(!check(json!({"key": "k", "value": "w"})));
        assert!(!check(json!({"key": "other", "operator": "Exists"})));
        assert!(!check(json!({"value": "v"})));
    }
}
