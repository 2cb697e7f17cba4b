//! Who is root of a user namespace is somebody else on the machine, and stays it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};

use serde_json::{Value, json};

use crate::bundle::{Hostile, add_mount};
use crate::escaped;

/// Who the container's root is outside.
const ROOT: u32 = 100_000;

fn with_users(document: &mut Value, mappings: Value) {
    document["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "user" }));
    document["linux"]["uidMappings"] = mappings.clone();
    document["linux"]["gidMappings"] = mappings;
}

/// The image is the container's root's.
fn give(hostile: &Hostile) {
    let root = hostile.root();
    let below = fs::read_dir(&root).unwrap().flatten().map(|entry| entry.path());
    for path in below.chain([root.clone()]) {
        chown(path, Some(ROOT), Some(ROOT)).unwrap();
    }
}

pub fn attack() {
    from_inside();
    by_configuration();
}

fn from_inside() {
    let hostile = Hostile::new("users", &["users", "/volume"], |document| {
        with_users(document, json!([{ "containerID": 0, "hostID": ROOT, "size": 65_536 }]));
        // Nothing is left to the filter.
        document["linux"]["seccomp"] = Value::Null;
    });
    give(&hostile);
    let volume = hostile.bundle.dir.join("volume");
    fs::create_dir(&volume).unwrap();
    let secret = volume.join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    chown(&volume, Some(ROOT), Some(ROOT)).unwrap();
    hostile
        .bundle
        .change(|document| add_mount(document, "/volume", &volume, &["bind"]));
    let said = hostile.bundle.said();
    if let Some(line) = said.lines().find(|line| line.starts_with("gained")) {
        escaped!("{line}");
    }
    for entry in fs::read_dir(&volume)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path() != secret)
    {
        let metadata = entry.metadata().unwrap();
        let kind = metadata.file_type();
        if metadata.uid() != ROOT || metadata.gid() != ROOT || kind.is_block_device() || kind.is_char_device() {
            escaped!(
                "{} is {}:{}'s, {kind:?}",
                entry.path().display(),
                metadata.uid(),
                metadata.gid()
            );
        }
    }
    assert!(said.contains("made a file"), "{said}");
}

/// A configuration that asks for somebody who is not there gets nobody.
fn by_configuration() {
    for user in [
        json!({ "uid": 70_000, "gid": 0 }),
        json!({ "uid": 65_536, "gid": 65_536 }),
    ] {
        let hostile = Hostile::new("unknown", &["identity"], |document| {
            with_users(document, json!([{ "containerID": 0, "hostID": ROOT, "size": 65_536 }]));
            document["process"]["user"] = user.clone();
        });
        give(&hostile);
        let said = hostile.bundle.said();
        if said.contains("Uid:") {
            escaped!("{user} is not there, and ran: {said}");
        }
        assert!(said.contains("become"), "{said}");
    }
    for mappings in [
        json!([{ "containerID": 0, "hostID": u32::MAX - 10, "size": 1000 }]),
        json!([{ "containerID": 0, "hostID": ROOT, "size": 10 }, { "containerID": 5, "hostID": 200_000, "size": 10 }]),
        json!([{ "containerID": 0, "hostID": ROOT, "size": 10 }, { "containerID": 20, "hostID": ROOT + 5, "size": 10 }]),
        json!([{ "containerID": 0, "hostID": ROOT, "size": 0 }]),
    ] {
        let hostile = Hostile::new("mappings", &["identity"], |document| {
            with_users(document, mappings.clone())
        });
        let said = hostile.bundle.said();
        if said.contains("Uid:") {
            escaped!("{mappings} was taken: {said}");
        }
        assert!(!said.is_empty());
    }
}
