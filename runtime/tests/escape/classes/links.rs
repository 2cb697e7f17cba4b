//! `/dev`, `/proc`, `/sys` and what is in them as links of the image's (CVE-2026-41579, CVE-2026-47766, CVE-2026-88264,
//! CVE-2026-88265, CVE-2019-19921): nothing is made, removed or mounted where they lead.

use std::fs::{self, FileType};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle::{Hostile, remove_mount};
use crate::escaped;
use crate::support::Scratch;

const NAMES: [&str; 9] = [
    "dev",
    "proc",
    "sys",
    "dev/shm",
    "dev/pts",
    "dev/mqueue",
    "dev/null",
    "dev/console",
    "dev/ptmx",
];

pub fn attack() {
    let victim = Scratch::new("victim");
    for name in NAMES {
        let above = "../".repeat(name.matches('/').count() + 20);
        let relative = format!("{above}{}", victim.display());
        for target in [victim.to_str().unwrap(), &relative] {
            lead(name, target, &victim);
        }
        lead(name, "/proc", &victim);
        lead(name, "/inside", &victim);
    }
}

/// A directory that has what a runtime replaces in `/dev`.
fn prepare(victim: &Path) -> Vec<(PathBuf, FileType)> {
    for entry in fs::read_dir(victim).unwrap().flatten() {
        let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
    }
    fs::create_dir_all(victim.join("shm")).unwrap();
    for name in ["ptmx", "null", "fd", "core"] {
        fs::write(victim.join(name), "victim").unwrap();
    }
    look(victim)
}

/// Everything in it, and what it is: a device of that name may be anything.
fn look(victim: &Path) -> Vec<(PathBuf, FileType)> {
    let entries = fs::read_dir(victim).unwrap().flatten();
    let mut all: Vec<_> = entries
        .map(|entry| (entry.path(), entry.file_type().unwrap()))
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn lead(name: &str, target: &str, victim: &Path) {
    let before = prepare(victim);
    let hostile = Hostile::new("links", &["read", "/proc/self/mountinfo"], |document| {
        if name.starts_with("dev") && (name, target) != ("dev", "/proc") {
            // Nothing covers the image's.
            remove_mount(document, "/dev");
        }
        document["root"]["readonly"] = json!(false);
    });
    fs::create_dir(hostile.root().join("inside")).unwrap();
    let link = hostile.root().join(name);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    let _ = fs::remove_dir(&link);
    symlink(target, &link).unwrap();
    let said = hostile.bundle.said();
    let after = look(victim);
    let more: Vec<_> = fs::read_dir(victim)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    if before != after || more.len() != before.len() {
        escaped!("/{name} is a link to {target}: {before:?} became {more:?}");
    }
    let ran = said.contains("read ") || said.contains("failed ");
    if ran && ["proc", "sys"].contains(&name) {
        escaped!("/{name} was mounted through a link to {target}");
    }
    if ran
        && target == "/proc"
        && ["dev", "dev/shm", "dev/mqueue", "dev/pts", "dev/console"].contains(&name)
        && name != "dev/console"
    {
        escaped!("something was mounted in procfs through /{name}: {said}");
    }
}
