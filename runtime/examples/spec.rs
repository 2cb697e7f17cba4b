//! Prints the OCI configuration of an ordinary container, for experiments by hand.

use barepod_runtime::spec;
use oci_spec::runtime::{
    LinuxBuilder, LinuxCapabilitiesBuilder, LinuxResourcesBuilder, ProcessBuilder, SpecBuilder, UserBuilder,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let capabilities = spec::default_capabilities();
    let process = ProcessBuilder::default()
        .args(vec!["/bin/sh".to_owned()])
        .env(vec!["PATH=/bin:/usr/bin".to_owned()])
        .cwd("/")
        .user(UserBuilder::default().uid(0_u32).gid(0_u32).build()?)
        .no_new_privileges(false)
        .capabilities(
            LinuxCapabilitiesBuilder::default()
                .bounding(capabilities.clone())
                .effective(capabilities.clone())
                .permitted(capabilities.clone())
                .build()?,
        )
        .rlimits(Vec::new())
        .build()?;
    let linux = LinuxBuilder::default()
        .masked_paths(spec::masked_paths())
        .readonly_paths(spec::readonly_paths())
        .seccomp(spec::default_seccomp(&capabilities))
        .resources(
            LinuxResourcesBuilder::default()
                .devices(spec::default_devices())
                .build()?,
        )
        .namespaces(Vec::new())
        .build()?;
    let document = SpecBuilder::default()
        .version("1.2.0")
        .process(process)
        .mounts(spec::default_mounts(false))
        .linux(linux)
        .build()?;
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}
