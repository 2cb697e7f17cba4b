//! Checks of `metadata`, the same for every kind.

use serde_json::Value;

use crate::invalid::Invalid;
use crate::names::NameRule;

/// Field errors of `metadata`: name, generateName, labels, annotations, owner references, finalizers.
pub fn validate_object_meta(_obj: &Value, _rule: NameRule) -> Vec<Invalid> {
    Vec::new()
}

/// Field errors of a change of `metadata`: what never changes after creation.
pub fn validate_object_meta_update(_new: &Value, _old: &Value) -> Vec<Invalid> {
    Vec::new()
}
