//! Kubernetes protobuf, decoded straight to JSON by the field numbers of the table.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown` message: `typeMeta { apiVersion, kind }`, `raw` (the
//! object), and the encoding and type of `raw`. Go's generated code always writes fields that are not pointers, also
//! when they are empty; JSON leaves those out, and so does this decoder where the table says that zero means absent.
//! Field numbers that the table does not know are skipped, as Go skips them.

mod reader;
mod special;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use self::reader::{Reader, Wired};
use super::{DecodeError, MAX_DEPTH, json, nesting};
use crate::table::Wire;
use crate::{Container, Field, Item, TypeKind, TypeRef, type_of};

/// What a body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages nest far less deep; a hostile body must not exhaust the stack.
const MESSAGE_DEPTH: u8 = 100;

/// Decodes a body.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let value = envelope(bytes, MESSAGE_DEPTH)?;
    // JSON within protobuf within JSON: each is bounded, all together need not be.
    if nesting(&value) > MAX_DEPTH {
        return Err(DecodeError::Protobuf {
            message: "nested too deep",
            offset: 0,
        });
    }
    Ok(value)
}

/// Decodes a message that says of what kind it is.
fn envelope(bytes: &[u8], depth: u8) -> Result<Value, DecodeError> {
    let Some(body) = bytes.strip_prefix(MAGIC) else {
        return Err(DecodeError::Protobuf {
            message: "provided data does not appear to be a protobuf message, expected prefix k8s",
            offset: 0,
        });
    };
    let mut envelope = Reader::new(body, MAGIC.len());
    let (mut api_version, mut kind, mut raw, mut content_type) =
        (String::new(), String::new(), Reader::default(), String::new());
    while let Some((number, wired)) = envelope.field()? {
        match number {
            1 => {
                let mut type_meta = envelope.message(wired)?;
                while let Some((number, wired)) = type_meta.field()? {
                    match number {
                        1 => api_version = type_meta.string(wired)?,
                        2 => kind = type_meta.string(wired)?,
                        _ => {}
                    }
                }
            }
            2 => raw = envelope.message(wired)?,
            4 => content_type = envelope.string(wired)?,
            _ => {}
        }
    }
    if content_type == "application/json" {
        return json::decode(raw.rest()).map(|decoded| decoded.value);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let Some(ty) = type_of(group, version, &kind) else {
        return Err(DecodeError::UnknownKind { api_version, kind });
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::String(api_version));
    object.insert("kind".to_owned(), Value::String(kind));
    message(ty, raw, &mut object, depth)?;
    Ok(Value::Object(object))
}

/// Decodes the fields of a message into an object.
fn message(ty: TypeRef, mut reader: Reader<'_>, into: &mut Map<String, Value>, depth: u8) -> Result<(), DecodeError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(reader.error("message nested too deep"));
    };
    while let Some((number, wired)) = reader.field()? {
        match ty.wire(number) {
            None => {}
            Some(Wire::Inline(inner)) => {
                let inner_reader = reader.message(wired)?;
                message(inner, inner_reader, into, depth)?;
            }
            Some(Wire::Field(field)) => set(field, &reader, wired, into, depth)?,
        }
    }
    Ok(())
}

fn set(
    field: &Field,
    reader: &Reader<'_>,
    wired: Wired<'_>,
    into: &mut Map<String, Value>,
    depth: u8,
) -> Result<(), DecodeError> {
    match field.container {
        Container::One => {
            let value = item(field.item, reader, wired, depth)?;
            if is_absent(field, &value) {
                into.remove(field.name);
            } else {
                into.insert(field.name.to_owned(), value);
            }
        }
        Container::List => {
            let Value::Array(items) = into.entry(field.name).or_insert_with(|| Value::Array(Vec::new())) else {
                return Err(reader.error("a list field is something else"));
            };
            match (wired, field.item) {
                // Numbers may be packed.
                (Wired::Bytes(_), Item::Bool | Item::Int32 | Item::Int64) => {
                    let mut packed = reader.message(wired)?;
                    while !packed.rest().is_empty() {
                        let number = packed.varint()?;
                        items.push(item(field.item, reader, Wired::Varint(number), depth)?);
                    }
                }
                _ => items.push(item(field.item, reader, wired, depth)?),
            }
        }
        Container::Map | Container::MapOfLists => {
            let mut entry = reader.message(wired)?;
            let (mut key, mut value) = (String::new(), None);
            while let Some((number, wired)) = entry.field()? {
                match number {
                    1 => key = entry.string(wired)?,
                    2 if field.container == Container::Map => value = Some(item(field.item, &entry, wired, depth)?),
                    // A list as the value of a map is wrapped in a message with the one field `items`.
                    2 => value = Some(special::wrapped_list(field.item, entry.message(wired)?, depth)?),
                    _ => {}
                }
            }
            let value = match value {
                Some(value) => value,
                None => item(field.item, &entry, Wired::Bytes(&[]), depth).unwrap_or(Value::Null),
            };
            if let Value::Object(map) = into.entry(field.name).or_insert_with(|| Value::Object(Map::new())) {
                map.insert(key, value);
            }
        }
    }
    Ok(())
}

/// Whether JSON would leave the value out.
fn is_absent(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => field.always && map.is_empty(),
        value => field.means_absent(value),
    }
}

/// Decodes one item.
fn item(item: Item, reader: &Reader<'_>, wired: Wired<'_>, depth: u8) -> Result<Value, DecodeError> {
    Ok(match item {
        Item::String => Value::String(reader.string(wired)?),
        Item::Bytes => Value::String(STANDARD.encode(reader.bytes(wired)?)),
        Item::Bool => Value::Bool(reader.number(wired)? != 0),
        Item::Int32 | Item::Int64 => Value::from(reader.number(wired)?),
        Item::Double => match wired {
            Wired::Fixed64(bits) => {
                serde_json::Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            _ => return Err(reader.error("wrong wire type for a double")),
        },
        Item::Type(ty) => {
            let inner = reader.message(wired)?;
            match ty.kind() {
                TypeKind::Struct | TypeKind::Inline => {
                    let mut map = Map::new();
                    message(ty, inner, &mut map, depth)?;
                    Value::Object(map)
                }
                kind => special::value(kind, inner, depth)?,
            }
        }
    })
}

#[cfg(test)]
mod tests;
