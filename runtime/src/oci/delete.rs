//! `delete`.

use std::time::Duration;

use super::Global;
use super::arguments::Arguments;
use super::create::PARENT;
use super::state::{Directory, Status};
use crate::cgroup::{self, Cgroup, Layout};
use crate::error::{During, Error, Result};
use crate::records;

/// How long what was killed may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// Removes a container that has ended, or any with `--force`.
pub fn delete(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &[("force", Some('f'), false)])?;
    let id = given.only("a container's id")?;
    let directory = Directory::new(global, &id)?;
    match directory.read() {
        Ok(stored) => {
            let status = stored.status();
            // One that was never started runs nothing of the user's: other runtimes remove it as well.
            if !given.has("force") && status == Status::Running {
                return Err(Error::State(format!(
                    "container {id} is running: stop it first, or use --force"
                )));
            }
        }
        Err(Error::NotFound(_)) if given.has("force") => {}
        Err(error) => return Err(error),
    }
    remove(&directory)?;
    Ok(0)
}

/// Kills what is left of a container and removes its cgroups and its directory.
pub fn remove(directory: &Directory) -> Result<()> {
    if let Ok(stored) = directory.read() {
        let layout = Layout::detect()?;
        let cgroup = Cgroup::new(&layout, &stored.cgroup);
        let tracker = cgroup.tracker();
        if cgroup::populated(&tracker) {
            cgroup::kill(&tracker).during("kill the processes of", tracker.display())?;
        }
        if !cgroup::wait_empty(&tracker, DEATH) {
            return Err(Error::State(format!("processes in {} do not die", tracker.display())));
        }
        records::remove_patiently(|| cgroup.remove())
            .into_iter()
            .next()
            .map_or(Ok(()), Err)?;
        if stored.cgroup.starts_with(PARENT) {
            cgroup.remove_empty_parent();
        }
    }
    directory.remove()
}
