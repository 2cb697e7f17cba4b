//! The descriptions of types and fields.

use std::collections::HashMap;
use std::io::Read as _;

/// What `build.rs` wrote.
pub(super) const COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.z"));

/// Descriptions by type.
pub(super) type Descriptions<'t> = HashMap<&'t str, TypeDescriptions<'t>>;

/// The description of a type and of its fields, still escaped.
#[derive(Default)]
pub(super) struct TypeDescriptions<'t> {
    text: &'t str,
    fields: HashMap<&'t str, &'t str>,
}

impl TypeDescriptions<'_> {
    /// Of the type.
    pub(super) fn text(&self) -> Option<String> {
        (!self.text.is_empty()).then(|| unescape(self.text))
    }

    /// Of a field.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        self.fields.get(name).map(|text| unescape(text))
    }
}

/// The text of all descriptions.
pub(super) fn inflate() -> String {
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(COMPRESSED)
        .read_to_string(&mut text)
        .expect("build.rs compressed the descriptions");
    text
}

/// Reads the lines that `build.rs` wrote.
pub(super) fn parse(text: &str) -> Descriptions<'_> {
    let mut descriptions: Descriptions<'_> = HashMap::with_capacity(1024);
    let mut current = "";
    for line in text.lines() {
        let mut columns = line.splitn(3, '\t');
        match (columns.next(), columns.next(), columns.next()) {
            (Some("T"), Some(name), Some(text)) => {
                current = name;
                descriptions.entry(name).or_default().text = text;
            }
            (Some("F"), Some(field), Some(text)) => {
                descriptions.entry(current).or_default().fields.insert(field, text);
            }
            _ => {}
        }
    }
    descriptions
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    out
}
