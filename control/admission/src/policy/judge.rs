//! What a policy says of a request.

use barepod_cel::{MATCH_CONDITIONS_BUDGET, RUNTIME_BUDGET};
use serde_json::Value;

use super::definition::{Policy, Text};
use super::scope::{Inputs, Scope};

/// The longest message that an expression may make, in bytes.
const MESSAGE_BYTES: usize = 5 << 10;
/// The longest annotation of the audit log.
const AUDIT_BYTES: usize = 10 << 10;

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What the user reads.
    pub message: String,
    /// The reason of the Status.
    pub reason: String,
    /// Which of the policy's rules.
    pub index: usize,
}

/// What came of a validating policy.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rules that do not hold.
    pub denials: Vec<Denial>,
    /// Annotations for the audit log, by the key in the policy.
    pub audit: Vec<(String, String)>,
}

/// Whether all conditions hold. If none is false but one cannot be told, that is the error.
pub fn holds(conditions: &[(String, Text)], inputs: Inputs<'_>) -> Result<bool, String> {
    if conditions.is_empty() {
        return Ok(true);
    }
    let scope = Scope::new(inputs, None, MATCH_CONDITIONS_BUDGET);
    let mut wrong = None;
    for (_, condition) in conditions {
        match scope.truth(condition) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                wrong.get_or_insert(why);
            }
        }
    }
    match wrong {
        Some(why) => Err(why),
        None => Ok(true),
    }
}

/// Asks a validating policy. What cannot be told is denied, unless the policy lets it pass.
pub fn judge(policy: &Policy, inputs: Inputs<'_>) -> Outcome {
    let scope = Scope::new(inputs, Some(policy), RUNTIME_BUDGET);
    let mut outcome = Outcome::default();
    let failed = |message: String, index: usize| Denial {
        message,
        reason: "Invalid".into(),
        index,
    };
    for (index, rule) in policy.validations.iter().enumerate() {
        match scope.truth(&rule.expression) {
            Ok(true) => {}
            Ok(false) => outcome.denials.push(Denial {
                message: message(&scope, rule),
                reason: rule.reason.clone(),
                index,
            }),
            Err(_) if policy.passes_on_failure => {}
            Err(why) => outcome.denials.push(failed(why, index)),
        }
    }
    for (key, text) in &policy.audit {
        let said = scope.evaluate(text).and_then(|value| match value {
            barepod_cel::Value::Null => Ok(None),
            value => match value.as_str() {
                Some(text) => Ok(Some(text.trim().to_owned())),
                None => Err(format!(
                    "valueExpression '{}' resulted in unsupported return type: {}",
                    text.source,
                    value.type_name()
                )),
            },
        });
        match said {
            Ok(Some(mut value)) if !value.is_empty() => {
                cut(&mut value, AUDIT_BYTES);
                outcome.audit.push((key.clone(), value));
            }
            Ok(_) => {}
            Err(_) if policy.passes_on_failure => {}
            Err(why) => outcome.denials.push(failed(why, 0)),
        }
    }
    outcome
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

fn message(scope: &Scope<'_>, rule: &super::definition::Validation) -> String {
    if let Some(text) = &rule.message_expression
        && let Ok(value) = scope.evaluate(text)
        && let Some(words) = value.as_str().map(str::trim)
        && !words.is_empty()
        && !words.contains(['\n', '\r'])
        && words.len() <= MESSAGE_BYTES
    {
        return words.to_owned();
    }
    if rule.message.is_empty() {
        format!("failed expression: {}", rule.expression.source.trim())
    } else {
        rule.message.clone()
    }
}

/// What the `index`th change of a mutating policy is: whether it is a JSON patch, and that or the configuration to apply.
/// `None` after the last.
pub fn mutate(policy: &Policy, index: usize, inputs: Inputs<'_>) -> Option<Result<(bool, Value), String>> {
    let mutation = policy.mutations.get(index)?;
    let scope = Scope::new(inputs, Some(policy), RUNTIME_BUDGET);
    let value = scope.evaluate(&mutation.expression).and_then(|value| {
        value.to_json().ok_or_else(|| {
            let source = &mutation.expression.source;
            format!("expression '{source}' resulted in error: its value cannot be written as JSON")
        })
    });
    Some(value.map(|value| (mutation.is_patch, value)))
}
