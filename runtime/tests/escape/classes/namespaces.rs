//! A namespace that is joined by its path is of the kind it is said to be, whatever was put there meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::bundle::Hostile;
use crate::escaped;
use crate::harness::race;
use crate::support::snapshot::alone;
use crate::support::{Running, until};

pub fn attack() {
    // With a network of the test's own, whose parameters are nobody else's.
    if alone("namespaces") {
        by_another_kind();
        by_another_meanwhile();
    }
}

fn by_another_kind() {
    let hostile = Hostile::new("joined", &["list", "/proc/self/ns", "/proc/self/net/dev_snmp6"], |_| {});
    let bundle = &hostile.bundle;
    let path = bundle.dir.join("namespace");
    bundle.change(|document| {
        let namespaces = document["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "network", "path": path }));
        document["process"]["args"] = json!(["/attacker", "links", "/proc/self/ns/net"]);
    });
    let others = [
        "/proc/self/ns/uts",
        "/proc/self/ns/ipc",
        "/proc/self/ns/mnt",
        "/dev/null",
        "/proc/self/exe",
        "/",
    ];
    for other in others {
        let _ = fs::remove_file(&path);
        symlink(other, &path).unwrap();
        let said = bundle.said();
        if said.contains("link ") {
            escaped!("{other} was joined as a network namespace: {said}");
        }
    }
    // Nobody waits for somebody to write there.
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    let mut child = bundle
        .prepare(&["run", "--bundle", bundle.path(), &bundle.id])
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().unwrap();
                child.wait().unwrap();
                escaped!("the runtime waits for a pipe that is no namespace");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(!status.success());
    the_right_one(&hostile, &path);
}

/// The one asked for is joined.
fn the_right_one(hostile: &Hostile, path: &std::path::Path) {
    let mut command = Command::new("unshare");
    let holder = command.args(["--net", "sleep", "1000"]).stdout(Stdio::null()).spawn();
    let holder = Running(holder.unwrap());
    let namespace = format!("/proc/{}/ns/net", holder.0.id());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    until("it has a namespace", || {
        (fs::read_link(&namespace).ok()? != own).then_some(())
    });
    fs::remove_file(path).unwrap();
    symlink(&namespace, path).unwrap();
    let wanted = fs::read_link(&namespace).unwrap();
    let said = hostile.bundle.said();
    assert!(
        said.contains(&format!("link /proc/self/ns/net {}", wanted.display())),
        "{said}"
    );
}

/// The path leads to the machine's own one moment and to another one the next: parameters are never the machine's.
fn by_another_meanwhile() {
    const PARAMETER: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let before = fs::read_to_string(PARAMETER).unwrap();
    let hostile = Hostile::new("swapped", &["hello"], |_| {});
    let bundle = &hostile.bundle;
    let (path, other) = (bundle.dir.join("namespace"), bundle.dir.join("other"));
    bundle.change(|document| {
        let namespaces = document["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "network", "path": path }));
        document["linux"]["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "7" });
    });
    let mut command = Command::new("unshare");
    let holder = command.args(["--net", "sleep", "1000"]).stdout(Stdio::null()).spawn();
    let holder = Running(holder.unwrap());
    let namespace = format!("/proc/{}/ns/net", holder.0.id());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    until("it has a namespace", || {
        (fs::read_link(&namespace).ok()? != own).then_some(())
    });
    symlink(&namespace, &path).unwrap();
    symlink(format!("/proc/{}/ns/net", std::process::id()), &other).unwrap();
    let end = Instant::now() + Duration::from_secs(race(1));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &path, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        while Instant::now() < end && fs::read_to_string(PARAMETER).unwrap() == before {
            bundle.said();
        }
        done.store(true, Ordering::Relaxed);
    });
    let after = fs::read_to_string(PARAMETER).unwrap();
    if after != before {
        escaped!("the machine's parameter was set");
    }
}
