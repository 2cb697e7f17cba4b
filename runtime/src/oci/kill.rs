//! `kill`.

use std::os::fd::AsFd;
use std::str::FromStr;

use nix::sys::signal::Signal;

use super::Global;
use super::arguments::Arguments;
use super::state::Directory;
use crate::cgroup::{self, Cgroup, Layout};
use crate::error::{During, Error, Result};
use crate::sys::process::{pidfd_open, pidfd_send_signal};

/// Sends a signal to the first process, or to all.
pub fn kill(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &[("all", Some('a'), false)])?;
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
    let stored = Directory::new(global, id)?.read()?;
    if given.has("all") {
        let layout = Layout::detect()?;
        let tracker = Cgroup::new(&layout, &stored.cgroup).tracker();
        if signal == libc::SIGKILL {
            cgroup::kill(&tracker).during("kill the processes of", tracker.display())?;
            return Ok(0);
        }
        for pid in cgroup::procs(&tracker).during("list the processes of", tracker.display())? {
            // Whichever has ended meanwhile needs no signal.
            if let Ok(process) = pidfd_open(pid) {
                let _ = pidfd_send_signal(process.as_fd(), signal);
            }
        }
        return Ok(0);
    }
    let process = stored
        .process()
        .ok_or_else(|| Error::State(format!("container {id} is not running")))?;
    pidfd_send_signal(process.as_fd(), signal).during("signal", id)?;
    Ok(0)
}

/// A signal's number, by number, `TERM` or `SIGTERM`.
fn number(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return Ok(number);
    }
    let name = text.to_uppercase();
    let name = if name.starts_with("SIG") {
        name
    } else {
        format!("SIG{name}")
    };
    let signal = Signal::from_str(&name).map_err(|_| Error::Invalid(format!("there is no signal {text}")))?;
    Ok(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for name in ["9", "KILL", "SIGKILL", "kill"] {
            assert_eq!(number(name).unwrap(), 9);
        }
        assert!(number("NOTHING").is_err());
    }
}
