//! Checks, one after the other.

use serde_json::Value;

use super::level::{Level, Policy};
use super::{baseline, restricted};

/// What a check objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In general.
    pub reason: &'static str,
    /// In particular.
    pub detail: String,
}

/// One check: from which minor version on it applies, and what it finds.
pub(super) struct Check {
    pub(super) since: u32,
    pub(super) find: fn(&Value, Policy) -> Option<Finding>,
    /// Of the baseline, checked anew and more strictly by the restricted level.
    pub(super) stricter: bool,
}

/// Everything that a level objects to in a pod or a template.
pub fn evaluate(policy: Policy, pod: &Value) -> Vec<Finding> {
    if policy.level == Level::Privileged {
        return Vec::new();
    }
    let restricted = policy.level == Level::Restricted;
    let baseline = baseline::CHECKS.iter().filter(|check| !(restricted && check.stricter));
    let more: &[Check] = if restricted { restricted::CHECKS } else { &[] };
    baseline
        .chain(more)
        .filter(|check| check.since <= policy.minor())
        .filter_map(|check| (check.find)(pod, policy))
        .collect()
}

/// All findings as one text.
pub(super) fn describe(findings: &[Finding]) -> String {
    let texts: Vec<String> = findings
        .iter()
        .map(|finding| match finding.detail.as_str() {
            "" => finding.reason.to_owned(),
            detail => format!("{} ({detail})", finding.reason),
        })
        .collect();
    texts.join(", ")
}

/// `x` or `xs`, by number.
pub(super) fn plural<'a>(one: &'a str, many: &'a str, number: usize) -> &'a str {
    if number == 1 { one } else { many }
}

/// Texts in quotes, joined by commas.
pub(super) fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{:?}", text.as_ref())).collect();
    quoted.join(", ")
}

/// The names that differ, in order of first appearance.
pub(super) fn push_new(list: &mut Vec<String>, text: impl Into<String>) {
    let text = text.into();
    if !list.contains(&text) {
        list.push(text);
    }
}
