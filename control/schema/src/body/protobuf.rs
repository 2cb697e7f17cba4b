use serde_json::Value;
use super::DecodeError;
pub(super) fn decode(_bytes: &[u8]) -> Result<Value, DecodeError> { Err(DecodeError::Protobuf{message:"",offset:0}) }
