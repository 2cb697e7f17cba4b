//! Bundles with a root file system of the attacker's making.

use std::fs;
use std::path::{Path, PathBuf};

use barepod_runtime::protocol::ContainerConfig;
use oci_spec::runtime::MountBuilder;
use serde_json::{Value, json};

use crate::support::Pod;
use crate::support::bundle::Bundle;

/// A bundle whose image is hostile.
pub struct Hostile {
    /// The bundle.
    pub bundle: Bundle,
}

impl Hostile {
    /// A bundle whose container is the attacker with these arguments, in an image that has nothing but the directories
    /// that everybody expects; the configuration is changed.
    pub fn new(name: &str, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        let bundle = Bundle::new(name, |document| {
            add_mount(document, PROGRAM, &own(), &["bind", "ro"]);
            document["process"]["args"] = json!([&[PROGRAM], arguments].concat());
            change(document);
        });
        fs::remove_file(bundle.dir.join("rootfs")).unwrap();
        for dir in ["dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(bundle.dir.join("rootfs").join(dir)).unwrap();
        }
        Self { bundle }
    }

    /// The image.
    pub fn root(&self) -> PathBuf {
        self.bundle.dir.join("rootfs")
    }
}

/// Where the attacker is inside.
const PROGRAM: &str = "/attacker";

/// This program.
fn own() -> PathBuf {
    std::env::current_exe().expect("this program has a path")
}

/// A container of a pod that is the attacker with these arguments.
pub fn pod_container(pod: &Pod, arguments: &[&str]) -> ContainerConfig {
    let mut container = pod.container(&[&[PROGRAM], arguments].concat());
    let mut mounts = container.spec.mounts().clone().unwrap_or_default();
    let mount = MountBuilder::default().destination(PROGRAM).source(own()).typ("bind");
    mounts.push(mount.options(vec!["bind".to_owned(), "ro".to_owned()]).build().unwrap());
    container.spec.set_mounts(Some(mounts));
    container
}

/// Adds a mount.
pub fn add_mount(document: &mut Value, destination: &str, source: &Path, options: &[&str]) {
    let mounts = document["mounts"].as_array_mut().expect("there are mounts");
    mounts.push(json!({ "destination": destination, "source": source, "type": "bind", "options": options }));
}

/// Leaves the mount on a destination out.
pub fn remove_mount(document: &mut Value, destination: &str) {
    let mounts = document["mounts"].as_array_mut().expect("there are mounts");
    mounts.retain(|mount| mount["destination"] != destination);
}
