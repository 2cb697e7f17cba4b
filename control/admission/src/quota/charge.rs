//! Whether there is room, and what is used afterwards.

use std::collections::{BTreeMap, BTreeSet};

use barepod_kinds::Quantity;
use barepod_kinds::value::{at, list_at, map_at, str_at, strings};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::scope::matches;
use super::usage::{Amounts, usage};

/// What a request means for a quota.
#[derive(Debug, Clone, PartialEq)]
pub enum Charged {
    /// Nothing.
    Not,
    /// It is to be written with this `status.used`.
    Used(Value),
    /// There is no room, or it cannot be told: why.
    Refused(String),
}

fn amounts(value: Option<&Map<String, Value>>) -> Amounts {
    let entries = value.into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

/// Amounts as people read them in a refusal.
pub fn text_of(amounts: &Amounts) -> String {
    let parts: Vec<String> = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect();
    parts.join(",")
}

/// Whether the status is that of the specification, with every limited amount counted.
pub fn is_current(quota: &Value) -> bool {
    let hard = map_at(quota, &["spec", "hard"]);
    let counted = |name: &String| at(quota, &["status", "used", name]).is_some();
    let empty = Map::new();
    map_at(quota, &["status", "hard"]).unwrap_or(&empty) == hard.unwrap_or(&empty)
        && hard.into_iter().flatten().all(|(name, _)| counted(name))
}

/// What the objects of a namespace use of what a quota limits, as `status.used`. Each comes with its group and plural.
pub fn total<'a>(quota: &Value, objects: impl Iterator<Item = (&'a str, &'a str, &'a Value)>, now: Timestamp) -> Value {
    let mut used: Amounts = map_at(quota, &["spec", "hard"])
        .into_iter()
        .flatten()
        .map(|(name, _)| (name.clone(), Quantity::default()))
        .collect();
    for (group, resource, object) in objects.filter(|(group, resource, object)| matches(quota, group, resource, object))
    {
        for (name, amount) in usage(group, resource, object, now) {
            if let Some(sum) = used.get_mut(&name) {
                *sum += amount;
            }
        }
    }
    to_value(&used)
}

fn to_value(amounts: &Amounts) -> Value {
    amounts
        .iter()
        .map(|(name, amount)| (name.clone(), json!(amount.to_string())))
        .collect::<Map<_, _>>()
        .into()
}

/// What writing `new` (over `old`, if it is an update) means for a quota whose status is current.
pub fn charge(quota: &Value, group: &str, resource: &str, new: &Value, old: Option<&Value>, now: Timestamp) -> Charged {
    let hard = amounts(map_at(quota, &["spec", "hard"]));
    let name = str_at(quota, &["metadata", "name"]).unwrap_or("");
    if !matches(quota, group, resource, new) {
        return Charged::Not;
    }
    if old.is_none()
        && let Some(why) = unspecified(quota, &hard, group, resource, new)
    {
        return Charged::Refused(format!("failed quota: {name}: {why}"));
    }
    let mut delta = usage(group, resource, new, now);
    if let Some(old) = old.filter(|old| matches(quota, group, resource, old)) {
        for (name, amount) in usage(group, resource, old, now) {
            let slot = delta.entry(name).or_default();
            *slot = *slot - amount;
        }
    }
    delta.retain(|name, amount| hard.contains_key(name) && !amount.is_zero());
    if delta.values().all(|amount| amount.sign() <= 0) {
        return Charged::Not;
    }
    let used = amounts(map_at(quota, &["status", "used"]));
    let used_of = |name: &String| used.get(name).copied().unwrap_or_default();
    let exceeded: BTreeSet<&String> = delta
        .iter()
        .filter(|(name, amount)| amount.sign() > 0 && used_of(name) + **amount > hard[*name])
        .map(|(name, _)| name)
        .collect();
    if !exceeded.is_empty() {
        let only = |amount: &dyn Fn(&String) -> Quantity| -> Amounts {
            exceeded.iter().map(|name| ((*name).clone(), amount(name))).collect()
        };
        return Charged::Refused(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            text_of(&only(&|name| delta[name])),
            text_of(&only(&used_of)),
            text_of(&only(&|name| hard[name])),
        ));
    }
    let mut next = used.clone();
    for (name, amount) in &delta {
        *next.entry(name.clone()).or_default() += *amount;
    }
    Charged::Used(to_value(&next))
}

