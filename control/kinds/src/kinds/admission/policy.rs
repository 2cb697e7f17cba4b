//! ValidatingAdmissionPolicies, MutatingAdmissionPolicies and their bindings. Whether expressions compile is not checked
//! here.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rules as requests;
use crate::cells::{self, Cell};
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::labels;
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, rule, subdomain, text as text_default};
use crate::strategy::Column;
use crate::table::{AGE, NAME, counts, shows};
use crate::value::{at, list_at, str_at, strings, text};

const PATH: Path<'static> = Path::new("spec");

/// What both kinds of policies share.
const POLICY: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Empty,
    unconditional_update: false,
    defaults: &[text_default("spec.failurePolicy", "Fail")],
    rules: &[
        rule("spec.failurePolicy", Check::OneOf(&requests::FAILURE_POLICIES)),
        rule("spec.matchConstraints", Check::Required("")),
        rule("spec.matchConstraints", Check::By(requests::resources)),
        rule("spec.matchConstraints.resourceRules", Check::Required("")),
        rule("spec.paramKind", Check::By(param_kind)),
        rule("spec.variables[*]", Check::By(variable)),
    ],
    more_defaults: |policy| {
        if let Some(constraints) = policy.pointer_mut("/spec/matchConstraints") {
            requests::default_resources(constraints);
        }
    },
    ..PLAIN
};

const PARAM_KIND: Column = shows(
    "ParamKind",
    Cell::By(param_kind_cell),
    "Kind of the policy's parameters",
);

/// ValidatingAdmissionPolicies.
pub static VALIDATING_POLICY: Declared = Declared {
    status_alone: true,
    columns: &[
        NAME,
        counts("Validations", Cell::Count("spec.validations"), "Rules of the policy"),
        PARAM_KIND,
        AGE,
    ],
    more_rules: |policy, _, errors| {
        requests::conditions(spec(policy), &PATH, errors);
        validations(policy, errors);
    },
    ..POLICY
};

/// MutatingAdmissionPolicies.
pub static MUTATING_POLICY: Declared = Declared {
    new_status: NewStatus::None,
    columns: &[
        NAME,
        counts(
            "Mutations",
            Cell::Count("spec.mutations"),
            "Changes that the policy makes",
        ),
        PARAM_KIND,
        AGE,
    ],
    more_rules: |policy, _, errors| {
        requests::conditions(spec(policy), &PATH, errors);
        mutations(policy, errors);
    },
    ..POLICY
};

/// What both kinds of bindings share.
const BINDING: Declared = Declared {
    generation: SPEC,
    unconditional_update: false,
    columns: &[
        NAME,
        shows(
            "PolicyName",
            Cell::Text("spec.policyName", ""),
            "The policy that is bound",
        ),
        shows("ParamRef", Cell::By(param_ref_cell), "The policy's parameters"),
        AGE,
    ],
    rules: &[
        rule("spec.policyName", Check::Required("")),
        rule("spec.policyName", Check::Text(subdomain)),
        rule("spec.matchResources", Check::By(requests::resources)),
        rule("spec.paramRef", Check::By(param_ref)),
    ],
    more_defaults: |binding| {
        if let Some(resources) = binding.pointer_mut("/spec/matchResources") {
            requests::default_resources(resources);
        }
    },
    ..PLAIN
};

/// ValidatingAdmissionPolicyBindings.
pub static VALIDATING_BINDING: Declared = Declared {
    more_rules: |binding, _, errors| actions(binding, errors),
    ..BINDING
};

/// MutatingAdmissionPolicyBindings.
pub static MUTATING_BINDING: Declared = BINDING;

fn spec(policy: &Value) -> &Value {
    policy.get("spec").unwrap_or(&Value::Null)
}

