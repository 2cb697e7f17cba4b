//! Starting and ending the long-running parts, `control` and `agent`, in the background.
//!
//! A daemon holds a lock on its pid file while it lives, so that the file alone tells whether the process id in it is
//! still the daemon's. It prints one line on standard output when it is ready, and keeps standard error as its log.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

use crate::sys;

const READY: &str = "ready";
/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_millis(200);

/// Starts `command` in the background unless it already runs, and returns once it is ready.
pub fn start(name: &str, command: &mut Command, pid_file: &Path, log: &Path) -> Result<Started> {
    while let Some(pid) = running(pid_file)? {
        // A process that was killed holds its lock until the kernel has taken it down: it is given that moment.
        match sys::pidfd_open(Pid::from_raw(pid)) {
            Ok(pidfd) if !sys::wait_readable(pidfd.as_fd(), DEATH).context("wait")? => {
                return Ok(Started::Already(pid));
            }
            _ => {}
        }
    }
    let log_file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    let from = log_file.metadata().map(|m| m.len()).unwrap_or(0);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("the child's output was asked for")?;
    BufReader::new(stdout)
        .read_line(&mut line)
        .with_context(|| format!("wait for {name}"))?;
    if line.trim_end() != READY {
        let status = child.wait().with_context(|| format!("wait for {name}"))?;
        bail!(
            "{name} did not start ({status}); its log {} ends with:\n{}",
            log.display(),
            tail(log, from)
        );
    }
    Ok(Started::New(i32::try_from(child.id()).unwrap_or_default()))
}

/// What [`start`] found or did.
#[derive(Debug, Clone, Copy)]
pub enum Started {
    /// It ran before.
    Already(i32),
    /// It runs now.
    New(i32),
}

/// What was written to `log` since `from`, without escape sequences of colours, at most the last twelve lines.
fn tail(log: &Path, from: u64) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(log) {
        let _ = file.seek(SeekFrom::Start(from));
        let _ = file.read_to_string(&mut text);
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// The process id of the daemon, if it lives.
pub fn running(pid_file: &Path) -> Result<Option<i32>> {
    let file = match File::open(pid_file) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("open {}", pid_file.display())),
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_unlocked_again) => Ok(None),
        Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            (&file)
                .read_to_string(&mut text)
                .with_context(|| format!("read {}", pid_file.display()))?;
            text.trim()
                .parse()
                .map(Some)
                .with_context(|| format!("process id in {}", pid_file.display()))
        }
        Err((_, e)) => Err(e).with_context(|| format!("lock {}", pid_file.display())),
    }
}

/// A daemon's own side: it is the only one while this value lives.
#[derive(Debug)]
pub struct Running {
    _lock: Flock<File>,
}

impl Running {
    /// Takes the pid file, or says who has it.
    pub fn take(name: &str, pid_file: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(pid_file)
            .with_context(|| format!("open {}", pid_file.display()))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                bail!(
                    "another {name} (process {}) holds {}: stop it first, or give this one a --run-dir and --state-dir of its own",
                    pid.trim(),
                    pid_file.display()
                );
            }
            Err((_, e)) => return Err(e).with_context(|| format!("lock {}", pid_file.display())),
        };
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Running { _lock: lock })
    }

    /// Tells whoever started this daemon, and lets go of its standard output.
    pub fn ready() -> Result<()> {
        println!("{READY}");
        std::io::stdout().flush()?;
        sys::stdout_to_null().context("close standard output")
    }
}

/// Ends the daemon: first politely, after `grace` by force. Returns when it is gone.
pub fn stop(pid_file: &Path, grace: Duration) -> Result<bool> {
    let Some(pid) = running(pid_file)? else {
        return Ok(false);
    };
    // The pidfd is opened while the lock proves whose number it is; it is checked again so that a number that was
    // recycled in between is never hit.
    let Ok(pidfd) = sys::pidfd_open(Pid::from_raw(pid)) else {
        return Ok(false);
    };
    if running(pid_file)? != Some(pid) {
        return Ok(false);
    }
    if !ended(&pidfd, libc::SIGTERM, grace)? && !ended(&pidfd, libc::SIGKILL, Duration::from_secs(10))? {
        bail!("process {pid} does not end, even killed: it hangs in the kernel (see /proc/{pid}/stack)");
    }
    let _ = fs::remove_file(pid_file);
    Ok(true)
}

fn ended(pidfd: &OwnedFd, signal: i32, within: Duration) -> Result<bool> {
    sys::pidfd_send_signal(pidfd.as_fd(), signal).context("signal")?;
    sys::wait_readable(pidfd.as_fd(), within).context("wait")
}
