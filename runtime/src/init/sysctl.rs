//! Kernel parameters of the pod's own namespaces.

use std::path::PathBuf;

use super::procfs::Procfs;
use crate::broken;
use crate::error::{Error, Result};

/// Which namespaces are the pod's own; only their parameters may be set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// The network namespace.
    pub network: bool,
    /// The IPC namespace.
    pub ipc: bool,
    /// The UTS namespace.
    pub uts: bool,
    /// The user namespace.
    pub user: bool,
}

/// Writes parameters. The kernel takes the namespace from the writer, whatever procfs the file is in.
///
/// # Errors
/// A parameter of the whole machine, one that does not exist, or a value the kernel refuses.
pub fn set<'a>(parameters: impl IntoIterator<Item = (&'a String, &'a String)>, own: Own) -> Result<()> {
    let mut parameters = parameters.into_iter().peekable();
    if parameters.peek().is_none() {
        return Ok(());
    }
    let procfs = Procfs::open()?;
    // All are looked at before the first is set.
    let paths = parameters.map(|(name, value)| Ok((path(name, own)?, value)));
    let paths: Vec<_> = paths.collect::<Result<_>>()?;
    paths
        .into_iter()
        .try_for_each(|(path, value)| procfs.write(&path, value))
}

/// The file of a parameter, if setting it changes nothing outside the pod.
fn path(name: &str, own: Own) -> Result<PathBuf> {
    let name = normalise(name);
    let (namespaced, owned) = match name.as_str() {
        // It would be at odds with what the configuration and the state tell.
        "kernel.hostname" => {
            return Err(Error::Invalid(
                "kernel.hostname is not set as a sysctl: give the container a hostname".to_owned(),
            ));
        }
        "kernel.domainname" => (true, own.uts),
        "kernel.sem"
        | "kernel.shm_rmid_forced"
        | "kernel.shmall"
        | "kernel.shmmax"
        | "kernel.shmmni"
        | "kernel.msgmax"
        | "kernel.msgmnb"
        | "kernel.msgmni"
        | "kernel.auto_msgmni" => (true, own.ipc),
        name if name.starts_with("fs.mqueue.") => (true, own.ipc),
        name if name.starts_with("net.") => (true, own.network),
        name if name.starts_with("user.") => (true, own.user),
        _ => (false, false),
    };
    let machine_wide = !namespaced;
    if machine_wide && !broken::lacks("sysctl-names") {
        return Err(Error::Invalid(format!(
            "the sysctl {name} is not of a namespace, it would change the whole machine"
        )));
    }
    if !owned && !machine_wide && !broken::lacks("sysctl-owner") {
        return Err(Error::Invalid(format!(
            "the sysctl {name} is of a namespace that the container shares with the machine"
        )));
    }
    let parts: Vec<String> = name.split('.').map(|part| part.replace('/', ".")).collect();
    if parts.iter().any(|part| part.is_empty() || part == "..") {
        return Err(Error::Invalid(format!("{name} is no sysctl")));
    }
    Ok(PathBuf::from("sys").join(parts.join("/")))
}

/// Dots as separators, whichever of the two spellings of sysctl(8) is used: the first separator tells. A slash in the
/// result is a dot inside a part, as interface names have them.
fn normalise(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Own = Own {
        network: true,
        ipc: true,
        uts: true,
        user: false,
    };

    #[test]
    fn only_parameters_of_own_namespaces() {
        let file = |name| path(name, OWN).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(file("net.ipv4.ip_forward").unwrap(), "sys/net/ipv4/ip_forward");
        assert_eq!(
            file("net/ipv4/conf/eth0.100/rp_filter").unwrap(),
            "sys/net/ipv4/conf/eth0.100/rp_filter"
        );
        assert_eq!(
            file("net.ipv4.conf.eth0/100.rp_filter").unwrap(),
            "sys/net/ipv4/conf/eth0.100/rp_filter"
        );
        assert_eq!(file("kernel.domainname").unwrap(), "sys/kernel/domainname");
        assert_eq!(file("kernel.shmmax").unwrap(), "sys/kernel/shmmax");
        for refused in [
            "kernel.panic",
            "vm.swappiness",
            "user.max_pid_namespaces",
            "kernel.hostname",
            "net.../x",
            "net.ipv4.//.x",
            "",
        ] {
            assert!(file(refused).is_err(), "{refused}");
        }
    }
}
