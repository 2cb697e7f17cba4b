//! MutatingWebhookConfigurations and ValidatingWebhookConfigurations.

use serde_json::{Value, json};

use super::rules as requests;
use crate::cells::Cell;
use crate::declared::{Declared, Generation, PLAIN};
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, number, rule, text as text_default};
use crate::strategy::Column;
use crate::table::{AGE, NAME, counts};
use crate::value::{at, fill, i64_at, items_mut, list_at, strings, text};

const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

const COLUMNS: &[Column] = &[
    NAME,
    counts("Webhooks", Cell::Count("webhooks"), "Webhooks of the configuration"),
    AGE,
];

/// What both kinds share apart from their tables.
const CONFIGURATION: Declared = Declared {
    generation: Generation::With(&["webhooks"]),
    unconditional_update: false,
    columns: COLUMNS,
    more_defaults: default,
    ..PLAIN
};

/// ValidatingWebhookConfigurations.
pub static VALIDATING: Declared = Declared {
    defaults: &[
        text_default("webhooks[*].failurePolicy", "Fail"),
        text_default("webhooks[*].matchPolicy", "Equivalent"),
        number("webhooks[*].timeoutSeconds", 10),
        number("webhooks[*].clientConfig.service.port", 443),
    ],
    rules: &[
        rule("webhooks[*]", Check::By(webhook)),
        rule("webhooks", Check::Unique(&["name"])),
    ],
    ..CONFIGURATION
};

/// MutatingWebhookConfigurations.
pub static MUTATING: Declared = Declared {
    defaults: &[
        text_default("webhooks[*].failurePolicy", "Fail"),
        text_default("webhooks[*].matchPolicy", "Equivalent"),
        number("webhooks[*].timeoutSeconds", 10),
        number("webhooks[*].clientConfig.service.port", 443),
        text_default("webhooks[*].reinvocationPolicy", "Never"),
    ],
    rules: &[
        rule("webhooks[*]", Check::By(webhook)),
        rule("webhooks[*].reinvocationPolicy", Check::AnyOf(&["IfNeeded", "Never"])),
        rule("webhooks", Check::Unique(&["name"])),
    ],
    ..CONFIGURATION
};

fn default(configuration: &mut Value) {
    for webhook in items_mut(configuration, "webhooks") {
        for key in ["namespaceSelector", "objectSelector"] {
            fill(webhook, key, json!({}));
        }
        requests::default_scopes(webhook, "rules");
    }
}

fn webhook(webhook: &Value, path: &Path<'_>, errors: &mut Errors) {
    let name = text(webhook, "name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        errors.invalid_each(&path.child("name"), name, names::subdomain_errors(name));
        if name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.invalid(&path.child("name"), name, detail);
        }
    }
    let list = path.child("rules");
    for (i, rule) in list_at(webhook, &["rules"]).iter().enumerate() {
        requests::rule(rule, &list.index(i), errors);
    }
    for (key, supported) in [
        ("failurePolicy", &requests::FAILURE_POLICIES),
        ("matchPolicy", &requests::MATCH_POLICIES),
    ] {
        errors.optional_one_of(&path.child(key), webhook.get(key), supported);
    }
    let effects = path.child("sideEffects");
    match webhook.get("sideEffects") {
        None => errors.required(&effects, "must specify one of None, NoneOnDryRun"),
        given => errors.optional_one_of(&effects, given, &SIDE_EFFECTS),
    }
    if let Some(seconds) = i64_at(webhook, &["timeoutSeconds"]).filter(|s| !(1..=30).contains(s)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), seconds, detail);
    }
    for key in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = at(webhook, &[key]) {
            crate::labels::validate_selector(selector, &path.child(key), errors);
        }
    }
    client(
        at(webhook, &["clientConfig"]).unwrap_or(&Value::Null),
        &path.child("clientConfig"),
        errors,
    );
    requests::conditions(webhook, path, errors);
    let versions: Vec<&str> = strings(webhook, &["admissionReviewVersions"]).collect();
    let wanted = "must specify one of v1, v1beta1";
    review_versions(&versions, wanted, &path.child("admissionReviewVersions"), errors);
}

