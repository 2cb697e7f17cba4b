//! What the control service reads from strangers, each as a function of bytes that panics when a promise is broken.
//!
//! The functions are fed by a search for new inputs (`tests/fuzz/run`) and by the inputs kept in `seeds/`, which every
//! run of the tests tries again: what the search once found stays there.

mod body;
mod cel;
mod engine;
mod fields;
mod patch;
mod selector;
mod token;

/// A function of bytes; it returns when all is well.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its directory of seeds.
pub const TARGETS: [(&str, Target); 14] = [
    ("json", body::json),
    ("yaml", body::yaml),
    ("protobuf", body::protobuf),
    ("json-patch", patch::json),
    ("merge-patch", patch::merge),
    ("strategic-patch", patch::strategic),
    ("apply", fields::apply),
    ("managed-fields", fields::update),
    ("label-selector", selector::label),
    ("field-selector", selector::field),
    ("quantity", selector::quantity),
    ("request", engine::request),
    ("jwt", token::jwt),
    ("cel", cel::cel),
];

/// The parts of an input, which a line `---` separates.
fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BETWEEN: &[u8] = b"\n---\n";
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = all.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        rest = end.map(|end| &all[end + BETWEEN.len()..]);
        Some(&all[..end.unwrap_or(all.len())])
    })
}

/// A part as JSON that the API server would take.
fn value(data: Option<&[u8]>) -> Option<serde_json::Value> {
    let decoded = barepod_schema::body::decode("application/json", data?).ok()?;
    Some(decoded.value)
}

/// How many levels of lists and objects there are.
fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
