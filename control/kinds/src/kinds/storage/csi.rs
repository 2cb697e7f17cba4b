//! CSIDrivers, CSINodes, CSIStorageCapacities and VolumeAttachments.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cells::Cell;
use crate::declared::{Declared, Generation, NewStatus, PLAIN};
use crate::names;
use crate::path::{Errors, Path};
use crate::quantity::Quantity;
use crate::rules::{Check, flag, qualified, rule, subdomain, text as text_default};
use crate::table::{AGE, NAME, counts, says, shows};
use crate::value::{at, i64_at, list_at, map_at, str_at, text};
use crate::warnings::old_node_label;

/// CSIDrivers.
pub static DRIVER: Declared = Declared {
    // What the node agent has to notice.
    generation: Generation::With(&["spec.tokenRequests", "spec.requiresRepublish", "spec.seLinuxMount"]),
    unconditional_update: false,
    columns: &[
        NAME,
        says(
            "AttachRequired",
            Cell::Flag("spec.attachRequired", true),
            "Whether volumes are attached to nodes",
        ),
        says(
            "PodInfoOnMount",
            Cell::Flag("spec.podInfoOnMount", false),
            "Whether the driver is told of the pod",
        ),
        says(
            "StorageCapacity",
            Cell::Flag("spec.storageCapacity", false),
            "Whether the driver reports capacities",
        ),
        shows(
            "TokenRequests",
            Cell::By(audiences),
            "Audiences of the tokens that the driver gets",
        ),
        says(
            "RequiresRepublish",
            Cell::Flag("spec.requiresRepublish", false),
            "Whether mounted volumes are published again and again",
        ),
        shows(
            "Modes",
            Cell::Join("spec.volumeLifecycleModes", "<none>"),
            "Lives that volumes may have",
        ),
        AGE,
    ],
    defaults: &[
        flag("spec.attachRequired", true),
        flag("spec.podInfoOnMount", false),
        flag("spec.storageCapacity", false),
        text_default("spec.fsGroupPolicy", "ReadWriteOnceWithFSType"),
        flag("spec.requiresRepublish", false),
        flag("spec.seLinuxMount", false),
    ],
    rules: &[
        rule("metadata.name", Check::Text(names::csi_driver_errors)),
        rule("spec.attachRequired", Check::Given("")),
        rule(
            "spec.fsGroupPolicy",
            Check::AnyOf(&["File", "None", "ReadWriteOnceWithFSType"]),
        ),
        rule(
            "spec.volumeLifecycleModes[*]",
            Check::OneOf(&["Ephemeral", "Persistent"]),
        ),
        rule("spec.tokenRequests", Check::Unique(&["audience"])),
        rule("spec.attachRequired", Check::Immutable),
        rule("spec.volumeLifecycleModes", Check::Immutable),
    ],
    more_defaults: |driver| {
        if let Some(spec) = driver.get_mut("spec").filter(|s| s.is_object())
            && list_at(spec, &["volumeLifecycleModes"]).is_empty()
        {
            crate::value::fill(spec, "volumeLifecycleModes", Value::Null);
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
    },
    more_rules: |driver, _, errors| {
        let list = Path::new("spec.tokenRequests");
        for (i, request) in list_at(driver, &["spec", "tokenRequests"]).iter().enumerate() {
            let seconds = i64_at(request, &["expirationSeconds"]);
            if let Some(seconds) = seconds.filter(|s| *s < 600) {
                let detail = "may not specify a duration less than 10 minutes";
                errors.invalid(&list.index(i).child("expirationSeconds"), seconds, detail);
            }
        }
    },
    ..PLAIN
};

/// CSINodes.
pub static NODE: Declared = Declared {
    unconditional_update: false,
    columns: &[
        NAME,
        counts("Drivers", Cell::Count("spec.drivers"), "Drivers registered on the node"),
        AGE,
    ],
    rules: &[
        rule("spec.drivers", Check::Unique(&["name"])),
        rule("spec.drivers[*].name", Check::Required("")),
        rule("spec.drivers[*].name", Check::Text(names::csi_driver_errors)),
        rule("spec.drivers[*].nodeID", Check::Required("")),
        rule("spec.drivers[*].nodeID", Check::Longest(256)),
        rule("spec.drivers[*].allocatable.count", Check::AtLeast(0)),
        rule("spec.drivers[*].topologyKeys[*]", Check::Text(qualified)),
        rule("spec.drivers[*].topologyKeys", Check::Unique(&[])),
    ],
    more_rules: |node, old, errors| {
        let before = |name: &str| {
            let drivers = list_at(old?, &["spec", "drivers"]).iter();
            drivers.into_iter().find(|driver| text(driver, "name") == name)
        };
        let list = Path::new("spec.drivers");
        for (i, driver) in list_at(node, &["spec", "drivers"]).iter().enumerate() {
            let name = text(driver, "name");
            if let Some(before) = before(name) {
                for key in ["nodeID", "topologyKeys"] {
                    errors.immutable(&list.index(i).child(key), driver.get(key), before.get(key));
                }
            }
        }
    },
    ..PLAIN
};

/// CSIStorageCapacities.
pub static CAPACITY: Declared = Declared {
    unconditional_update: false,
    columns: &[
        NAME,
        shows(
            "StorageClassName",
            Cell::Text("storageClassName", ""),
            "Class that the capacity is for",
        ),
        shows("Capacity", Cell::Text("capacity", "<unset>"), "How much there is"),
    ],
    rules: &[
        rule("storageClassName", Check::Required("")),
        rule("storageClassName", Check::Text(subdomain)),
        rule("nodeTopology", Check::Selector),
        rule("nodeTopology", Check::Immutable),
        rule("storageClassName", Check::Immutable),
        rule("capacity", Check::By(not_negative)),
        rule("maximumVolumeSize", Check::By(not_negative)),
    ],
    warn: |capacity, _, warnings| {
        if let Some(topology) = at(capacity, &["nodeTopology"]) {
            let path = Path::new("nodeTopology");
            warnings.node_expressions(topology, &path);
            let labels = map_at(topology, &["matchLabels"]);
            for key in labels.into_iter().flat_map(Map::keys) {
                if let Some(text) = old_node_label(key) {
                    warnings.at(&path.child("matchLabels").child(key), text);
                }
            }
        }
    },
    ..PLAIN
};

/// VolumeAttachments.
pub static ATTACHMENT: Declared = Declared {
    new_status: NewStatus::Dropped,
    status_alone: true,
    unconditional_update: false,
    columns: &[
        NAME,
        shows("Attacher", Cell::Text("spec.attacher", ""), "Driver that attaches"),
        shows(
            "PV",
            Cell::Text("spec.source.persistentVolumeName", ""),
            "Volume to attach",
        ),
        shows("Node", Cell::Text("spec.nodeName", ""), "Node to attach it to"),
        says(
            "Attached",
            Cell::Flag("status.attached", false),
            "Whether it is attached",
        ),
        AGE,
    ],
    rules: &[
        rule("spec.attacher", Check::Required("")),
        rule("spec.attacher", Check::Text(names::csi_driver_errors)),
        rule("spec.nodeName", Check::Required("")),
        rule("spec.nodeName", Check::Text(subdomain)),
        rule("spec.source.persistentVolumeName", Check::Text(subdomain)),
        rule("spec", Check::Immutable),
    ],
    more_rules: |attachment, _, errors| {
        let source = |key| at(attachment, &["spec", "source", key]);
        let path = Path::new("spec.source");
        match (source("inlineVolumeSpec"), source("persistentVolumeName")) {
            (None, None) => errors.required(
                &path,
                "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ),
            (Some(_), Some(_)) => errors.forbidden(
                &path,
                "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ),
            _ => {}
        }
    },
    ..PLAIN
};

fn not_negative(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Ok(amount) = Quantity::from_value(value)
        && amount.sign() < 0
    {
        errors.invalid(path, amount.to_string(), "must be greater than or equal to 0");
    }
}

fn audiences(driver: &Value, _now: Timestamp) -> Value {
    if at(driver, &["spec", "tokenRequests"]).is_none() {
        return "<unset>".into();
    }
    let requests = list_at(driver, &["spec", "tokenRequests"]).iter();
    let audiences = requests.map(|r| str_at(r, &["audience"]).unwrap_or(""));
    audiences.collect::<Vec<_>>().join(",").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    #[test]
    fn drivers_are_filled_and_shown() {
        let mut driver = json!({"metadata": {"name": "d.example.com", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b", "expirationSeconds": 60}]}});
        DRIVER.default(&mut driver);
        let now = "2026-01-01T00:00:03Z".parse().unwrap();
        assert_eq!(
            DRIVER.cells(&driver, now),
            [
                json!("d.example.com"),
                json!(true),
                json!(false),
                json!(false),
                json!("a,b"),
                json!(false),
                json!("Persistent"),
                json!("3s")
            ]
        );
        let lines: Vec<String> = DRIVER.validate(&driver, None).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "spec.tokenRequests[1].expirationSeconds: Invalid value: 60: may not specify a duration less than 10 \
                 minutes"
            ]
        );
    }

    #[test]
    fn attachments_stay() {
        let old = json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
        assert_eq!(ATTACHMENT.validate(&old, None), vec![]);
        let new = json!({"spec": {"attacher": "d", "nodeName": "m", "source": {}}});
        let fields: Vec<String> = ATTACHMENT
            .validate(&new, Some(&old))
            .into_iter()
            .map(|e| e.field)
            .collect();
        assert_eq!(fields, ["spec", "spec.source"]);
    }
}
