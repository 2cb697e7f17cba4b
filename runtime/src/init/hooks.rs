//! Programs that are executed on the way: OCI runtime specification, "POSIX-platform Hooks".

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Serialize;

use crate::document::{Hook, OCI_VERSION};
use crate::error::{During, Error, Result};
use crate::sys::process::pidfd_open;

/// A container as hooks are told of it on their standard input: the state of the OCI runtime specification.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told<'a> {
    oci_version: &'static str,
    id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> Told<'a> {
    /// A container that is being created.
    #[must_use]
    pub fn new(id: &'a str, bundle: &'a Path, annotations: &'a BTreeMap<String, String>) -> Self {
        Self {
            oci_version: OCI_VERSION,
            id,
            status: "creating",
            pid: None,
            bundle,
            annotations,
        }
    }

    /// The same with its status, and its first process as who is told sees it.
    #[must_use]
    pub fn at(&self, status: &'static str, pid: Option<i32>) -> Self {
        Self {
            status,
            pid,
            ..self.clone()
        }
    }

    /// The first process, if it was said.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> &'a Path {
        self.bundle
    }
}

/// Where hooks are executed, and with which environment if they have none of their own.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The working directory.
    pub directory: &'a Path,
    /// `NAME=VALUE`; the caller's if absent.
    pub environment: Option<&'a [String]>,
}

/// Executes hooks in their order.
///
/// # Errors
/// The first one that failed, took too long, or could not be executed; those after it are not.
pub fn run(kind: &str, hooks: &[Hook], told: &Told<'_>, place: Place<'_>) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = crate::records::to_json(told);
    hooks.iter().try_for_each(|hook| {
        execute(hook, &state, place)
            .map_err(|why| Error::Hook(format!("the {kind} hook {} failed: {why}", hook.path.display())))
    })
}

/// Executes one; why it failed in words.
fn execute(hook: &Hook, state: &[u8], place: Place<'_>) -> Result<(), String> {
    let words = |error: Error| crate::error::chain(&error);
    // Files, not pipes: a hook need not read what it is told, and what it leaves running may go on writing.
    let mut input = memory_file(c"hook-state").map_err(words)?;
    let mut output = memory_file(c"hook-output").map_err(words)?;
    input
        .write_all(state)
        .and_then(|()| input.seek(SeekFrom::Start(0)))
        .during("write", "the state")
        .map_err(words)?;
    let copy = || output.try_clone().during("copy", "a descriptor").map_err(words);
    let mut command = Command::new(&hook.path);
    command.stdin(input).stdout(copy()?).stderr(copy()?);
    if let Some((name, rest)) = hook.args.as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(rest);
    }
    if let Some(environment) = hook.env.as_deref().or(place.environment) {
        command.env_clear();
        command.envs(environment.iter().filter_map(|variable| variable.split_once('=')));
    }
    command.current_dir(place.directory);
    let mut child = command.spawn().during("execute", hook.path.display()).map_err(words)?;
    let status = wait(&mut child, hook.timeout)?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    // What it said is for the message only.
    let _ = output
        .seek(SeekFrom::Start(0))
        .and_then(|_| output.take(1024).read_to_string(&mut said));
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    Err(if said.is_empty() { how } else { format!("{how}: {said}") })
}

fn memory_file(name: &std::ffi::CStr) -> Result<File> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC).during("make", "a memory file")?;
    Ok(file.into())
}

/// Waits for the end; one that takes longer than `seconds` is killed.
fn wait(child: &mut Child, seconds: Option<i64>) -> Result<ExitStatus, String> {
    let words = |error: std::io::Error| error.to_string();
    let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) else {
        return child.wait().map_err(words);
    };
    let pid = i32::try_from(child.id()).unwrap_or(0);
    // Not reaped yet, it is this very process.
    let ended = pidfd_open(pid).map_err(words)?;
    let timeout = PollTimeout::try_from(Duration::from_secs(seconds)).unwrap_or(PollTimeout::MAX);
    let ready = loop {
        match poll(&mut [PollFd::new(ended.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            other => break other.map_err(|error| error.to_string())?,
        }
    };
    if ready == 0 {
        // Both cannot fail: it is our child, and not reaped.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("it took longer than {seconds} s"));
    }
    child.wait().map_err(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<i64>) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: Some(vec!["hook".to_owned(), "-c".to_owned(), script.to_owned()]),
            env: None,
            timeout,
        }
    }

    fn run_one(hook: Hook) -> Result<()> {
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let told = Told::new("c1", Path::new("/bundle"), &annotations).at("creating", Some(7));
        let place = Place {
            directory: Path::new("/tmp"),
            environment: Some(&[]),
        };
        run("prestart", &[hook], &told, place)
    }

    #[test]
    fn a_hook_gets_the_state() {
        let expected = r#"{"ociVersion":"1.3.0","id":"c1","status":"creating","pid":7,"bundle":"/bundle","annotations":{"a":"b"}}"#;
        run_one(hook(
            &format!("[ \"$(cat)\" = '{expected}' ] && [ \"$0 $PWD $HOME\" = 'hook /tmp ' ]"),
            None,
        ))
        .unwrap();
    }

    #[test]
    fn a_hook_that_fails_is_named() {
        let error = run_one(hook("echo no >&2; exit 3", Some(30))).unwrap_err().to_string();
        assert_eq!(error, "the prestart hook /bin/sh failed: exit code 3: no");
        let error = run_one(hook("exec sleep 100", Some(1))).unwrap_err().to_string();
        assert!(error.ends_with("it took longer than 1 s"), "{error}");
        let missing = Hook {
            path: "/no/such".into(),
            args: None,
            env: None,
            timeout: None,
        };
        assert!(
            run_one(missing)
                .unwrap_err()
                .to_string()
                .contains("no such file or directory")
        );
    }
}
