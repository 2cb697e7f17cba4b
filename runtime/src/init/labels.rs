//! AppArmor's and SELinux' labels.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use nix::sys::statfs::{FsType, statfs};

use super::procfs::Procfs;
use crate::document::Process;
use crate::error::{During, Error, Result};

/// Whether the kernel runs with SELinux.
#[must_use]
pub fn selinux() -> bool {
    const SELINUX_MAGIC: libc::c_long = 0xf97c_ff8c;
    statfs("/sys/fs/selinux").is_ok_and(|stat| stat.filesystem_type() == FsType(SELINUX_MAGIC as _))
}

/// Whether the kernel runs with AppArmor.
#[must_use]
pub fn apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// The labels a process asks for, by the file below `/proc/thread-self` through which they are set for its execution.
/// `unconfined` is what everything is where there is no AppArmor.
fn wanted(process: &Process) -> impl Iterator<Item = (&'static str, String)> {
    let profile = process
        .apparmor_profile
        .as_deref()
        .filter(|profile| !profile.is_empty() && (*profile != "unconfined" || apparmor()));
    let label = process.selinux_label.as_deref().filter(|label| !label.is_empty());
    let profile = profile.map(|profile| ("thread-self/attr/apparmor/exec", format!("exec {profile}")));
    profile
        .into_iter()
        .chain(label.map(|label| ("thread-self/attr/exec", label.to_owned())))
}

/// Refuses labels that the kernel cannot give.
///
/// # Errors
/// The kernel runs without the module.
pub fn check(process: &Process) -> Result<()> {
    for (file, label) in wanted(process) {
        let (module, runs) = if file.contains("apparmor") {
            ("AppArmor", apparmor())
        } else {
            ("SELinux", selinux())
        };
        if !runs {
            return Err(Error::Invalid(format!(
                "the label {label:?} cannot be set: this kernel runs without {module}"
            )));
        }
    }
    Ok(())
}

/// The labels a process asks for, with the machine's procfs, through which they are set when the container's is what
/// `/proc` leads to.
#[derive(Debug)]
pub struct Labels {
    wanted: Vec<(&'static str, String)>,
    procfs: Option<Procfs>,
}

impl Labels {
    /// Looks at what is asked for. To be called while `/proc` is the machine's: written to through a container's, a label
    /// could end up anywhere (CVE-2019-16884, CVE-2025-52881).
    ///
    /// # Errors
    /// The kernel cannot give it, or `/proc` is no procfs.
    pub fn new(process: &Process) -> Result<Self> {
        let wanted: Vec<_> = wanted(process).collect();
        if wanted.is_empty() {
            return Ok(Self { wanted, procfs: None });
        }
        check(process)?;
        let procfs = Some(Procfs::open()?);
        Ok(Self { wanted, procfs })
    }

    /// Sets them for the next execution. The kernel wants the writer to have the very credentials the file was opened
    /// with, so it is opened only now.
    ///
    /// # Errors
    /// There is no such label.
    pub fn set(&self) -> Result<()> {
        for (file, label) in &self.wanted {
            let Some(procfs) = &self.procfs else { continue };
            let opened = procfs.open_file(Path::new(file), libc::O_WRONLY)?;
            File::from(opened)
                .write_all(label.as_bytes())
                .during("set the label", label)?;
        }
        Ok(())
    }
}
