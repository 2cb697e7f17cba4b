//! One agent per node: an advisory lock on `run/agent.lock` that the kernel releases when the process ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Holds the lock for as long as it lives.
#[derive(Debug)]
pub struct AgentLock(#[expect(dead_code, reason = "held for its lock")] Flock<File>);

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock file could not be opened.
    #[error("open lock file {path}")]
    Open {
        /// The lock file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent holds it.
    #[error(
        "another agent{pid} already runs on this node (it holds {path}); stop it first, or give this one directories of its own"
    )]
    Held {
        /// The lock file.
        path: String,
        /// ` (pid N)` when the holder wrote it down.
        pid: String,
    },
    /// The kernel refused the lock.
    #[error("lock {path}")]
    Lock {
        /// The lock file.
        path: String,
        /// Why.
        source: Errno,
    },
}

/// Takes the lock, and writes this process's id into it for whoever is refused next.
pub fn acquire(run_dir: &Path) -> Result<AgentLock, Error> {
    let path = run_dir.join("agent.lock");
    let shown = path.display().to_string();
    let open = |source| Error::Open {
        path: shown.clone(),
        source,
    };
    std::fs::create_dir_all(run_dir).map_err(open)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(open)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let write = |lock: &mut Flock<File>| -> std::io::Result<()> {
                lock.set_len(0)?;
                lock.rewind()?;
                lock.write_all(std::process::id().to_string().as_bytes())
            };
            write(&mut lock).map_err(open)?;
            Ok(AgentLock(lock))
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let pid = match file.read_to_string(&mut pid) {
                Ok(_) if !pid.trim().is_empty() => format!(" (pid {})", pid.trim()),
                _ => String::new(),
            };
            Err(Error::Held { path: shown, pid })
        }
        Err((_, source)) => Err(Error::Lock { path: shown, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_told_who_has_it() {
        let dir = crate::files::scratch("lock");
        let first = acquire(dir.path()).unwrap();
        let error = acquire(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(first);
        acquire(dir.path()).unwrap();
    }
}
