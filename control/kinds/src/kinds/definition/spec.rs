//! Checks of what a definition says, apart from its schemas.

use serde_json::{Value, json};

use super::schema;
use crate::kinds::admission::webhook;
use crate::names;
use crate::path::{Errors, Path};
use crate::value::{at, bool_at, list_at, strings, text};

const SPEC: Path<'static> = Path::new("spec");
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
/// How many fields may be selectable.
const MOST_SELECTABLE: usize = 8;

pub(super) fn check(spec: &Value, errors: &mut Errors) {
    let group = text(spec, "group");
    let path = SPEC.child("group");
    let wrong = names::subdomain_errors(group);
    if group.is_empty() {
        errors.required(&path, "");
    } else if !wrong.is_empty() {
        errors.invalid(&path, group, wrong.join(","));
    } else if !group.contains('.') {
        errors.invalid(&path, group, "should be a domain with at least one dot");
    }
    match text(spec, "scope") {
        "" => errors.required(&SPEC.child("scope"), ""),
        scope => errors.one_of(&SPEC.child("scope"), scope, &["Cluster", "Namespaced"]),
    }
    let wanted = at(spec, &["names"]).cloned().unwrap_or_default();
    let path = SPEC.child("names");
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(&wanted, key).is_empty() {
            errors.required(&path.child(key), "");
        }
    }
    check_names(&wanted, &path, errors);
    versions(spec, errors);
    conversion(spec, errors);
}

fn check_names(names: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut label = |path: &Path<'_>, name: &str| {
        let wrong = names::label1035_errors(name);
        if !name.is_empty() && !wrong.is_empty() {
            errors.invalid(path, name, wrong.join(","));
        }
    };
    for key in ["plural", "singular"] {
        label(&path.child(key), text(names, key));
    }
    for key in ["shortNames", "categories"] {
        let list = path.child(key);
        for (i, name) in strings(names, &[key]).enumerate() {
            label(&list.index(i), name);
        }
    }
    for key in ["kind", "listKind"] {
        let kind = text(names, key);
        let wrong = names::label1035_errors(&kind.to_lowercase());
        if !kind.is_empty() && !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&path.child(key), kind, detail);
        }
    }
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        errors.invalid(&path.child("listKind"), kind, "kind and listKind may not be the same");
    }
}

fn versions(spec: &Value, errors: &mut Errors) {
    let all = list_at(spec, &["versions"]);
    let path = SPEC.child("versions");
    for (i, version) in all.iter().enumerate() {
        let item = path.index(i);
        let name = text(version, "name");
        let wrong = names::label1035_errors(name);
        if !wrong.is_empty() {
            errors.invalid(&item.child("name"), name, wrong.join(","));
        }
        deprecation(version, &item, errors);
        if at(version, &["schema", "openAPIV3Schema"]).is_none() {
            errors.required(&item.child("schema.openAPIV3Schema"), "schemas are required");
        }
    }
    let named = |name: &str| all.iter().filter(|version| text(version, "name") == name).count();
    if all.iter().any(|version| named(text(version, "name")) > 1) {
        errors.invalid(&path, json!(all), "must contain unique version names");
    }
    if all.iter().filter(|version| bool_at(version, &["storage"])).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.invalid(&path, json!(all), detail);
    }
    each(all, "schema", "validation", &mut |version, schema, path| {
        if let Some(schema) = at(schema, &["openAPIV3Schema"]) {
            let status = at(version, &["subresources", "status"]).is_some();
            schema::check(schema, status, &path.child("openAPIV3Schema"), errors);
        }
    });
    each(all, "subresources", "subresources", &mut |_, subresources, path| {
        scale(subresources, path, errors);
    });
    each(
        all,
        "additionalPrinterColumns",
        "additionalPrinterColumns",
        &mut |_, columns, path| {
            for (i, column) in columns.as_array().into_iter().flatten().enumerate() {
                check_column(column, &path.index(i), errors);
            }
        },
    );
    each(
        all,
        "selectableFields",
        "selectableFields",
        &mut |version, fields, path| {
            selectable(version, fields, path, errors);
        },
    );
}

