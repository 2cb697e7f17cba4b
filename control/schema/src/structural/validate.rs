//! Whether an object fits its schema.

use serde_json::Value;

use crate::ListType;

use super::{Bound, Checks, Fault, Problem, Schema, Trail, Type, formats};

impl Schema {
    /// What is wrong with an object. Of one that replaces another only what changed is judged (KEP-4008).
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut trail = Trail::default();
        self.check(object, old, &mut trail, &mut problems);
        self.unique_below(object, old, &mut trail, &mut problems);
        problems
    }

    /// An expression that patterns cannot be, and why.
    pub fn check_pattern(pattern: &str) -> Result<(), String> {
        regex_lite::Regex::new(pattern)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// The item that an item of a list replaces; only maps tell.
    pub(super) fn counterpart<'o>(&self, item: &Value, old: Option<&'o Value>) -> Option<&'o Value> {
        if self.list_type != Some(ListType::Map) {
            return None;
        }
        let same = |other: &&'o Value| self.list_keys.iter().all(|key| other.get(key) == item.get(key));
        old?.as_array()?.iter().find(same)
    }

    fn check(&self, value: &Value, old: Option<&Value>, trail: &mut Trail, problems: &mut Vec<Problem>) {
        if old == Some(value) {
            return;
        }
        if value.is_null() && self.nullable {
            return;
        }
        if !self.is_of_type(value) {
            let found = type_name(value);
            let detail = format!("{} in body must be of type {}: {found:?}", trail.0, self.type_text());
            problems.push(problem(trail, Fault::Type, found.into(), detail));
        }
        match value {
            Value::Object(map) => {
                for (name, below) in map {
                    if let Some(schema) = self.field(name) {
                        let old = old.and_then(|old| old.get(name));
                        trail.field(name, |trail| schema.check(below, old, trail, problems));
                    }
                }
                if self.embedded {
                    identified(value, trail, problems);
                }
            }
            Value::Array(list) => {
                if let Some(schema) = &self.items {
                    for (at, item) in list.iter().enumerate() {
                        let old = self.counterpart(item, old);
                        trail.item(at, |trail| schema.check(item, old, trail, problems));
                    }
                }
            }
            _ => {}
        }
        if let Some(checks) = &self.checks {
            checks.check(value, trail, problems);
        }
    }

    fn is_of_type(&self, value: &Value) -> bool {
        match self.kind {
            Type::Any => true,
            Type::Object => value.is_object(),
            Type::Array => value.is_array(),
            Type::String => value.is_string(),
            Type::Boolean => value.is_boolean(),
            Type::Number => value.is_number(),
            Type::Integer => is_whole(value),
            Type::IntOrString => value.is_string() || is_whole(value),
        }
    }

    fn type_text(&self) -> &'static str {
        match self.kind {
            Type::Any => "any",
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Boolean => "boolean",
            Type::Number => "number",
            Type::Integer => "integer",
            Type::IntOrString => "integer,string",
        }
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_i64().is_some() || value.as_u64().is_some() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn problem(trail: &Trail, fault: Fault, value: Value, detail: String) -> Problem {
    Problem {
        field: trail.shown(),
        fault,
        value,
        detail,
    }
}

/// An object of the API inside another one says what it is.
fn identified(object: &Value, trail: &mut Trail, problems: &mut Vec<Problem>) {
    for key in ["apiVersion", "kind"] {
        if object[key].as_str().unwrap_or("").is_empty() {
            trail.field(key, |trail| {
                let detail = "must not be empty".to_owned();
                problems.push(problem(trail, Fault::Required, Value::Null, detail));
            });
        }
    }
}

impl Checks {
    fn check(&self, value: &Value, trail: &mut Trail, problems: &mut Vec<Problem>) {
        self.combined(value, trail, problems);
        if !self.one_of_values.is_empty() && !self.one_of_values.iter().any(|one| same(one, value)) {
            let known: Vec<String> = self.one_of_values.iter().map(quoted).collect();
            let detail = format!("supported values: {}", known.join(", "));
            problems.push(problem(trail, Fault::NotSupported, value.clone(), detail));
        }
        match value {
            Value::String(text) => self.text(text, trail, problems),
            Value::Number(_) => self.number(value, trail, problems),
            Value::Array(list) => {
                if let Some(least) = self.items.least.filter(|least| (list.len() as u64) < *least) {
                    let detail = format!("{} in body should have at least {least} items", trail.0);
                    problems.push(problem(trail, Fault::Invalid, value.clone(), detail));
                }
                too_many(list.len(), self.items.most, trail, problems);
            }
            Value::Object(map) => {
                for name in self.required.iter().filter(|name| !map.contains_key(*name)) {
                    trail.field(name, |trail| {
                        problems.push(problem(trail, Fault::Required, Value::Null, String::new()));
                    });
                }
                if let Some(least) = self.entries.least.filter(|least| (map.len() as u64) < *least) {
                    let detail = format!("{} in body should have at least {least} properties", trail.0);
                    problems.push(problem(trail, Fault::Invalid, value.clone(), detail));
                }
                too_many(map.len(), self.entries.most, trail, problems);
            }
            _ => {}
        }
    }

