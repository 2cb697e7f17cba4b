//! PersistentVolumes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{MODES, VOLUME_MODE, class, modes, old_class, phase};
use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::path::{Errors, Path};
use crate::podspec::{self, scheduling, volume as volumes};
use crate::quantity::Quantity;
use crate::rules::{Check, rule, subdomain, text as text_default};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, map_at, object_mut, str_at, text};
use crate::warnings::Warnings;

const SPEC: Path<'static> = Path::new("spec");
/// Everything in a specification that does not say where the data is.
const NOT_A_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// PersistentVolumes.
pub static VOLUME: Declared = Declared {
    new_status: NewStatus::Phase("Pending"),
    columns: &[
        NAME,
        shows(
            "Capacity",
            Cell::Text("spec.capacity.storage", "0"),
            "Size of the volume",
        ),
        shows(
            "Access Modes",
            Cell::By(|v, _| modes(v, &["spec", "accessModes"]).into()),
            "How it may be mounted",
        ),
        shows(
            "Reclaim Policy",
            Cell::Text("spec.persistentVolumeReclaimPolicy", ""),
            "What becomes of the volume when its claim goes",
        ),
        shows(
            "Status",
            Cell::By(|v, _| phase(v).into()),
            "Whether a claim has the volume",
        ),
        shows("Claim", Cell::By(claim), "The claim that has the volume"),
        shows("StorageClass", Cell::By(|v, _| class(v).into()), "Class of the volume"),
        shows(
            "VolumeAttributesClass",
            Cell::Text("spec.volumeAttributesClassName", "<unset>"),
            "Class of the volume's attributes",
        ),
        shows(
            "Reason",
            Cell::Text("status.reason", ""),
            "Why the volume is in its state",
        ),
        AGE,
        VOLUME_MODE,
    ],
    defaults: &[
        text_default("spec.persistentVolumeReclaimPolicy", "Retain"),
        text_default("spec.volumeMode", "Filesystem"),
        text_default("spec.iscsi.iscsiInterface", "default"),
        text_default("spec.rbd.pool", "rbd"),
        text_default("spec.rbd.user", "admin"),
        text_default("spec.rbd.keyring", "/etc/ceph/keyring"),
        text_default("spec.azureDisk.cachingMode", "ReadWrite"),
        text_default("spec.azureDisk.kind", "Shared"),
        text_default("spec.azureDisk.fsType", "ext4"),
        text_default("spec.scaleIO.storageMode", "ThinProvisioned"),
        text_default("spec.scaleIO.fsType", "xfs"),
    ],
    rules: &[
        rule("spec.accessModes", Check::Required("")),
        rule("spec.accessModes[*]", Check::OneOf(&MODES)),
        rule("spec.capacity", Check::Required("")),
        rule(
            "spec.persistentVolumeReclaimPolicy",
            Check::AnyOf(&["Delete", "Recycle", "Retain"]),
        ),
        rule("spec.csi", Check::By(driver)),
        rule("spec.storageClassName", Check::Text(subdomain)),
        rule("spec.volumeMode", Check::AnyOf(&["Block", "Filesystem"])),
        rule("spec.volumeMode", Check::Immutable),
    ],
    more_defaults: |volume| {
        if let Some(source) = volume.pointer_mut("/spec/hostPath") {
            crate::value::fill(source, "type", "");
        }
        if let Some(status) = object_mut(volume, "status") {
            status.entry("phase").or_insert_with(|| "Pending".into());
        }
    },
    more_rules,
    warn,
    ..PLAIN
};

fn warn(volume: &Value, _old: Option<&Value>, warnings: &mut Warnings) {
    let (Some(metadata), Some(spec)) = (at(volume, &["metadata"]), map_at(volume, &["spec"])) else {
        return;
    };
    old_class(metadata, warnings);
    if spec
        .get("persistentVolumeReclaimPolicy")
        .is_some_and(|policy| policy == "Recycle")
    {
        let what = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
                    provisioning.";
        warnings.at(&SPEC.child("persistentVolumeReclaimPolicy"), what);
    }
    if let Some(required) = at(volume, &["spec", "nodeAffinity", "required"]) {
        warnings.node_terms(required, &SPEC.child("nodeAffinity.required"));
    }
    podspec::warnings::volume(spec, &SPEC, warnings);
}

fn source(spec: &Value) -> Map<String, Value> {
    let mut source = spec.as_object().cloned().unwrap_or_default();
    source.retain(|key, value| !value.is_null() && !NOT_A_SOURCE.contains(&key.as_str()));
    source
}

