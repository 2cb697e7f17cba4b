//! User namespaces: who is who on the other side.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Gid, Uid, pipe2, setgroups, setresgid, setresuid};
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};

use super::procfs::Procfs;
use crate::broken;
use crate::document::Document;
use crate::error::{During, Error, Result};
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{exit_now, pidfd_send_signal};

/// Who is who: users, and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mappings<'a> {
    /// Users.
    pub uids: &'a [LinuxIdMapping],
    /// Groups.
    pub gids: &'a [LinuxIdMapping],
}

impl<'a> Mappings<'a> {
    /// The users of a container's user namespace, if it has one of its own.
    #[must_use]
    pub fn of(document: &'a Document) -> Self {
        Self {
            uids: &document.linux.uid_mappings,
            gids: &document.linux.gid_mappings,
        }
    }

    /// Whether nobody is anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// Gives the user namespace of a process its users. The process itself could give it only one, its own.
    ///
    /// # Errors
    /// The kernel refuses, for one because ranges overlap.
    pub fn write(&self, pid: &str) -> Result<()> {
        let procfs = Procfs::open()?;
        // The kernel takes all lines in one write: user_namespaces(7).
        for (file, mappings) in [("gid_map", self.gids), ("uid_map", self.uids)] {
            let lines: String = mappings
                .iter()
                .map(|m| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size()))
                .collect();
            let lines = if broken::lacks("own-users") {
                format!("0 0 {}\n", u32::MAX)
            } else {
                lines
            };
            procfs.write(&Path::new(pid).join(file), &lines)?;
        }
        Ok(())
    }

    /// A user of the container as the machine knows him.
    #[must_use]
    pub fn outside(mappings: &[LinuxIdMapping], inside: u32) -> Option<u32> {
        mappings.iter().find_map(|m| {
            let at = inside.checked_sub(m.container_id())?;
            if at < m.size() {
                m.host_id().checked_add(at)
            } else {
                None
            }
        })
    }

    /// A user namespace with these users, for a mount to be seen through: it exists as long as its descriptor.
    ///
    /// # Errors
    /// It cannot be made, or the mapping is refused.
    pub fn namespace(&self) -> Result<OwnedFd> {
        let single = SingleThread::claim().during("count", "threads")?;
        let pipe = || pipe2(OFlag::O_CLOEXEC).during("make", "a pipe");
        let ((told, tell), (wait, held)) = (pipe()?, pipe()?);
        let side = clone3(single, libc::CLONE_NEWUSER, None).during("clone", "a process for a user namespace")?;
        let Side::Parent { pidfd, .. } = side else {
            drop(held);
            stay(tell, wait);
        };
        drop((tell, wait));
        let opened = self.open(told);
        // Both cannot fail: it is our child, and not reaped.
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
        drop(held);
        opened
    }

    /// Gives a waiting process' namespace its users, and opens it.
    fn open(&self, told: OwnedFd) -> Result<OwnedFd> {
        let mut pid = String::new();
        File::from(told)
            .read_to_string(&mut pid)
            .during("read from", "a process")?;
        self.write(&pid)?;
        let path = Path::new("/proc").join(&pid).join("ns/user");
        Ok(File::open(&path).during("open", path.display())?.into())
    }
}

/// Users and groups in the form `uids=0-1000-10#10-2000-5;gids=0-1000-10`: the first one on the file system, the first one
/// it is seen as, and how many; behind an `@` it is seen as one of `container`'s. From crun(1), "idmap mount options".
#[must_use]
pub fn parse(text: &str, container: Mappings<'_>) -> Option<(Vec<LinuxIdMapping>, Vec<LinuxIdMapping>)> {
    let (mut uids, mut gids) = (None, None);
    for part in text.split(';') {
        let (name, ranges) = part.split_once('=')?;
        let (all, own) = match name {
            "uids" => (&mut uids, container.uids),
            "gids" => (&mut gids, container.gids),
            _ => return None,
        };
        *all = Some(
            ranges
                .split('#')
                .map(|text| range(text, own))
                .collect::<Option<Vec<_>>>()?,
        );
    }
    uids.zip(gids)
}

