//! Columns that a definition states.

use barepod_kinds::Column;
use barepod_kinds::cells::Cell;
use barepod_kinds::table::{NAME, age};
use barepod_kinds::time;
use jiff::Timestamp;
use serde_json::Value;

use super::jsonpath::JsonPath;

/// The columns of a version of a custom resource.
pub(super) struct Columns {
    shown: Vec<Column>,
    /// Of all but the first column, which is the name.
    cells: Vec<(String, Option<JsonPath>)>,
}

impl Columns {
    /// Reads `additionalPrinterColumns`; without any there is the age.
    pub(super) fn new(columns: &[Value]) -> Self {
        let mut shown = vec![NAME];
        let mut cells = Vec::new();
        for column in columns {
            let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            let path = text("jsonPath");
            let description = match text("description") {
                empty if empty.is_empty() => format!("Custom resource definition column (in JSONPath format): {path}"),
                given => given,
            };
            shown.push(Column {
                name: text("name").into(),
                type_: text("type").into(),
                format: text("format").into(),
                description: description.into(),
                priority: column["priority"]
                    .as_i64()
                    .and_then(|p| i32::try_from(p).ok())
                    .unwrap_or(0),
                cell: Cell::Own,
            });
            cells.push((text("type"), JsonPath::parse(&path)));
        }
        if columns.is_empty() {
            shown.push(Column {
                name: "Age".into(),
                type_: "date".into(),
                format: "".into(),
                description: "Time that passed since the object was made".into(),
                priority: 0,
                cell: Cell::Own,
            });
            cells.push(("age".to_owned(), None));
        }
        Columns { shown, cells }
    }

    pub(super) fn shown(&self) -> &[Column] {
        &self.shown
    }

    pub(super) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let first = NAME.cell.show(object, now);
        let others = self.cells.iter().map(|(kind, path)| match path {
            Some(path) => path
                .find(object)
                .first()
                .map_or(Value::Null, |value| cell(kind, value, now)),
            None if kind == "age" => age(object, now),
            None => Value::Null,
        });
        std::iter::once(first).chain(others).collect()
    }
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("string", Value::String(_)) => value.clone(),
        ("string", Value::Null) => Value::Null,
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => value.as_f64().map_or(Value::Null, |number| number.trunc().into()),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => match time::parse(text) {
            Some(since) => time::human(now.as_second() - since.as_second()).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_of_their_columns_types() {
        let columns = [
            json!({"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1}),
            json!({"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}),
            json!({"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
            json!({"name": "None", "type": "string", "jsonPath": ".spec.none"}),
            json!({"name": "Map", "type": "string", "jsonPath": ".spec"}),
            json!({"name": "Odd", "type": "boolean", "jsonPath": ".spec.size"}),
        ];
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"size": 3},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let now = "2026-01-01T00:00:09Z".parse().unwrap();
        let made = Columns::new(&columns);
        assert_eq!(
            made.cells(&object, now),
            [
                json!("a"),
                json!(3),
                json!("True"),
                json!("9s"),
                json!(null),
                json!("{\"size\":3}"),
                json!(null)
            ]
        );
        assert_eq!((made.shown().len(), made.shown()[1].priority), (7, 1));
        assert_eq!(Columns::new(&[]).cells(&object, now), [json!("a"), json!("9s")]);
    }
}
