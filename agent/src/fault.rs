//! The named points at which the agent can be made to die; see [`barepod_runtime::fault`].

pub use barepod_runtime::fault::point;

/// Every point there is, in the order in which a pod passes them.
pub const POINTS: &[&str] = &[
    "agent.pod-recorded",
    "agent.sandbox-ready",
    "agent.network-added",
    "agent.volumes-ready",
    "agent.container-recorded",
    "agent.container-started",
    "agent.status-sent",
    "agent.container-stopped",
    "agent.pod-removed",
];

#[cfg(test)]
mod tests {
    use super::POINTS;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn collect(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // Put together, so that this line is none of them.
            let calls = text.split(concat!("fault::", "point(\"")).skip(1);
            found.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }

    #[test]
    fn every_point_in_the_source_is_listed() {
        let mut found = BTreeSet::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert_eq!(found, POINTS.iter().map(|it| (*it).to_owned()).collect());
    }
}