fn range(text: &str, own: &[LinuxIdMapping]) -> Option<LinuxIdMapping> {
    let mut numbers = text
        .strip_prefix('@')
        .unwrap_or(text)
        .split('-')
        .map(|n| n.parse::<u32>().ok());
    let (first, seen_as, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let seen_as = if text.starts_with('@') {
        Mappings::outside(own, seen_as)?
    } else {
        seen_as
    };
    let range = LinuxIdMappingBuilder::default()
        .container_id(first)
        .host_id(seen_as)
        .size(size);
    range.build().ok().filter(|_| numbers.next().is_none())
}

/// The process that holds a user namespace: tells who it is in the machine's procfs, which may know other numbers than
/// its maker does, and waits for its end.
fn stay(tell: OwnedFd, wait: OwnedFd) -> ! {
    let pid = std::fs::read_link("/proc/self").unwrap_or_default();
    // Whoever does not hear it says what is wrong.
    let _ = File::from(tell).write_all(pid.as_os_str().as_encoded_bytes());
    let _ = File::from(wait).read(&mut [0]);
    exit_now(0)
}

/// Becomes root of the user namespace that the process is in, or whoever comes first there; in no additional group, or
/// in those it is in.
///
/// # Errors
/// There is nobody.
pub fn become_root(mappings: Option<Mappings<'_>>, keeps_groups: bool) -> Result<()> {
    let first = |mappings: &[LinuxIdMapping]| match mappings {
        [] => 0,
        all if all.iter().any(|m| m.container_id() == 0) => 0,
        [first, ..] => first.container_id(),
    };
    let (uid, gid) = mappings.map_or((0, 0), |m| (first(m.uids), first(m.gids)));
    if !keeps_groups {
        // Refused where nobody's groups may be dropped: user_namespaces(7).
        let _ = setgroups(&[]);
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let refused = |error: nix::errno::Errno| match error {
        nix::errno::Errno::EINVAL => Error::Invalid("the user namespace has no user to begin with".to_owned()),
        error => Error::System {
            operation: "become",
            object: "root of the user namespace".to_owned(),
            source: error.into(),
        },
    };
    setresgid(gid, gid, gid).map_err(refused)?;
    setresuid(uid, uid, uid).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_on_the_other_side() {
        let mappings: Vec<LinuxIdMapping> = serde_json::from_str(
            r#"[{"containerID":0,"hostID":1000,"size":1},{"containerID":1,"hostID":100000,"size":65535}]"#,
        )
        .unwrap();
        assert_eq!(Mappings::outside(&mappings, 0), Some(1000));
        assert_eq!(Mappings::outside(&mappings, 33), Some(100_032));
        assert_eq!(Mappings::outside(&mappings, 65536), None);
    }

    #[test]
    fn mappings_in_words() {
        let own: Vec<LinuxIdMapping> =
            serde_json::from_str(r#"[{"containerID":0,"hostID":0,"size":1},{"containerID":1,"hostID":2,"size":1000}]"#)
                .unwrap();
        let container = Mappings { uids: &own, gids: &[] };
        let numbers = |all: &[LinuxIdMapping]| -> Vec<[u32; 3]> {
            all.iter().map(|m| [m.container_id(), m.host_id(), m.size()]).collect()
        };
        let (uids, gids) = parse("uids=0-1-10#10-11-10;gids=0-100-10", container).unwrap();
        assert_eq!(numbers(&uids), [[0, 1, 10], [10, 11, 10]]);
        assert_eq!(numbers(&gids), [[0, 100, 10]]);
        let (uids, _) = parse("uids=@1-3-10;gids=0-0-1", container).unwrap();
        assert_eq!(numbers(&uids), [[1, 4, 10]]);
        for bad in [
            "",
            "uids=0-1-10",
            "uids=0-1;gids=0-0-1",
            "uids=0-1-2-3;gids=0-0-1",
            "uids=a-1-2;gids=0-0-1",
            "x=0-1-2",
            "uids=0-0-1;gids=@0-5-1",
        ] {
            assert!(parse(bad, container).is_none(), "{bad}");
        }
    }
}
