//! Whether an object keeps the rules.

use serde_json::{Map, Value as Json};

use super::{Rule, Rules};
use crate::error::EvalError;
use crate::{PER_CALL_LIMIT, Program, RUNTIME_BUDGET, Value};

/// How long a message may be that an expression makes, in bytes.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// What is wrong with an object.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Rules that are broken.
    pub failures: Vec<Failure>,
    /// Rules that are broken where nothing changed.
    pub warnings: Vec<Failure>,
}

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Where; empty for the object itself.
    pub field: String,
    /// The type of the value.
    pub type_text: String,
    /// What kind of error it is.
    pub reason: Reason,
    /// In words.
    pub detail: String,
}

/// What kind of error a broken rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The value is wrong.
    Invalid,
    /// It may not be there.
    Forbidden,
    /// Something is missing.
    Required,
    /// It is there twice.
    Duplicate,
}

/// What an object and its parts are compared with.
#[derive(Clone, Copy)]
struct Before<'o> {
    /// What the value replaces, if that can be told.
    own: Option<&'o Json>,
    /// Whether the nearest thing around it of which that can be told is unchanged.
    around: bool,
    /// Whether it can be told what the value replaces.
    known: bool,
}

struct Judge {
    verdict: Verdict,
    budget: u64,
    ended: bool,
}

impl Rules {
    /// Checks an object, which may replace another.
    pub fn judge(&self, object: &Json, old: Option<&Json>) -> Verdict {
        let mut judge = Judge {
            verdict: Verdict::default(),
            budget: RUNTIME_BUDGET,
            ended: false,
        };
        if self.is_empty() {
            return judge.verdict;
        }
        let before = Before {
            own: old,
            around: false,
            known: old.is_some(),
        };
        judge.value(self, String::new(), object, before);
        judge.verdict
    }
}

