//! The rest of `linux` in containers that really run: network interfaces, personality, placement of memory and of
//! `exec`, and what `features` tells of it all.

mod support;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use support::bundle::Bundle;

fn bundle(name: &str, script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::new(name, |document| {
        document["process"]["args"] = json!(["sh", "-c", script]);
        change(document);
    })
}

#[track_caller]
fn says(name: &str, script: &str, change: impl FnOnce(&mut Value)) -> String {
    let bundle = bundle(name, script, change);
    bundle.good(&["run", "--bundle", bundle.path(), &bundle.id])
}

#[track_caller]
fn refused(name: &str, words: &str, change: impl FnOnce(&mut Value)) {
    let bundle = bundle(name, "echo it ran", change);
    let said = bundle.bad(&["run", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains(words) && said.trim_end().lines().count() == 1, "{said}");
    assert!(!bundle.tracker().exists() && !bundle.state_dir().exists());
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A process that stays for the sake of its namespaces.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a test where the network is its own.
fn in_a_network(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        support::base();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn interfaces_move_with_their_addresses() {
    in_a_network(|| {
        ip("link add outer type veth peer name stays");
        ip("link add second type veth peer name also-stays");
        ip("address add 192.0.2.7/24 dev outer");
        ip("address add 2001:db8::7/64 dev outer nodad");
        ip("link set outer mtu 1400");
        ip("link set outer up");
        ip("link set stays up");
        let said = says(
            "net-moves",
            "ip link; ip address show eth5; ip link show many0",
            |document| {
                document["linux"]["netDevices"] =
                    json!({ "outer": { "name": "eth5" }, "second": { "name": "many%d" } });
            },
        );
        for wanted in [
            "eth5",
            "mtu 1400",
            "192.0.2.7/24",
            "2001:db8::7/64",
            "many0",
            "LOWER_UP",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(!said.contains("outer") && !said.contains("second"), "{said}");
    });
}

#[test]
fn an_interface_keeps_its_name_if_no_other_is_wanted() {
    in_a_network(|| {
        ip("link add kept type veth peer name stays");
        let bundle = bundle("net-kept", "ip -o link; sleep 1000", |document| {
            document["linux"]["netDevices"] = json!({ "kept": {} });
        });
        bundle.good(&["create", "--bundle", bundle.path(), &bundle.id]);
        assert!(
            !ip("-o link").contains("kept@"),
            "it is gone from here before the program starts"
        );
        bundle.good(&["start", &bundle.id]);
        let inside = bundle.good(&["exec", &bundle.id, "ip", "-o", "link"]);
        assert!(inside.contains("kept@") && inside.contains("UP"), "{inside}");
    });
}

#[test]
fn an_interface_goes_to_a_namespace_that_exists_already() {
    in_a_network(|| {
        ip("link add given type veth peer name stays");
        let mut unshare = Command::new("unshare");
        unshare
            .args(["-n", "sleep", "1000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let holder = Holder(unshare.spawn().unwrap());
        let path = format!("/proc/{}/ns/net", holder.0.id());
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        support::until("it is in a namespace of its own", || {
            (fs::read_link(&path).ok()? != own).then_some(())
        });
        let said = says("net-given", "ip -o link", |document| {
            let list = document["linux"]["namespaces"].as_array_mut().unwrap();
            let network = list.iter_mut().find(|one| one["type"] == "network").unwrap();
            network["path"] = json!(path);
            document["linux"]["netDevices"] = json!({ "given": { "name": "taken" } });
        });
        assert!(said.contains("taken@"), "{said}");
    });
}

#[test]
fn interfaces_that_cannot_move_are_told() {
    in_a_network(|| {
        ip("link add outer type veth peer name stays");
        let devices = |devices: Value| move |document: &mut Value| document["linux"]["netDevices"] = devices;
        refused("net-none", "nosuch", devices(json!({ "nosuch": {} })));
        refused("net-name", "lo", devices(json!({ "outer": { "name": "lo" } })));
        refused(
            "net-long",
            "netDevices",
            devices(json!({ "outer": { "name": "sixteen-letters!" } })),
        );
        refused(
            "net-slash",
            "netDevices",
            devices(json!({ "outer": { "name": "a/b" } })),
        );
        refused(
            "net-twice",
            "netDevices",
            devices(json!({ "outer": { "name": "x" }, "stays": { "name": "x" } })),
        );
        // One that is all right stays where it is if another is not.
        refused("net-half", "nosuch", devices(json!({ "nosuch": {}, "outer": {} })));
        refused("net-host", "network namespace", |document| {
            document["linux"]["netDevices"] = json!({ "outer": {} });
            let list = document["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|one| one["type"] != "network");
        });
        assert!(ip("-o link").contains("outer@"));
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn personality() {
    let uname = "cat /proc/self/personality; uname -m";
    assert_eq!(says("pers-none", uname, |_| {}), "00000000\nx86_64\n");
    let said = says("pers-32", uname, |document| {
        document["linux"]["personality"] = json!({ "domain": "LINUX32" });
    });
    assert_eq!(said, "00000008\ni686\n");
    let said = says("pers-64", uname, |document| {
        document["linux"]["personality"] = json!({ "domain": "LINUX", "flags": [] });
    });
    assert_eq!(said, "00000000\nx86_64\n");
    for (name, personality) in [
        ("pers-no", json!({ "domain": "BSD" })),
        (
            "pers-flag",
            json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }),
        ),
    ] {
        let words = if name == "pers-no" {
            "`LINUX32`"
        } else {
            "personality.flags"
        };
        refused(name, words, |document| document["linux"]["personality"] = personality);
    }
}

#[test]
fn an_exec_has_the_personality_of_its_container() {
    let bundle = Bundle::new("pers-exec", |document| {
        document["process"]["args"] = json!(["sleep", "1000"]);
        document["linux"]["personality"] = json!({ "domain": "LINUX32" });
    });
    bundle.start();
    assert_eq!(
        bundle.good(&["exec", &bundle.id, "cat", "/proc/self/personality"]),
        "00000008\n"
    );
}

#[test]
fn placement_of_memory() {
    let policy = |policy: Value| move |document: &mut Value| document["linux"]["memoryPolicy"] = policy;
    // Where the kernel has no NUMA it has no policies, and says so.
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        refused(
            "mem-none",
            "memory policy",
            policy(json!({ "mode": "MPOL_BIND", "nodes": "0" })),
        );
        return;
    }
    for (name, document, wanted) in [
        ("mem-bind", json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (
            "mem-inter",
            json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }),
            "interleave:0",
        ),
        (
            "mem-flags",
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }),
            "bind=static:0",
        ),
        ("mem-local", json!({ "mode": "MPOL_LOCAL", "nodes": "" }), "local"),
        ("mem-none", json!({ "mode": "MPOL_DEFAULT" }), "default"),
    ] {
        let said = says(name, "cat /proc/self/numa_maps", policy(document));
        let stack = said
            .lines()
            .find(|line| line.contains("[stack]") || line.contains(" stack "))
            .unwrap_or(&said);
        assert!(stack.contains(wanted), "{name}: {said}");
    }
    for (name, document) in [
        ("mem-mode", json!({ "mode": "MPOL_ANY", "nodes": "0" })),
        (
            "mem-flag",
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONE"] }),
        ),
        ("mem-list", json!({ "mode": "MPOL_BIND", "nodes": "0-" })),
        ("mem-far", json!({ "mode": "MPOL_BIND", "nodes": "999999" })),
        ("mem-empty", json!({ "mode": "MPOL_BIND", "nodes": "" })),
        ("mem-given", json!({ "mode": "MPOL_DEFAULT", "nodes": "0" })),
        (
            "mem-both",
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
        ),
    ] {
        let words = if name == "mem-mode" {
            "MPOL_LOCAL"
        } else if name == "mem-flag" {
            "MPOL_F_STATIC_NODES"
        } else {
            "emory"
        };
        refused(name, words, policy(document));
    }
}

#[test]
fn classes_need_their_file_system() {
    if std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        return;
    }
    refused("rdt-none", "no resctrl file system is mounted", |document| {
        document["linux"]["intelRdt"] = json!({ "closID": "gold" });
    });
    refused("rdt-name", "closID", |document| {
        document["linux"]["intelRdt"] = json!({ "closID": "../gold" });
    });
}

#[test]
fn where_an_exec_runs() {
    let bundle = Bundle::sleeping("exec-cpus");
    bundle.start();
    let file = bundle.dir.join("process.json");
    let exec = |affinity: Value| {
        let args = json!(["sh", "-c", "grep Cpus_allowed_list /proc/self/status"]);
        let process = json!({
            "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 }, "execCPUAffinity": affinity
        });
        fs::write(&file, process.to_string()).unwrap();
        ["exec", "--process", file.to_str().unwrap(), &bundle.id].map(str::to_owned)
    };
    let good = |affinity: Value| {
        let arguments = exec(affinity);
        bundle.good(&arguments.each_ref().map(String::as_str))
    };
    assert_eq!(good(json!({ "initial": "0", "final": "0" })), "Cpus_allowed_list:\t0\n");
    let two = thread::available_parallelism().unwrap().get() > 1;
    if two {
        assert_eq!(good(json!({ "initial": "0", "final": "1" })), "Cpus_allowed_list:\t1\n");
        assert_eq!(good(json!({ "final": "0-1" })), "Cpus_allowed_list:\t0-1\n");
    }
    // One that only begins somewhere goes wherever its container may.
    assert_ne!(
        good(json!({ "initial": "0" })),
        if two { "Cpus_allowed_list:\t0\n" } else { "" }
    );
    for bad in [
        json!({ "initial": "x" }),
        json!({ "final": "1-" }),
        json!({ "final": "3-2" }),
    ] {
        let arguments = exec(bad);
        let said = bundle.command(&arguments.each_ref().map(String::as_str));
        assert!(!said.status.success());
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(
            said.contains("execCPUAffinity") && said.trim_end().lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn what_features_tells() {
    let bundle = Bundle::new("features", |_| {});
    let features: Value = serde_json::from_str(&bundle.good(&["features"])).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    let has = |pointer: &str, wanted: &[&str]| {
        let list = features
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer}"))
            .as_array()
            .unwrap();
        for one in wanted {
            assert!(list.iter().any(|each| each == one), "{pointer} has no {one}");
        }
    };
    has(
        "/hooks",
        &[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
    );
    has(
        "/mountOptions",
        &[
            "bind",
            "rbind",
            "ro",
            "rw",
            "rro",
            "rnosuid",
            "rnodev",
            "rnoexec",
            "rnosymfollow",
            "rnoatime",
            "private",
            "rprivate",
            "shared",
            "rshared",
            "slave",
            "rslave",
            "unbindable",
            "runbindable",
            "tmpcopyup",
            "idmap",
            "ridmap",
            "nosuid",
            "suid",
            "relatime",
            "strictatime",
            "lazytime",
            "iversion",
            "dirsync",
            "remount",
        ],
    );
    has(
        "/linux/namespaces",
        &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
    );
    has(
        "/linux/capabilities",
        &["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "CAP_BPF"],
    );
    has(
        "/linux/seccomp/actions",
        &["SCMP_ACT_NOTIFY", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"],
    );
    has(
        "/linux/seccomp/knownFlags",
        &["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    );
    has("/linux/seccomp/supportedFlags", &["SECCOMP_FILTER_FLAG_LOG"]);
    has("/linux/memoryPolicy/modes", &["MPOL_BIND", "MPOL_WEIGHTED_INTERLEAVE"]);
    for pointer in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/seccomp/enabled",
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/intelRdt/enabled",
        "/linux/mountExtensions/idmap/enabled",
        "/linux/netDevices/enabled",
    ] {
        assert_eq!(features.pointer(pointer), Some(&json!(true)), "{pointer}");
    }
}
