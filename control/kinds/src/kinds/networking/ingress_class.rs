//! IngressClasses.

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, PLAIN, SPEC};
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, rule, segment, subdomain, text as text_default};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, str_at, text};

/// IngressClasses.
pub static INGRESS_CLASS: Declared = Declared {
    generation: SPEC,
    columns: &[
        NAME,
        shows(
            "Controller",
            Cell::Text("spec.controller", ""),
            "Who serves Ingresses of the class",
        ),
        shows("Parameters", Cell::By(parameters), "An object with more settings"),
        AGE,
    ],
    defaults: &[text_default("spec.parameters.scope", "Cluster")],
    rules: &[
        rule("spec.controller", Check::Longest(250)),
        rule("spec.controller", Check::Required("")),
        rule("spec.controller", Check::Text(names::domain_prefixed_path_errors)),
        rule("spec.controller", Check::Immutable),
        rule("spec.parameters.apiGroup", Check::Text(subdomain)),
        rule("spec.parameters.kind", Check::Required("kind is required")),
        rule("spec.parameters.kind", Check::Text(segment)),
        rule("spec.parameters.name", Check::Required("name is required")),
        rule("spec.parameters.name", Check::Text(segment)),
        rule("spec.parameters.scope", Check::OneOf(&["Cluster", "Namespace"])),
    ],
    more_rules: |class, _, errors| scope(class, errors),
    ..PLAIN
};

fn scope(class: &Value, errors: &mut Errors) {
    let Some(parameters) = at(class, &["spec", "parameters"]) else {
        return;
    };
    let path = Path::new("spec.parameters.namespace");
    match (text(parameters, "scope"), str_at(parameters, &["namespace"])) {
        ("Namespace", None) => errors.required(&path, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", Some(namespace)) => errors.invalid_each(&path, namespace, names::label_errors(namespace)),
        ("Cluster", Some(_)) => errors.forbidden(&path, "`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}

/// `Kind.group/name`
fn parameters(class: &Value, _now: Timestamp) -> Value {
    let Some(parameters) = at(class, &["spec", "parameters"]) else {
        return "<none>".into();
    };
    let kind = match str_at(parameters, &["apiGroup"]) {
        Some(group) => format!("{}.{group}", text(parameters, "kind")),
        None => text(parameters, "kind").to_owned(),
    };
    format!("{kind}/{}", text(parameters, "name")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn classes_are_shown_and_checked() {
        let mut class = json!({"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "controller": "example.com/c", "parameters": {"apiGroup": "x.io", "kind": "P", "name": "p"}}});
        INGRESS_CLASS.default(&mut class);
        assert_eq!(class["spec"]["parameters"]["scope"], "Cluster");
        assert_eq!(INGRESS_CLASS.validate(&class, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            INGRESS_CLASS.cells(&class, now),
            ["c", "example.com/c", "P.x.io/p", "1s"]
        );
        let mut changed = class.clone();
        changed["spec"]["controller"] = json!("c");
        changed["spec"]["parameters"]["scope"] = json!("Namespace");
        let lines: Vec<String> = INGRESS_CLASS
            .validate(&changed, Some(&class))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "spec.controller: Invalid value: \"c\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                "spec.controller: Invalid value: \"c\": field is immutable",
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"
            ]
        );
    }
}
