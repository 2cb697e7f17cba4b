//! The machine's file systems and the runtime's sockets are out of reach, even from a pod with the machine's network
//! and processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use barepod_runtime::protocol::NamespaceMode;
use barepod_runtime::spec;
use nix::mount::{MsFlags, mount};
use oci_spec::runtime::Capability;
use serde_json::{Value, json};

use crate::attacker::keys;
use crate::bundle::{Hostile, pod_container};
use crate::escaped;
use crate::support::{Pod, Scratch, output};

pub fn attack() {
    let dir = Scratch::new("machine");
    let canary = dir.join("canary");
    fs::write(&canary, "machine").unwrap();
    let path = canary.to_str().unwrap();
    old_root(path);
    pause(path);
    sockets(path);
    mounts();
    keys();
    records();
}

/// Nothing of the old root is left under the new one.
fn old_root(canary: &str) {
    let said = Hostile::new(
        "root",
        &[
            "read",
            canary,
            &format!("/..{canary}"),
            &format!("/proc/1/root{canary}"),
        ],
        |_| {},
    );
    let said = said.bundle.said();
    if said.contains("\"machine\"") {
        escaped!("{said}");
    }
    assert!(said.contains("failed"), "{said}");
}

/// pause shows its root to every container of the pod.
fn pause(canary: &str) {
    let mut pod = Pod::new("pause");
    let mut container = pod_container(&pod, &["read", &format!("/proc/1/root{canary}")]);
    // One that may look at the processes of its own namespace.
    let mut capabilities = spec::default_capabilities();
    capabilities.insert(Capability::SysPtrace);
    let mut process = container.spec.process().clone().unwrap();
    process.set_capabilities(Some(crate::support::capabilities(&capabilities)));
    container.spec.set_process(Some(process));
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    let said = output(&container.log_path);
    if said.contains("\"machine\"") {
        escaped!("through pause: {said}");
    }
    assert!(said.contains("No such file"), "{said}");
    pod.stop();
}

fn sockets(canary: &str) {
    let mut pod = Pod::with("sockets", |config| {
        config.network = NamespaceMode::Node;
        config.pid = NamespaceMode::Node;
    });
    let socket = pod.config.dir.join("monitor.sock");
    let through = format!("/proc/{}/root{}", pod.state.monitor_pid, socket.display());
    let container = pod_container(&pod, &["sockets", socket.to_str().unwrap(), &through]);
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    let said = output(&container.log_path);
    if said.contains("gained") {
        escaped!("{said}");
    }
    assert!(said.contains("sockets ") && said.contains("failed"), "{said}");
    let (monitor, pause) = (pod.state.monitor_pid, pod.state.pause_pid.unwrap());
    let paths = [monitor, pause].map(|pid| format!("/proc/{pid}/root{canary}"));
    let state = format!("/proc/{monitor}/root{}", pod.config.dir.join("record.json").display());
    let container = pod_container(&pod, &["read", &paths[0], &paths[1], &state, "/proc/1/root/etc/passwd"]);
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    let said = output(&container.log_path);
    if said.contains("read ") {
        escaped!("{said}");
    }
    pod.stop();
}

/// What is mounted for a container is seen in it alone, even where mounts are told on.
fn mounts() {
    let hostile = Hostile::new("shared", &["sleep", "1000"], |document| {
        document["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "x" }));
    });
    let bundle = &hostile.bundle;
    let own = bundle.dir.to_str().unwrap();
    let flags = MsFlags::MS_BIND;
    mount(Some(own), own, None::<&str>, flags, None::<&str>).unwrap();
    mount(None::<&str>, own, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = table();
    let ran = bundle.command(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    let after = table();
    bundle.command(&["kill", &bundle.id, "KILL"]);
    nix::mount::umount2(own, nix::mount::MntFlags::MNT_DETACH).unwrap();
    let more: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
    if !more.is_empty() {
        escaped!("the container's mounts are the machine's: {more:?}");
    }
    assert!(ran.status.success());
}

/// The keys of whoever runs the runtime are not the container's, even if no filter keeps it from asking.
fn keys() {
    keys::hold().unwrap();
    let hostile = Hostile::new("keys", &["keys"], |document| document["linux"]["seccomp"] = Value::Null);
    let mut pod = Pod::new("keys");
    let mut container = pod_container(&pod, &["keys"]);
    let mut linux = container.spec.linux().clone().unwrap();
    linux.set_seccomp(None);
    container.spec.set_linux(Some(linux));
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    for said in [hostile.bundle.said(), output(&container.log_path)] {
        if said.contains("gained") {
            escaped!("{said}");
        }
        assert!(said.contains("failed"), "{said}");
    }
    pod.stop();
}

/// What is written down of pods and containers, environments among it, is for nobody else of the machine either.
fn records() {
    // Whatever the caller would leave open to everybody.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let mut pod = Pod::new("records");
    let container = pod_container(&pod, &["sleep", "1000"]);
    pod.run(&container).unwrap();
    let hostile = Hostile::new("records", &["sleep", "1000"], |_| {});
    let bundle = &hostile.bundle;
    bundle.good(&["create", "--bundle", bundle.path(), &bundle.id]);
    for dir in [pod.config.dir.clone(), bundle.dir.join("state")] {
        private(&dir);
    }
    pod.stop();
}

fn private(path: &Path) {
    for entry in fs::read_dir(path).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        let mode = metadata.permissions().mode();
        // What is in a closed directory nobody gets at.
        if mode & 0o077 != 0 {
            escaped!("{} has the mode {mode:o}", entry.path().display());
        }
    }
}
