//! The operations on a resource.

use serde_json::{Map, Value, json};

use super::schemas::patch_type;
use super::{Version, custom, kind_type};
use crate::Resource;

const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// Where operations are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All objects, in every namespace.
    Everywhere,
    /// All objects, in one namespace when they live in one.
    Collection,
    /// One object.
    Object,
}

/// The kind that an operation speaks.
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

/// The paths of a resource, each with its operations.
pub(super) fn paths(version: Version, resource: &Resource) -> Vec<(String, Value)> {
    let base = format!("/{}", resource.group_path());
    let collection = if resource.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{base}/{}", resource.plural)
    };
    let object = format!("{collection}/{{name}}");
    let own = Kind {
        group: &resource.group,
        version: &resource.version,
        kind: &resource.kind,
    };
    let mut paths = Vec::new();
    let mut add = |path: String, scope, kind: &Kind<'_>, sub: &str, verbs: &[&str]| {
        let mut operations = Map::new();
        for verb in verbs {
            if let Some((method, action)) = method(verb, scope, !sub.is_empty()) {
                operations.insert(
                    method.to_owned(),
                    operation(version, resource, kind, sub, action, scope),
                );
            }
        }
        if !operations.is_empty() {
            operations.insert(
                "parameters".to_owned(),
                path_parameters(version, resource.namespaced, scope),
            );
            paths.push((path, Value::Object(operations)));
        }
    };
    if resource.namespaced {
        add(
            format!("{base}/{}", resource.plural),
            Scope::Everywhere,
            &own,
            "",
            &resource.verbs,
        );
    }
    add(collection, Scope::Collection, &own, "", &resource.verbs);
    add(object.clone(), Scope::Object, &own, "", &resource.verbs);
    for sub in &resource.subresources {
        let kind = Kind {
            group: &sub.group,
            version: &sub.version,
            kind: &sub.kind,
        };
        add(
            format!("{object}/{}", sub.name),
            Scope::Object,
            &kind,
            sub.name,
            &sub.verbs,
        );
    }
    paths
}

/// The HTTP method of a verb and the name of its action, where the verb applies.
fn method(verb: &str, scope: Scope, is_sub: bool) -> Option<(&'static str, &'static str)> {
    Some(match (verb, scope) {
        ("list", Scope::Everywhere | Scope::Collection) => ("get", "list"),
        ("create", Scope::Collection) => ("post", "post"),
        ("create", Scope::Object) if is_sub => ("post", "post"),
        ("deletecollection", Scope::Collection) => ("delete", "deletecollection"),
        ("get", Scope::Object) => ("get", "get"),
        ("update", Scope::Object) => ("put", "put"),
        ("patch", Scope::Object) => ("patch", "patch"),
        ("delete", Scope::Object) => ("delete", "delete"),
        _ => return None,
    })
}

