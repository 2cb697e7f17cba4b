//! From a definition to kinds.

use std::borrow::Cow;
use std::sync::Arc;

use barepod_cel::rules::{Fault, Rules, check_definition};
use barepod_kinds::kinds::definition::is_structural;
use barepod_kinds::{Invalid, Kind as ErrorKind, ScalePaths, conditions};
use barepod_schema::structural::Schema;
use barepod_schema::{Resource, Subresource};
use serde_json::Value;

use super::columns::Columns;
use super::conform::embedded_faults;
use super::conversion::{Caller, Converter};
use super::jsonpath::JsonPath;
use super::strategy::{Custom, broken, invalid};
use super::versions::{Versions, compare};
use crate::engine::forms::Forms;
use crate::engine::registry::{Behaviour, Kind, Structure};

/// In the order in which discovery has always had them.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// Whether objects of the kind are definitions.
pub(in crate::engine) fn is_definition(kind: &Kind) -> bool {
    kind.resource.group == "apiextensions.k8s.io" && kind.resource.plural == "customresourcedefinitions"
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("").to_owned()
}

/// The kinds that a definition makes, one for each served version.
pub(super) fn kinds(definition: &Value, caller: &Caller) -> Vec<Arc<Kind>> {
    if !conditions::is_true(definition, "Established") {
        return Vec::new();
    }
    of_versions(definition, false, Converter::of(definition, caller).as_ref())
}

/// A kind to handle stored objects with, whether it is served or not.
pub(super) fn any_kind(definition: &Value) -> Option<Arc<Kind>> {
    of_versions(definition, true, None).into_iter().next()
}

fn of_versions(definition: &Value, every: bool, converter: Option<&Arc<Converter>>) -> Vec<Arc<Kind>> {
    let spec = &definition["spec"];
    let group = text(spec, "group");
    let versions = list(spec, "versions");
    let all: Arc<[(String, Arc<Schema>)]> = versions
        .iter()
        .map(|version| {
            let schema = Schema::parse(&version["schema"]["openAPIV3Schema"]);
            (format!("{group}/{}", text(version, "name")), Arc::new(schema))
        })
        .collect();
    let at = versions
        .iter()
        .position(|version| version["storage"] == true)
        .unwrap_or(0);
    let Some((stored, stored_schema)) = all.get(at).cloned() else {
        return Vec::new();
    };
    let mut kinds: Vec<Arc<Kind>> = versions
        .iter()
        .zip(all.iter())
        .filter(|(version, _)| version["served"] == true || every)
        .map(|(version, (api_version, schema))| {
            let resource = facts(definition, version);
            let prefix = format!("/{group}/{}/", resource.plural);
            let mut own = behaviour(version, schema.clone());
            own.deprecation = deprecation(spec, version);
            // Objects of another form are judged before they take the stored one.
            let reshaped = converter.filter(|_| *api_version != stored);
            let judge = reshaped.map(|_| Arc::new(behaviour(version, schema.clone())));
            if judge.is_some() {
                own.judged = true;
                own.scale = behaviour(&versions[at], stored_schema.clone()).scale;
            }
            let versions = Versions {
                schema: schema.clone(),
                api_version: api_version.clone(),
                stored: stored.clone(),
                stated: version["schema"]["openAPIV3Schema"].clone(),
                revision: format!(
                    "{}/{}",
                    text(&definition["metadata"], "uid"),
                    definition["metadata"]["generation"]
                ),
                all: all.clone(),
                stored_schema: stored_schema.clone(),
                converter: converter.cloned(),
                judge,
            };
            Arc::new(Kind {
                strategy: Behaviour::Custom(Box::new(own)),
                structure: Structure::Custom(schema.clone()),
                prefix,
                api_version: api_version.clone(),
                serial: tokio::sync::Mutex::default(),
                forms: Forms::custom(versions),
                resource: Cow::Owned(resource),
            })
        })
        .collect();
    kinds.sort_by(|a, b| compare(&a.resource.version, &b.resource.version));
    kinds
}

fn facts(definition: &Value, version: &Value) -> Resource {
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let (group, name) = (text(spec, "group"), text(version, "name"));
    let several = |key: &str| {
        let names = list(names, key).iter().filter_map(Value::as_str);
        names.map(|name| Cow::Owned(name.to_owned())).collect()
    };
    let subresource = |name: &'static str, group: &str, version: &str, kind: String| Subresource {
        name,
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: kind.into(),
        verbs: vec!["get", "patch", "update"],
    };
    let mut subresources = Vec::new();
    let stated = &version["subresources"];
    if stated["status"].is_object() {
        subresources.push(subresource("status", &group, &name, text(names, "kind")));
    }
    if stated["scale"].is_object() {
        subresources.push(subresource("scale", "autoscaling", "v1", "Scale".to_owned()));
    }
    let going = conditions::is_true(definition, "Terminating");
    Resource {
        kind: text(names, "kind").into(),
        list: text(names, "listKind").into(),
        plural: text(names, "plural").into(),
        singular: text(names, "singular").into(),
        namespaced: spec["scope"] == "Namespaced",
        short_names: several("shortNames"),
        categories: several("categories"),
        // The objects of a definition that goes away may be let go, but there will be no more of them.
        verbs: VERBS.into_iter().filter(|verb| !going || *verb != "create").collect(),
        subresources,
        group: group.into(),
        version: name.into(),
    }
}

