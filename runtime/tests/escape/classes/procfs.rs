//! What the runtime tells the kernel through procfs reaches the kernel, and not whatever a container or somebody else
//! has put there (CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2025-52881).

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::bundle::{Hostile, add_mount};
use crate::escaped;
use crate::support::Running;

const SCORE: &str = "self/oom_score_adj";
const LABEL: &str = "thread-self/attr/exec";

pub fn attack() {
    a_volume_for_procfs();
    a_file_over_a_parameter();
    a_mount_inside();
}

/// A directory that looks like a procfs to who does not look closely.
fn decoy(dir: &Path) {
    for file in [
        SCORE,
        LABEL,
        "self/attr/exec",
        "thread-self/attr/apparmor/exec",
        "sys/kernel/domainname",
    ] {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "decoy").unwrap();
    }
}

fn judge(path: &Path, what: &str) {
    let text = fs::read_to_string(path).unwrap();
    if text != "decoy" {
        escaped!("{what} was written to {}: {text:?}", path.display());
    }
}

/// A volume over `/proc`: what is written there by the runtime does nothing, or something else.
fn a_volume_for_procfs() {
    let hostile = Hostile::new("decoy", &["read", &format!("/real/{SCORE}")], |_| {});
    let volume = hostile.bundle.dir.join("volume");
    decoy(&volume);
    fs::create_dir(hostile.root().join("real")).unwrap();
    hostile.bundle.change(|document| {
        let real = json!({ "destination": "/real", "type": "proc", "source": "proc" });
        document["mounts"].as_array_mut().unwrap().insert(0, real);
        add_mount(document, "/proc", &volume, &["bind"]);
        document["process"]["oomScoreAdj"] = json!(500);
        document["domainname"] = json!("inside");
        document["linux"]["maskedPaths"] = json!([]);
        document["linux"]["readonlyPaths"] = json!([]);
    });
    let said = hostile.bundle.said();
    for file in [SCORE, LABEL, "sys/kernel/domainname"] {
        judge(&volume.join(file), file);
    }
    assert!(said.contains("500"), "the kernel was told all the same: {said}");
    // A label is refused where the kernel has none, and never believed to be set.
    hostile
        .bundle
        .change(|document| document["process"]["selinuxLabel"] = json!("label"));
    let output = hostile
        .bundle
        .command(&["run", "--bundle", hostile.bundle.path(), &hostile.bundle.id]);
    judge(&volume.join(LABEL), "the label");
    assert!(!output.status.success());
}

/// The machine's own procfs, with something mounted over a file in it: an ordinary file, or another one of procfs, which
/// looks right and makes something else of what is written (CVE-2025-52881).
fn a_file_over_a_parameter() {
    const PARAMETER: &str = "/proc/sys/kernel/domainname";
    let hostile = Hostile::new("covered", &["hello"], |document| {
        document["linux"]["sysctl"] = json!({ "kernel.domainname": "500" });
    });
    let file = hostile.bundle.dir.join("file");
    fs::write(&file, "decoy").unwrap();
    let victim = Running::idle();
    let score = PathBuf::from(format!("/proc/{}/oom_score_adj", victim.0.id()));
    let before = fs::read_to_string(&score).unwrap();
    for decoy in [&file, &score] {
        mount(Some(decoy), PARAMETER, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let said = hostile.bundle.said();
        nix::mount::umount(PARAMETER).unwrap();
        judge(&file, "a parameter");
        let after = fs::read_to_string(&score).unwrap();
        if before != after {
            escaped!("a parameter was written to {}: {after}", score.display());
        }
        assert!(said.contains(PARAMETER) && !said.contains("hello"), "{said}");
    }
    let said = hostile.bundle.said();
    assert!(said.contains("hello"), "{said}");
}

/// A mount of the configuration inside the container's procfs, directly or by a link of the image's.
fn a_mount_inside() {
    for destination in ["/proc/sys/kernel", "/proc/self/attr", "/link/attr", "/link"] {
        let hostile = Hostile::new("inside", &["read", "/proc/self/mountinfo"], |document| {
            let mount = json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" });
            document["mounts"].as_array_mut().unwrap().push(mount);
        });
        std::os::unix::fs::symlink("/proc/1", hostile.root().join("link")).unwrap();
        let said = hostile.bundle.said();
        if said.contains("read ") {
            escaped!("a mount on {destination}: {said}");
        }
        assert!(said.contains("inside procfs") || said.contains(destination), "{said}");
    }
}