/// Where compute resources are limited, every container has to say how much it needs.
fn unspecified(quota: &Value, hard: &Amounts, group: &str, resource: &str, pod: &Value) -> Option<String> {
    let best_effort = strings(quota, &["spec", "scopes"]).any(|scope| scope == "BestEffort");
    if !group.is_empty() || resource != "pods" || best_effort {
        return None;
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in hard.keys() {
        let (kind, what) = match key.as_str() {
            "cpu" | "memory" => ("requests", key.as_str()),
            "requests.cpu" | "requests.memory" => ("requests", &key["requests.".len()..]),
            "limits.cpu" | "limits.memory" => ("limits", &key["limits.".len()..]),
            _ => continue,
        };
        if at(pod, &["spec", "resources", kind, what]).is_some() {
            continue;
        }
        let said = |container: &Value| {
            let own = at(container, &["resources", kind, what]).and_then(|value| Quantity::from_value(value).ok());
            own.is_some_and(|amount| !amount.is_zero())
        };
        for list in ["containers", "initContainers"] {
            for container in list_at(pod, &["spec", list])
                .iter()
                .filter(|container| !said(container))
            {
                let name = str_at(container, &["name"]).unwrap_or("");
                missing.entry(key.as_str()).or_default().push(name);
            }
        }
    }
    if missing.is_empty() {
        return None;
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(key, mut names)| {
            names.sort_unstable();
            format!("{key} for: {}", names.join(","))
        })
        .collect();
    Some(format!("must specify {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn quota(hard: Value, used: Value) -> Value {
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
    }

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    fn of_pod(quota: &Value, new: Value, old: Option<Value>) -> Charged {
        charge(quota, "", "pods", &new, old.as_ref(), now())
    }

    #[test]
    fn what_fits_is_added() {
        let quota = quota(json!({"pods": "2", "cpu": "1"}), json!({"pods": "1", "cpu": "500m"}));
        assert!(is_current(&quota));
        assert_eq!(
            of_pod(&quota, pod("500m"), None),
            Charged::Used(json!({"cpu": "1", "pods": "2"}))
        );
        assert_eq!(
            of_pod(&quota, pod("600m"), None),
            Charged::Refused("exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1".into())
        );
        let other = charge(&quota, "", "secrets", &json!({}), None, now());
        assert_eq!(other, Charged::Not);
    }

    #[test]
    fn updates_are_charged_for_what_they_add() {
        let quota = quota(json!({"cpu": "1"}), json!({"cpu": "800m"}));
        assert_eq!(
            of_pod(&quota, pod("300m"), Some(pod("200m"))),
            Charged::Used(json!({"cpu": "900m"}))
        );
        assert_eq!(of_pod(&quota, pod("100m"), Some(pod("200m"))), Charged::Not);
        assert!(matches!(
            of_pod(&quota, pod("500m"), Some(pod("200m"))),
            Charged::Refused(_)
        ));
    }

    #[test]
    fn needs_have_to_be_said() {
        let quota = quota(
            json!({"limits.memory": "1Gi", "cpu": "1"}),
            json!({"limits.memory": "0", "cpu": "0"}),
        );
        let Charged::Refused(why) = of_pod(
            &quota,
            json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}),
            None,
        ) else {
            panic!("refused")
        };
        assert_eq!(
            why,
            "failed quota: q: must specify cpu for: a,b; limits.memory for: a,b"
        );
    }

    #[test]
    fn totals_count_everything_limited() {
        let quota = json!({"spec": {"hard": {"pods": "5", "cpu": "9", "secrets": "1"}}});
        assert!(!is_current(&quota));
        let (a, b, map) = (pod("1"), pod("500m"), json!({}));
        let objects = [("", "pods", &a), ("", "pods", &b), ("", "configmaps", &map)];
        assert_eq!(
            total(&quota, objects.into_iter(), now()),
            json!({"cpu": "1500m", "pods": "2", "secrets": "0"})
        );
    }
}
