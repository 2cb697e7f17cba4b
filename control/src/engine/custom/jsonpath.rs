//! The paths of columns: JSONPath as kubectl knows it, with names, indices, wildcards and filters by equality.

use serde_json::Value;

/// A path that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Name(String),
    Index(i64),
    Every,
    /// Items in which the value at a path is this one, or is not.
    Where(Vec<String>, Value, bool),
}

impl JsonPath {
    /// Reads a path with a leading dot. `None` if it cannot be read.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = name(after);
                rest = after;
                match name.as_str() {
                    // A bracket may follow a dot.
                    "" => {}
                    "*" => steps.push(Step::Every),
                    _ => steps.push(Step::Name(name)),
                }
            } else {
                let end = closing(rest)?;
                steps.push(bracket(rest.get(1..end)?)?);
                rest = &rest[end + 1..];
            }
        }
        Some(JsonPath(steps))
    }

    /// What is there in an object.
    pub(super) fn find<'v>(&self, object: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![object];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.find(value)).collect();
        }
        found
    }
}

impl Step {
    fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        match self {
            Step::Name(name) => value.get(name).into_iter().collect(),
            Step::Index(index) => {
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let at = if *index < 0 { length + index } else { *index };
                usize::try_from(at)
                    .ok()
                    .and_then(|at| items.get(at))
                    .into_iter()
                    .collect()
            }
            Step::Every => match value {
                Value::Object(map) => map.values().collect(),
                _ => items.iter().collect(),
            },
            Step::Where(path, wanted, equal) => {
                let at = |item: &'v Value| path.iter().try_fold(item, |here, key| here.get(key));
                let fits = |item: &&'v Value| at(item).is_some_and(|found| (found == wanted) == *equal);
                items.iter().filter(fits).collect()
            }
        }
    }
}

/// A name up to the next dot or bracket; a backslash takes the next character as it is.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket that begins a text ends, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '[') if at == 0 => {}
            (None, _) if at == 0 => return None,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ']') => return Some(at),
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Option<Step> {
    let inside = inside.trim();
    if inside == "*" {
        return Some(Step::Every);
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (path, wanted, equal) = match filter.split_once("==") {
            Some((path, wanted)) => (path, wanted, true),
            None => filter.split_once("!=").map(|(path, wanted)| (path, wanted, false))?,
        };
        let path = path.trim().strip_prefix("@.")?;
        let path = path.split('.').map(str::to_owned).collect();
        return Some(Step::Where(path, literal(wanted.trim())?, equal));
    }
    match literal(inside)? {
        Value::String(name) => Some(Step::Name(name)),
        Value::Number(number) => number.as_i64().map(Step::Index),
        _ => None,
    }
}

/// A text in quotes of either kind, a number or a truth value.
fn literal(text: &str) -> Option<Value> {
    let inside = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    match inside('\'').or_else(|| inside('"')) {
        Some(text) => Some(text.into()),
        None => serde_json::from_str(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({"metadata": {"annotations": {"a.b/c": "x"}}, "spec": {"list": [1, 2, 3]},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        let find = |path: &str| JsonPath::parse(path).map(|path| json!(path.find(&object)));
        assert_eq!(find(".spec.list[1]"), Some(json!([2])));
        assert_eq!(find(".spec.list[-1]"), Some(json!([3])));
        assert_eq!(find(".spec.list[*]"), Some(json!([1, 2, 3])));
        assert_eq!(find(".spec.none.deep"), Some(json!([])));
        assert_eq!(find(".metadata.annotations.a\\.b/c"), Some(json!(["x"])));
        assert_eq!(find(".metadata.annotations['a.b/c']"), Some(json!(["x"])));
        assert_eq!(
            find(".status.conditions[?(@.type==\"Ready\")].status"),
            Some(json!(["True"]))
        );
        assert_eq!(find(".status.conditions[?(@.type!='Ready')].type"), Some(json!(["A"])));
        assert_eq!(find(".spec.list[x"), None);
    }
}
