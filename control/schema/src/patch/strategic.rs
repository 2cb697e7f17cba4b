use serde_json::Value;
use crate::TypeRef;
use super::PatchError;
pub(super) fn apply(_ty: TypeRef, _current: &Value, _patch: &Value) -> Result<Value, PatchError> { Err(PatchError::Malformed(String::new())) }
