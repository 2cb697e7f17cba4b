//! What is written down of a sandbox, so that it can be found, adopted or cleaned after any crash.
//!
//! ```text
//! DIR/record.json                  the sandbox, written before anything is made in the kernel, again when it is ready
//! DIR/monitor.sock                 where its monitor listens
//! DIR/monitor.log                  what the monitor could tell nobody
//! DIR/containers/ID.json           what is known of a container, at each change
//! ```
//!
//! Files are replaced by renaming. They are not synced: after a power cut nothing of what they describe exists.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use serde::Serialize;

use crate::cgroup::{self, Cgroup, Layout};
use crate::error::{During, Error, Result};
use crate::procfs::Stat;
use crate::protocol::{ContainerState, SandboxState};
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use crate::{broken, fault};

/// The sandbox's record.
pub const RECORD: &str = "record.json";
/// The next record, while it is written.
const UNFINISHED: &str = "record.json.new";
/// The monitor's socket.
pub const SOCKET: &str = "monitor.sock";
/// The monitor's own log.
pub const LOG: &str = "monitor.log";
/// The directory of the containers' records.
pub const CONTAINERS: &str = "containers";

/// How long what was killed may take to be gone.
const DEATH: Duration = Duration::from_secs(10);
/// The same for `poll`.
const DEATH_MS: u16 = 10_000;

/// A sandbox as its records and the kernel tell it.
#[derive(Debug, Clone, Serialize)]
pub struct SandboxRecord {
    /// The directory of its records.
    pub dir: PathBuf,
    /// What was written down; of the containers, what their own records say.
    pub state: SandboxState,
    /// The monitor runs.
    pub monitor_alive: bool,
    /// pause runs.
    pub pause_alive: bool,
    /// The processes of each container that the kernel knows, in the caller's PID namespace.
    pub pids: BTreeMap<String, Vec<i32>>,
}

/// Reads every record below `run_dir` (itself, its children, and the children of its `pods`), sorted by name. What
/// cannot be read is left out.
#[must_use]
pub fn list(run_dir: &Path) -> Vec<SandboxRecord> {
    let children = |dir: PathBuf| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let mut dirs = vec![run_dir.to_owned()];
    dirs.extend(children(run_dir.to_owned()));
    dirs.extend(children(run_dir.join("pods")));
    let mut records: Vec<_> = dirs.iter().filter_map(|dir| load(dir).ok()).collect();
    records.sort_by(|a, b| (&a.state.config.name, &a.state.config.id).cmp(&(&b.state.config.name, &b.state.config.id)));
    records
}

/// Reads the record in one directory and asks the kernel what is left of it.
///
/// # Errors
/// There is no record, or it cannot be read.
pub fn load(dir: &Path) -> Result<SandboxRecord> {
    let path = dir.join(RECORD);
    let text = fs::read(&path).during("read", path.display())?;
    let mut state: SandboxState = serde_json::from_slice(&text).map_err(|source| Error::Document {
        object: path.display().to_string(),
        source,
    })?;
    state.containers = containers(dir);
    let layout = Layout::detect()?;
    let keeper = Cgroup::new(&layout, &keeper(&state)).tracker();
    // Nobody else is in there, so the record need not be written again when pause has its process id.
    state.pause_pid = cgroup::procs(&keeper).unwrap_or_default().first().copied();
    let monitor_alive = monitor(&state).is_some();
    let pause_alive = state.pause_pid.is_some();
    let pids = state
        .containers
        .iter()
        .map(|container| {
            let dir = Cgroup::new(&layout, &container.cgroup).tracker();
            (container.id.clone(), cgroup::procs(&dir).unwrap_or_default())
        })
        .collect();
    Ok(SandboxRecord {
        dir: dir.to_owned(),
        state,
        monitor_alive,
        pause_alive,
        pids,
    })
}

