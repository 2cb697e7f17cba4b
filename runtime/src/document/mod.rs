//! An OCI configuration, as far as it is acted on.
//!
//! `oci-spec` has all of it, for every operating system; reading that much would be half of this program's code and a
//! good part of a container's start. Its types are used where they are read as the specification has them. What is not
//! read here is without meaning on Linux; the specification wants unknown properties ignored.

mod check;
mod linux;
pub mod list;
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Mount;
use serde::{Deserialize, Deserializer};

pub use linux::{Linux, NetDevice};
pub use process::{CapabilityNames, CapabilitySets, ExecCpuAffinity, IoPriority, Process, Scheduler, scheduler_flags};

/// The version of the OCI runtime specification that is followed.
pub const OCI_VERSION: &str = "1.3.0";

/// The annotation that wants all of a container killed when one of its processes is killed for memory.
pub const OOM_GROUP: &str = "io.barepod.memory.oom.group";

/// What annotations begin with that are properties of the scope which systemd makes, as runc and crun know them.
pub const SYSTEMD_PROPERTY: &str = "org.systemd.property.";

/// The annotation that lets a container have the additional groups of whoever makes it, which podman's
/// `--group-add keep-groups` writes: crun(1).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Whether the value of an annotation switches it on.
#[must_use]
pub fn is_yes(value: &str) -> bool {
    matches!(value, "1" | "true" | "yes")
}

/// `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Document {
    /// The version of the specification it was written for.
    pub oci_version: Option<String>,
    /// The program, and who it is executed as. A container without one can be made, and not started.
    pub process: Option<Process>,
    /// The root file system.
    pub root: Option<Root>,
    /// The host name.
    pub hostname: Option<String>,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// What is mounted in it.
    #[serde(deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    /// Anything for tools.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(deserialize_with = "or_default")]
    pub linux: Linux,
    /// Programs to be executed along the way.
    #[serde(deserialize_with = "or_default")]
    pub hooks: Hooks,
}

/// `root`.
#[derive(Debug, Deserialize)]
pub struct Root {
    /// The directory, relative to the bundle.
    pub path: PathBuf,
    /// Not writable.
    #[serde(default)]
    pub readonly: bool,
}

/// `hooks`, in the order in which they are executed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// When everything is made but the root not changed yet; of old.
    #[serde(deserialize_with = "or_default")]
    pub prestart: Vec<Hook>,
    /// The same, by its present name.
    #[serde(deserialize_with = "or_default")]
    pub create_runtime: Vec<Hook>,
    /// At the same time, in the container's namespaces.
    #[serde(deserialize_with = "or_default")]
    pub create_container: Vec<Hook>,
    /// In the container, before its program.
    #[serde(deserialize_with = "or_default")]
    pub start_container: Vec<Hook>,
    /// When the program was executed.
    #[serde(deserialize_with = "or_default")]
    pub poststart: Vec<Hook>,
    /// When the container is gone.
    #[serde(deserialize_with = "or_default")]
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Every hook, with the name of its kind.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Hook)> {
        let kinds: [(&str, &[Hook]); 6] = [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ];
        kinds
            .into_iter()
            .flat_map(|(kind, hooks)| hooks.iter().map(move |hook| (kind, hook)))
    }
}

/// A program that is executed on the way.
#[derive(Debug, Deserialize)]
pub struct Hook {
    /// Its file, absolute.
    pub path: PathBuf,
    /// Its arguments, the name first; the path alone without.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// Its environment.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// After how many seconds it is killed.
    #[serde(default)]
    pub timeout: Option<i64>,
}

/// Reads `null` as what is absent, which some tools write.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Spec;

    #[test]
    fn what_oci_spec_writes_is_read() {
        let text = serde_json::to_string(&Spec::default()).unwrap();
        let document: Document = serde_json::from_str(&text).unwrap();
        let process = document.process.as_ref().unwrap();
        assert_eq!(process.args, ["sh"]);
        assert_eq!(process.rlimits.len(), 1);
        assert!(process.no_new_privileges && !process.terminal);
        assert_eq!(document.mounts.len(), 7);
        assert!(!document.linux.masked_paths.is_empty() && document.linux.resources.is_some());
        document.check().unwrap();
    }

    #[test]
    fn null_is_nothing_and_the_unknown_is_ignored() {
        let document: Document = serde_json::from_str(
            r#"{"ociVersion":"1.0.0","mounts":null,"hooks":{"poststop":null,"later":[]},"linux":{"namespaces":null},"x":{"y":1}}"#,
        )
        .unwrap();
        assert!(document.mounts.is_empty() && document.hooks.all().next().is_none());
    }
}
