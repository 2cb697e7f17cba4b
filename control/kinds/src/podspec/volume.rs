//! Validation of volumes and of the places containers mount them at.

use serde_json::Value;

use super::env;
use crate::names;
use crate::path::{Errors, Path};
use crate::quantity::Quantity;
use crate::value::{self, at, bool_at, list_at, text};

const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
const MODE_MESSAGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Checks the `volumes` of a pod specification.
pub fn volumes(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("volumes");
    let mut seen: Vec<&str> = Vec::new();
    for (i, volume) in list_at(spec, &["volumes"]).iter().enumerate() {
        let item = list.index(i);
        let name = text(volume, "name");
        let name_path = item.child("name");
        if name.is_empty() {
            errors.required(&name_path, "");
        } else {
            errors.invalid_each(&name_path, name, names::label_errors(name));
        }
        if seen.contains(&name) {
            errors.duplicate(&name_path, name);
        }
        seen.push(name);
        sources(volume, &item, errors);
    }
}

fn sources(volume: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    for (key, source) in volume.as_object().into_iter().flatten() {
        if key == "name" || source.is_null() {
            continue;
        }
        let at = path.child(key);
        count += 1;
        if count > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
        } else {
            self::source(key, source, &at, errors);
        }
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

/// Checks the source of a volume by the name of its field.
pub fn source(kind: &str, source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let required = |keys: &[&str], errors: &mut Errors| {
        for key in keys {
            if text(source, key).is_empty() {
                errors.required(&path.child(key), "");
            }
        }
    };
    match kind {
        "emptyDir" => {
            if let Some(limit) = at(source, &["sizeLimit"]) {
                match Quantity::from_value(limit) {
                    Ok(q) if q.sign() >= 0 => {}
                    Ok(q) => errors.forbidden(
                        &path.child("sizeLimit"),
                        format!("SizeLimit field must be a valid resource quantity, not {q}"),
                    ),
                    Err(error) => errors.invalid(&path.child("sizeLimit"), limit.clone(), error.to_string()),
                }
            }
        }
        "hostPath" => {
            required(&["path"], errors);
            no_back_steps(text(source, "path"), &path.child("path"), errors);
            let kind = text(source, "type");
            if !HOST_PATH_TYPES.contains(&kind) {
                errors.not_supported(&path.child("type"), kind, &HOST_PATH_TYPES);
            }
        }
        "configMap" => {
            required(&["name"], errors);
            keys(source, path, errors);
        }
        "secret" => {
            required(&["secretName"], errors);
            keys(source, path, errors);
        }
        "downwardAPI" => {
            mode(source, "defaultMode", path, errors);
            downward(source, path, errors);
        }
        "projected" => projected(source, path, errors),
        "persistentVolumeClaim" => required(&["claimName"], errors),
        "nfs" => {
            required(&["server", "path"], errors);
            let export = text(source, "path");
            if !export.is_empty() && !export.starts_with('/') {
                errors.invalid(&path.child("path"), export, "must be an absolute path");
            }
        }
        "csi" => {
            required(&["driver"], errors);
            let driver = text(source, "driver");
            if !driver.is_empty() {
                errors.invalid_each(&path.child("driver"), driver, names::csi_driver_errors(driver));
            }
        }
        "image" => {
            required(&["reference"], errors);
            let policies = ["Always", "IfNotPresent", "Never"];
            errors.optional_one_of(&path.child("pullPolicy"), source.get("pullPolicy"), &policies);
        }
        _ => {}
    }
}

fn mode(source: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = value::i64_at(source, &[key])
        && !(0..=0o777).contains(&mode)
    {
        errors.invalid(&path.child(key), mode, MODE_MESSAGE);
    }
}

/// `defaultMode` and `items` of config map and secret volumes.
fn keys(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    mode(source, "defaultMode", path, errors);
    let list = path.child("items");
    for (i, item) in list_at(source, &["items"]).iter().enumerate() {
        let at = list.index(i);
        if text(item, "key").is_empty() {
            errors.required(&at.child("key"), "");
        }
        target(text(item, "path"), &at.child("path"), errors);
        mode(item, "mode", &at, errors);
    }
}

fn downward(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("items");
    for (i, item) in list_at(source, &["items"]).iter().enumerate() {
        let item_path = list.index(i);
        target(text(item, "path"), &item_path.child("path"), errors);
        match (at(item, &["fieldRef"]), at(item, &["resourceFieldRef"])) {
            (Some(_), Some(_)) => {
                errors.invalid(
                    &item_path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                );
            }
            (Some(field), None) => {
                env::field_ref(field, &env::VOLUME_FIELDS, &item_path.child("fieldRef"), errors);
            }
            (None, Some(resource)) => {
                env::resource_field_ref(resource, true, &item_path.child("resourceFieldRef"), errors);
            }
            (None, None) => {
                errors.required(
                    &item_path.child("fieldRef"),
                    "one of fieldRef and resourceFieldRef is required",
                );
            }
        }
        mode(item, "mode", &item_path, errors);
    }
}

fn projected(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    mode(source, "defaultMode", path, errors);
    let list = path.child("sources");
    let mut paths: Vec<&str> = Vec::new();
    for (i, part) in list_at(source, &["sources"]).iter().enumerate() {
        let item = list.index(i);
        let mut count = 0;
        for (key, inner) in part.as_object().into_iter().flatten() {
            if inner.is_null() {
                continue;
            }
            count += 1;
            let at = item.child(key);
            if count > 1 {
                errors.forbidden(&at, "may not specify more than 1 volume type");
                continue;
            }
            match key.as_str() {
                "configMap" | "secret" => {
                    if text(inner, "name").is_empty() {
                        errors.required(&at.child("name"), "");
                    }
                    keys(inner, &at, errors);
                }
                "downwardAPI" => downward(inner, &at, errors),
                "serviceAccountToken" => {
                    target(text(inner, "path"), &at.child("path"), errors);
                    let expiration = value::i64_at(inner, &["expirationSeconds"]).unwrap_or(3600);
                    if expiration < 600 {
                        let detail = "may not specify a duration less than 10 minutes";
                        errors.invalid(&at.child("expirationSeconds"), expiration, detail);
                    }
                }
                "clusterTrustBundle" => target(text(inner, "path"), &at.child("path"), errors),
                _ => {}
            }
            let own = text(inner, "path");
            let items = list_at(inner, &["items"]).iter().map(|x| text(x, "path"));
            for p in items.chain(std::iter::once(own)).filter(|p| !p.is_empty()) {
                if paths.contains(&p) {
                    errors.invalid(&item, p, "conflicting duplicate paths");
                }
                paths.push(p);
            }
        }
        if count == 0 {
            errors.required(&item, "must specify a volume type");
        }
    }
}

/// Checks where a key of a volume goes: a relative path that does not lead out and does not start with `..`.
fn target(path: &str, at: &Path<'_>, errors: &mut Errors) {
    if path.is_empty() {
        errors.required(at, "");
        return;
    }
    descending_path(path, at, errors);
    // Names that begin with two dots belong to the atomic writer of these volumes.
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        errors.invalid(at, path, "must not start with '..'");
    }
}

