//! PodDisruptionBudgets.

use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::intstr::{amount, at_most_all};
use crate::path::{Errors, Path};
use crate::rules::{Check, rule};
use crate::table::{AGE, NAME, counts, shows};
use crate::value::{at, i64_at, map_at, object_mut};

/// PodDisruptionBudgets.
pub static BUDGET: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Zeros(&["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"]),
    unconditional_update: false,
    columns: &[
        NAME,
        shows(
            "Min Available",
            Cell::Text("spec.minAvailable", "N/A"),
            "Pods that must stay",
        ),
        shows(
            "Max Unavailable",
            Cell::Text("spec.maxUnavailable", "N/A"),
            "Pods that may go",
        ),
        counts(
            "Allowed Disruptions",
            Cell::Number("status.disruptionsAllowed"),
            "Pods that may be evicted now",
        ),
        AGE,
    ],
    rules: &[
        rule("spec.selector", Check::Selector),
        rule(
            "spec.unhealthyPodEvictionPolicy",
            Check::AnyOf(&["AlwaysAllow", "IfHealthyBudget"]),
        ),
    ],
    status_rules: &[
        rule("status.disruptionsAllowed", Check::AtLeast(0)),
        rule("status.currentHealthy", Check::AtLeast(0)),
        rule("status.desiredHealthy", Check::AtLeast(0)),
        rule("status.expectedPods", Check::AtLeast(0)),
    ],
    more_rules: |budget, _, errors| amounts(budget, errors),
    ..PLAIN
};

fn amounts(budget: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    let spec = |key| at(budget, &["spec", key]);
    if spec("minAvailable").is_some() && spec("maxUnavailable").is_some() {
        let given = at(budget, &["spec"]).cloned().unwrap_or_default();
        errors.invalid(&path, given, "minAvailable and maxUnavailable cannot be both set");
    }
    for key in ["minAvailable", "maxUnavailable"] {
        let at = path.child(key);
        amount(spec(key), &at, errors);
        at_most_all(spec(key), &at, errors);
    }
}

/// Why a budget lets no pod go, or its next state after one has gone.
#[derive(Debug, Clone, PartialEq)]
pub enum Spending {
    /// The pod may go; this is to be stored first.
    Spent(Box<Value>),
    /// The controller has not looked at the budget since it was changed.
    NotSeen,
    /// Nothing is left, as this explains.
    Exhausted(String),
    /// Too many pods were allowed to go and are not gone yet.
    Crowded,
}

/// How many pods may be on their way out at once.
const MOST_DISRUPTED: usize = 2000;

/// What becomes of a budget when a pod is evicted.
pub fn spend(budget: &Value, pod: &str, now: &str) -> Spending {
    let count = |path: &[&str]| i64_at(budget, path).unwrap_or(0);
    if count(&["status", "observedGeneration"]) < count(&["metadata", "generation"]) {
        return Spending::NotSeen;
    }
    let allowed = count(&["status", "disruptionsAllowed"]);
    let (desired, current) = (
        count(&["status", "desiredHealthy"]),
        count(&["status", "currentHealthy"]),
    );
    let name = crate::value::str_at(budget, &["metadata", "name"]).unwrap_or("");
    if allowed <= 0 {
        return Spending::Exhausted(format!(
            "The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        ));
    }
    if map_at(budget, &["status", "disruptedPods"]).is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
        return Spending::Crowded;
    }
    let mut next = budget.clone();
    if let Some(status) = object_mut(&mut next, "status") {
        status.insert("disruptionsAllowed".into(), (allowed - 1).into());
        let pods = status.entry("disruptedPods").or_insert(Value::Null);
        if pods.is_null() {
            *pods = Value::Object(serde_json::Map::new());
        }
        // The controller counts the pod as gone from now on, even before it sees it go.
        if let Some(pods) = pods.as_object_mut() {
            pods.insert(pod.to_owned(), now.into());
        }
    }
    Spending::Spent(Box::new(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn budgets_are_shown_and_checked() {
        let budget = json!({"metadata": {"name": "b", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"minAvailable": 2},
            "status": {"disruptionsAllowed": 1}});
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            BUDGET.cells(&budget, now),
            [json!("b"), json!("2"), json!("N/A"), json!(1), json!("1s")]
        );
        let lines: Vec<String> = BUDGET
            .validate(&json!({"spec": {"minAvailable": -1, "maxUnavailable": "101%"}}), None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "spec: Invalid value: {\"maxUnavailable\":\"101%\",\"minAvailable\":-1}: minAvailable and maxUnavailable \
                 cannot be both set",
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"
            ]
        );
    }

    #[test]
    fn budgets_are_spent() {
        let budget = |allowed: i64, seen: i64| {
            json!({"metadata": {"name": "b", "generation": 2}, "status": {"observedGeneration": seen,
                "disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": 2}})
        };
        assert_eq!(spend(&budget(1, 1), "p", "t"), Spending::NotSeen);
        assert_eq!(
            spend(&budget(0, 2), "p", "t"),
            Spending::Exhausted("The disruption budget b needs 2 healthy pods and has 2 currently".into())
        );
        let Spending::Spent(next) = spend(&budget(1, 2), "p", "t") else {
            panic!("spent")
        };
        assert_eq!(
            (&next["status"]["disruptionsAllowed"], &next["status"]["disruptedPods"]),
            (&json!(0), &json!({"p": "t"}))
        );
    }
}
