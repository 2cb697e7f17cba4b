//! Which of the names that a definition asks for it gets.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::approval;
use crate::conditions;
use crate::kinds::certificates::is_bundle;
use crate::value::{at, object_mut, str_at, strings, text};

const NAMES: [&str; 2] = ["status", "acceptedNames"];

/// Accepts the names that no other definition of the group has, and says in the status what came of it.
pub fn accept(definition: &mut Value, others: &[Arc<Value>], now: Timestamp) {
    let group = str_at(definition, &["spec", "group"]).unwrap_or("").to_owned();
    let own = str_at(definition, &["metadata", "name"]).unwrap_or("").to_owned();
    let in_use: Vec<&Value> = others
        .iter()
        .filter(|other| str_at(other, &["spec", "group"]) == Some(group.as_str()))
        .filter(|other| str_at(other, &["metadata", "name"]) != Some(own.as_str()))
        .filter_map(|other| at(other, &NAMES))
        .collect();
    let is_resource = |name: &str| {
        in_use.iter().any(|names| {
            text(names, "plural") == name
                || text(names, "singular") == name
                || strings(names, &["shortNames"]).any(|short| short == name)
        })
    };
    let is_kind = |name: &str| {
        in_use
            .iter()
            .any(|names| text(names, "kind") == name || text(names, "listKind") == name)
    };
    let wanted = at(definition, &["spec", "names"]).cloned().unwrap_or_default();
    let mut accepted = at(definition, &NAMES).cloned().unwrap_or_else(|| json!({}));
    let mut refused = None;
    let mut take = |key: &str, reason: &'static str, taken: Option<String>| match (taken, accepted.as_object_mut()) {
        (Some(name), _) => refused = Some((reason, format!("{name:?} is already in use"))),
        (None, Some(accepted)) => match at(&wanted, &[key]) {
            Some(name) => {
                accepted.insert(key.to_owned(), name.clone());
            }
            None => {
                accepted.remove(key);
            }
        },
        _ => {}
    };
    let taken = |key: &str, in_use: &dyn Fn(&str) -> bool| {
        let name = text(&wanted, key);
        (!name.is_empty() && in_use(name)).then(|| name.to_owned())
    };
    take("plural", "PluralConflict", taken("plural", &is_resource));
    take("singular", "SingularConflict", taken("singular", &is_resource));
    let short = strings(&wanted, &["shortNames"]).find(|short| is_resource(short));
    take("shortNames", "ShortNamesConflict", short.map(str::to_owned));
    take("kind", "KindConflict", taken("kind", &is_kind));
    take("listKind", "ListKindConflict", taken("listKind", &is_kind));
    take("categories", "", None);
    if let Some(status) = object_mut(definition, "status") {
        status.insert("acceptedNames".into(), accepted);
    }
    match refused {
        None => {
            conditions::set(
                definition,
                "NamesAccepted",
                "True",
                "NoConflicts",
                "no conflicts found",
                now,
            );
            if has_bad_bundle(definition) && !conditions::is_true(definition, "Established") {
                let message = "The conversion webhook CABundle is invalid";
                conditions::set(definition, "Established", "False", "InvalidCABundle", message, now);
            } else {
                let message = "the initial names have been accepted";
                conditions::set(definition, "Established", "True", "InitialNamesAccepted", message, now);
            }
        }
        Some((reason, message)) => {
            conditions::set(definition, "NamesAccepted", "False", reason, &message, now);
            // Who was served once stays served.
            if !conditions::is_true(definition, "Established") {
                let message = "not all names are accepted";
                conditions::set(definition, "Established", "False", "NotAccepted", message, now);
            }
        }
    }
    conformance(definition, now);
}

fn has_bad_bundle(definition: &Value) -> bool {
    let path = ["spec", "conversion", "webhook", "clientConfig", "caBundle"];
    str_at(definition, &path).is_some_and(|bundle| !bundle.is_empty() && !is_bundle(bundle))
}

/// Who approved a definition in a group of the project.
fn conformance(definition: &mut Value, now: Timestamp) {
    let Some(given) = approval(definition).map(str::to_owned) else {
        return;
    };
    let (status, reason, message) = if given.starts_with("unapproved") {
        ("False", "UnapprovedAnnotation", format!("not approved: {given:?}"))
    } else {
        ("True", "ApprovedAnnotation", format!("approved in {given}"))
    };
    let kind = "KubernetesAPIApprovalPolicyConformant";
    conditions::set(definition, kind, status, reason, &message, now);
}
