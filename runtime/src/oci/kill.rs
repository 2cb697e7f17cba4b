//! `kill`.

use std::os::fd::AsFd;
use std::str::FromStr;

use nix::sys::signal::Signal;

use super::arguments::{Arguments, Order};
use super::global::Global;
use super::state::{Directory, Status, Stored};
use crate::cgroup;
use crate::error::{During, Error, Result};
use crate::sys::process::pidfd_send_signal;

/// Sends a signal to the first process, or to all.
pub fn kill(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &[("all", Some('a'), false)], Order::Anywhere)?;
    let positional = given.positional();
    let (id, signal) = match positional.as_slice() {
        [id] => (id, libc::SIGTERM),
        [id, signal] => (id, number(signal)?),
        _ => {
            return Err(Error::Invalid(
                "a container's id and perhaps a signal are needed".to_owned(),
            ));
        }
    };
    let directory = Directory::new(global, id)?;
    let stored = directory.read()?;
    if given.has("all") {
        return all(&stored, signal).map(|()| 0);
    }
    let Some((process, _)) = stored.process() else {
        return Err(not_running(&directory, &stored));
    };
    match pidfd_send_signal(process.as_fd(), signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(not_running(&directory, &stored)),
        other => other.during("signal", id)?,
    }
    if signal == libc::SIGKILL {
        if !stored.pid_namespace {
            // Nothing else ends with the first process.
            all(&stored, signal)?;
        } else if cgroup::is_frozen(&stored.tracker) {
            // A v1 freezer keeps even the dead; v2 lets them go by itself.
            cgroup::thaw(&stored.tracker)?;
        }
    }
    Ok(0)
}

/// Signals every process there is. That there is none is fine.
fn all(stored: &Stored, signal: i32) -> Result<()> {
    let dir = &stored.tracker;
    if signal == libc::SIGKILL {
        cgroup::kill(dir).during("kill the processes of", dir.display())
    } else {
        cgroup::signal(dir, signal).during("signal the processes of", dir.display())
    }
}

/// In words that engines look for.
fn not_running(directory: &Directory, stored: &Stored) -> Error {
    let status = match directory.status(stored) {
        Status::Creating => Status::Creating,
        _ => Status::Stopped,
    };
    Error::State(format!("container not running: {} is {status}", stored.id))
}

/// A signal's number, by number, `TERM`, `SIGTERM` or `RTMIN+3`.
fn number(text: &str) -> Result<i32> {
    let unknown = || Error::Invalid(format!("there is no signal {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RT") {
        return real_time(offset).ok_or_else(unknown);
    }
    Signal::from_str(&format!("SIG{name}"))
        .map(|signal| signal as i32)
        .map_err(|_| unknown())
}

/// `MIN`, `MIN+3`, `MAX-2`: the C library keeps the two below for itself.
fn real_time(text: &str) -> Option<i32> {
    const MIN: i32 = 34;
    const MAX: i32 = 64;
    let (base, offset) = match (text.strip_prefix("MIN"), text.strip_prefix("MAX")) {
        (Some(offset), _) => (MIN, offset),
        (_, Some(offset)) => (MAX, offset),
        _ => return None,
    };
    let offset = if offset.is_empty() {
        0
    } else {
        offset.parse::<i32>().ok()?
    };
    let number = base.checked_add(offset)?;
    (MIN..=MAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for name in ["9", "KILL", "SIGKILL", "kill"] {
            assert_eq!(number(name).unwrap(), 9);
        }
        assert_eq!(number("SIGRTMIN+3").unwrap(), 37);
        assert_eq!(number("rtmax").unwrap(), 64);
        assert_eq!(number("0").unwrap(), 0);
        for name in ["NOTHING", "65", "-1", "RTMIN-1", "RT", ""] {
            assert!(number(name).is_err(), "{name}");
        }
    }
}
