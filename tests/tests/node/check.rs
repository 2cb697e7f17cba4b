//! `barepod check`: what the machine has and lacks, and what becomes of pods that ask for what it lacks.

use barepod_tests::{Cluster, Options};
use serde_json::Value;

use crate::CLUSTER;

/// Lines of the table by their second column.
fn line<'a>(table: &'a str, what: &str) -> &'a str {
    let found = table.lines().find(|l| {
        l.split_once("   ")
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(what))
    });
    found.unwrap_or_else(|| panic!("{what} is missing: {table}"))
}

#[test]
fn every_finding_has_a_line() {
    let c = *CLUSTER;
    let ran = c.barepod("check");
    assert_eq!(ran.code, 0, "{ran:?}");
    for what in [
        "user",
        "kernel",
        "namespaces",
        "cgroups",
        "overlayfs",
        "seccomp",
        "pod network",
        "memory",
        "disk",
        "inotify",
        "port",
    ] {
        assert!(line(&ran.stdout, what).starts_with("ok "), "{}", ran.stdout);
    }
    assert!(line(&ran.stdout, "kernel").contains(c.run("uname -r").stdout.trim()));
    let served = ["6443 served by control", "10250 served by agent"];
    assert!(served.iter().all(|s| ran.stdout.contains(s)), "{}", ran.stdout);
    let json = c.barepod_json("check");
    let findings = json.as_array().expect("a list");
    assert_eq!(findings.len(), ran.stdout.lines().count());
    assert!(
        findings
            .iter()
            .all(|f| f["level"] == "ok" && f["what"].is_string() && f["advice"] == ""),
        "{json}"
    );
    let yaml = c.barepod("check -o yaml").stdout;
    assert_eq!(
        yaml.lines().filter(|l| l.contains("level: ok")).count(),
        findings.len(),
        "{yaml}"
    );
}

#[test]
fn without_root_it_says_what_to_do() {
    let c = *CLUSTER;
    // The install is one file that anybody may run.
    let copy = c.dir().join("barepod-copy");
    std::fs::copy(barepod_tests::barepod(), &copy).expect("a copy");
    let ran = c.run(&format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups {} --state-dir /nonexistent/x check",
        copy.display()
    ));
    assert_eq!(ran.code, 1, "{ran:?}");
    let user = line(&ran.stdout, "user");
    assert!(user.starts_with("FAIL") && user.contains("sudo"), "{user}");
    let up = c.run(&format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups {} --state-dir /nonexistent/x up",
        copy.display()
    ));
    assert!(up.refused().contains("run it as root"), "up insists on it");
    std::fs::remove_file(copy).expect("removed");
}

/// Hides the controllers `memory` and `pids`: on v1 their hierarchies are not mounted, on v2 the parent does not hand
/// them down.
const FEW_CONTROLLERS: &str = r#"
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        outer=/sys/fs/cgroup/$(basename $DIR)-outer
        echo '+cpu +cpuset' >/sys/fs/cgroup/cgroup.subtree_control
        mkdir $outer
        echo '+cpu +cpuset' >$outer/cgroup.subtree_control
        mkdir $outer/small
        mount --bind $outer/small /sys/fs/cgroup
    else
        all=$(mktemp -d)
        mount --rbind /sys/fs/cgroup $all
        mount -t tmpfs cgroup /sys/fs/cgroup
        for hierarchy in $all/*; do
            name=$(basename $hierarchy)
            case $name in memory|pids) continue ;; esac
            mkdir /sys/fs/cgroup/$name
            mount --bind $hierarchy /sys/fs/cgroup/$name
        done
        umount -R $all
        rmdir $all
    fi
"#;

#[test]
fn missing_controllers_are_named_and_only_limits_need_them() {
    let options = Options {
        prepare: FEW_CONTROLLERS,
        down: true,
    };
    let c = Cluster::with("few", options);
    let checked = c.barepod("check");
    assert_eq!(checked.code, 0, "pods can run all the same: {checked:?}");
    for controller in ["memory", "pids"] {
        let told = format!("no {controller} controller");
        let line = checked
            .stdout
            .lines()
            .find(|l| l.contains(&told))
            .unwrap_or_else(|| panic!("{}", checked.stdout));
        assert!(
            line.starts_with("warn") && line.contains("boot") && line.contains(&format!("limits of {controller}")),
            "{line}"
        );
    }
    assert!(!checked.stdout.contains("no cpu controller"), "{}", checked.stdout);
    let up = c.barepod("up");
    assert_eq!(up.code, 0, "{up:?}");
    for controller in ["memory", "pids"] {
        assert!(
            up.stderr.contains(&format!("no {controller} controller")),
            "up says so too: {up:?}"
        );
    }
    c.import("tools.oci", None);
    let n = c.default_space();
    n.sleeper("modest");
    n.script("limited", "exec sleep 1000", ", resources: {limits: {memory: 32Mi}}");
    let told = n.event("limited", "memory");
    assert!(
        told.contains("controller memory") && told.contains("barepod check"),
        "{told}"
    );
    let reason = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    let pod = n.until_one("pods/limited", "waits", |pod| reason(pod).is_string());
    assert_eq!(pod["status"]["phase"], "Pending");
    n.kubectl("delete pod limited --timeout=30s");
    n.script("half", "exec sleep 1000", ", resources: {limits: {cpu: 100m}}");
    n.ready("half");
    // What needs no controller that is missing can be seen as ever.
    let seen = c.barepod_json("inspect half");
    assert_eq!(seen["containers"][0]["phase"], "running");
}
