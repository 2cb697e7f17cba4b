//! What a process that is being made into a container, and its maker, say to each other.
//!
//! ```text
//! maker                                child
//!   │ ────── mapped ────────────────────►│  its user namespace has users, if it has one of its own
//!   │ ────── limited ───────────────────►│  its cgroups are there, with their limits
//!   │ ◄───── Terminal + descriptor ──────│  if it has a terminal
//!   │ ◄───── Hooks ──────────────────────│  everything is made but the root not changed: if there are hooks for that
//!   │ ────── go on ─────────────────────►│
//!   │ ◄───── Ready ──────────────────────│  everything is made
//!   │ ────── start ─────────────────────►│  unless told to go on at once
//!   │ ◄───── Notifications + descriptor ─│  if its filter notifies somebody; before Ready where a command starts it,
//!   │ ────── go on ─────────────────────►│  unless hooks of the start come in between
//!   │ ────── refuse(why) ───────────────►│  instead of going on
//!   │ ◄───── Executing ──────────────────│  if the maker is no parent, who would find the process as it was when it ended
//!   │ ◄───── end of file ────────────────│  executed: the socket is close-on-exec; or dead, see `has_executed`
//!   │ ◄───── Failed(why) ────────────────│  at any moment instead
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};
use std::os::fd::AsRawFd;

use crate::error::{During, Error, Result};
use crate::protocol::{Failure, Reason};
use crate::sys::socket::{accept_waiting, receive, send};

/// What the child says.
#[derive(Debug)]
pub enum Message {
    /// Made; waits to be started.
    Ready,
    /// The master of its terminal.
    Terminal(OwnedFd),
    /// Everything is made; before the root is changed hooks are to be executed, and the child waits for that.
    Hooks,
    /// Where its filter's notifications come from; the child waits until somebody has it.
    Notifications(OwnedFd),
    /// The next thing is the execution of its program.
    Executing,
    /// It could not be done.
    Failed(Failure),
    /// No more messages: the program was executed, or the process died.
    Closed,
}

/// The longest packet to a child.
const LONGEST: usize = 4096;

/// The child's end.
#[derive(Debug)]
pub struct Child {
    socket: OwnedFd,
    /// Connected to whoever starts the process, who is no parent of it.
    to_stranger: bool,
}

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
    let child = Child {
        socket: child,
        to_stranger: false,
    };
    Ok((Maker(maker), child))
}

impl Child {
    /// Says that everything is made, and waits for the start. The maker's death ends the process.
    ///
    /// # Errors
    /// The maker is gone.
    pub fn wait_for_start(&self) -> Result<()> {
        send(&self.socket, b"R", &[]).during("write to", "the monitor")?;
        self.wait_for(b'S')
    }

    /// Says that everything is made, and waits for whoever starts it. What is said from then on goes there; the maker may
    /// be gone.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn wait_for_connection(&mut self, listener: &OwnedFd) -> Result<()> {
        send(&self.socket, b"R", &[]).during("write to", "the maker")?;
        self.socket = accept_waiting(listener).during("accept", "the start")?;
        self.to_stranger = true;
        Ok(())
    }

    /// Waits until the cgroups are there, which the maker makes while the child does other things.
    ///
    /// # Errors
    /// The maker is gone.
    pub fn wait_for_cgroup(&self) -> Result<()> {
        self.wait_for(b'C')
    }

    /// Waits until the maker has given the user namespace its users.
    ///
    /// # Errors
    /// The maker is gone.
    pub fn wait_for_mapping(&self) -> Result<()> {
        self.wait_for(b'M')
    }

    /// Lets the maker execute hooks, and waits for that.
    ///
    /// # Errors
    /// The maker is gone, as it is when a hook fails.
    pub fn hooks(&self) -> Result<()> {
        send(&self.socket, b"H", &[]).during("write to", "the maker")?;
        self.wait_for(b'G')
    }

    /// Hands the descriptor of a filter's notifications over, and waits until somebody has it. The filter is in place
    /// already: nothing but `sendmsg`, `recvfrom` and, for a start that comes later, `accept4` has to be allowed, so the
    /// descriptor is left to the execution to be closed.
    ///
    /// # Errors
    /// The maker is gone, as it is when nobody takes the descriptor.
    pub fn notifications(&self, listener: OwnedFd) -> Result<()> {
        send(&self.socket, b"N", &[listener.as_fd()]).during("write to", "the maker")?;
        std::mem::forget(listener);
        self.wait_for(b'G')
    }

    fn wait_for(&self, message: u8) -> Result<()> {
        let mut packet = [0; LONGEST];
        loop {
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(1) if packet[0] == message => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Ok(length) if length > 1 && packet[0] == b'X' => {
                    let failure = serde_json::from_slice(&packet[1..length]);
                    return Err(failure.map_or_else(|_| Error::State("the maker refuses".to_owned()), Error::Remote));
                }
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
        send(&self.socket, b"T", &[master]).during("send the terminal to", "the monitor")
    }

    /// Says that the program is executed now, to whoever could not find out: the process may have ended, and have been
    /// reaped by its parent, before anybody else looks at it.
    pub fn executing(&self) {
        if self.to_stranger {
            // Whoever is gone does not want to know.
            let _ = send(&self.socket, b"E", &[]);
        }
    }

    /// Says why it cannot be done. Nobody is left to tell when this fails.
    pub fn failed(&self, error: &Error) {
        let failure = serde_json::to_vec(&Failure::from(error)).unwrap_or_default();
        let _ = send(&self.socket, &[b"F", failure.as_slice()].concat(), &[]);
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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

    /// Tells a child that its user namespace has users.
    ///
    /// # Errors
    /// The child is gone.
    pub fn mapped(&self) -> io::Result<()> {
        send(&self.0, b"M", &[])
    }

    /// Tells a child that what it waits for is done.
    ///
    /// # Errors
    /// The child is gone.
    pub fn go_on(&self) -> io::Result<()> {
        send(&self.0, b"G", &[])
    }

    /// Tells a child that what it waits for cannot be done.
    ///
    /// # Errors
    /// The child is gone.
    pub fn refuse(&self, error: &Error) -> io::Result<()> {
        let mut failure = Failure::from(error);
        // What one packet holds whatever is in it.
        failure.message = failure.message.chars().take(LONGEST / 8).collect();
        let text = serde_json::to_vec(&failure).map_err(io::Error::other)?;
        send(&self.0, &[b"X", text.as_slice()].concat(), &[])
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
            (Some((b'E', _)), _) => Message::Executing,
            (Some((b'T', _)), Some(master)) => Message::Terminal(master),
            (Some((b'H', _)), _) => Message::Hooks,
            (Some((b'N', _)), Some(listener)) => Message::Notifications(listener),
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