/// How a webhook is reached.
pub(crate) fn client(config: &Value, path: &Path<'_>, errors: &mut Errors) {
    match (at(config, &["url"]), at(config, &["service"])) {
        (Some(url), None) => self::url(url.as_str().unwrap_or(""), &path.child("url"), errors),
        (None, Some(service)) => self::service(service, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn url(url: &str, path: &Path<'_>, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split('/').next().unwrap_or("");
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        errors.invalid(path, scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid(path, host, format!("host must be specified{FORM}"));
    }
    for (part, detail) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.invalid(path, part, detail);
        }
    }
}

fn service(service: &Value, path: &Path<'_>, errors: &mut Errors) {
    for key in ["name", "namespace"] {
        if text(service, key).is_empty() {
            errors.required(&path.child(key), "");
        }
    }
    if let Some(port) = i64_at(service, &["port"])
        && names::port_errors(port).is_some()
    {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.invalid(&path.child("port"), port, detail);
    }
    let suffix = text(service, "path");
    if matches!(suffix, "" | "/") {
        return;
    }
    let path = path.child("path");
    if !suffix.starts_with('/') {
        errors.invalid(&path, suffix, "must start with a '/'");
    }
    let steps = suffix.strip_prefix('/').unwrap_or(suffix);
    for (i, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&path, suffix, format!("segment[{i}] may not be empty"));
        } else {
            for wrong in names::subdomain_errors(step) {
                errors.invalid(&path, suffix, format!("segment[{i}]: {wrong}"));
            }
        }
    }
}

/// The versions of reviews that a webhook understands; `wanted` is said where there are none.
pub(crate) fn review_versions(versions: &[&str], wanted: &str, path: &Path<'_>, errors: &mut Errors) {
    if versions.is_empty() {
        errors.required(path, wanted);
        return;
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.invalid(&path.index(i), *version, "duplicate version");
        } else {
            errors.invalid_each(&path.index(i), version, names::label1035_errors(version));
        }
    }
    if !versions.iter().any(|version| REVIEW_VERSIONS.contains(version)) {
        errors.invalid(path, json!(versions), "must include at least one of v1, v1beta1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn hook(change: impl FnOnce(&mut Value)) -> Value {
        let mut hook = json!({"metadata": {"name": "w", "creationTimestamp": "2026-01-01T00:00:00Z"}, "webhooks": [{
            "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "s", "namespace": "n"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]});
        change(&mut hook["webhooks"][0]);
        MUTATING.default(&mut hook);
        hook
    }

    fn lines(change: impl FnOnce(&mut Value)) -> Vec<String> {
        MUTATING
            .validate(&hook(change), None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn webhooks_are_filled_and_shown() {
        let obj = hook(|_| {});
        let filled = &obj["webhooks"][0];
        assert_eq!(
            (&filled["failurePolicy"], &filled["timeoutSeconds"]),
            (&json!("Fail"), &json!(10))
        );
        assert_eq!(
            (&filled["rules"][0]["scope"], &filled["reinvocationPolicy"]),
            (&json!("*"), &json!("Never"))
        );
        assert_eq!(filled["clientConfig"]["service"]["port"], 443);
        assert_eq!(MUTATING.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(MUTATING.cells(&obj, now), [json!("w"), json!(1), json!("1s")]);
    }

    #[test]
    fn mistakes_are_reported() {
        assert_eq!(
            lines(|w| w["name"] = json!("short")),
            [
                "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots"
            ]
        );
        assert_eq!(
            lines(|w| w["clientConfig"] = json!({"url": "http://x"})),
            [
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired \
                 format: https://host[/path]"
            ]
        );
        assert_eq!(
            lines(|w| w["clientConfig"] = json!({"url": "https://u@/p?q#f"})),
            [
                "webhooks[0].clientConfig.url: Invalid value: \"\": host must be specified; desired format: https://host[/path]",
                "webhooks[0].clientConfig.url: Invalid value: \"u\": user information is not permitted in the URL",
                "webhooks[0].clientConfig.url: Invalid value: \"f\": fragments are not permitted in the URL",
                "webhooks[0].clientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL",
            ]
        );
        let service = json!({"name": "s", "namespace": "", "port": 0, "path": "/a//B"});
        let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                         must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        assert_eq!(
            lines(|w| w["clientConfig"] = json!({"service": service})),
            [
                "webhooks[0].clientConfig.service.namespace: Required value".to_owned(),
                "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, \
                 inclusive"
                    .to_owned(),
                "webhooks[0].clientConfig.service.path: Invalid value: \"/a//B\": segment[1] may not be empty".to_owned(),
                format!("webhooks[0].clientConfig.service.path: Invalid value: \"/a//B\": segment[2]: {subdomain}"),
            ]
        );
        assert_eq!(
            lines(|w| w["sideEffects"] = json!("Some")),
            ["webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""]
        );
        assert_eq!(
            lines(|w| w["rules"][0]["resources"] = json!(["*", "pods"])),
            [
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other \
                 resources without subresources"
            ]
        );
    }
}