fn more_rules(volume: &Value, old: Option<&Value>, errors: &mut Errors) {
    let empty = json!({});
    let spec = at(volume, &["spec"]).unwrap_or(&empty);
    let capacity = map_at(spec, &["capacity"]);
    let path = SPEC.child("capacity");
    if let Some(capacity) = capacity.filter(|c| !c.is_empty()) {
        if !capacity.contains_key("storage") || capacity.len() > 1 {
            errors.not_supported(&path, &json!(capacity).to_string(), &["storage"]);
        }
        for (name, amount) in capacity {
            if let Ok(amount) = Quantity::from_value(amount)
                && amount.sign() <= 0
            {
                errors.invalid(&path.key(name), amount.to_string(), "must be greater than zero");
            }
        }
    }
    let given = source(spec);
    let mut sources = given.iter();
    match sources.next() {
        None => errors.required(&SPEC, "must specify a volume type"),
        Some((kind, source)) => volumes::source(kind, source, &SPEC.child(kind), errors),
    }
    for (kind, _) in sources {
        errors.forbidden(&SPEC.child(kind), "may not specify more than 1 volume type");
    }
    let affinity = at(spec, &["nodeAffinity", "required"]);
    let path = SPEC.child("nodeAffinity");
    match (at(spec, &["nodeAffinity"]), affinity) {
        (Some(_), Some(required)) => scheduling::node_selector(required, &path.child("required"), errors),
        (Some(_), None) => errors.required(&path.child("required"), "must specify required node constraints"),
        (None, _) if given.contains_key("local") => {
            errors.required(&path, "Local volume requires node affinity");
        }
        (None, _) => {}
    }
    let recycled = str_at(spec, &["persistentVolumeReclaimPolicy"]) == Some("Recycle");
    if recycled && str_at(spec, &["hostPath", "path"]) == Some("/") {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden(&SPEC.child("persistentVolumeReclaimPolicy"), detail);
    }
    let Some(old) = old else { return };
    let stored = at(old, &["spec"]).unwrap_or(&empty);
    if source(stored) != given {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.forbidden(&SPEC.child("persistentvolumesource"), detail);
    }
    if let Some(before) = at(stored, &["nodeAffinity"]) {
        errors.immutable(&path, at(spec, &["nodeAffinity"]), Some(before));
    }
}

/// As kube's `validateCSIPersistentVolumeSource`; that a driver is named is asked of every source of this kind.
fn driver(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    if text(source, "volumeHandle").is_empty() {
        errors.required(&path.child("volumeHandle"), "");
    }
    for key in [
        "controllerPublishSecretRef",
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "controllerExpandSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(secret) = at(source, &[key]) else { continue };
        for part in ["name", "namespace"] {
            if text(secret, part).is_empty() {
                errors.required(&path.child(key).child(part), "");
            }
        }
    }
}

fn claim(volume: &Value, _now: Timestamp) -> Value {
    match at(volume, &["spec", "claimRef"]) {
        None => "".into(),
        Some(claim) => {
            let part = |key| str_at(claim, &[key]).unwrap_or("");
            format!("{}/{}", part("namespace"), part("name")).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn volume() -> Value {
        let mut volume = json!({"metadata": {"name": "v", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/data"},
            "claimRef": {"namespace": "n", "name": "c"}}});
        VOLUME.default(&mut volume);
        volume
    }

    fn lines(new: &Value, old: Option<&Value>) -> Vec<String> {
        VOLUME.validate(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_and_rows() {
        let obj = volume();
        assert_eq!(lines(&obj, None), Vec::<String>::new());
        assert_eq!(obj["spec"]["hostPath"], json!({"path": "/data", "type": ""}));
        let now = "2026-01-01T00:00:03Z".parse().unwrap();
        assert_eq!(
            VOLUME.cells(&obj, now),
            [
                "v",
                "1Gi",
                "RWO",
                "Retain",
                "Pending",
                "n/c",
                "",
                "<unset>",
                "",
                "3s",
                "Filesystem"
            ]
        );
    }

    #[test]
    fn the_source_is_one_and_stays() {
        let old = volume();
        let mut new = old.clone();
        new["spec"]["nfs"] = json!({"server": "s", "path": "/"});
        assert_eq!(
            lines(&new, Some(&old)),
            [
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
            ]
        );
        let mut local = old;
        local["spec"].as_object_mut().unwrap().remove("hostPath");
        assert_eq!(
            lines(&local, None),
            ["spec: Required value: must specify a volume type"]
        );
        local["spec"]["local"] = json!({"path": "/disk"});
        assert_eq!(
            lines(&local, None),
            ["spec.nodeAffinity: Required value: Local volume requires node affinity"]
        );
    }
}
