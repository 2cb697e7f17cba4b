//! ComponentStatuses.

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, PLAIN};
use crate::table::{NAME, shows};
use crate::value::{list_at, text};

/// ComponentStatuses.
pub static COMPONENT: Declared = Declared {
    deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"),
    columns: &[
        NAME,
        shows("Status", Cell::By(health), "Whether the component is healthy"),
        shows("Message", Cell::Each("conditions", "message"), "What it says"),
        shows("Error", Cell::Each("conditions", "error"), "What is wrong with it"),
    ],
    ..PLAIN
};

fn health(component: &Value, _now: Timestamp) -> Value {
    let healthy = list_at(component, &["conditions"])
        .iter()
        .find(|condition| text(condition, "type") == "Healthy");
    match healthy.map(|condition| text(condition, "status")) {
        Some("True") => "Healthy",
        Some("False") => "Unhealthy",
        _ => "Unknown",
    }
    .into()
}