/// The cgroup of a sandbox's pause.
fn keeper(state: &SandboxState) -> PathBuf {
    cgroup::keeper(state.made_for.as_ref().unwrap_or(&state.config.cgroup))
}

/// The monitor of a record, if that very process still runs.
fn monitor(state: &SandboxState) -> Option<OwnedFd> {
    let pid = (state.monitor_pid > 0).then_some(state.monitor_pid)?;
    let pidfd = pidfd_open(pid).ok()?;
    // Looked at after the descriptor was taken: it cannot have become another process in between.
    (start_ticks(pid) == Some(state.monitor_start_ticks)).then_some(pidfd)
}

/// When a process started, in clock ticks since the machine's start. `None` for one that is about to die, or dead and only
/// not reaped yet.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    Stat::of(pid)
        .filter(|stat| !stat.is_ending())
        .map(|stat| stat.start_ticks)
}

/// The containers' records in a sandbox's directory, oldest first.
fn containers(dir: &Path) -> Vec<ContainerState> {
    let mut states: Vec<ContainerState> = fs::read_dir(dir.join(CONTAINERS))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
        .collect();
    states.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    states
}

/// Kills what is left of a sandbox, its monitor included, and removes its cgroups and files, as far as possible; the
/// directory itself is its maker's. Runs every step whatever fails, and may be run again.
#[must_use]
pub fn cleanup(record: &SandboxRecord) -> Vec<Error> {
    match Layout::detect() {
        Ok(layout) => {
            if let Some(monitor) = monitor(&record.state) {
                // Already gone is what is wanted; the wait is over when it is.
                let _ = pidfd_send_signal(monitor.as_fd(), libc::SIGKILL);
                let _ = poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], DEATH_MS);
            }
            fault::point("cleanup.monitor-killed");
            let mut errors = remove_kernel(&layout, &record.state);
            fault::point("cleanup.cgroups-removed");
            if errors.is_empty() {
                errors = remove_files(&record.dir);
            }
            errors
        }
        Err(error) => vec![error],
    }
}

/// Kills everything in a pod's cgroup and its keeper's, and removes both.
#[must_use]
pub fn remove_kernel(layout: &Layout, state: &SandboxState) -> Vec<Error> {
    let mut errors = Vec::new();
    let keeper = Cgroup::new(layout, &keeper(state));
    let pod = Cgroup::new(layout, &state.config.cgroup);
    for cgroup in [&keeper, &pod] {
        let dir = cgroup.tracker();
        errors.extend(cgroup::kill(&dir).during("kill the processes of", dir.display()).err());
    }
    for cgroup in [&keeper, &pod] {
        let dir = cgroup.tracker();
        if !cgroup::wait_empty(&dir, DEATH) {
            errors.push(Error::State(format!("processes in {} do not die", dir.display())));
        }
    }
    if errors.is_empty() {
        errors = remove_patiently(|| keeper.remove_tracker().err().into_iter().collect());
        errors.extend(remove_patiently(|| pod.remove()));
    }
    errors
}

/// A v1 directory is busy for a moment after its last process has died.
pub(crate) fn remove_patiently(remove: impl Fn() -> Vec<Error>) -> Vec<Error> {
    for _ in 0..200 {
        let errors = remove();
        if !errors.iter().any(|error| error.errno() == Some(libc::EBUSY)) {
            return errors;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    remove()
}

/// Removes the files of a sandbox, the record last: as long as it is there, the rest will be looked for.
#[must_use]
pub fn remove_files(dir: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let containers = dir.join(CONTAINERS);
    let mut step = |operation, path: &Path, result: io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            errors.push(Error::System {
                operation,
                object: path.display().to_string(),
                source: error,
            });
        }
        _ => {}
    };
    step("remove", &containers, fs::remove_dir_all(&containers));
    fault::point("cleanup.containers-forgotten");
    // A monitor may have died while it wrote its record once more.
    for file in [SOCKET, LOG, UNFINISHED, RECORD] {
        let path = dir.join(file);
        step("remove", &path, fs::remove_file(&path));
    }
    errors
}

