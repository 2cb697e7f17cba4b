//! `spec`: a configuration to begin with.

use std::path::PathBuf;

use super::arguments::{Arguments, Order};
use crate::document::OCI_VERSION;
use crate::error::{During, Error, Result};
use crate::spec;
use oci_spec::runtime::{
    Capabilities, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxResourcesBuilder, ProcessBuilder, RootBuilder, SpecBuilder,
};

/// Writes a `config.json` to begin with.
pub fn spec(arguments: Vec<String>) -> Result<i32> {
    let given = Arguments::parse(arguments, &[("bundle", Some('b'), true)], Order::Anywhere)?;
    let path = given
        .value("bundle")
        .map_or_else(PathBuf::new, PathBuf::from)
        .join("config.json");
    if path.exists() {
        return Err(Error::Exists(path.display().to_string()));
    }
    let document = document().map_err(|error| Error::Invalid(error.to_string()))?;
    let text = serde_json::to_string_pretty(&document);
    let text = text.map_err(|source| Error::Document {
        object: "the configuration".to_owned(),
        source,
    })?;
    std::fs::write(&path, text + "\n").during("write", path.display())?;
    Ok(0)
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
