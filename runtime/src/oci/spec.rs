//! `spec`: a configuration to begin with.

use std::path::PathBuf;

use super::arguments::{Arguments, Order};
use crate::document::OCI_VERSION;
use crate::error::{During, Error, Result};
use crate::spec;
use nix::unistd::{getegid, geteuid};
use oci_spec::runtime::{
    Capabilities, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxResourcesBuilder, ProcessBuilder, RootBuilder, SpecBuilder,
};
use serde_json::{Value, json};

/// Writes a `config.json` to begin with.
pub fn spec(arguments: Vec<String>) -> Result<i32> {
    let options = [("bundle", Some('b'), true), ("rootless", None, false)];
    let mut given = Arguments::parse(arguments, &options, Order::Anywhere)?;
    if let Some(unknown) = given.positional().first() {
        return Err(Error::Invalid(format!("spec has no use for {unknown:?}")));
    }
    let path = given
        .value("bundle")
        .map_or_else(PathBuf::new, PathBuf::from)
        .join("config.json");
    if path.exists() {
        return Err(Error::Exists(path.display().to_string()));
    }
    let document = document().map_err(|error| Error::Invalid(error.to_string()))?;
    let wrong = |source| Error::Document {
        object: "the configuration".to_owned(),
        source,
    };
    let mut document = serde_json::to_value(document).map_err(wrong)?;
    if given.has("rootless") {
        make_rootless(&mut document);
    }
    let text = serde_json::to_string_pretty(&document).map_err(wrong)?;
    std::fs::write(&path, text + "\n").during("write", path.display())?;
    Ok(0)
}

/// Changes a configuration to one that whoever asks can use without being root: a user namespace in which they are.
fn make_rootless(document: &mut Value) {
    let linux = &mut document["linux"];
    let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    linux["uidMappings"] = map(geteuid().as_raw());
    linux["gidMappings"] = map(getegid().as_raw());
    if let Some(linux) = linux.as_object_mut() {
        // Cgroups are root's.
        linux.remove("resources");
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        // A network namespace would have nothing to be connected with.
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "user" }));
    }
    for mount in document["mounts"].as_array_mut().into_iter().flatten() {
        if mount["type"] == "sysfs" {
            // That of another network namespace cannot be mounted, only bound.
            let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
            *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": options });
        }
        if let Some(options) = mount["options"].as_array_mut() {
            // No group but one is there.
            options.retain(|option| option != "gid=5");
        }
    }
    if let Some(mounts) = document["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "cgroup");
    }
}

fn document() -> Result<oci_spec::runtime::Spec, oci_spec::OciSpecError> {
    let capabilities = spec::default_capabilities();
    let sets = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities.clone())
        .effective(capabilities.clone())
        .permitted(capabilities.clone())
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()?;
    let process = ProcessBuilder::default()
        .terminal(false)
        .args(vec!["sh".to_owned()])
        .env(vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ])
        .cwd("/")
        .capabilities(sets)
        .no_new_privileges(true)
        .rlimits(Vec::new())
        .build()?;
    let namespaces = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Cgroup,
    ];
    let namespaces: Result<Vec<_>, _> = namespaces
        .into_iter()
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect();
    let linux = LinuxBuilder::default()
        .namespaces(namespaces?)
        .resources(
            LinuxResourcesBuilder::default()
                .devices(spec::default_devices())
                .build()?,
        )
        .masked_paths(spec::masked_paths())
        .readonly_paths(spec::readonly_paths())
        .seccomp(spec::default_seccomp(&capabilities))
        .build()?;
    SpecBuilder::default()
        .version(OCI_VERSION)
        .hostname("barepod")
        .root(RootBuilder::default().path("rootfs").readonly(true).build()?)
        .mounts(spec::default_mounts(false))
        .process(process)
        .linux(linux)
        .build()
}
