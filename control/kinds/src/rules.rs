//! Validation and defaults as data: what must hold at the places a pattern names.

use serde_json::{Map, Value};

use crate::path::{Errors, Path};
use crate::{labels, names, walk};

/// What must hold at the places of a pattern.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The pattern, see [`crate::walk`].
    pub at: &'static str,
    /// The check.
    pub check: Check,
}

/// A rule of a table.
pub const fn rule(at: &'static str, check: Check) -> Rule {
    Rule { at, check }
}

/// A check of one value. Where nothing else is said, an absent value passes.
#[derive(Clone, Copy)]
pub enum Check {
    /// It is there, and not an empty text, list or map. The text is the error's detail.
    Required(&'static str),
    /// It is there, be it empty. The text is the error's detail.
    Given(&'static str),
    /// A text out of this sorted list; it is required.
    OneOf(&'static [&'static str]),
    /// A text out of this sorted list; a given one may not be empty.
    AnyOf(&'static [&'static str]),
    /// A number of at least this.
    AtLeast(i64),
    /// A number greater than this; the text is the error's detail. An absent one is 0.
    Above(i64, &'static str),
    /// A number in this range.
    Within(i64, i64),
    /// A text of this form. An empty one passes.
    Text(fn(&str) -> Vec<String>),
    /// A text of at most so many bytes.
    Longest(usize),
    /// A list or map of at most so many entries.
    Most(usize),
    /// The items differ in these fields, or (without fields) as a whole.
    Unique(&'static [&'static str]),
    /// As it was before the update.
    Immutable,
    /// As it was before the update, unless it was not set then.
    SetOnce,
    /// As it was before the update; the text is the error's detail.
    Fixed(&'static str),
    /// Not set. The text is the error's detail.
    Forbidden(&'static str),
    /// A label selector.
    Selector,
    /// A map of labels.
    Labels,
    /// Something of its own.
    By(fn(&Value, &Path<'_>, &mut Errors)),
}

/// Checks an object by a table of rules.
pub fn check(rules: &[Rule], new: &Value, old: Option<&Value>, errors: &mut Errors) {
    for rule in rules {
        match rule.check {
            Check::Immutable | Check::SetOnce => {
                let Some(before) = old.map(|old| walk::at(old, rule.at)) else {
                    continue;
                };
                if before.is_none() && matches!(rule.check, Check::SetOnce) {
                    continue;
                }
                errors.immutable(&Path::new(rule.at), walk::at(new, rule.at), before);
            }
            Check::Fixed(detail) => {
                if old.is_some_and(|old| walk::at(old, rule.at) != walk::at(new, rule.at)) {
                    errors.forbidden(&Path::new(rule.at), detail);
                }
            }
            check => walk::each(new, rule.at, &mut |value, path| one(check, value, path, errors)),
        }
    }
}

/// Checks a part of an object by a table of rules, none of which is about updates.
pub fn check_below(base: Option<&Path<'_>>, rules: &[Rule], part: &Value, errors: &mut Errors) {
    let Some(base) = base else {
        return check(rules, part, None, errors);
    };
    for rule in rules {
        let mut visit = |value: Option<&Value>, path: &Path<'_>| one(rule.check, value, path, errors);
        walk::each_below(base, part, rule.at, &mut visit);
    }
}

fn one(check: Check, value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    let text = || value.and_then(Value::as_str).unwrap_or("");
    let number = value.and_then(Value::as_i64);
    match check {
        Check::Required(detail) if is_empty(value) => errors.required(path, detail),
        Check::Given(detail) if value.is_none() => errors.required(path, detail),
        Check::OneOf(_) if value.is_none() => errors.required(path, ""),
        Check::OneOf(supported) => errors.optional_one_of(path, value, supported),
        Check::AnyOf(supported) => errors.optional_one_of(path, value, supported),
        Check::AtLeast(least) => {
            if let Some(number) = number.filter(|n| *n < least) {
                errors.invalid(path, number, format!("must be greater than or equal to {least}"));
            }
        }
        Check::Above(limit, detail) => {
            let number = number.unwrap_or(0);
            if number <= limit {
                errors.invalid(path, number, detail);
            }
        }
        Check::Within(least, most) => {
            if let Some(number) = number.filter(|n| !(least..=most).contains(n)) {
                errors.invalid(path, number, format!("must be between {least} and {most}, inclusive"));
            }
        }
        Check::Text(form) if !text().is_empty() => errors.invalid_each(path, text(), form(text())),
        Check::Longest(limit) if text().len() > limit => errors.too_long(path, limit),
        Check::Most(limit) => {
            let count = match value {
                Some(Value::Array(items)) => items.len(),
                Some(Value::Object(entries)) => entries.len(),
                _ => 0,
            };
            if count > limit {
                errors.too_many(path, count, limit);
            }
        }
        Check::Unique(keys) => unique(keys, value, path, errors),
        Check::Forbidden(detail) if value.is_some() => errors.forbidden(path, detail),
        Check::Selector => {
            if let Some(selector) = value {
                labels::validate_selector(selector, path, errors);
            }
        }
        Check::Labels => labels::validate(value.and_then(Value::as_object), path, errors),
        Check::By(own) => {
            if let Some(value) = value {
                own(value, path, errors);
            }
        }
        _ => {}
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(_) => false,
    }
}

fn unique(keys: &[&str], value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    let items = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let same = |a: &Value, b: &Value| {
        if keys.is_empty() {
            a == b
        } else {
            keys.iter().all(|key| a.get(*key) == b.get(*key))
        }
    };
    for (i, item) in items.iter().enumerate() {
        if !items[..i].iter().any(|before| same(before, item)) {
            continue;
        }
        let at = path.index(i);
        match keys {
            [key] => errors.duplicate(&at.child(key), item.get(*key).cloned().unwrap_or_default()),
            _ => errors.duplicate(&at, item.clone()),
        }
    }
}

/// What is filled in at the places of a pattern where nothing is given.
#[derive(Clone, Copy)]
pub struct Default {
    /// The pattern, see [`crate::walk`].
    pub at: &'static str,
    /// The value.
    pub value: Filling,
}

/// A value of a table.
#[derive(Clone, Copy)]
pub enum Filling {
    /// Text.
    Text(&'static str),
    /// A number.
    Number(i64),
    /// A truth value.
    Flag(bool),
    /// An empty object, so that defaults inside it have a place.
    Object,
}

/// A text default of a table.
pub const fn text(at: &'static str, value: &'static str) -> Default {
    Default {
        at,
        value: Filling::Text(value),
    }
}

/// A number default of a table.
pub const fn number(at: &'static str, value: i64) -> Default {
    Default {
        at,
        value: Filling::Number(value),
    }
}

/// A truth default of a table.
pub const fn flag(at: &'static str, value: bool) -> Default {
    Default {
        at,
        value: Filling::Flag(value),
    }
}

/// A default of a table that only makes a place for others.
pub const fn object(at: &'static str) -> Default {
    Default {
        at,
        value: Filling::Object,
    }
}

/// Fills an object by a table of defaults, in its order.
pub fn fill(defaults: &[Default], obj: &mut Value) {
    for default in defaults {
        walk::each_mut(obj, default.at, &mut |map, name| {
            let slot = map.entry(name).or_insert(Value::Null);
            if slot.is_null() {
                *slot = match default.value {
                    Filling::Text(text) => text.into(),
                    Filling::Number(number) => number.into(),
                    Filling::Flag(flag) => flag.into(),
                    Filling::Object => Map::new().into(),
                };
            }
        });
    }
}

/// The form of DNS subdomains.
pub fn subdomain(text: &str) -> Vec<String> {
    names::subdomain_errors(text)
}

/// The form of DNS labels.
pub fn label(text: &str) -> Vec<String> {
    names::label_errors(text)
}

/// The form of qualified names, such as label keys.
pub fn qualified(text: &str) -> Vec<String> {
    names::qualified_name_errors(text)
}

/// The form of names that are one segment of a path.
pub fn segment(text: &str) -> Vec<String> {
    names::path_segment_errors(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: &[Rule] = &[
        rule("spec.name", Check::Required("")),
        rule("spec.mode", Check::OneOf(&["A", "B"])),
        rule("spec.count", Check::AtLeast(0)),
        rule("spec.share", Check::Within(1, 100)),
        rule("spec.items", Check::Unique(&["name"])),
        rule("spec.items[*].name", Check::Text(label)),
        rule("spec.fixed", Check::Immutable),
        rule("spec.once", Check::SetOnce),
        rule("spec.gone", Check::Forbidden("not here")),
    ];

    fn lines(new: Value, old: Option<Value>) -> Vec<String> {
        let mut errors = Errors::new();
        check(RULES, &new, old.as_ref(), &mut errors);
        errors.into_vec().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_report_in_known_words() {
        let good = json!({"spec": {"name": "x", "mode": "A", "items": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(lines(good.clone(), Some(good)), Vec::<String>::new());
        let bad = json!({"spec": {"mode": "C", "count": -1, "share": 101, "gone": 1, "once": 1, "fixed": 2,
            "items": [{"name": "a"}, {"name": "a"}]}});
        assert_eq!(
            lines(bad, Some(json!({"spec": {"fixed": 1}}))),
            [
                "spec.name: Required value",
                r#"spec.mode: Unsupported value: "C": supported values: "A", "B""#,
                "spec.count: Invalid value: -1: must be greater than or equal to 0",
                "spec.share: Invalid value: 101: must be between 1 and 100, inclusive",
                r#"spec.items[1].name: Duplicate value: "a""#,
                "spec.fixed: Invalid value: 2: field is immutable",
                "spec.gone: Forbidden: not here",
            ]
        );
    }

    #[test]
    fn defaults_fill_what_is_missing() {
        let table = [
            object("spec.a"),
            text("spec.a.b", "x"),
            number("spec.list[*].n", 3),
            flag("spec.f", false),
        ];
        let mut obj = json!({"spec": {"list": [{}, {"n": 1}], "f": true}});
        fill(&table, &mut obj);
        assert_eq!(
            obj,
            json!({"spec": {"a": {"b": "x"}, "list": [{"n": 3}, {"n": 1}], "f": true}})
        );
        let mut without = json!({"status": {}});
        fill(&table, &mut without);
        assert_eq!(without, json!({"status": {}}));
    }
}
