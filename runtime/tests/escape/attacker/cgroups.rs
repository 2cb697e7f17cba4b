//! Control groups: whoever can write there changes limits, or has programs executed outside (CVE-2022-0492).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const ROOT: &str = "/sys/fs/cgroup";

/// Tries whatever is known, and says what worked.
pub fn all() {
    println!("self {:?}", fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    println!("hierarchies {}", hierarchies().len());
    hierarchies().iter().for_each(|dir| writes(dir));
    for kind in ["cgroup", "cgroup2"] {
        let target = Path::new("/tmp");
        for options in [None, Some("memory"), Some("rdma"), Some("none,name=x")] {
            if mount(Some("x"), target, Some(kind), MsFlags::empty(), options).is_ok() {
                println!("gained a mount of {kind} {options:?}");
            }
        }
    }
    for dir in hierarchies() {
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        if mount(None::<&str>, &dir, None::<&str>, again, None::<&str>).is_ok() {
            println!("gained a writable {}", dir.display());
        }
    }
    // In a user namespace of one's own one is root enough to mount them.
    let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP;
    for flags in [flags, CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWCGROUP] {
        if unshare(flags).is_ok() {
            println!("gained namespaces {flags:?}");
        }
    }
}

/// The directories of the hierarchies that are shown.
fn hierarchies() -> Vec<PathBuf> {
    let own = Path::new(ROOT);
    if own.join("cgroup.procs").exists() {
        return vec![own.to_owned()];
    }
    let entries = fs::read_dir(own).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|dir| dir.join("cgroup.procs").exists())
        .collect()
}

fn writes(dir: &Path) {
    let nested = dir.join("nested");
    if fs::create_dir(&nested).is_ok() {
        println!("gained {}", nested.display());
        let _ = fs::remove_dir(&nested);
    }
    let files = [
        "cgroup.procs",
        "tasks",
        "release_agent",
        "notify_on_release",
        "memory.limit_in_bytes",
        "memory.max",
    ];
    for file in files.map(|file| dir.join(file)) {
        if File::options().write(true).open(&file).is_ok() {
            println!("gained {}", file.display());
        }
    }
    // Nobody else's is to be seen.
    let others = fs::read_dir(dir).into_iter().flatten().flatten();
    for other in others.filter(|entry| entry.path().join("cgroup.procs").exists()) {
        println!("gained a look at {}", other.path().display());
    }
}
