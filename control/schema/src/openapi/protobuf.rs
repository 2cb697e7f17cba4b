//! Documents of version 2 as gnostic's `openapi.v2.Document` in protobuf, which is how clients written in Go ask for
//! them: `kubectl` reads nothing else when a kind is in no document of version 3.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::messages::{DOCUMENT, Form, Message, PARTS, Part, parameter};
use super::write::{IN_MEMORY, Sink};

/// Writes a document entry by entry. Every entry of a part begins the part anew: protobuf merges the pieces of a
/// message, so that nothing larger than an entry has to be in memory before its length is known.
pub(super) struct ProtobufWriter {
    out: GzEncoder<Vec<u8>>,
    /// The part that entries belong to, if any.
    part: Option<&'static Part>,
}

impl ProtobufWriter {
    pub(super) fn new() -> Self {
        Self {
            out: GzEncoder::new(Vec::new(), Compression::default()),
            part: None,
        }
    }
}

impl Sink for ProtobufWriter {
    fn entry(&mut self, key: &str, value: &Value) {
        let mut out = Vec::new();
        match self.part {
            Some(part) => delimited(&mut out, part.number, |out| {
                delimited(out, part.entry, |out| {
                    named(out, key, |out| message(out, &[2], part.value, value))
                });
            }),
            None => field(&mut out, &DOCUMENT, key, value),
        }
        self.out.write_all(&out).expect(IN_MEMORY);
    }

    fn open(&mut self, key: &str) {
        self.part = PARTS.iter().find(|part| part.key == key);
        debug_assert!(self.part.is_some(), "no part {key}");
    }

    fn close(&mut self) {
        self.part = None;
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.out.finish().expect(IN_MEMORY)
    }
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A field of some bytes.
fn delimited(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    content(&mut bytes);
    text(out, number, &bytes);
}

fn text(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(out, (number << 3 | 2) as usize);
    varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Content inside of messages with one field each.
fn wrapped(out: &mut Vec<u8>, around: &[u32], content: &dyn Fn(&mut Vec<u8>)) {
    match around {
        [] => content(out),
        [number, rest @ ..] => delimited(out, *number, |out| wrapped(out, rest, content)),
    }
}

/// An entry of a map: its name and its value, which is field 2.
fn named(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    text(out, 1, name.as_bytes());
    value(out);
}

/// A value of any shape: JSON is YAML.
fn any(out: &mut Vec<u8>, number: u32, value: &Value) {
    delimited(out, number, |out| text(out, 2, value.to_string().as_bytes()));
}

/// A message at a path: its field, inside of messages with one field each.
fn message(out: &mut Vec<u8>, path: &[u32], kind: &Message, value: &Value) {
    wrapped(out, path, &|out| {
        for (key, value) in value.as_object().into_iter().flatten() {
            field(out, kind, key, value);
        }
    });
}

/// A field of a message, once for every item of an array.
fn field(out: &mut Vec<u8>, of: &Message, key: &str, value: &Value) {
    if key.starts_with("x-") {
        return delimited(out, of.extensions, |out| named(out, key, |out| any(out, 2, value)));
    }
    // What another server says may be more than the message has fields for.
    let Some(field) = of.fields.iter().find(|field| field.key == key) else {
        return;
    };
    let (number, around) = field.path.split_last().expect("a field has a number");
    let number = *number;
    let items = match value {
        Value::Array(items) if key != "default" => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    for item in items {
        wrapped(out, around, &|out| match field.form {
            Form::Text => text(out, number, item.as_str().unwrap_or_default().as_bytes()),
            Form::Flag => {
                varint(out, (number << 3) as usize);
                varint(out, usize::from(item == &Value::Bool(true)));
            }
            Form::Whole => {
                varint(out, (number << 3) as usize);
                varint(out, item.as_u64().and_then(|it| it.try_into().ok()).unwrap_or_default());
            }
            Form::Number => {
                varint(out, (number << 3 | 1) as usize);
                out.extend_from_slice(&item.as_f64().unwrap_or_default().to_le_bytes());
            }
            Form::Any => any(out, number, item),
            Form::Message(kind) => message(out, &[number], kind, item),
            Form::Map(path, kind) => delimited(out, number, |out| {
                for (name, value) in item.as_object().into_iter().flatten() {
                    delimited(out, 1, |out| named(out, name, |out| message(out, path, kind, value)));
                }
            }),
            Form::Parameter => {
                let (path, kind) = parameter(item["in"].as_str().unwrap_or_default());
                delimited(out, number, |out| message(out, path, kind, item));
            }
        });
    }
}
