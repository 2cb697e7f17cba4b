//! Every place of an object that a pattern names: `spec.rules[*].http.paths[*].path`, `spec.hard{*}`.
//!
//! A pattern is field names joined by dots; `[*]` goes through the items of a list, `{*}` through the entries of a map.

use serde_json::{Map, Value};

use crate::path::Path;

/// Parts of objects that are never absent, only empty.
const ALWAYS: [&str; 4] = ["metadata", "roleRef", "spec", "status"];

/// Shows `visit` the value at every place of the pattern, `None` where it is absent (as `null` is).
///
/// A place whose surroundings are absent is no place, except in the parts that every object has: one without `spec` is
/// one with an empty `spec`.
pub fn each(obj: &Value, pattern: &str, visit: &mut dyn FnMut(Option<&Value>, &Path<'_>)) {
    go(Some(obj), pattern, None, 0, visit);
}

/// As [`each`], for an object that is itself a part of another one.
pub fn each_below(base: &Path<'_>, obj: &Value, pattern: &str, visit: &mut dyn FnMut(Option<&Value>, &Path<'_>)) {
    go(Some(obj), pattern, Some(base), 0, visit);
}

fn go(
    value: Option<&Value>,
    rest: &str,
    path: Option<&Path<'_>>,
    depth: usize,
    visit: &mut dyn FnMut(Option<&Value>, &Path<'_>),
) {
    let value = value.filter(|v| !v.is_null());
    if let Some(path) = path {
        if rest.is_empty() {
            return visit(value, path);
        }
        if let Some(rest) = rest.strip_prefix("[*]") {
            let items = value.and_then(Value::as_array).into_iter().flatten();
            for (i, item) in items.enumerate() {
                go(Some(item), after_dot(rest), Some(&path.index(i)), depth + 1, visit);
            }
            return;
        }
        if let Some(rest) = rest.strip_prefix("{*}") {
            for (key, item) in value.and_then(Value::as_object).into_iter().flatten() {
                go(Some(item), after_dot(rest), Some(&path.key(key)), depth + 1, visit);
            }
            return;
        }
        if value.is_none() && depth > 1 {
            return;
        }
    }
    let (name, rest) = split(rest);
    let below = value.and_then(|v| v.get(name)).filter(|v| !v.is_null());
    if depth == 0 && below.is_none() && !rest.is_empty() && !ALWAYS.contains(&name) {
        return;
    }
    match path {
        None => go(below, rest, Some(&Path::new(name)), depth + 1, visit),
        Some(path) => go(below, rest, Some(&path.child(name)), depth + 1, visit),
    }
}

/// Shows `visit` the object around every place of the pattern, with the name of the last field. Nothing is made.
pub fn each_mut(obj: &mut Value, pattern: &str, visit: &mut dyn FnMut(&mut Map<String, Value>, &str)) {
    if let Some(rest) = pattern.strip_prefix("[*]") {
        for item in obj.as_array_mut().into_iter().flatten() {
            each_mut(item, after_dot(rest), visit);
        }
        return;
    }
    if let Some(rest) = pattern.strip_prefix("{*}") {
        for item in obj.as_object_mut().into_iter().flat_map(Map::values_mut) {
            each_mut(item, after_dot(rest), visit);
        }
        return;
    }
    let (name, rest) = split(pattern);
    let Some(map) = obj.as_object_mut() else { return };
    if rest.is_empty() {
        visit(map, name);
    } else if let Some(below) = map.get_mut(name) {
        each_mut(below, rest, visit);
    }
}

/// The value at a pattern without `[*]` and `{*}`; `null` counts as absent.
pub fn at<'a>(obj: &'a Value, pattern: &str) -> Option<&'a Value> {
    pattern
        .split('.')
        .try_fold(obj, |here, name| here.get(name))
        .filter(|value| !value.is_null())
}

fn split(pattern: &str) -> (&str, &str) {
    let end = pattern.find(['.', '[', '{']).unwrap_or(pattern.len());
    (&pattern[..end], after_dot(&pattern[end..]))
}

fn after_dot(rest: &str) -> &str {
    rest.strip_prefix('.').unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn places(obj: &Value, pattern: &str) -> Vec<String> {
        let mut found = Vec::new();
        each(obj, pattern, &mut |value, path| {
            found.push(format!("{path}={}", value.map_or("-".into(), Value::to_string)));
        });
        found
    }

    #[test]
    fn patterns_find_their_places() {
        let obj = json!({"spec": {"rules": [{"paths": [{"p": 1}, {}]}, {}], "hard": {"cpu": "1"}, "none": null}});
        assert_eq!(
            places(&obj, "spec.rules[*].paths[*].p"),
            ["spec.rules[0].paths[0].p=1", "spec.rules[0].paths[1].p=-"]
        );
        assert_eq!(places(&obj, "spec.hard{*}"), ["spec.hard[cpu]=\"1\""]);
        assert_eq!(places(&obj, "spec.none"), ["spec.none=-"]);
        assert_eq!(places(&obj, "spec.none.below"), Vec::<String>::new());
        assert_eq!(places(&json!({}), "spec.x"), ["spec.x=-"]);
        assert_eq!(places(&json!({}), "value"), ["value=-"]);
        assert_eq!(at(&obj, "spec.hard.cpu"), Some(&json!("1")));
    }

    #[test]
    fn places_can_be_changed() {
        let mut obj = json!({"spec": {"a": [{"b": {}}, {}], "m": {"x": {}}}});
        each_mut(&mut obj, "spec.a[*].b.c", &mut |map, name| {
            map.insert(name.into(), 1.into());
        });
        each_mut(&mut obj, "spec.m{*}.y", &mut |map, name| {
            map.insert(name.into(), 2.into());
        });
        assert_eq!(obj, json!({"spec": {"a": [{"b": {"c": 1}}, {}], "m": {"x": {"y": 2}}}}));
    }
}
