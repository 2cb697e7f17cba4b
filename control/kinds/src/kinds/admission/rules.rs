//! What requests a webhook or a policy is for.

use serde_json::{Value, json};

use crate::labels;
use crate::names;
use crate::path::{Errors, Path};
use crate::value::{at, fill, items_mut, list_at, strings, text};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
pub(super) const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];

/// Fills the scope of every rule below some key.
pub(super) fn default_scopes(holder: &mut Value, key: &str) {
    for rule in items_mut(holder, key) {
        fill(rule, "scope", "*");
    }
}

/// Fills `matchConstraints` or `matchResources`.
pub(super) fn default_resources(resources: &mut Value) {
    if !resources.is_object() {
        return;
    }
    fill(resources, "matchPolicy", "Equivalent");
    for key in ["namespaceSelector", "objectSelector"] {
        fill(resources, key, json!({}));
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        default_scopes(resources, key);
    }
}

/// Checks `matchConstraints` or `matchResources`.
pub(super) fn resources(resources: &Value, path: &Path<'_>, errors: &mut Errors) {
    errors.optional_one_of(
        &path.child("matchPolicy"),
        resources.get("matchPolicy"),
        &MATCH_POLICIES,
    );
    for key in ["namespaceSelector", "objectSelector"] {
        match at(resources, &[key]) {
            Some(selector) => labels::validate_selector(selector, &path.child(key), errors),
            None => errors.required(&path.child(key), ""),
        }
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        let list = path.child(key);
        for (i, rule) in list_at(resources, &[key]).iter().enumerate() {
            let item = list.index(i);
            let names = item.child("resourceNames");
            let given: Vec<&str> = strings(rule, &["resourceNames"]).collect();
            for (j, name) in given.iter().enumerate() {
                errors.invalid_each(&names.index(j), name, names::path_segment_errors(name));
                if given[..j].contains(name) {
                    errors.duplicate(&names.index(j), *name);
                }
            }
            self::rule(rule, &item, errors);
        }
    }
}

/// Checks a rule with its operations.
pub(super) fn rule(rule: &Value, path: &Path<'_>, errors: &mut Errors) {
    let operations: Vec<&str> = strings(rule, &["operations"]).collect();
    let list = path.child("operations");
    if operations.is_empty() {
        errors.required(&list, "");
    }
    if operations.len() > 1 && operations.contains(&"*") {
        let detail = "if '*' is present, must not specify other operations";
        errors.invalid(&list, operations.clone(), detail);
    }
    for (i, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(operation) {
            errors.not_supported(&list.index(i), operation, &OPERATIONS);
        }
    }
    for (key, word) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let given: Vec<&str> = strings(rule, &[key]).collect();
        let at = path.child(key);
        if given.is_empty() {
            errors.required(&at, "");
        }
        if given.len() > 1 && given.contains(&"*") {
            errors.invalid(
                &at,
                given.clone(),
                format!("if '*' is present, must not specify other {word}"),
            );
        }
        if key == "apiVersions" {
            for (i, _) in given.iter().enumerate().filter(|(_, version)| version.is_empty()) {
                errors.required(&at.index(i), "");
            }
        }
    }
    resource_names(rule, &path.child("resources"), errors);
    let scopes = ["*", "Cluster", "Namespaced"];
    errors.optional_one_of(&path.child("scope"), rule.get("scope"), &scopes);
}

fn resource_names(rule: &Value, path: &Path<'_>, errors: &mut Errors) {
    let given: Vec<&str> = strings(rule, &["resources"]).collect();
    if given.is_empty() {
        errors.required(path, "");
    }
    let (mut all_of, mut of_all): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut plain = false;
    for (i, name) in given.iter().enumerate() {
        if name.is_empty() {
            errors.required(&path.index(i), "");
        }
        let Some((resource, sub)) = name.split_once('/') else {
            plain |= *name != "*";
            continue;
        };
        if all_of.contains(&resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {name}");
            errors.invalid(&path.index(i), *name, detail);
        }
        if of_all.contains(&sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {name}");
            errors.invalid(&path.index(i), *name, detail);
        }
        if sub == "*" {
            all_of.push(resource);
        }
        if resource == "*" {
            of_all.push(sub);
        }
    }
    if given.len() > 1 && given.contains(&"*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.invalid(path, given.clone(), detail);
    }
    if given.contains(&"*") && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(path, given, detail);
    }
}

/// Checks conditions on requests, apart from whether their expressions compile.
pub(super) fn conditions(holder: &Value, path: &Path<'_>, errors: &mut Errors) {
    let given = list_at(holder, &["matchConditions"]);
    let list = path.child("matchConditions");
    if given.len() > 64 {
        errors.too_many(&list, given.len(), 64);
    }
    for (i, condition) in given.iter().enumerate() {
        let item = list.index(i);
        if text(condition, "expression").trim().is_empty() {
            errors.required(&item.child("expression"), "");
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.required(&item.child("name"), "");
            continue;
        }
        errors.invalid_each(&item.child("name"), name, names::qualified_name_errors(name));
        if given[..i].iter().any(|before| text(before, "name") == name) {
            errors.duplicate(&item.child("name"), name);
        }
    }
}
