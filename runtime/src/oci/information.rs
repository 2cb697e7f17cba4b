//! `spec` and `features`: what a configuration may look like, and what of it is done.

use std::path::PathBuf;

use oci_spec::runtime::{
    Capabilities, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxResourcesBuilder, ProcessBuilder, RootBuilder, SpecBuilder,
};
use serde_json::json;

use super::arguments::Arguments;
use super::state::OCI_VERSION;
use crate::error::{During, Error, Result};
use crate::{init, spec};

/// Writes a `config.json` to begin with.
pub fn spec(arguments: Vec<String>) -> Result<i32> {
    let given = Arguments::parse(arguments, &[("bundle", Some('b'), true)])?;
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

/// Prints what is supported, in the form of the OCI runtime specification.
pub fn features() -> Result<i32> {
    let mut capabilities: Vec<String> = spec::all_capabilities()
        .into_iter()
        .map(|capability| format!("CAP_{capability}"))
        .collect();
    capabilities.sort_unstable();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "mountOptions": init::mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"
                ],
                "archs": [if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }]
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": false } }
        }
    });
    println!("{features:#}");
    Ok(0)
}
