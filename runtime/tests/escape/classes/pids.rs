//! A pid that was used again is never taken for the one it was: signals reach nobody else.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bundle::Hostile;
use crate::escaped;
use crate::harness::race;
use crate::support::snapshot::alone;
use crate::support::{Running, until};

pub fn attack() {
    // In a PID namespace of its own, where the next pid can be chosen and few are left.
    if !alone("pids") {
        return;
    }
    the_first_process();
    all_processes();
}

/// Makes a process with a certain pid.
fn with_pid(pid: i64) -> Running {
    loop {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let child = Running::idle();
        if i64::from(child.0.id()) == pid {
            return child;
        }
    }
}

fn the_first_process() {
    let hostile = Hostile::new("reused", &["sleep", "1000"], |_| {});
    let bundle = &hostile.bundle;
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    let state: Value = serde_json::from_str(&bundle.good(&["state", &bundle.id])).unwrap();
    let pid = state["pid"].as_i64().unwrap();
    bundle.good(&["kill", &bundle.id, "KILL"]);
    until("it is reaped", || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    // A tick later at least, by which processes with the same pid are told apart.
    std::thread::sleep(Duration::from_millis(20));
    let mut other = with_pid(pid);
    let status = bundle.status();
    if status != "stopped" {
        escaped!("a container that has ended is {status} when its pid is somebody else's");
    }
    for arguments in [
        &["kill", &bundle.id, "KILL"][..],
        &["kill", "--all", &bundle.id, "KILL"],
        &["kill", "--all", &bundle.id, "USR1"],
        &["exec", &bundle.id, "/attacker", "hello"],
        &["delete", "--force", &bundle.id],
    ] {
        let output = bundle.command(arguments);
        if String::from_utf8_lossy(&output.stdout).contains("hello") {
            escaped!("{arguments:?} ran in somebody else's namespaces");
        }
        if let Some(status) = other.0.try_wait().unwrap() {
            escaped!("{arguments:?} hit somebody else: {status}");
        }
    }
}

/// A container's processes come and go, and so do others, with the same few pids for all of them.
fn all_processes() {
    let seconds = race(1);
    let hostile = Hostile::new("churn", &["churn", &(seconds + 60).to_string(), "4"], |document| {
        let namespaces = document["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let bundle = &hostile.bundle;
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    let link = bundle.dir.join(crate::attacker::NAME);
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &link).unwrap();
    let said = bundle.dir.join("said");
    let signalled = || fs::read_to_string(&said).unwrap().contains("signalled");
    let outside = Command::new(&link)
        .args(["churn", &seconds.to_string(), "12"])
        .stdout(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut outside = Running(outside);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < end && !done.load(Ordering::Relaxed) {
                // The next process gets the first pid that is free.
                fs::write("/proc/sys/kernel/ns_last_pid", "1").unwrap();
            }
        });
        while Instant::now() < end && !signalled() {
            // A signal that nobody there expects; the first process gets it as well.
            bundle.command(&["kill", "--all", &bundle.id, "USR2"]);
            bundle.good(&["delete", "--force", &bundle.id]);
            bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
        }
        done.store(true, Ordering::Relaxed);
    });
    if signalled() {
        outside.0.kill().unwrap();
    }
    let status = outside.0.wait().unwrap();
    if signalled() || !status.success() {
        escaped!("a process outside got the signal: {status}");
    }
    bundle.command(&["kill", "--all", &bundle.id, "KILL"]);
}
