//! The kinds this version serves: one row each, and a file where a kind has needs of its own.

use crate::strategy::{Plain, Strategy};

struct Row {
    group: &'static str,
    resource: &'static str,
    strategy: &'static dyn Strategy,
}

const fn row(group: &'static str, resource: &'static str, strategy: &'static dyn Strategy) -> Row {
    Row { group, resource, strategy }
}

static ROWS: &[Row] = &[
    row("", "configmaps", &Plain),
    row("", "endpoints", &Plain),
    row("", "events", &Plain),
    row("", "namespaces", &Plain),
    row("", "nodes", &Plain),
    row("", "pods", &Plain),
    row("", "replicationcontrollers", &Plain),
    row("", "secrets", &Plain),
    row("", "serviceaccounts", &Plain),
    row("", "services", &Plain),
    row("apps", "deployments", &Plain),
    row("apps", "replicasets", &Plain),
    row("coordination.k8s.io", "leases", &Plain),
    row("discovery.k8s.io", "endpointslices", &Plain),
    row("scheduling.k8s.io", "priorityclasses", &Plain),
];

static SERVED: [(&str, &str); ROWS.len()] = {
    let mut list = [("", ""); ROWS.len()];
    let mut i = 0;
    while i < ROWS.len() {
        list[i] = (ROWS[i].group, ROWS[i].resource);
        i += 1;
    }
    list
};

/// The strategy of a resource; a plain one for kinds without needs of their own.
pub fn strategy(group: &str, resource: &str) -> &'static dyn Strategy {
    ROWS.iter().find(|r| r.resource == resource && r.group == group).map_or(&Plain, |r| r.strategy)
}

/// Group and resource of everything this version serves.
pub fn served() -> &'static [(&'static str, &'static str)] {
    &SERVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_unique_and_found() {
        for (i, (group, resource)) in served().iter().enumerate() {
            assert!(!served()[..i].contains(&(group, resource)));
            let _ = strategy(group, resource);
        }
    }
}