/// A part of every version; one that is the same in all is shown as a part of the whole, as it once was.
fn each(all: &[Value], key: &str, whole: &str, check: &mut dyn FnMut(&Value, &Value, &Path<'_>)) {
    let Some(first) = all.first() else { return };
    let part = |version| at(version, &[key]);
    if all.iter().all(|version| part(version) == part(first)) {
        if let Some(part) = part(first) {
            check(first, part, &SPEC.child(whole));
        }
        return;
    }
    let path = SPEC.child("versions");
    for (i, version) in all.iter().enumerate() {
        if let Some(part) = part(version) {
            check(version, part, &path.index(i).child(key));
        }
    }
}

fn deprecation(version: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(warning) = at(version, &["deprecationWarning"]).and_then(Value::as_str) else {
        return;
    };
    let mut invalid = |detail: &str| errors.invalid(&path.child("deprecationWarning"), warning, detail);
    if !bool_at(version, &["deprecated"]) {
        return invalid("can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        invalid("must be <= 256 characters long");
    }
    if warning.is_empty() {
        invalid("must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let detail =
            format!("must only contain printable UTF-8 characters; non-printable character found at index {at}");
        invalid(&detail);
    }
}

/// A path of names behind dots.
fn json_path(given: &str, path: &Path<'_>, errors: &mut Errors) -> bool {
    if !given.starts_with('.') {
        errors.invalid(path, given, "must be a simple json path starting with .");
    }
    given.starts_with('.')
}

fn scale(subresources: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(scale) = at(subresources, &["scale"]) else {
        return;
    };
    for (key, below, detail) in [
        ("specReplicasPath", ".spec.", "should be a json path under .spec"),
        ("statusReplicasPath", ".status.", "should be a json path under .status"),
    ] {
        let name = format!("scale.{key}");
        let at = path.child(&name);
        match text(scale, key) {
            "" => errors.required(&at, ""),
            given if json_path(given, &at, errors) && !given.starts_with(below) => errors.invalid(&at, given, detail),
            _ => {}
        }
    }
    let at = path.child("scale.labelSelectorPath");
    let given = text(scale, "labelSelectorPath");
    let known = given.starts_with(".spec.") || given.starts_with(".status.");
    if !given.is_empty() && json_path(given, &at, errors) && !known {
        errors.invalid(&at, given, "should be a json path under either .spec or .status");
    }
}

fn check_column(column: &Value, path: &Path<'_>, errors: &mut Errors) {
    if text(column, "name").is_empty() {
        errors.required(&path.child("name"), "");
    }
    let (kind, format) = (text(column, "type"), text(column, "format"));
    let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
    if kind.is_empty() {
        errors.required(&path.child("type"), &detail);
    } else if !COLUMN_TYPES.contains(&kind) {
        errors.invalid(&path.child("type"), kind, detail);
    }
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.invalid(&path.child("format"), format, detail);
    }
    let at = path.child("JSONPath");
    match text(column, "jsonPath") {
        "" => errors.required(&at, ""),
        given => {
            json_path(given, &at, errors);
        }
    }
}

fn selectable(version: &Value, fields: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for (i, field) in fields.as_array().into_iter().flatten().enumerate() {
        let item = path.index(i);
        let at_path = item.child("jsonPath");
        let given = text(field, "jsonPath");
        if given.is_empty() {
            errors.required(&at_path, "");
            continue;
        }
        let schema = given.strip_prefix('.').and_then(|names| {
            let mut schema = at(version, &["schema", "openAPIV3Schema"])?;
            for name in names.split('.') {
                schema = at(schema, &["properties", name])?;
            }
            Some(schema)
        });
        let Some(schema) = schema else {
            let detail = "is an invalid path: does not refer to a valid field";
            errors.invalid(&at_path, given, detail);
            continue;
        };
        if given.starts_with(".metadata") {
            errors.invalid(&at_path, given, "must not point to fields in metadata");
        }
        if !matches!(text(schema, "type"), "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings \
                          with formats are allowed.";
            errors.invalid(&at_path, given, detail);
        }
        if seen.contains(&given) {
            errors.duplicate(&at_path, given);
        } else {
            seen.push(given);
        }
    }
    if seen.len() > MOST_SELECTABLE {
        errors.too_many(path, seen.len(), MOST_SELECTABLE);
    }
}

fn conversion(spec: &Value, errors: &mut Errors) {
    let Some(conversion) = at(spec, &["conversion"]) else {
        return;
    };
    let path = SPEC.child("conversion");
    let strategy = text(conversion, "strategy");
    errors.one_of(&path.child("strategy"), strategy, &["None", "Webhook"]);
    let webhook = at(conversion, &["webhook"]).unwrap_or(&Value::Null);
    let config = at(webhook, &["clientConfig"]);
    let versions: Vec<&str> = strings(webhook, &["conversionReviewVersions"]).collect();
    let client_path = path.child("webhookClientConfig");
    let versions_path = path.child("conversionReviewVersions");
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        for (set, path) in [(config.is_some(), client_path), (!versions.is_empty(), versions_path)] {
            if set {
                errors.forbidden(&path, detail);
            }
        }
        return;
    }
    match config {
        None => errors.required(&client_path, "required when strategy is set to Webhook"),
        Some(config) => webhook::client(config, &client_path, errors),
    }
    webhook::review_versions(&versions, "", &versions_path, errors);
}