impl Judge {
    fn value<'v>(&mut self, rules: &'v Rules, path: String, value: &'v Json, before: Before<'v>) {
        if self.ended || value.is_null() {
            return;
        }
        self.rules(rules, &path, value, before);
        for part in &rules.all_of {
            let before = Before { known: false, ..before };
            self.value(part, path.clone(), value, before);
        }
        match value {
            Json::Array(list) => self.items(rules, &path, list, before, value),
            Json::Object(map) => self.entries(rules, &path, map, before, value),
            _ => {}
        }
    }

    fn items<'v>(&mut self, rules: &'v Rules, path: &str, list: &'v [Json], before: Before<'v>, whole: &'v Json) {
        let Some(inside) = &rules.items else { return };
        let around = unchanged(whole, before);
        for (at, item) in list.iter().enumerate() {
            let own = rules.keys.as_ref().and_then(|keys| {
                let same = |other: &&Json| keys.iter().all(|key| other.get(key) == item.get(key));
                before.own?.as_array()?.iter().find(same)
            });
            let before = Before {
                own,
                around,
                known: before.known && own.is_some(),
            };
            self.value(inside, format!("{path}[{at}]"), item, before);
        }
    }

    fn entries<'v>(
        &mut self,
        rules: &'v Rules,
        path: &str,
        map: &'v Map<String, Json>,
        before: Before<'v>,
        whole: &'v Json,
    ) {
        let around = unchanged(whole, before);
        for (name, value) in map {
            let own = before.own.and_then(|old| old.get(name));
            let before = Before {
                own,
                around,
                known: before.known && own.is_some(),
            };
            if let Some(inside) = &rules.additional {
                self.value(inside, format!("{path}[{name}]"), value, before);
            }
            if let Some(inside) = rules.properties.get(name) {
                self.value(inside, child(path, name), value, before);
            }
        }
    }

    fn rules<'v>(&mut self, rules: &'v Rules, path: &str, value: &'v Json, before: Before<'v>) {
        for rule in &rules.rules {
            if self.ended {
                return;
            }
            let fail = |detail: String| Failure {
                field: path.to_owned(),
                type_text: rules.type_text.clone(),
                reason: Reason::Invalid,
                detail,
            };
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    self.verdict.failures.push(fail(format!("rule compile error: {why}")));
                    continue;
                }
            };
            let transition = program.uses("oldSelf");
            // What was not there before cannot have changed.
            if transition && before.own.is_none() && !rule.optional_old {
                continue;
            }
            if self.budget == 0 {
                return self.exhausted(fail);
            }
            let variables = variables(rule, program, value, before.own);
            let outcome = program.evaluate(&variables, PER_CALL_LIMIT);
            if outcome.cost > self.budget {
                return self.exhausted(fail);
            }
            self.budget -= outcome.cost;
            match outcome.value {
                Ok(Value::Bool(true)) => {}
                Ok(_) => {
                    let failure = self.broken(rule, &variables, fail);
                    let ratcheted = !transition && unchanged(value, before);
                    match ratcheted {
                        true => self.verdict.warnings.push(failure),
                        false => self.verdict.failures.push(failure),
                    }
                }
                Err(EvalError::CostLimit) => {
                    let why = EvalError::CostLimit;
                    let shown = rule.shown();
                    self.verdict.failures.push(fail(format!(
                        "'{why}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                    )));
                    self.ended = true;
                }
                Err(why @ EvalError::NoSuchOverload) => {
                    let shown = rule.shown();
                    self.verdict.failures.push(fail(format!(
                        "'{why}': call arguments did not match a supported operator, function or macro signature for rule: \
                         {shown}"
                    )));
                }
                Err(why) => {
                    let shown = rule.shown();
                    self.verdict
                        .failures
                        .push(fail(format!("{why} evaluating rule: {shown}")));
                }
            }
        }
    }

    fn exhausted(&mut self, fail: impl Fn(String) -> Failure) {
        let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
        self.verdict.failures.push(fail(detail.to_owned()));
        self.ended = true;
    }

    fn broken(&mut self, rule: &Rule, variables: &[(&str, Value<'_>)], fail: impl Fn(String) -> Failure) -> Failure {
        let own = rule
            .message_program
            .as_ref()
            .and_then(|program| self.message(program, variables));
        let detail = own.unwrap_or_else(|| match rule.message.as_str() {
            "" => format!("failed rule: {}", rule.text),
            message => message.to_owned(),
        });
        let mut failure = fail(detail);
        if let Some(below) = &rule.field_path {
            failure.field = child(&failure.field, below);
        }
        failure.reason = match rule.reason.as_str() {
            "FieldValueForbidden" => Reason::Forbidden,
            "FieldValueRequired" => Reason::Required,
            "FieldValueDuplicate" => Reason::Duplicate,
            _ => Reason::Invalid,
        };
        failure
    }

    /// The message that an expression makes; `None` where it makes none that can be shown.
    fn message(&mut self, program: &Program, variables: &[(&str, Value<'_>)]) -> Option<String> {
        let outcome = program.evaluate(variables, PER_CALL_LIMIT.min(self.budget));
        self.budget = self.budget.saturating_sub(outcome.cost);
        let value = outcome.value.ok()?;
        let text = value.as_str()?.trim();
        let fits = !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n');
        fits.then(|| text.to_owned())
    }
}

impl Rule {
    fn shown(&self) -> &str {
        if self.message.is_empty() {
            &self.text
        } else {
            &self.message
        }
    }
}

/// Whether the value, or the nearest thing around it that can be compared, is as it was.
fn unchanged(value: &Json, before: Before<'_>) -> bool {
    match (before.known, before.own) {
        (true, Some(old)) => value == old,
        _ => before.around,
    }
}

fn variables<'v>(
    rule: &Rule,
    program: &'v Program,
    value: &'v Json,
    old: Option<&'v Json>,
) -> Vec<(&'static str, Value<'v>)> {
    let decl = program.declared("self").unwrap_or_else(|| crate::value::any());
    let declared = |json: &'v Json| Value::declared(json, decl);
    let mut variables = vec![("self", declared(value))];
    match (rule.optional_old, old) {
        (true, Some(old)) => variables.push(("oldSelf", Value::some(declared(old)))),
        (true, None) => variables.push(("oldSelf", Value::none())),
        (false, Some(old)) => variables.push(("oldSelf", declared(old))),
        (false, None) => {}
    }
    variables
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        return name.to_owned();
    }
    format!("{path}.{name}")
}