/// What is said of a version that is not to be used any more: which newer one is.
fn deprecation(spec: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(warning) = version["deprecationWarning"].as_str() {
        return Some(warning.to_owned());
    }
    let (group, kind, name) = (text(spec, "group"), text(&spec["names"], "kind"), text(version, "name"));
    let versions = list(spec, "versions").iter();
    let newer = versions
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .map(|other| text(other, "name"))
        .filter(|other| compare(other, &name).is_lt())
        .min_by(|a, b| compare(a, b));
    let instead = newer.map(|newer| format!("; use {group}/{newer} {kind}"));
    Some(format!(
        "{group}/{name} {kind} is deprecated{}",
        instead.unwrap_or_default()
    ))
}

fn behaviour(version: &Value, schema: Arc<Schema>) -> Custom {
    let stated = &version["subresources"];
    let scale = stated["scale"].is_object().then(|| {
        let path = |key: &str| text(&stated["scale"], key);
        ScalePaths {
            spec_replicas: path("specReplicasPath").into(),
            status_replicas: path("statusReplicasPath").into(),
            label_selector: Some(path("labelSelectorPath"))
                .filter(|p| !p.is_empty())
                .map(Cow::Owned),
        }
    });
    let fields = list(version, "selectableFields").iter();
    Custom {
        embeds: schema.embeds(),
        schema,
        judged: false,
        rules: Rules::parse(&version["schema"]["openAPIV3Schema"]),
        has_status: stated["status"].is_object(),
        deprecation: None,
        scale,
        columns: Columns::new(list(version, "additionalPrinterColumns")),
        selectable: fields
            .filter_map(|field| {
                let path = text(field, "jsonPath");
                Some((path.trim_start_matches('.').to_owned(), JsonPath::parse(&path)?))
            })
            .collect(),
    }
}

/// What is wrong with a definition that only its schemas as a whole can tell: patterns, defaults and rules.
pub(in crate::engine) fn check(definition: &Value) -> Vec<Invalid> {
    let versions = list(&definition["spec"], "versions");
    let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
    // Where all versions have the same schema, it is shown as one.
    let one = versions.iter().all(|version| schema(version) == schema(&versions[0]));
    let mut errors = Vec::new();
    for (at, version) in versions.iter().take(if one { 1 } else { versions.len() }).enumerate() {
        let path = match one {
            true => "spec.validation.openAPIV3Schema".to_owned(),
            false => format!("spec.versions[{at}].schema.openAPIV3Schema"),
        };
        let schema = schema(version);
        below(&schema, &path, &mut |schema, path| pattern(schema, path, &mut errors));
        if !is_structural(&schema) {
            continue;
        }
        let before = errors.len();
        below(&schema, &path, &mut |schema, path| default(schema, path, &mut errors));
        if errors.len() > before {
            continue;
        }
        errors.extend(check_definition(&schema, &path).into_iter().map(|flaw| Invalid {
            field: flaw.field,
            kind: match flaw.fault {
                Fault::Invalid => ErrorKind::Invalid,
                Fault::Forbidden => ErrorKind::Forbidden,
            },
            value: flaw.value,
            detail: flaw.detail,
        }));
    }
    errors
}

fn pattern(schema: &Value, path: &str, errors: &mut Vec<Invalid>) {
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && let Err(why) = Schema::check_pattern(pattern)
    {
        errors.push(Invalid {
            field: format!("{path}.pattern"),
            kind: ErrorKind::Invalid,
            value: pattern.into(),
            detail: format!("must be a valid regular expression, but isn't: {why}"),
        });
    }
}

/// A default is a value that the schema allows, also as to what is inside objects of the API.
fn default(schema: &Value, path: &str, errors: &mut Vec<Invalid>) {
    let Some(default) = schema.get("default") else { return };
    let parsed = Schema::parse(schema);
    let mut pruned = default.clone();
    let field = format!("{path}.default");
    let unknown = parsed.prune_value(&mut pruned);
    if !unknown.is_empty() {
        errors.push(Invalid {
            field: field.clone(),
            kind: ErrorKind::Invalid,
            value: default.clone(),
            detail: format!("must not have unknown fields: {}", unknown.join(", ")),
        });
    }
    parsed.fill(&mut pruned);
    let mut found = embedded_faults(&parsed, &mut pruned);
    found.extend(parsed.validate(&pruned, None).into_iter().map(invalid));
    found.extend(
        Rules::parse_value(schema)
            .judge(&pruned, None)
            .failures
            .into_iter()
            .map(broken),
    );
    errors.extend(found.into_iter().map(|mut error| {
        error.field = match error.field.as_str() {
            "<nil>" => field.clone(),
            inside => format!("{field}.{inside}"),
        };
        error
    }));
}

/// Shows `visit` every schema inside a schema, with its path.
fn below(schema: &Value, path: &str, visit: &mut dyn FnMut(&Value, &str)) {
    visit(schema, path);
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inside) in properties.into_iter().flatten() {
        below(inside, &format!("{path}.properties[{name}]"), visit);
    }
    for key in ["items", "additionalProperties", "not"] {
        if let Some(inside) = schema.get(key).filter(|inside| inside.is_object()) {
            below(inside, &format!("{path}.{key}"), visit);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (at, inside) in list(schema, key).iter().enumerate() {
            below(inside, &format!("{path}.{key}[{at}]"), visit);
        }
    }
}
