//! Validation of environment variables and the sources they come from.

use serde_json::Value;

use crate::names;
use crate::path::{Errors, Path};
use crate::quantity::Quantity;
use crate::value::{at, list_at, text};

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields a downward API volume may show.
pub const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
const ENV_RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks `env` and `envFrom` of a container.
pub fn variables(container: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("env");
    for (i, variable) in list_at(container, &["env"]).iter().enumerate() {
        let item = list.index(i);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        } else {
            errors.invalid_each(&item.child("name"), name, names::env_name_errors(name));
        }
        if let Some(source) = at(variable, &["valueFrom"]) {
            value_from(
                source,
                !text(variable, "value").is_empty(),
                &item.child("valueFrom"),
                errors,
            );
        }
    }
    let list = path.child("envFrom");
    for (i, source) in list_at(container, &["envFrom"]).iter().enumerate() {
        env_from(source, &list.index(i), errors);
    }
}

fn value_from(source: &Value, has_value: bool, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    if let Some(field) = at(source, &["fieldRef"]) {
        count += 1;
        field_ref(field, &ENV_FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = at(source, &["resourceFieldRef"]) {
        count += 1;
        resource_field_ref(resource, false, &path.child("resourceFieldRef"), errors);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = at(source, &[key]) {
            count += 1;
            key_ref(reference, &path.child(key), errors);
        }
    }
    if let Some(file) = at(source, &["fileKeyRef"]) {
        count += 1;
        let at = path.child("fileKeyRef");
        for key in ["key", "path", "volumeName"] {
            if text(file, key).is_empty() {
                errors.required(&at.child(key), "");
            }
        }
    }
    match count {
        0 => errors.invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        _ if has_value => errors.invalid(path, "", "may not be specified when `value` is not empty"),
        1 => {}
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
}

fn key_ref(reference: &Value, path: &Path<'_>, errors: &mut Errors) {
    let name = text(reference, "name");
    errors.invalid_each(&path.child("name"), name, names::subdomain_errors(name));
    let key = text(reference, "key");
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        errors.invalid_each(&path.child("key"), key, names::config_key_errors(key));
    }
}

/// Checks a reference to a field of the pod.
pub fn field_ref(field: &Value, supported: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if text(field, "apiVersion").is_empty() {
        errors.required(&path.child("apiVersion"), "");
        return;
    }
    let name = text(field, "fieldPath");
    let at = path.child("fieldPath");
    if name.is_empty() {
        errors.required(&at, "");
        return;
    }
    if let Some((base, rest)) = name.split_once('[')
        && let Some(key) = rest.strip_suffix(']').map(|k| k.trim_matches('\''))
    {
        match base {
            "metadata.annotations" => {
                errors.invalid_each(&at, key, names::qualified_name_errors(&key.to_lowercase()));
            }
            "metadata.labels" => errors.invalid_each(&at, key, names::qualified_name_errors(key)),
            _ => errors.invalid(&at, name, "does not support subscript"),
        }
        return;
    }
    let convertible = ENV_FIELDS.contains(&name)
        || VOLUME_FIELDS.contains(&name)
        || [
            "spec.restartPolicy",
            "spec.schedulerName",
            "status.phase",
            "status.nominatedNodeName",
        ]
        .contains(&name);
    if !convertible {
        errors.invalid(
            &at,
            name,
            format!("error converting fieldPath: field label not supported: {name}"),
        );
    } else if !supported.contains(&name) {
        errors.not_supported(&at, name, supported);
    }
}

/// Checks a reference to a container's resources; in a volume the container has to be named.
pub fn resource_field_ref(reference: &Value, in_volume: bool, path: &Path<'_>, errors: &mut Errors) {
    if in_volume && text(reference, "containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
        return;
    }
    let resource = text(reference, "resource");
    let huge = resource.strip_prefix("limits.").or(resource.strip_prefix("requests."));
    if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !ENV_RESOURCES.contains(&resource) && !huge.is_some_and(|r| r.starts_with("hugepages-")) {
        errors.not_supported(&path.child("resource"), resource, &ENV_RESOURCES);
    }
    let Some(divisor) = at(reference, &["divisor"]) else {
        return;
    };
    let Ok(divisor) = Quantity::from_value(divisor) else {
        errors.invalid(&path.child("divisor"), divisor.clone(), "must be a quantity");
        return;
    };
    let text = divisor.to_string();
    let (good, detail): (&[&str], _) = if resource.ends_with(".cpu") {
        (
            &["0", "1m", "1"],
            "only divisor's values 1m and 1 are supported with the cpu resource",
        )
    } else {
        (
            &[
                "0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
            ],
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the \
             memory resource",
        )
    };
    if !good.contains(&text.as_str()) {
        errors.invalid(&path.child("divisor"), text, detail);
    }
}

fn env_from(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let prefix = text(source, "prefix");
    if !prefix.is_empty() {
        errors.invalid_each(&path.child("prefix"), prefix, names::env_name_errors(prefix));
    }
    let mut count = 0;
    for key in ["configMapRef", "secretRef"] {
        if let Some(reference) = at(source, &[key]) {
            count += 1;
            let path = path.child(key);
            let name = text(reference, "name");
            if name.is_empty() {
                errors.required(&path.child("name"), "");
            } else {
                errors.invalid_each(&path.child("name"), name, names::subdomain_errors(name));
            }
        }
    }
    match count {
        0 => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
        1 => {}
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
}

#[cfg(test)]
mod tests {
    use crate::podspec::validate::tests::lines;
    use serde_json::{Value, json};

    fn env(variable: Value) -> Vec<String> {
        lines(json!({"containers": [{"name": "a", "image": "b", "env": [variable]}]}))
    }

    #[test]
    fn names_and_sources() {
        assert_eq!(
            env(json!({"name": ""})),
            ["spec.containers[0].env[0].name: Required value"]
        );
        assert_eq!(
            env(json!({"name": "A=B"})),
            [
                r#"spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='"#
            ]
        );
        assert!(env(json!({"name": "A", "valueFrom": {}}))[0].contains("must specify one of: `fieldRef`"));
        let key = json!({"name": "c", "key": "k"});
        assert_eq!(
            env(json!({"name": "A", "valueFrom": {"configMapKeyRef": key}})),
            Vec::<String>::new()
        );
        assert_eq!(
            env(json!({"name": "A", "value": "x", "valueFrom": {"secretKeyRef": key}})),
            [
                r#"spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#
            ]
        );
    }

    #[test]
    fn fields_of_the_pod() {
        let field = |path: &str| env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}));
        for good in [
            "status.podIP",
            "metadata.labels['app']",
            "metadata.annotations['example.com/X']",
        ] {
            assert_eq!(field(good), Vec::<String>::new(), "{good}");
        }
        assert!(field("spec.foo")[0].contains("error converting fieldPath: field label not supported: spec.foo"));
        assert!(
            field("metadata.labels")[0].contains(r#"Unsupported value: "metadata.labels": supported values: "meta"#)
        );
        let resource = |r: &str, d: &str| {
            env(json!({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": r, "divisor": d}}}))
        };
        assert_eq!(resource("limits.cpu", "1m"), Vec::<String>::new());
        assert_eq!(resource("requests.memory", "1Mi"), Vec::<String>::new());
        assert!(resource("limits.cpu", "2")[0].contains("only divisor's values 1m and 1 are supported"));
        assert!(resource("limits.gpu", "1")[0].contains("Unsupported value"));
    }

    #[test]
    fn whole_sources() {
        let from = |source: Value| lines(json!({"containers": [{"name": "a", "image": "b", "envFrom": [source]}]}));
        assert_eq!(
            from(json!({"configMapRef": {"name": "c"}, "prefix": "P_"})),
            Vec::<String>::new()
        );
        assert_eq!(
            from(json!({"secretRef": {}})),
            ["spec.containers[0].envFrom[0].secretRef.name: Required value"]
        );
        assert!(from(json!({}))[0].contains("must specify one of: `configMapRef` or `secretRef`"));
    }
}
