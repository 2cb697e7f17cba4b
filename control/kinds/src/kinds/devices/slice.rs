//! ResourceSlices.

use serde_json::Value;

use super::driver_name;
use crate::cells::Cell;
use crate::declared::{Declared, PLAIN, SPEC};
use crate::names;
use crate::path::{Errors, Path};
use crate::podspec::scheduling;
use crate::rules::{Check, label, rule, subdomain};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, bool_at, i64_at, list_at, str_at, text};

const MOST_DEVICES: usize = 128;
const MOST_ATTRIBUTES: usize = 32;

/// ResourceSlices.
pub static SLICE: Declared = Declared {
    generation: SPEC,
    columns: &[
        NAME,
        shows("Node", Cell::Text("spec.nodeName", ""), "Node that has the devices"),
        shows("Driver", Cell::Text("spec.driver", ""), "Driver of the devices"),
        shows(
            "Pool",
            Cell::Text("spec.pool.name", ""),
            "Pool that the devices belong to",
        ),
        AGE,
    ],
    selectable: &["spec.nodeName", "spec.driver"],
    rules: &[
        rule("spec.nodeName", Check::Text(subdomain)),
        rule("spec.driver", Check::Required("")),
        rule("spec.driver", Check::Text(driver_name)),
        rule("spec.pool.name", Check::Text(pool_name)),
        rule("spec.pool.generation", Check::AtLeast(0)),
        rule("spec.devices", Check::Most(MOST_DEVICES)),
        rule("spec.devices", Check::Unique(&["name"])),
        rule("spec.devices[*].name", Check::Required("")),
        rule("spec.devices[*].name", Check::Text(label)),
        rule("spec.driver", Check::Immutable),
        rule("spec.pool.name", Check::Immutable),
        rule("spec.nodeName", Check::Immutable),
    ],
    more_rules,
    ..PLAIN
};

/// Segments like subdomains, joined by slashes.
fn pool_name(name: &str) -> Vec<String> {
    name.split('/').flat_map(names::subdomain_errors).collect()
}

fn more_rules(slice: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let path = Path::new("spec");
    let given = [
        ("nodeName", str_at(slice, &["spec", "nodeName"]).is_some()),
        ("nodeSelector", at(slice, &["spec", "nodeSelector"]).is_some()),
        ("allNodes", bool_at(slice, &["spec", "allNodes"])),
        (
            "perDeviceNodeSelection",
            bool_at(slice, &["spec", "perDeviceNodeSelection"]),
        ),
    ];
    let set: Vec<&str> = given.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => errors.required(&path, detail),
        1 => {}
        _ => errors.invalid_unshown(&path, format!("{detail}, but multiple fields are set")),
    }
    if let Some(selector) = at(slice, &["spec", "nodeSelector"]) {
        scheduling::node_selector(selector, &path.child("nodeSelector"), errors);
    }
    if str_at(slice, &["spec", "pool", "name"]).is_none() {
        errors.required(&path.child("pool.name"), "");
    }
    let count = i64_at(slice, &["spec", "pool", "resourceSliceCount"]).unwrap_or(0);
    if count <= 0 {
        errors.invalid(
            &path.child("pool.resourceSliceCount"),
            count,
            "must be greater than zero",
        );
    }
    let list = path.child("devices");
    for (i, device) in list_at(slice, &["spec", "devices"]).iter().enumerate() {
        let item = list.index(i);
        let number = |key| {
            device
                .get(key)
                .and_then(Value::as_object)
                .map_or(0, serde_json::Map::len)
        };
        let total = number("attributes") + number("capacity");
        if total > MOST_ATTRIBUTES {
            let detail = format!("the total number of attributes and capacities must not exceed {MOST_ATTRIBUTES}");
            errors.invalid(&item, total, detail);
        }
        for (name, attribute) in device
            .get("attributes")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let set = attribute.as_object().map_or(0, serde_json::Map::len);
            let at = item.child("attributes");
            if set != 1 {
                errors.invalid(&at.key(name), attribute.clone(), "exactly one value must be specified");
            }
        }
        let taints = item.child("taints");
        for (j, taint) in list_at(device, &["taints"]).iter().enumerate() {
            let effects = ["NoExecute", "NoSchedule", "None"];
            errors.one_of(&taints.index(j).child("effect"), text(taint, "effect"), &effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn slices_are_for_one_set_of_nodes() {
        let mut slice = json!({"metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"nodeName": "n",
            "driver": "d.example.com", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "a", "attributes": {"model": {"string": "x"}}}]}});
        assert_eq!(SLICE.validate(&slice, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(SLICE.cells(&slice, now), ["s", "n", "d.example.com", "p", "1s"]);
        assert_eq!(SLICE.selectable_field(&slice, "spec.driver").unwrap(), "d.example.com");
        slice["spec"]["allNodes"] = json!(true);
        slice["spec"]["devices"][0]["attributes"]["model"] = json!({});
        let fields: Vec<String> = SLICE.validate(&slice, None).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["spec", "spec.devices[0].attributes[model]"]);
    }
}
