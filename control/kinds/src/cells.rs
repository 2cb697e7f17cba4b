//! Cells of a `Table` as data.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{labels, scale, time, value, walk};

/// What a cell shows. Paths are dotted, without a leading dot.
#[derive(Clone, Copy)]
pub enum Cell {
    /// Nothing here: the kind fills its rows itself.
    Own,
    /// The object's name.
    Name,
    /// The object's age.
    Age,
    /// Text, number or truth value as text, or another text where it is absent.
    Text(&'static str, &'static str),
    /// A number; absent is 0.
    Number(&'static str),
    /// A truth value, and what it is when absent.
    Flag(&'static str, bool),
    /// `True`, `False`, or `<unset>`.
    Said(&'static str),
    /// Number of items of a list or entries of a map.
    Count(&'static str),
    /// Texts joined by commas, or another text where there are none.
    Join(&'static str, &'static str),
    /// The time that passed since, or another text where it is absent.
    Since(&'static str, &'static str),
    /// A map of labels.
    Labels(&'static str),
    /// A label selector, or a map of labels.
    Selector(&'static str),
    /// A field of every item of a list, joined by commas.
    Each(&'static str, &'static str),
    /// Something of its own.
    By(fn(&Value, Timestamp) -> Value),
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cell")
    }
}

impl Cell {
    /// The cell of an object.
    pub fn show(&self, obj: &Value, now: Timestamp) -> Value {
        match *self {
            Cell::Own => Value::Null,
            Cell::Name => value::str_at(obj, &["metadata", "name"]).unwrap_or("").into(),
            Cell::Age => time::age(obj, now).into(),
            Cell::Text(path, absent) => match walk::at(obj, path) {
                Some(Value::String(text)) if !text.is_empty() => text.as_str().into(),
                Some(Value::Number(number)) => number.to_string().into(),
                Some(Value::Bool(flag)) => flag.to_string().into(),
                _ => absent.into(),
            },
            Cell::Number(path) => walk::at(obj, path).and_then(Value::as_i64).unwrap_or(0).into(),
            Cell::Flag(path, absent) => walk::at(obj, path).and_then(Value::as_bool).unwrap_or(absent).into(),
            Cell::Said(path) => match walk::at(obj, path).and_then(Value::as_bool) {
                Some(true) => "True",
                Some(false) => "False",
                None => "<unset>",
            }
            .into(),
            Cell::Count(path) => match walk::at(obj, path) {
                Some(Value::Array(items)) => items.len(),
                Some(Value::Object(entries)) => entries.len(),
                _ => 0,
            }
            .into(),
            Cell::Join(path, absent) => {
                let texts = items(obj, path).iter().filter_map(Value::as_str);
                or(texts.collect::<Vec<_>>().join(","), absent)
            }
            Cell::Since(path, absent) => match walk::at(obj, path).and_then(Value::as_str) {
                Some(then) => time::since(Some(then), now).into(),
                None => absent.into(),
            },
            Cell::Labels(path) => labels::cell(walk::at(obj, path).and_then(Value::as_object)).into(),
            Cell::Selector(path) => selector(walk::at(obj, path)).into(),
            Cell::Each(path, field) => {
                let texts = items(obj, path).iter().map(|item| value::text(item, field));
                texts.collect::<Vec<_>>().join(",").into()
            }
            Cell::By(own) => own(obj, now),
        }
    }
}

fn items<'a>(obj: &'a Value, path: &str) -> &'a [Value] {
    walk::at(obj, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn or(text: String, absent: &str) -> Value {
    if text.is_empty() { absent.into() } else { text.into() }
}

/// A label selector as text; `<none>` if it selects everything.
pub fn selector(selector: Option<&Value>) -> String {
    let empty = Value::Object(Map::new());
    match scale::selector_text(selector.unwrap_or(&empty)) {
        text if text.is_empty() => "<none>".into(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_show_what_they_name() {
        let obj = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"n": 3, "t": "x", "f": false, "l": ["a", "b"], "c": [{"name": "p"}, {"name": "q"}],
                "when": "2026-01-01T00:00:05Z", "s": {"matchLabels": {"k": "v"}}}});
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        for (cell, shown) in [
            (Cell::Name, json!("a")),
            (Cell::Age, json!("10s")),
            (Cell::Text("spec.t", "-"), json!("x")),
            (Cell::Text("spec.n", "-"), json!("3")),
            (Cell::Text("spec.none", "-"), json!("-")),
            (Cell::Number("spec.n"), json!(3)),
            (Cell::Number("status.n"), json!(0)),
            (Cell::Flag("spec.f", true), json!(false)),
            (Cell::Flag("spec.none", true), json!(true)),
            (Cell::Said("spec.f"), json!("False")),
            (Cell::Said("spec.none"), json!("<unset>")),
            (Cell::Count("spec.l"), json!(2)),
            (Cell::Join("spec.l", "-"), json!("a,b")),
            (Cell::Join("spec.none", "-"), json!("-")),
            (Cell::Since("spec.when", "-"), json!("5s")),
            (Cell::Selector("spec.s"), json!("k=v")),
            (Cell::Selector("spec.none"), json!("<none>")),
            (Cell::Each("spec.c", "name"), json!("p,q")),
        ] {
            assert_eq!(cell.show(&obj, now), shown, "{cell:?}");
        }
    }
}
