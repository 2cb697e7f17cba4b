//! Types whose JSON differs from their message.

use serde_json::{Map, Value};

use super::super::{DecodeError, json};
use super::reader::Reader;
use super::{MAGIC, item, message};
use crate::{Item, TypeKind, TypeRef, time, type_named};

/// Decodes a message of a special kind. Null means that nothing was given.
pub(super) fn value(kind: TypeKind, reader: Reader<'_>, depth: u8) -> Result<Value, DecodeError> {
    match kind {
        TypeKind::Quantity => quantity(reader),
        TypeKind::IntOrString => int_or_string(reader),
        TypeKind::Time => timestamp(reader, false),
        TypeKind::MicroTime => timestamp(reader, true),
        TypeKind::SchemaOrArray => schema_or(reader, depth, Alternative::List),
        TypeKind::SchemaOrBool => schema_or(reader, depth, Alternative::Bool),
        TypeKind::SchemaOrStrings => schema_or(reader, depth, Alternative::Strings),
        TypeKind::Raw | TypeKind::Any | TypeKind::Struct | TypeKind::Inline => raw(reader, depth),
    }
}

fn quantity(mut reader: Reader<'_>) -> Result<Value, DecodeError> {
    let mut text = String::new();
    while let Some((number, wired)) = reader.field()? {
        if number == 1 {
            text = reader.string(wired)?;
        }
    }
    Ok(Value::String(if text.is_empty() { "0".to_owned() } else { text }))
}

fn int_or_string(mut reader: Reader<'_>) -> Result<Value, DecodeError> {
    let (mut is_string, mut number, mut text) = (false, 0, String::new());
    while let Some((field, wired)) = reader.field()? {
        match field {
            1 => is_string = reader.number(wired)? == 1,
            2 => number = reader.number(wired)?,
            3 => text = reader.string(wired)?,
            _ => {}
        }
    }
    Ok(if is_string {
        Value::String(text)
    } else {
        Value::from(number)
    })
}

fn timestamp(mut reader: Reader<'_>, micros: bool) -> Result<Value, DecodeError> {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((number, wired)) = reader.field()? {
        match number {
            1 => seconds = reader.number(wired)?,
            2 => nanos = reader.number(wired)?,
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| reader.error("nanoseconds out of range"))?;
    time::from_parts(seconds, nanos, micros)
        .map(Value::String)
        .ok_or_else(|| reader.error("time out of range"))
}

/// Bytes of JSON (or of protobuf) in field 1.
fn raw(mut reader: Reader<'_>, depth: u8) -> Result<Value, DecodeError> {
    let mut value = Value::Null;
    while let Some((number, wired)) = reader.field()? {
        if number == 1 {
            let bytes = reader.bytes(wired)?;
            value = if bytes.is_empty() {
                Value::Null
            } else if bytes.starts_with(MAGIC) {
                let depth = depth.checked_sub(1).ok_or_else(|| reader.error("nested too deep"))?;
                super::envelope(bytes, depth)?
            } else {
                json::decode(bytes)?.value
            };
        }
    }
    Ok(value)
}

enum Alternative {
    List,
    Bool,
    Strings,
}

/// An OpenAPI schema or something in its place.
fn schema_or(mut reader: Reader<'_>, depth: u8, alternative: Alternative) -> Result<Value, DecodeError> {
    let schema_number = if matches!(alternative, Alternative::Bool) { 2 } else { 1 };
    let (mut schema, mut list, mut allows) = (None, Vec::new(), false);
    while let Some((number, wired)) = reader.field()? {
        if number == schema_number {
            schema = Some(json_schema(reader.message(wired)?, depth)?);
        } else {
            match alternative {
                Alternative::Bool => allows = reader.number(wired)? != 0,
                Alternative::List => list.push(json_schema(reader.message(wired)?, depth)?),
                Alternative::Strings => list.push(Value::String(reader.string(wired)?)),
            }
        }
    }
    Ok(match (schema, alternative) {
        (Some(schema), _) => schema,
        (None, Alternative::Bool) => Value::Bool(allows),
        (None, _) => Value::Array(list),
    })
}

fn json_schema(reader: Reader<'_>, depth: u8) -> Result<Value, DecodeError> {
    let mut map = Map::new();
    message(json_schema_type(), reader, &mut map, depth)?;
    Ok(Value::Object(map))
}

fn json_schema_type() -> TypeRef {
    type_named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
        .expect("the table has the schema of CRDs")
}

/// The list in field 1 of a message that wraps it.
pub(super) fn wrapped_list(of: Item, mut reader: Reader<'_>, depth: u8) -> Result<Value, DecodeError> {
    let mut items = Vec::new();
    while let Some((number, wired)) = reader.field()? {
        if number == 1 {
            items.push(item(of, &reader, wired, depth)?);
        }
    }
    Ok(Value::Array(items))
}
