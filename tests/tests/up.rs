//! `barepod up --demo`, `up` again, `reset`.

use barepod_tests::{Cluster, Options};

#[test]
fn demo_comes_up_and_reset_leaves_nothing() {
    let cluster = Cluster::with(
        "up",
        Options {
            down: true,
            ..Options::default()
        },
    );
    let told = cluster.up(&["--demo"]);
    assert!(told.contains("export KUBECONFIG="), "{told}");
    assert!(told.contains("kubectl get pods -o wide"), "{told}");
    let addresses: Vec<&str> = told
        .lines()
        .filter_map(|l| l.trim().strip_prefix("curl ")?.split_whitespace().next())
        .collect();
    assert_eq!(addresses.len(), 2, "{told}");
    for address in addresses {
        let page = cluster
            .run("curl", &["-sS", "--max-time", "5", address])
            .ok()
            .unwrap_or_else(|e| panic!("{address}: {e}"));
        assert!(page.contains("Hello from barepod"), "{address}: {page}");
    }
    let pods = cluster.kubectl(&["get", "pods", "--no-headers"]);
    assert_eq!(
        pods.lines()
            .filter(|l| l.contains("2/2") && l.contains("Running"))
            .count(),
        2,
        "{pods}"
    );
    // Once more changes nothing, after a reset everything comes back.
    let again = cluster.up(&["--demo"]);
    assert!(again.contains("Running"), "{again}");
    cluster.reset();
    cluster.up(&["--demo"]);
}

#[test]
fn up_again_after_everything_was_killed() {
    let cluster = Cluster::with("killed", Options::default());
    cluster.up(&["--demo"]);
    for daemon in ["control", "agent"] {
        cluster.kill("-KILL", &cluster.daemon_pid(daemon));
    }
    let told = cluster.up(&["--demo"]);
    assert!(told.contains("Running"), "{told}");
    let pods = cluster.get("default", &["pods"]);
    for pod in pods["items"].as_array().expect("a list") {
        for container in pod["status"]["containerStatuses"].as_array().expect("statuses") {
            assert_eq!(container["restartCount"], 0, "{container}");
        }
    }
}
