//! Limits of a kind a running container had none of.

use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::{Cgroup, Hierarchy, Mode, limits::wanted, procs, write};
use crate::error::{During, Error, Result};

/// How often processes made meanwhile are looked for.
const ROUNDS: usize = 100;

impl Cgroup<'_> {
    /// Makes the v1 directories that these limits need and the container did without so far, and takes its processes in.
    /// They have to be moved by pid here, which is slow: nobody else can move a process that is not asked.
    ///
    /// # Errors
    /// A directory cannot be made, or the kernel does not take a process.
    pub fn adopt(&self, resources: &LinuxResources) -> Result<()> {
        if self.layout.mode == Mode::V2 {
            return Ok(());
        }
        let missing = |h: &&Hierarchy| wanted(&h.controllers, Some(resources)) && !self.dir(h).exists();
        let missing: Vec<&Hierarchy> = self.layout.v1.iter().filter(missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.make(Some(resources), false)?;
        missing
            .into_iter()
            .try_for_each(|hierarchy| self.take_in(&self.dir(hierarchy)))
    }

    fn take_in(&self, dir: &Path) -> Result<()> {
        let tracker = self.tracker();
        for _ in 0..ROUNDS {
            let there = procs(dir).during("list the processes of", dir.display())?;
            let all = procs(&tracker).during("list the processes of", tracker.display())?;
            let mut absent = all.iter().filter(|pid| !there.contains(pid)).peekable();
            if absent.peek().is_none() {
                return Ok(());
            }
            for pid in absent {
                match write(dir, "cgroup.procs", pid.to_string()) {
                    // Ended meanwhile.
                    Err(error) if error.errno() == Some(libc::ESRCH) => {}
                    other => other?,
                }
            }
        }
        Err(Error::State(format!(
            "not all processes can be taken into {}",
            dir.display()
        )))
    }
}
