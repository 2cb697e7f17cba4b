//! Leases.

use jiff::Timestamp;
use serde_json::Value;

use crate::invalid::Invalid;
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, text as column};
use crate::value::{i64_at, str_at};

/// The strategy of Leases.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lease;

impl Strategy for Lease {
    fn validate(&self, new: &Value, _old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        if let Some(seconds) = i64_at(new, &["spec", "leaseDurationSeconds"]).filter(|s| *s <= 0) {
            errors.invalid(
                &Path::new("spec.leaseDurationSeconds"),
                seconds,
                "must be greater than 0",
            );
        }
        errors.not_negative(
            &Path::new("spec.leaseTransitions"),
            i64_at(new, &["spec", "leaseTransitions"]),
        );
        errors.into_vec()
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &[Column] {
        const { &[NAME, column("Holder", "Who holds the lease"), AGE] }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(obj),
            str_at(obj, &["spec", "holderIdentity"]).unwrap_or("").into(),
            age(obj, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_positive() {
        let errors = Lease.validate(&json!({"spec": {"leaseDurationSeconds": 0}}), None);
        assert_eq!(
            errors[0].to_string(),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"
        );
        assert_eq!(
            Lease.validate(&json!({"spec": {"leaseDurationSeconds": 40}}), None),
            vec![]
        );
    }
}