fn operation(version: Version, resource: &Resource, kind: &Kind<'_>, sub: &str, action: &str, scope: Scope) -> Value {
    let is_custom = kind_type(&resource.group, &resource.version, &resource.kind).is_none();
    let schema_name = |kind: &Kind<'_>| match kind_type(kind.group, kind.version, kind.kind) {
        Some(ty) => Some(ty.name().to_owned()),
        None => is_custom.then(|| custom::name(kind.group, kind.version, kind.kind)),
    };
    let of_kind = schema_name(kind);
    let list_kind = resource.list_kind();
    let own = |kind| Kind {
        group: &resource.group,
        version: &resource.version,
        kind,
    };
    let core = |name: &str| kind_type("", "v1", name).map(|ty| ty.name().to_owned());
    let answer = match action {
        "list" => schema_name(&own(&list_kind)),
        "delete" | "deletecollection" => core("Status"),
        _ => of_kind.clone(),
    };
    let body = match action {
        "post" | "put" => of_kind,
        "patch" => patch_type().map(|ty| ty.name().to_owned()),
        "delete" | "deletecollection" => core("DeleteOptions"),
        _ => None,
    };
    let patch_types = &PATCH_TYPES[..PATCH_TYPES.len() - usize::from(is_custom)];
    let schema = |name: &str| json!({ "$ref": version.reference(name) });
    let mut responses = Map::new();
    let mut statuses = vec![("200", "OK")];
    match action {
        "post" => statuses.extend([("201", "Created"), ("202", "Accepted")]),
        "put" | "patch" => statuses.push(("201", "Created")),
        "delete" => statuses.push(("202", "Accepted")),
        _ => {}
    }
    for (status, text) in statuses {
        let mut response = json!({ "description": text });
        if let Some(answer) = &answer {
            match version {
                Version::V2 => response["schema"] = schema(answer),
                Version::V3 => response["content"] = json!({ "application/json": { "schema": schema(answer) } }),
            }
        }
        responses.insert(status.to_owned(), response);
    }
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    let mut parameters = query_parameters(version, action);
    let mut operation = json!({
        "operationId": operation_id(resource, sub, action, scope),
        "tags": [tag(resource)],
        "responses": responses,
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": { "group": kind.group, "kind": kind.kind, "version": kind.version },
    });
    let required = matches!(action, "post" | "put" | "patch");
    match (body, version) {
        (None, _) => {}
        (Some(body), Version::V2) => {
            parameters.push(json!({ "name": "body", "in": "body", "required": required, "schema": schema(&body) }));
            let consumes = if action == "patch" {
                json!(patch_types)
            } else {
                json!(["*/*"])
            };
            operation["consumes"] = consumes;
        }
        (Some(body), Version::V3) => {
            let types: &[&str] = if action == "patch" { patch_types } else { &["*/*"] };
            let content: Map<String, Value> = types
                .iter()
                .map(|media| ((*media).to_owned(), json!({ "schema": schema(&body) })))
                .collect();
            operation["requestBody"] = json!({ "content": content, "required": required });
        }
    }
    if version == Version::V2 {
        operation["produces"] = json!(["application/json", "application/yaml"]);
        operation["schemes"] = json!(["https"]);
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    operation
}

fn parameter(version: Version, place: &str, name: &str, kind: &str) -> Value {
    let mut parameter = match version {
        Version::V2 => json!({ "name": name, "in": place, "type": kind, "uniqueItems": true }),
        Version::V3 => json!({ "name": name, "in": place, "schema": { "type": kind, "uniqueItems": true } }),
    };
    if place == "path" {
        parameter["required"] = Value::Bool(true);
    }
    parameter
}

fn path_parameters(version: Version, namespaced: bool, scope: Scope) -> Value {
    let mut parameters = Vec::new();
    if scope == Scope::Object {
        parameters.push(parameter(version, "path", "name", "string"));
    }
    if namespaced && scope != Scope::Everywhere {
        parameters.push(parameter(version, "path", "namespace", "string"));
    }
    parameters.push(parameter(version, "query", "pretty", "string"));
    Value::Array(parameters)
}

fn query_parameters(version: Version, action: &str) -> Vec<Value> {
    let names: &[(&str, &str)] = match action {
        "post" | "put" => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
        ],
        "patch" => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        ],
        "delete" => &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ],
        "list" => &LIST,
        "deletecollection" => &[
            ("continue", "string"),
            ("dryRun", "string"),
            ("fieldSelector", "string"),
            ("gracePeriodSeconds", "integer"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("propagationPolicy", "string"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("timeoutSeconds", "integer"),
        ],
        _ => &[],
    };
    names
        .iter()
        .map(|(name, kind)| parameter(version, "query", name, kind))
        .collect()
}

const LIST: [(&str, &str); 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

/// `apps_v1`, `core_v1`.
fn tag(resource: &Resource) -> String {
    let group = resource.group.split('.').next().unwrap_or_default();
    format!("{}_{}", if group.is_empty() { "core" } else { group }, resource.version)
}

/// `createAppsV1NamespacedDeployment`, `patchCoreV1NamespacedPodStatus`.
fn operation_id(resource: &Resource, sub: &str, action: &str, scope: Scope) -> String {
    let verb = match action {
        "get" => "read",
        "post" => "create",
        "put" => "replace",
        "deletecollection" => "deleteCollection",
        other => other,
    };
    let tag: String = tag(resource).split('_').map(capital).collect();
    let namespaced = if resource.namespaced && scope != Scope::Everywhere {
        "Namespaced"
    } else {
        ""
    };
    let everywhere = if resource.namespaced && scope == Scope::Everywhere {
        "ForAllNamespaces"
    } else {
        ""
    };
    format!("{verb}{tag}{namespaced}{}{}{everywhere}", resource.kind, capital(sub))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + chars.as_str()
    })
}
