//! Statistics of a container, as the agent reads them.
#![cfg(feature = "stats")]

mod support;

use barepod_runtime::cgroup::stats::usage;
use oci_spec::runtime::LinuxMemoryBuilder;
use support::{Pod, until};

#[test]
fn a_containers_use_is_counted() {
    let mut pod = Pod::new("stats");
    let mut container = pod.container(&["sh", "-c", "while :; do :; done"]);
    let resources = container
        .spec
        .linux_mut()
        .as_mut()
        .unwrap()
        .resources_mut()
        .as_mut()
        .unwrap();
    resources.set_memory(Some(LinuxMemoryBuilder::default().limit(32_i64 << 20).build().unwrap()));
    let state = pod.run(&container).unwrap();
    let usage = until("processor time is counted", || {
        let usage = usage(&state.cgroup);
        (usage.cpu_ns > 50_000_000).then_some(usage)
    });
    assert_eq!(usage.memory_limit_bytes, 32 << 20);
    assert!(
        usage.memory_bytes > 0 && usage.working_set_bytes <= usage.memory_bytes,
        "{usage:?}"
    );
    assert_eq!(usage.pids, 1);
    pod.stop();
}
