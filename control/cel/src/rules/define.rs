//! Whether the rules of a definition are sound, and not too expensive.

use std::sync::Arc;

use serde_json::Value;

use super::compile::{WORD, env, list, property};
use crate::decl::{Kind, flag};
use crate::{Decl, Type};

/// What one rule may cost in the worst case, in all the places where it can apply.
const RULE_LIMIT: u64 = 10_000_000;
/// What all rules of a schema may cost together.
const SCHEMA_LIMIT: u64 = 100_000_000;
/// How many rules are named when they are too expensive together.
const NAMED: usize = 4;

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Flaw {
    /// Where: the path of the schema is in front.
    pub field: String,
    /// What kind of error it is.
    pub fault: Fault,
    /// What is shown of the value.
    pub value: Value,
    /// In words.
    pub detail: String,
}

/// What kind of error a flaw is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is wrong.
    Invalid,
    /// It costs too much.
    Forbidden,
}

/// Checks all rules of a schema that is structural.
pub fn check_definition(schema: &Value, path: &str) -> Vec<Flaw> {
    let mut check = Check {
        flaws: Vec::new(),
        costs: Vec::new(),
        total: 0,
    };
    let root = Place {
        decl: Decl::of_schema(schema, true),
        times: Some(1),
        uncorrelated: None,
    };
    check.below(schema, schema, &root, true, path);
    if check.total > SCHEMA_LIMIT {
        check.costs.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        for (field, _) in check.costs.iter().take(NAMED) {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            check.flaws.push(forbidden(field.clone(), detail.to_owned()));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        check
            .flaws
            .push(forbidden(path.to_owned(), exceeds(what, check.total, SCHEMA_LIMIT)));
    }
    check.flaws
}

fn forbidden(field: String, detail: String) -> Flaw {
    Flaw {
        field,
        fault: Fault::Forbidden,
        value: Value::Null,
        detail,
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let shown = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

struct Place {
    decl: Option<Arc<Decl>>,
    /// How often the value can be in one object; unbounded if absent.
    times: Option<u64>,
    /// The path of the outermost list around it whose items cannot be told from those that they replace.
    uncorrelated: Option<String>,
}

struct Check {
    flaws: Vec<Flaw>,
    costs: Vec<(String, u64)>,
    total: u64,
}

impl Check {
    fn below(&mut self, schema: &Value, stated: &Value, place: &Place, root: bool, path: &str) {
        let text = |key: &str| stated.get(key).and_then(Value::as_str).unwrap_or("");
        let count = |key: &str| stated.get(key).and_then(Value::as_u64);
        let times = |more: Option<u64>| place.times.zip(more).map(|(a, b)| a.saturating_mul(b));
        let embedded = |part: &Value| flag(part, "x-kubernetes-embedded-resource");
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, part) in properties.into_iter().flatten() {
            let Some(stated) = stated.get("properties").and_then(|properties| properties.get(name)) else {
                continue;
            };
            let is_own = root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
            let inside = Place {
                decl: match is_own {
                    true => Decl::of_schema(stated, false),
                    false => property(place.decl.as_ref(), name, stated),
                },
                times: place.times,
                uncorrelated: place.uncorrelated.clone(),
            };
            self.below(
                part,
                stated,
                &inside,
                embedded(stated),
                &format!("{path}.properties[{name}]"),
            );
        }
        if let (Some(part), Some(stated)) = (schema.get("items"), stated.get("items")) {
            let inside = Place {
                decl: place.decl.as_ref().and_then(|decl| match &decl.kind {
                    Kind::List { items, .. } => Some(items.clone()),
                    _ => None,
                }),
                times: times(count("maxItems")),
                uncorrelated: (place.uncorrelated.clone())
                    .or_else(|| (text("x-kubernetes-list-type") != "map").then(|| path.to_owned())),
            };
            self.below(part, stated, &inside, embedded(stated), &format!("{path}.items"));
        }
        let object = |of: &'_ Value| of.get("additionalProperties").filter(|part| part.is_object()).cloned();
        if let (Some(part), Some(stated)) = (object(schema), object(stated)) {
            let inside = Place {
                decl: place.decl.as_ref().and_then(|decl| match &decl.kind {
                    Kind::Map(values) => Some(values.clone()),
                    _ => None,
                }),
                times: times(count("maxProperties")),
                uncorrelated: place.uncorrelated.clone(),
            };
            self.below(
                &part,
                &stated,
                &inside,
                embedded(&stated),
                &format!("{path}.additionalProperties"),
            );
        }
        for (at, part) in list(schema, "allOf").iter().enumerate() {
            self.below(part, stated, place, root, &format!("{path}.allOf[{at}]"));
        }
        for (at, rule) in list(schema, WORD).iter().enumerate() {
            self.rule(rule, place, stated, &format!("{path}.{WORD}[{at}]"));
        }
    }

    fn rule(&mut self, rule: &Value, place: &Place, stated: &Value, path: &str) {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("");
        let invalid = |key: &str, value: Value, detail: String| Flaw {
            field: format!("{path}.{key}"),
            fault: Fault::Invalid,
            value,
            detail,
        };
        let Some(decl) = &place.decl else {
            let kind = stated.get("type").and_then(Value::as_str).unwrap_or("");
            let open = flag(stated, "x-kubernetes-preserve-unknown-fields");
            let detail = format!(
                "rule declared on schema that does not support validation rules type: '{kind}' \
                 x-kubernetes-preserve-unknown-fields: '{open}'"
            );
            return self.flaws.push(invalid("rule", rule.clone(), detail));
        };
        let optional = rule.get("optionalOldSelf").and_then(Value::as_bool);
        let env = env(decl, optional == Some(true));
        let mut transition = false;
        match env.compile(text("rule")) {
            Err(issues) => {
                let detail = format!("compilation failed: {issues}");
                self.flaws.push(invalid("rule", rule.clone(), detail));
            }
            Ok(program) if !matches!(program.result(), Type::Bool | Type::Dyn) => {
                let detail = "cel expression must evaluate to a bool".to_owned();
                self.flaws.push(invalid("rule", rule.clone(), detail));
            }
            Ok(program) => {
                let times = place.times.unwrap_or_else(|| decl.times());
                let cost = program.estimate().most.saturating_mul(times);
                transition = program.uses("oldSelf");
                self.observe(format!("{path}.rule"), "estimated rule cost", cost);
                if let Some(around) = place.uncorrelated.as_ref().filter(|_| transition) {
                    let detail =
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {around}");
                    self.flaws.push(invalid("rule", text("rule").into(), detail));
                }
            }
        }
        if let Some(optional) = optional.filter(|_| !transition) {
            let detail = "may not be set if oldSelf is not used in rule".to_owned();
            self.flaws.push(invalid("optionalOldSelf", optional.into(), detail));
        }
        if !text("messageExpression").trim().is_empty() {
            match env.compile(text("messageExpression")) {
                Err(issues) => {
                    let detail = format!("messageExpression compilation failed: {issues}");
                    self.flaws.push(invalid("messageExpression", rule.clone(), detail));
                }
                Ok(program) if !matches!(program.result(), Type::String) => {
                    let detail = "messageExpression must evaluate to a string".to_owned();
                    self.flaws.push(invalid("messageExpression", rule.clone(), detail));
                }
                Ok(program) => {
                    let cost = program.estimate().most;
                    self.observe(
                        format!("{path}.messageExpression"),
                        "estimated messageExpression cost",
                        cost,
                    );
                }
            }
        }
        if !text("fieldPath").is_empty()
            && let Err(why) = follow(text("fieldPath"), stated)
        {
            let detail = format!("fieldPath {} is invalid: {why}", text("fieldPath"));
            self.flaws.push(invalid("fieldPath", text("fieldPath").into(), detail));
        }
    }

    fn observe(&mut self, field: String, what: &str, cost: u64) {
        if cost > RULE_LIMIT {
            self.flaws
                .push(forbidden(field.clone(), exceeds(what, cost, RULE_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        self.costs.push((field, cost));
    }
}

/// Whether a path leads to something that a schema states: names behind dots, keys in brackets and quotes.
fn follow(path: &str, schema: &Value) -> Result<(), String> {
    let mut schema = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            name = after[..end].to_owned();
            rest = &after[end..];
            if name.is_empty() {
                return Err("unexpected end of JSON path".to_owned());
            }
        } else if let Some(after) = rest.strip_prefix('[') {
            let Some(quoted) = after.strip_prefix('\'') else {
                let end = after.find(']').unwrap_or(after.len());
                return Err(format!("expected single quoted string but got {}", &after[..end]));
            };
            let end = quoted.find("']").ok_or("unexpected end of JSON path")?;
            name = quoted[..end].replace("\\'", "'").replace("\\\\", "\\");
            rest = &quoted[end + 2..];
        } else {
            let end = rest.find(['.', '[', ']']).filter(|end| *end > 0).unwrap_or(rest.len());
            return Err(format!("expected [ or . but got: {}", &rest[..end]));
        }
        let properties = schema.get("properties").filter(|properties| properties.is_object());
        let additional = schema.get("additionalProperties").filter(|below| below.is_object());
        schema = match (properties, additional) {
            (Some(properties), _) => properties.get(&name),
            (None, additional) => additional,
        }
        .ok_or("does not refer to a valid field")?;
    }
    Ok(())
}
