//! Requests of one flow schema at one priority level.

use super::family::{Counter, Family, Page};

/// Requests of one flow schema at one priority level.
#[derive(Debug, Default)]
pub struct FlowNumbers {
    /// Those that had their turn.
    pub dispatched: Counter,
    /// Those for which there was no place to wait.
    pub rejected: Counter,
    /// Those that are worked on.
    pub executing: Counter,
    /// Those that wait.
    pub waiting: Counter,
}

impl FlowNumbers {
    /// Tells all rows of a family.
    pub fn tell(family: &Family<FlowNumbers>, page: &mut Page) {
        type Read = fn(&FlowNumbers) -> &Counter;
        let parts: [(&str, &str, &str, Read); 4] = [
            (
                "dispatched_requests_total",
                "counter",
                "Requests that had their turn.",
                |it| &it.dispatched,
            ),
            (
                "rejected_requests_total",
                "counter",
                "Requests for which there was no place to wait, or no turn in time.",
                |it| &it.rejected,
            ),
            (
                "current_executing_requests",
                "gauge",
                "Requests that are worked on now.",
                |it| &it.executing,
            ),
            (
                "current_inqueue_requests",
                "gauge",
                "Requests that wait for their turn now.",
                |it| &it.waiting,
            ),
        ];
        let rows = family.sorted();
        for (name, sort, about, read) in parts {
            let name = format!("apiserver_flowcontrol_{name}");
            page.head(&name, sort, about);
            for (labels, row) in &rows {
                page.row(&name, labels, read(row).value());
            }
        }
    }
}