    fn text(&self, text: &str, trail: &Trail, problems: &mut Vec<Problem>) {
        let mut invalid = |fault, detail| problems.push(problem(trail, fault, text.into(), detail));
        let path = &trail.0;
        let length = text.chars().count() as u64;
        if let Some(most) = self.length.most.filter(|most| length > *most) {
            invalid(Fault::TooLong, format!("may not be more than {most} bytes"));
        }
        if let Some(least) = self.length.least.filter(|least| length < *least) {
            invalid(
                Fault::Invalid,
                format!("{path} in body should be at least {least} chars long"),
            );
        }
        if let Some(pattern) = &self.pattern
            && pattern.regex.as_ref().is_some_and(|regex| !regex.is_match(text))
        {
            invalid(
                Fault::Invalid,
                format!("{path} in body should match '{}'", pattern.text),
            );
        }
        if !formats::fits(&self.format, text) {
            let detail = format!("{path} in body must be of type {}: {text:?}", self.format);
            invalid(Fault::Type, detail);
        }
    }

    fn number(&self, value: &Value, trail: &Trail, problems: &mut Vec<Problem>) {
        let path = &trail.0;
        let number = value.as_f64().unwrap_or(0.0);
        let mut invalid = |detail| {
            problems.push(problem(
                trail,
                Fault::Invalid,
                value.clone(),
                format!("{path} in body {detail}"),
            ))
        };
        let words = |bound: &Bound, or_equal: &str, only: &str| {
            let limit = shown(&bound.value, value);
            let words = if bound.exclusive { only } else { or_equal };
            format!("should be {words} {limit}")
        };
        let exceeds = |bound: &Bound, greater: bool| {
            let limit = bound.value.as_f64().unwrap_or(0.0);
            let beyond = if greater { number > limit } else { number < limit };
            beyond || (bound.exclusive && number == limit)
        };
        if let Some(bound) = self.maximum.as_ref().filter(|bound| exceeds(bound, true)) {
            invalid(words(bound, "less than or equal to", "less than"));
        }
        if let Some(bound) = self.minimum.as_ref().filter(|bound| exceeds(bound, false)) {
            invalid(words(bound, "greater than or equal to", "greater than"));
        }
        if let Some(factor) = &self.multiple_of
            && factor.as_f64().is_some_and(|f| f > 0.0 && !is_multiple(number, f))
        {
            invalid(format!("should be a multiple of {}", shown(factor, value)));
        }
    }

    /// Schemas that hold together, one of which holds, and so on.
    fn combined(&self, value: &Value, trail: &mut Trail, problems: &mut Vec<Problem>) {
        let of = |schema: &Schema, trail: &mut Trail| {
            let mut found = Vec::new();
            schema.check(value, None, trail, &mut found);
            found
        };
        let mut whole = |trail: &Trail, words: String| {
            problems.push(Problem {
                field: "<nil>".to_owned(),
                fault: Fault::Invalid,
                value: "".into(),
                detail: format!("{:?} {words}", trail.0),
            });
        };
        let mut more = Vec::new();
        if !self.any_of.is_empty() {
            let found: Vec<Vec<Problem>> = self.any_of.iter().map(|schema| of(schema, trail)).collect();
            if found.iter().all(|problems| !problems.is_empty()) {
                whole(trail, "must validate at least one schema (anyOf)".to_owned());
                more.extend(found.into_iter().min_by_key(Vec::len).unwrap_or_default());
            }
        }
        if !self.one_of.is_empty() {
            let found: Vec<Vec<Problem>> = self.one_of.iter().map(|schema| of(schema, trail)).collect();
            let valid = found.iter().filter(|problems| problems.is_empty()).count();
            if valid != 1 {
                let count = match valid {
                    0 => "Found none valid".to_owned(),
                    many => format!("Found {many} valid alternatives"),
                };
                whole(trail, format!("must validate one and only one schema (oneOf). {count}"));
                if valid == 0 {
                    more.extend(found.into_iter().min_by_key(Vec::len).unwrap_or_default());
                }
            }
        }
        let failed: Vec<Problem> = self.all_of.iter().flat_map(|schema| of(schema, trail)).collect();
        if !failed.is_empty() {
            whole(trail, "must validate all the schemas (allOf)".to_owned());
            more.extend(failed);
        }
        if self.not.as_ref().is_some_and(|schema| of(schema, trail).is_empty()) {
            whole(trail, "must not validate the schema (not)".to_owned());
        }
        problems.extend(more);
    }
}

fn too_many(found: usize, most: Option<u64>, trail: &Trail, problems: &mut Vec<Problem>) {
    if let Some(most) = most.filter(|most| found as u64 > *most) {
        let items = if most == 1 { "item" } else { "items" };
        let detail = format!("must have at most {most} {items}");
        problems.push(problem(trail, Fault::TooMany, found.into(), detail));
    }
}

fn is_multiple(number: f64, factor: f64) -> bool {
    let quotient = number / factor;
    (quotient - quotient.round()).abs() < 1e-9
}

/// Whether two values are equal, numbers by their amount.
fn same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && one.as_f64() == other.as_f64())
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => format!("\"{other}\""),
    }
}

/// A limit as it is shown beside a number: whole where that is whole.
fn shown(limit: &Value, beside: &Value) -> String {
    match limit.as_f64() {
        Some(number) if number.fract() == 0.0 || beside.as_i64().is_some() => format!("{}", number.trunc()),
        Some(number) => number.to_string(),
        None => limit.to_string(),
    }
}
