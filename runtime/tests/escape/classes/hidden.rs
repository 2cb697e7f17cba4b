//! What is hidden behind `/dev/null` stays hidden when an image or a volume has something else there (CVE-2025-31133).

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bundle::{Hostile, add_mount, remove_mount};
use crate::escaped;

/// A file that is hidden, and one that a container may not write to either.
const HIDDEN: &str = "/proc/interrupts";
const READ_ONLY: &str = "/proc/sys/kernel/core_pattern";

pub fn attack() {
    from_the_image();
    from_a_volume();
    for fake in ["/dev/zero", "/dev/full", HIDDEN] {
        judge(&volume_with(fake).bundle.said());
    }
}

fn judge(said: &str) {
    for line in said.lines() {
        let harmless = line.starts_with("failed") || *line == *format!("read {HIDDEN} \"\"");
        if !harmless && (line.starts_with("read") || line == format!("writable {HIDDEN}")) {
            escaped!("{line}");
        }
    }
}

/// The image's own `/dev/null` is replaced, whatever it is.
fn from_the_image() {
    let hostile = Hostile::new("image-null", &["read", HIDDEN], |document| {
        remove_mount(document, "/dev");
        document["root"]["readonly"] = json!(false);
        document["linux"]["maskedPaths"] = json!([HIDDEN]);
    });
    symlink(READ_ONLY, hostile.root().join("dev/null")).unwrap();
    let said = hostile.bundle.said();
    judge(&said);
    assert!(said.contains(&format!("read {HIDDEN} \"\"")), "{said}");
    let null = fs::symlink_metadata(hostile.root().join("dev/null")).unwrap();
    assert!(!null.is_symlink(), "a device took the link's place");
}

/// A volume's is left as it is, and then nothing can be hidden.
fn from_a_volume() {
    let hostile = volume_with(READ_ONLY);
    let said = hostile.bundle.said();
    judge(&said);
    assert!(said.contains("is not the null device"), "{said}");
}

fn volume_with(null: &str) -> Hostile {
    let hostile = Hostile::new("volume-null", &["open-for-writing", HIDDEN], |_| {});
    let volume = hostile.bundle.dir.join("volume");
    fs::create_dir(&volume).unwrap();
    symlink(null, volume.join("null")).unwrap();
    hostile.bundle.change(|document| {
        remove_mount(document, "/dev");
        // The volume is mounted where it is expected to be, which makes it the first after procfs.
        add_mount(document, "/dev", &volume, &["bind"]);
        document["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev/"));
        document["linux"]["maskedPaths"] = json!([HIDDEN]);
    });
    hostile
}
