//! x
use serde_json::Value;
use crate::TypeRef;
/// A field whose value does not fit its type.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct TypeMismatch { /// Worded as kube words it (`json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`).
 pub message: String }
/// Brings an object into canonical form; returns and removes unknown fields.
pub fn check(ty: TypeRef, v: &mut Value) -> Result<Vec<String>, TypeMismatch> { let _=(ty,v); Ok(vec![]) }
