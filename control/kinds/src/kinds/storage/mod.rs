//! Volumes, claims, and the classes and drivers behind them.

mod claim;
mod class;
mod csi;
mod volume;

use serde_json::Value;

pub use claim::{CLAIM, claim_warnings, default_claim};
pub use class::{ATTRIBUTES_CLASS, STORAGE_CLASS};
pub use csi::{ATTACHMENT, CAPACITY, DRIVER, NODE};
pub use volume::VOLUME;

use crate::cells::Cell;
use crate::path::Path;
use crate::strategy::Column;
use crate::table::shows_wide;
use crate::value::{at, str_at, strings};
use crate::warnings::Warnings;

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

const VOLUME_MODE: Column = shows_wide(
    "VolumeMode",
    Cell::Text("spec.volumeMode", "<unset>"),
    "Whether it holds a file system or is a block device",
);

/// Access modes as users abbreviate them, in a fixed order.
fn modes(obj: &Value, path: &[&str]) -> String {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let given: Vec<&str> = strings(obj, path).collect();
    let shown = short.iter().filter(|(mode, _)| given.contains(mode));
    shown.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The class by the annotation that came first, or by the field.
fn class(obj: &Value) -> &str {
    str_at(obj, &["metadata", "annotations", BETA_CLASS])
        .or(str_at(obj, &["spec", "storageClassName"]))
        .unwrap_or("")
}

/// Warns of a class that is said by an annotation.
fn old_class(metadata: &Value, warnings: &mut Warnings) {
    let what = "deprecated since v1.8; use \"storageClassName\" attribute instead";
    warnings.annotation(metadata, &Path::new("metadata.annotations"), BETA_CLASS, what);
}

/// The phase, as long as the object is not being deleted.
fn phase(obj: &Value) -> &str {
    match at(obj, &["metadata", "deletionTimestamp"]) {
        Some(_) => "Terminating",
        None => str_at(obj, &["status", "phase"]).unwrap_or(""),
    }
}
