//! Everything that could be left behind, as seen before and after.
//!
//! Taken in PID, mount, network and IPC namespaces of the test's own ([`alone`]), where nobody else makes anything, so
//! that it may be compared whole; of the cgroups, which have no such namespace for their maker, those with a prefix.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use barepod_runtime::cgroup::Layout;

use super::{base, tag, until};

/// Says to a test that it runs [`alone`], with the tag of the one that started it.
pub const ALONE: &str = "BAREPOD_TEST_ALONE";

/// Sorted names of everything there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at processes and their namespaces, mounts, descriptors of this process, sockets, System V IPC, and at
    /// cgroups and files with this process' [`tag`] in their names.
    pub fn take() -> Self {
        let mut found = BTreeSet::new();
        for process in entries(Path::new("/proc")) {
            let numeric = process
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
            if !numeric {
                continue;
            }
            // One that ends meanwhile has no name any more.
            let Ok(name) = fs::read_to_string(process.join("comm")) else {
                continue;
            };
            found.insert(format!("process {} {}", process.display(), name.trim()));
            for namespace in entries(&process.join("ns")) {
                let target = fs::read_link(namespace).unwrap_or_default();
                found.insert(format!("namespace {}", target.display()));
            }
        }
        for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
            found.insert(format!("mount {line}"));
        }
        for hierarchy in Layout::detect().unwrap().all() {
            for top in entries(&hierarchy.mount) {
                if is_ours(&top) {
                    walk(&top, "cgroup", &mut found);
                }
            }
        }
        for path in entries(base()).iter().filter(|path| is_ours(path)) {
            walk(path, "file", &mut found);
        }
        for descriptor in entries(Path::new("/proc/self/fd")) {
            // The directory being listed is one itself.
            let target = fs::read_link(descriptor).unwrap_or_default();
            if !target.ends_with("fd") {
                found.insert(format!("descriptor {}", target.display()));
            }
        }
        for table in [
            "net/unix",
            "net/tcp",
            "net/tcp6",
            "net/packet",
            "net/netlink",
            "sysvipc/shm",
            "sysvipc/sem",
            "sysvipc/msg",
        ] {
            for line in fs::read_to_string(Path::new("/proc").join(table))
                .unwrap_or_default()
                .lines()
                .skip(1)
            {
                found.insert(format!("{table} {line}"));
            }
        }
        Self(found)
    }

    /// Waits until everything is as it was before, and panics with the difference if it never is.
    pub fn assert_again(&self) {
        let mut difference = String::new();
        let same = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("everything is as it was before", || {
                let after = Self::take();
                let lines = |a: &Self, b: &Self, sign| -> Vec<String> {
                    a.0.difference(&b.0).map(|line| format!("{sign} {line}")).collect()
                };
                difference = [lines(self, &after, "-"), lines(&after, self, "+")].concat().join("\n");
                difference.is_empty().then_some(())
            });
        }));
        assert!(same.is_ok(), "not as before:\n{difference}");
    }
}

fn is_ours(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().contains(tag()))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn walk(path: &Path, what: &str, found: &mut BTreeSet<String>) {
    // A cgroup's files come and go with it.
    if what == "file" || path.is_dir() {
        found.insert(format!("{what} {}", path.display()));
    }
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        entries(path).iter().for_each(|path| walk(path, what, found));
    }
}

/// Runs the calling test again, alone in namespaces of its own; `true` in there. Outside it returns `false` when the
/// test has passed inside.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        super::stay_here();
        return true;
    }
    base();
    // The shell is the first process there, and reaps what has no parent any more.
    let output = Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--mount-proc",
            "--net",
            "--ipc",
            "--",
        ])
        .args(["sh", "-c", "\"$@\"; exit $?", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, tag())
        .output()
        .expect("unshare(1) can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{test} failed in namespaces of its own:\n{said}\n{complaints}"
    );
    // Without what the harness says, so that the test is counted once.
    let own = |line: &&str| !line.is_empty() && !line.starts_with("test ") && !line.starts_with("running ");
    said.lines().filter(own).for_each(|line| println!("{line}"));
    false
}
