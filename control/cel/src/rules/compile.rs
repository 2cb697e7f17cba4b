//! From a schema to its rules.

use std::sync::Arc;

use serde_json::Value;

use super::{Rule, Rules};
use crate::decl::{Kind, flag, strings};
use crate::{Decl, Env, Issues, Program, Type};

pub(super) const WORD: &str = "x-kubernetes-validations";

impl Rules {
    /// The rules of the schema of an object of the API.
    pub fn parse(schema: &Value) -> Rules {
        match has_rules(schema) {
            true => below(schema, schema, true, Decl::of_schema(schema, true).as_ref()),
            false => Rules::default(),
        }
    }
}

impl Rules {
    /// The rules of the schema of a value that is no object of the API.
    pub fn parse_value(schema: &Value) -> Rules {
        match has_rules(schema) {
            true => below(schema, schema, false, Decl::of_schema(schema, false).as_ref()),
            false => Rules::default(),
        }
    }
}

/// Whether there is any rule, told without compiling.
fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key(WORD) || map.values().any(has_rules),
        Value::Array(list) => list.iter().any(has_rules),
        _ => false,
    }
}

/// `stated` is the schema that says what the value is; `schema` may only restrict it.
fn below(schema: &Value, stated: &Value, root: bool, decl: Option<&Arc<Decl>>) -> Rules {
    let inner = |part: &Value, stated: Option<&Value>, decl: Option<&Arc<Decl>>| {
        let stated = stated?;
        let rules = below(part, stated, flag(stated, "x-kubernetes-embedded-resource"), decl);
        (!rules.is_empty()).then_some(rules)
    };
    let text = |key: &str| stated.get(key).and_then(Value::as_str).unwrap_or("");
    let mut rules = Rules {
        rules: list(schema, WORD).iter().map(|rule| compile(rule, decl)).collect(),
        type_text: text("type").to_owned(),
        keys: (text("x-kubernetes-list-type") == "map").then(|| strings(stated, "x-kubernetes-list-map-keys")),
        ..Rules::default()
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, part) in properties.into_iter().flatten() {
        // The root's own names are declared as they always are.
        let is_own = root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
        let stated = stated.get("properties").and_then(|properties| properties.get(name));
        let declared = match is_own {
            true => stated.and_then(|stated| Decl::of_schema(stated, false)),
            false => stated.and_then(|stated| property(decl, name, stated)),
        };
        if let Some(inside) = inner(part, stated, declared.as_ref()) {
            rules.properties.insert(name.clone(), inside);
        }
    }
    let (items, values) = match decl.map(|decl| &decl.kind) {
        Some(Kind::List { items, .. }) => (Some(items), None),
        Some(Kind::Map(values)) => (None, Some(values)),
        _ => (None, None),
    };
    let object = |key: &str, of: &Value| of.get(key).filter(|part| part.is_object()).cloned();
    if let Some(part) = object("items", schema) {
        rules.items = inner(&part, stated.get("items"), items).map(Box::new);
    }
    if let Some(part) = object("additionalProperties", schema) {
        rules.additional = inner(&part, stated.get("additionalProperties"), values).map(Box::new);
    }
    for part in list(schema, "allOf") {
        let inside = below(part, stated, root, decl);
        if !inside.is_empty() {
            rules.all_of.push(inside);
        }
    }
    rules
}

/// The declaration of a property, by its name in JSON; expressions of the whole may be unable to name it.
pub(super) fn property(decl: Option<&Arc<Decl>>, name: &str, stated: &Value) -> Option<Arc<Decl>> {
    match &decl?.kind {
        Kind::Object(fields) => match fields.values().find(|field| field.name == name) {
            Some(field) => Some(field.decl.clone()),
            None => Decl::of_schema(stated, flag(stated, "x-kubernetes-embedded-resource")),
        },
        _ => None,
    }
}

pub(super) fn list<'s>(schema: &'s Value, key: &str) -> &'s [Value] {
    schema
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The variables of the rules of a value.
pub(super) fn env(decl: &Arc<Decl>, optional_old: bool) -> Env {
    let env = Env::new().declare("self", decl);
    match optional_old {
        true => env.variable("oldSelf", Type::of(decl).optional()),
        false => env.declare("oldSelf", decl),
    }
}

fn compile(rule: &Value, decl: Option<&Arc<Decl>>) -> Rule {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let optional_old = flag(rule, "optionalOldSelf");
    let compiled = |source: &str| -> Result<Program, String> {
        let decl = decl.ok_or("rule declared on schema that does not support validation rules")?;
        let program = env(decl, optional_old).compile(source);
        program.map_err(|issues: Issues| format!("compilation failed: {issues}"))
    };
    let message = text("messageExpression");
    Rule {
        program: compiled(&text("rule")),
        message_program: Some(message)
            .filter(|m| !m.trim().is_empty())
            .and_then(|m| compiled(&m).ok()),
        text: text("rule").trim().to_owned(),
        message: text("message").trim().to_owned(),
        reason: text("reason"),
        field_path: Some(text("fieldPath"))
            .filter(|path| !path.is_empty())
            .map(|path| shown_path(&path)),
        optional_old,
    }
}

/// A path as errors show it: names behind dots, keys of maps in brackets.
fn shown_path(path: &str) -> String {
    let shown = path.replace("['", "[").replace("']", "]");
    shown.strip_prefix('.').map(str::to_owned).unwrap_or(shown)
}