/// Checks a path that must stay below the directory it is relative to.
pub fn descending_path(path: &str, at: &Path<'_>, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    no_back_steps(path, at, errors);
}

fn no_back_steps(path: &str, at: &Path<'_>, errors: &mut Errors) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// Checks `volumeMounts` and `volumeDevices` of a container against the pod's volumes.
pub fn mounts(spec: &Value, container: &Value, path: &Path<'_>, errors: &mut Errors) {
    let volumes = list_at(spec, &["volumes"]);
    let known = |name: &str| volumes.iter().any(|v| text(v, "name") == name);
    let list = path.child("volumeMounts");
    let mut seen: Vec<&str> = Vec::new();
    for (i, mount) in list_at(container, &["volumeMounts"]).iter().enumerate() {
        let item = list.index(i);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        }
        if !known(name) {
            errors.not_found(&item.child("name"), name);
        }
        let mount_path = text(mount, "mountPath");
        if mount_path.is_empty() {
            errors.required(&item.child("mountPath"), "");
        }
        if seen.contains(&mount_path) {
            errors.invalid(&item.child("mountPath"), mount_path, "must be unique");
        }
        seen.push(mount_path);
        let (sub_path, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        if !sub_path.is_empty() {
            descending_path(sub_path, &item.child("subPath"), errors);
        }
        if !expression.is_empty() {
            if !sub_path.is_empty() {
                let detail = "subPathExpr and subPath are mutually exclusive";
                errors.invalid(&item.child("subPathExpr"), expression, detail);
            }
            descending_path(expression, &item.child("subPathExpr"), errors);
        }
        propagation(mount, container, &item, errors);
    }
    let list = path.child("volumeDevices");
    let mut devices: Vec<&str> = Vec::new();
    for (i, device) in list_at(container, &["volumeDevices"]).iter().enumerate() {
        let item = list.index(i);
        let name = text(device, "name");
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        } else if !known(name) {
            errors.not_found(&item.child("name"), name);
        }
        let device_path = text(device, "devicePath");
        if device_path.is_empty() {
            errors.required(&item.child("devicePath"), "");
        } else {
            no_back_steps(device_path, &item.child("devicePath"), errors);
            if seen.contains(&device_path) {
                errors.invalid(
                    &item.child("devicePath"),
                    device_path,
                    "must not already exist in volumeMounts",
                );
            } else if devices.contains(&device_path) {
                errors.invalid(&item.child("devicePath"), device_path, "must be unique");
            }
        }
        devices.push(device_path);
    }
}