/// Writes a sandbox's record into its directory.
///
/// # Errors
/// The file cannot be written.
pub fn write(dir: &Path, state: &SandboxState) -> Result<()> {
    replace(&dir.join(RECORD), &to_json(state))
}

/// Writes a container's record.
///
/// # Errors
/// The file cannot be written.
pub fn write_container(dir: &Path, state: &ContainerState) -> Result<()> {
    replace(&container_path(dir, &state.id), &to_json(state))
}

/// Forgets a container.
pub fn remove_container(dir: &Path, id: &str) {
    // Not there is what is wanted; a file that cannot be removed goes with the sandbox.
    let _ = fs::remove_file(container_path(dir, id));
}

fn container_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(CONTAINERS).join(format!("{id}.json"))
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have text keys and nothing that fails to serialise")
}

/// Replaces a file in one step.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    write_new(Path::new(&new), content)?;
    fs::rename(&new, path).during("rename to", path.display())
}

/// [`replace`] of a file that others may read.
pub(crate) fn replace_public(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(path, mode).during("change the mode of", path.display())
}

/// Writes a file. Records hold environments: nobody else may read them.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let open = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(if broken::lacks("records-of-ones-own") {
            0o666
        } else {
            0o600
        })
        .open(path);
    open.during("create", path.display())?
        .write_all(content)
        .during("write", path.display())
}

/// Makes the directory of the containers' records; there already is fine.
///
/// # Errors
/// It cannot be made.
pub fn make_containers(dir: &Path) -> Result<()> {
    let dir = dir.join(CONTAINERS);
    match fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error).during("make", dir.display()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Phase, SandboxConfig};

    fn temporary(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("barepodtest-records-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn sandbox(dir: &Path) -> SandboxState {
        SandboxState {
            made_for: None,
            config: SandboxConfig {
                id: "uid".to_owned(),
                name: "default/web".to_owned(),
                dir: dir.to_owned(),
                cgroup: PathBuf::from("/barepodtest-records/none"),
                ..SandboxConfig::default()
            },
            monitor_pid: 0,
            monitor_start_ticks: 0,
            pause_pid: None,
            created_at: String::new(),
            containers: Vec::new(),
        }
    }

    fn container(id: &str, created_at: &str) -> ContainerState {
        ContainerState {
            id: id.to_owned(),
            name: id.to_owned(),
            phase: Phase::Created,
            pid: None,
            cgroup: PathBuf::from("/barepodtest-records/none").join(id),
            log_path: PathBuf::new(),
            created_at: created_at.to_owned(),
            started_at: None,
            exit: None,
            log_dropped_bytes: 0,
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_dead_process_has_no_start() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let pidfd = pidfd_open(pid).unwrap();
        poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], DEATH_MS).unwrap();
        assert_eq!(start_ticks(pid), None, "a zombie");
        child.wait().unwrap();
        assert!(start_ticks(i32::try_from(std::process::id()).unwrap()).is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn records_are_found_and_forgotten() {
        let run = temporary("list");
        let dir = run.join("pods/uid");
        fs::create_dir_all(&dir).unwrap();
        make_containers(&dir).unwrap();
        write(&dir, &sandbox(&dir)).unwrap();
        write_container(&dir, &container("b", "1")).unwrap();
        write_container(&dir, &container("a", "2")).unwrap();
        let found = list(&run);
        assert_eq!(found.len(), 1);
        assert!(!found[0].monitor_alive && !found[0].pause_alive);
        let ids: Vec<_> = found[0].state.containers.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, ["b", "a"], "in the order they were made");
        remove_container(&dir, "b");
        assert_eq!(load(&dir).unwrap().state.containers.len(), 1);
        assert!(remove_files(&dir).is_empty());
        assert!(remove_files(&dir).is_empty(), "twice is as good as once");
        assert!(list(&run).is_empty());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir_all(&run).unwrap();
    }
}
