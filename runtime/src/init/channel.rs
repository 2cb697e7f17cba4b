//! What a process that is being made into a container, and its maker, say to each other.
//!
//! ```text
//! maker                                child
//!   │ ────── limited ───────────────────►│  its cgroups are there, with their limits
//!   │ ◄───── Terminal + descriptor ──────│  if it has a terminal
//!   │ ◄───── Ready ──────────────────────│  everything is made
//!   │ ────── start ─────────────────────►│  unless told to go on at once
//!   │ ◄───── end of file ────────────────│  executed: the socket is close-on-exec; or dead, see `has_executed`
//!   │ ◄───── Failed(why) ────────────────│  at any moment instead
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};
use std::os::fd::AsRawFd;

use crate::error::{During, Error, Result};
use crate::protocol::{Failure, Reason};
use crate::sys::socket::{accept, receive, send};

/// What the child says.
#[derive(Debug)]
pub enum Message {
    /// Made; waits to be started.
    Ready,
    /// The master of its terminal.
    Terminal(OwnedFd),
    /// It could not be done.
    Failed(Failure),
    /// No more messages: the program was executed, or the process died.
    Closed,
}

/// The child's end.
#[derive(Debug)]
pub struct Child(OwnedFd);

/// The maker's end.
#[derive(Debug)]
pub struct Maker(OwnedFd);

impl From<OwnedFd> for Maker {
    /// A connection to the socket a child waits at.
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

/// Makes both ends.
///
/// # Errors
/// No descriptor left.
pub fn pair() -> Result<(Maker, Child)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (maker, child) = pair.during("make", "a socket pair")?;
    Ok((Maker(maker), Child(child)))
}

impl Child {
    /// Says that everything is made, and waits for the start. The maker's death ends the process.
    ///
    /// # Errors
    /// The maker is gone.
    pub fn wait_for_start(&self) -> Result<()> {
        send(&self.0, b"R", &[]).during("write to", "the monitor")?;
        self.wait_for(b'S')
    }

    /// Says that everything is made, and waits for whoever starts it. What is said from then on goes there; the maker may
    /// be gone.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn wait_for_connection(&mut self, listener: &OwnedFd) -> Result<()> {
        send(&self.0, b"R", &[]).during("write to", "the maker")?;
        self.0 = accept(listener).during("accept", "the start")?;
        Ok(())
    }

    /// Waits until the cgroups are there, which the maker makes while the child does other things.
    ///
    /// # Errors
    /// The maker is gone.
    pub fn wait_for_cgroup(&self) -> Result<()> {
        self.wait_for(b'C')
    }

    fn wait_for(&self, message: u8) -> Result<()> {
        let mut byte = [0];
        loop {
            match recv(self.0.as_raw_fd(), &mut byte, MsgFlags::empty()) {
                Ok(1) if byte[0] == message => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Err(Error::State("the monitor is gone".to_owned())),
                Err(error) => return Err(error).during("read from", "the monitor"),
            }
        }
    }

    /// Hands the terminal over.
    ///
    /// # Errors
    /// The maker is gone.
    pub fn terminal(&self, master: BorrowedFd<'_>) -> Result<()> {
        send(&self.0, b"T", &[master]).during("send the terminal to", "the monitor")
    }

    /// Says why it cannot be done. Nobody is left to tell when this fails.
    pub fn failed(&self, error: &Error) {
        let failure = serde_json::to_vec(&Failure::from(error)).unwrap_or_default();
        let _ = send(&self.0, &[b"F", failure.as_slice()].concat(), &[]);
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Maker {
    /// Tells a child that its cgroups are there.
    ///
    /// # Errors
    /// The child is gone.
    pub fn limited(&self) -> io::Result<()> {
        send(&self.0, b"C", &[])
    }

    /// Starts a child that is ready.
    ///
    /// # Errors
    /// The child is gone.
    pub fn start(&self) -> io::Result<()> {
        send(&self.0, b"S", &[])
    }

    /// The next message; blocks until there is one.
    #[must_use]
    pub fn receive(&self) -> Message {
        let received = match receive(&self.0) {
            // Told once, before what the child said, when it ended without reading all that was sent to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => receive(&self.0),
            other => other,
        };
        let Ok(Some((packet, mut fds))) = received else {
            return Message::Closed;
        };
        match (packet.split_first(), fds.pop()) {
            (Some((b'R', _)), _) => Message::Ready,
            (Some((b'T', _)), Some(master)) => Message::Terminal(master),
            (Some((b'F', json)), _) => Message::Failed(serde_json::from_slice(json).unwrap_or_else(|error| Failure {
                reason: Reason::System,
                message: format!("unreadable failure: {error}"),
            })),
            _ => Message::Closed,
        }
    }
}

impl AsFd for Maker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_said_survives_its_end() {
        let (maker, child) = pair().unwrap();
        maker.limited().unwrap();
        child.failed(&Error::Invalid("no".to_owned()));
        drop(child);
        assert!(matches!(maker.receive(), Message::Failed(failure) if failure.message == "no"));
        assert!(matches!(maker.receive(), Message::Closed));
        assert!(maker.start().is_err());
    }

    #[test]
    fn a_child_waits_for_what_it_needs() {
        let (maker, child) = pair().unwrap();
        maker.limited().unwrap();
        maker.start().unwrap();
        child.wait_for_cgroup().unwrap();
        child.wait_for_start().unwrap();
        assert!(matches!(maker.receive(), Message::Ready));
        drop(maker);
        assert!(child.wait_for_cgroup().is_err(), "the maker is gone");
    }
}