fn propagation(mount: &Value, container: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(mount, "mountPropagation");
    let at = path.child("mountPropagation");
    errors.optional_one_of(
        &at,
        mount.get("mountPropagation"),
        &["Bidirectional", "HostToContainer", "None"],
    );
    if kind == "Bidirectional" && !bool_at(container, &["securityContext", "privileged"]) {
        errors.forbidden(
            &at,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
    let recursive = text(mount, "recursiveReadOnly");
    let at = path.child("recursiveReadOnly");
    match recursive {
        "Disabled" => {}
        "" if mount.get("recursiveReadOnly").is_none() => {}
        "Enabled" | "IfPossible" => {
            if !bool_at(mount, &["readOnly"]) {
                errors.forbidden(&at, "may only be specified when readOnly is true");
            }
            if !kind.is_empty() && kind != "None" {
                errors.forbidden(
                    &at,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        other => errors.not_supported(&at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

#[cfg(test)]
mod tests {
    use crate::podspec::validate::tests::lines;
    use serde_json::{Value, json};

    fn volume(volume: Value) -> Vec<String> {
        lines(json!({"containers": [{"name": "a", "image": "b"}], "volumes": [volume]}))
    }

    fn mount(mount: Value) -> Vec<String> {
        lines(
            json!({"containers": [{"name": "a", "image": "b", "volumeMounts": [mount]}],
            "volumes": [{"name": "v"}]}),
        )
    }

    #[test]
    fn sources_are_checked() {
        for good in [
            json!({"name": "v"}),
            json!({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}),
            json!({"name": "v", "hostPath": {"path": "/data", "type": "DirectoryOrCreate"}}),
            json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "a/b", "mode": 256}]}}),
            json!({"name": "v", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
            json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "c"}}]}}),
        ] {
            assert_eq!(volume(good.clone()), Vec::<String>::new(), "{good}");
        }
        for (bad, line) in [
            (
                json!({"name": "V"}),
                "spec.volumes[0].name: Invalid value: \"V\": a lowercase RFC 1123 label",
            ),
            (
                json!({"name": "v", "hostPath": {}}),
                "spec.volumes[0].hostPath.path: Required value",
            ),
            (
                json!({"name": "v", "hostPath": {"path": "/a/../b"}}),
                "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            ),
            (
                json!({"name": "v", "hostPath": {"path": "/a", "type": "Dir"}}),
                "spec.volumes[0].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\"",
            ),
            (
                json!({"name": "v", "secret": {}}),
                "spec.volumes[0].secret.secretName: Required value",
            ),
            (
                json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 888}}),
                "spec.volumes[0].secret.defaultMode: Invalid value: 888: must be a number between 0 and 0777",
            ),
            (
                json!({"name": "v", "configMap": {"name": "c"}, "emptyDir": {}}),
                "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "..x"}]}}),
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"..x\": must not start with '..'",
            ),
            (
                json!({"name": "v", "emptyDir": {"sizeLimit": "-1"}}),
                "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
            ),
        ] {
            let lines = volume(bad.clone());
            assert!(lines.first().is_some_and(|l| l.starts_with(line)), "{bad}: {lines:?}");
        }
    }

    #[test]
    fn mounts_match_volumes() {
        assert_eq!(
            mount(json!({"name": "v", "mountPath": "/x", "subPath": "a/b"})),
            Vec::<String>::new()
        );
        assert_eq!(
            mount(json!({"name": "w", "mountPath": "/x"})),
            [r#"spec.containers[0].volumeMounts[0].name: Not found: "w""#]
        );
        assert_eq!(
            mount(json!({"name": "v"})),
            ["spec.containers[0].volumeMounts[0].mountPath: Required value"]
        );
        assert_eq!(
            mount(json!({"name": "v", "mountPath": "/x", "subPath": "/abs"})),
            [r#"spec.containers[0].volumeMounts[0].subPath: Invalid value: "/abs": must be a relative path"#]
        );
        assert_eq!(
            mount(json!({"name": "v", "mountPath": "/x", "mountPropagation": "Bidirectional"})),
            [
                "spec.containers[0].volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is \
                 available only to privileged containers"
            ]
        );
        let twice = json!({"containers": [{"name": "a", "image": "b", "volumeMounts": [
            {"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]}], "volumes": [{"name": "v"}]});
        assert_eq!(
            lines(twice),
            [r#"spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique"#]
        );
    }
}
