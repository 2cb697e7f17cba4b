//! A descriptor of the machine's that is left open in a container, or a working directory that is one, leads out
//! (CVE-2024-21626).

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use barepod_runtime::protocol::NamespaceMode;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde_json::json;

use crate::bundle::{Hostile, pod_container};
use crate::escaped;
use crate::support::{Pod, Scratch, output};

const CANARY: &str = "canary";

pub fn attack() {
    // A directory of the machine's with something in it that only the machine has.
    let dir = Scratch::new("outside");
    fs::write(dir.join(CANARY), "").unwrap();
    // Not close-on-exec: every runtime that is started here inherits it.
    let leak = open(&*dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    inherited(&leak);
    working_directory(&leak, &dir);
    in_a_pod(&dir);
}

/// Nothing but the standard files is open in there.
fn judge(how: &str, said: &str) {
    let extra: Vec<&str> = said
        .lines()
        .filter(|line| {
            line.contains(CANARY)
                || line.starts_with("fd ") && !["fd 0 ", "fd 1 ", "fd 2 "].iter().any(|fd| line.starts_with(fd))
        })
        .collect();
    if !extra.is_empty() {
        escaped!("{how}: {extra:?}");
    }
    assert!(said.contains("fd 2 "), "{how}: {said}");
}

fn inherited(leak: &OwnedFd) {
    assert!(leak.as_raw_fd() > 2);
    let bundle = Hostile::new("descriptors", &["descriptors"], |_| {}).bundle;
    judge("run", &bundle.said());
    // The same for one that is executed later.
    bundle.change(|document| document["process"]["args"] = json!(["/attacker", "sleep", "1000"]));
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    judge("exec", &bundle.good(&["exec", &bundle.id, "/attacker", "descriptors"]));
    bundle.good(&["kill", &bundle.id, "KILL"]);
}

fn working_directory(leak: &OwnedFd, dir: &std::path::Path) {
    let number = leak.as_raw_fd();
    // With the machine's PID namespace another process' root is in sight of the one that enters, who is root still.
    let through_another = format!("/proc/{}/root{}", std::process::id(), dir.display());
    for cwd in [
        format!("/proc/self/fd/{number}"),
        format!("/proc/self/fd/{number}/../.."),
        through_another,
    ] {
        let hostile = Hostile::new("directory", &["list", "."], |document| {
            document["process"]["cwd"] = json!(cwd);
            let namespaces = document["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
        let said = hostile.bundle.said();
        if said.contains(CANARY) || said.contains("entry ") {
            escaped!("with the working directory {cwd}: {said}");
        }
        assert!(
            said.contains("working directory") || said.contains("/proc/self/fd"),
            "{said}"
        );
    }
}

fn in_a_pod(dir: &std::path::Path) {
    let mut pod = Pod::with("descriptors", |config| config.pid = NamespaceMode::Node);
    let container = pod_container(&pod, &["descriptors"]);
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    judge("pod", &output(&container.log_path));
    let mut container = pod_container(&pod, &["list", "."]);
    let mut process = container.spec.process().clone().unwrap();
    process.set_cwd(format!("/proc/{}/root{}", pod.state.monitor_pid, dir.display()).into());
    container.spec.set_process(Some(process));
    if pod.run(&container).is_ok() {
        escaped!(
            "a working directory in the monitor's root: {}",
            output(&container.log_path)
        );
    }
    pod.stop();
}