fn param_kind(kind: &Value, path: &Path<'_>, errors: &mut Errors) {
    let api_version = text(kind, "apiVersion");
    let at = path.child("apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if api_version.is_empty() {
        errors.required(&at, "");
    } else if version.contains('/') {
        errors.invalid(
            &at,
            api_version,
            format!("unexpected GroupVersion string: {api_version}"),
        );
    } else {
        if !group.is_empty() {
            errors.invalid_each(&at, group, names::subdomain_errors(group));
        }
        if version.is_empty() {
            errors.invalid(&at, api_version, "version must be specified");
        } else {
            errors.invalid_each(&at, version, names::label1035_errors(version));
        }
    }
    let name = text(kind, "kind");
    if name.is_empty() {
        errors.required(&path.child("kind"), "");
    } else {
        for message in names::label1035_errors(&name.to_lowercase()) {
            let detail = format!("may have mixed case, but should otherwise match: {message}");
            errors.invalid(&path.child("kind"), name, detail);
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn variable(variable: &Value, path: &Path<'_>, errors: &mut Errors) {
    let name = text(variable, "name");
    if name.trim().is_empty() {
        errors.required(&path.child("name"), "name is not specified");
    } else if !is_identifier(name) {
        errors.invalid(&path.child("name"), name, "name is not a valid CEL identifier");
    }
    if text(variable, "expression").trim().is_empty() {
        errors.required(&path.child("expression"), "expression is not specified");
    }
}

fn validations(policy: &Value, errors: &mut Errors) {
    let rules = list_at(policy, &["spec", "validations"]);
    let audits = list_at(policy, &["spec", "auditAnnotations"]);
    if rules.is_empty() && audits.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.required(&PATH.child("validations"), detail);
        errors.required(&PATH.child("auditAnnotations"), detail);
    }
    let list = PATH.child("validations");
    for (i, rule) in rules.iter().enumerate() {
        let item = list.index(i);
        if text(rule, "expression").trim().is_empty() {
            errors.required(&item.child("expression"), "expression is not specified");
        }
        for (key, what) in [
            ("messageExpression", "must be non-empty if specified"),
            ("message", "message must be non-empty if specified"),
        ] {
            let content = text(rule, key);
            if !content.is_empty() && content.trim().is_empty() {
                errors.invalid(&item.child(key), content, what);
            }
        }
        if text(rule, "message").trim().contains(['\n', '\r']) {
            let detail = "message must not contain line breaks";
            errors.invalid(&item.child("message"), text(rule, "message"), detail);
        }
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        errors.optional_one_of(&item.child("reason"), rule.get("reason"), &reasons);
    }
    let list = PATH.child("auditAnnotations");
    if audits.len() > 20 {
        let detail = "must not have more than 20 auditAnnotations";
        errors.invalid(&list, audits.to_vec(), detail);
    }
    let own = str_at(policy, &["metadata", "name"]).unwrap_or("");
    for (i, audit) in audits.iter().enumerate() {
        let item = list.index(i);
        let key = text(audit, "key");
        let full = format!("{own}/{key}");
        errors.invalid_each(&item.child("key"), &full, names::qualified_name_errors(&full));
        if audits[..i].iter().any(|before| text(before, "key") == key) {
            errors.duplicate(&item.child("key"), key);
        }
        if text(audit, "valueExpression").trim().is_empty() {
            errors.required(&item.child("valueExpression"), "valueExpression is not specified");
        }
    }
}

fn mutations(policy: &Value, errors: &mut Errors) {
    let list = PATH.child("mutations");
    let changes = list_at(policy, &["spec", "mutations"]);
    if changes.is_empty() {
        errors.required(&list, "mutations must contain at least one item");
    }
    for (i, change) in changes.iter().enumerate() {
        let item = list.index(i);
        let kind = text(change, "patchType");
        let (own, other) = match kind {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            _ => {
                errors.one_of(&item.child("patchType"), kind, &["ApplyConfiguration", "JSONPatch"]);
                continue;
            }
        };
        if str_at(change, &[own, "expression"]).is_none() {
            errors.required(&item.child(own), &format!("must be specified when patchType is {kind}"));
        }
        if at(change, &[other]).is_some() {
            errors.invalid_unshown(
                &item.child(other),
                format!("must not be specified when patchType is {kind}"),
            );
        }
    }
    let policies = ["IfNeeded", "Never"];
    let given = str_at(policy, &["spec", "reinvocationPolicy"]).unwrap_or("");
    errors.one_of(&PATH.child("reinvocationPolicy"), given, &policies);
}

fn param_ref(reference: &Value, path: &Path<'_>, errors: &mut Errors) {
    match (str_at(reference, &["name"]), at(reference, &["selector"])) {
        (Some(name), None) => errors.invalid_each(&path.child("name"), name, names::path_segment_errors(name)),
        (None, Some(selector)) => labels::validate_selector(selector, &path.child("selector"), errors),
        (Some(_), Some(_)) => errors.forbidden(&path.child("name"), "name and selector are mutually exclusive"),
        (None, None) => errors.required(path, "one of name or selector must be specified"),
    }
    let action = path.child("parameterNotFoundAction");
    match reference.get("parameterNotFoundAction") {
        None => errors.required(&action, ""),
        given => errors.optional_one_of(&action, given, &["Allow", "Deny"]),
    }
}

fn actions(binding: &Value, errors: &mut Errors) {
    let list = PATH.child("validationActions");
    let given: Vec<&str> = strings(binding, &["spec", "validationActions"]).collect();
    for (i, action) in given.iter().enumerate() {
        errors.one_of(&list.index(i), action, &["Audit", "Deny", "Warn"]);
        if given[..i].contains(action) {
            errors.duplicate(&list.index(i), *action);
        }
    }
    if given.contains(&"Deny") && given.contains(&"Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        errors.invalid(&list, given.clone(), detail);
    }
    if given.is_empty() {
        errors.required(&list, "at least one validation action is required");
    }
}

fn param_kind_cell(policy: &Value, _now: Timestamp) -> Value {
    match at(policy, &["spec", "paramKind"]) {
        Some(kind) => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")).into(),
        None => "<unset>".into(),
    }
}

fn param_ref_cell(binding: &Value, _now: Timestamp) -> Value {
    let Some(reference) = at(binding, &["spec", "paramRef"]) else {
        return "<unset>".into();
    };
    match (str_at(reference, &["name"]), at(reference, &["selector"])) {
        // Whether parameters without a namespace have none or any is not known here.
        (Some(name), _) => format!("{}/{name}", str_at(reference, &["namespace"]).unwrap_or("*")).into(),
        (None, Some(selector)) => cells::selector(Some(selector)).into(),
        (None, None) => json!("<unset>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn policy() -> Value {
        json!({"metadata": {"name": "p.example.com", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "true"}],
            "matchConstraints": {"resourceRules": [{"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"],
                "resources": ["deployments"]}]}}})
    }

    fn lines(kind: &Declared, obj: Value) -> Vec<String> {
        let mut obj = obj;
        kind.default(&mut obj);
        kind.validate(&obj, None).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn policies_are_filled_checked_and_shown() {
        let mut obj = policy();
        VALIDATING_POLICY.default(&mut obj);
        assert_eq!(obj["spec"]["matchConstraints"]["matchPolicy"], "Equivalent");
        assert_eq!(VALIDATING_POLICY.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            VALIDATING_POLICY.cells(&obj, now),
            [json!("p.example.com"), json!(1), json!("v1/ConfigMap"), json!("1s")]
        );
        obj["spec"]["validations"] = json!([]);
        obj["spec"]["variables"] = json!([{"name": "1a", "expression": "1"}]);
        assert_eq!(
            lines(&VALIDATING_POLICY, obj),
            [
                "spec.variables[0].name: Invalid value: \"1a\": name is not a valid CEL identifier",
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item"
            ]
        );
    }

    #[test]
    fn bindings_need_actions() {
        let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny", "Warn"],
            "paramRef": {"name": "x"}}});
        let found = lines(&VALIDATING_BINDING, binding);
        assert_eq!(found[0], "spec.paramRef.parameterNotFoundAction: Required value");
        assert!(found[1].contains("must not contain both Deny and Warn"));
    }

    #[test]
    fn mutations_have_one_form() {
        let mut obj = policy();
        obj["spec"]["reinvocationPolicy"] = json!("Never");
        obj["spec"]["mutations"] = json!([{"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}}]);
        obj["spec"].as_object_mut().unwrap().remove("validations");
        assert_eq!(
            lines(&MUTATING_POLICY, obj),
            [
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                "spec.mutations[0].applyConfiguration: Invalid value: must not be specified when patchType is JSONPatch"
            ]
        );
    }
}
