//! Where a container's terminal goes: to a socket of the caller's, or through this process to the caller's own terminal.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};
use oci_spec::runtime::BoxBuilder;

use super::arguments::Arguments;
use crate::client::with_address;
use crate::document::Process;
use crate::error::{During, Error, Result};
use crate::sys::{socket::send, terminal};

/// Who gets the master.
#[derive(Debug)]
pub enum Receiver {
    /// The program has no terminal.
    Nobody,
    /// A socket of the caller's (`--console-socket`).
    Socket(OwnedFd),
    /// The caller's own terminal, as long as this process is in the foreground.
    Caller,
}

impl Receiver {
    /// Finds out from the options.
    ///
    /// # Errors
    /// A program in the background with a terminal nobody gets, or a socket for none.
    pub fn open(given: &Arguments, wanted: bool, foreground: bool) -> Result<Self> {
        match (given.value("console-socket").filter(|path| !path.is_empty()), wanted) {
            (Some(path), true) => Ok(Self::Socket(connect_to("the console socket", Path::new(path))?)),
            (None, true) if foreground => Ok(Self::Caller),
            (None, true) => Err(Error::Invalid(
                "a terminal is asked for (process.terminal) and nobody gets it: use --console-socket".to_owned(),
            )),
            (Some(_), false) => Err(Error::Invalid(
                "there is a --console-socket and no terminal is asked for (process.terminal)".to_owned(),
            )),
            (None, false) => Ok(Self::Nobody),
        }
    }

    /// Hands the master on, or back to the caller of this function.
    ///
    /// # Errors
    /// Nobody reads from the socket.
    pub fn deliver(&self, master: OwnedFd) -> Result<Option<OwnedFd>> {
        match self {
            Self::Nobody => Ok(None),
            Self::Caller => Ok(Some(master)),
            Self::Socket(socket) => {
                // The name is what the protocol of console sockets has in the packet.
                send(socket, b"/dev/ptmx", &[master.as_fd()]).during("send", "the terminal")?;
                Ok(None)
            }
        }
    }
}

/// Gives a program that is followed in the foreground the size of the caller's terminal from its start.
pub fn fit(given: &Arguments, process: &mut Process) {
    if given.value("console-socket").is_some() || !process.terminal {
        return;
    }
    if let Ok((columns, rows)) = terminal::size(io::stdin().as_fd()) {
        let size = BoxBuilder::default().width(columns).height(rows);
        process.console_size = size.build().ok();
    }
}

/// Connects to a stream socket that is to get a descriptor.
///
/// # Errors
/// Nobody listens there.
pub fn connect_to(what: &'static str, path: &Path) -> Result<OwnedFd> {
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let made = made.during("make", "a socket")?;
    let to = |address: &UnixAddr| Ok(connect(made.as_raw_fd(), address)?);
    with_address(path, to).during("connect to", format_args!("{what} {}", path.display()))?;
    Ok(made)
}

/// The caller's terminal passed through to a container's. It is as before when this is dropped.
#[derive(Debug)]
pub struct Passage {
    master: OwnedFd,
    stdin: io::Stdin,
    /// Settings to go back to; none if the caller has no terminal.
    before: Option<Termios>,
    /// The caller still writes.
    input: bool,
}

impl Passage {
    /// Makes the caller's terminal, if it has one, pass everything on.
    ///
    /// # Errors
    /// The terminal cannot be changed.
    pub fn new(master: OwnedFd) -> Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            tcsetattr(&stdin, SetArg::TCSANOW, &raw).during("change", "the terminal")?;
        }
        let passage = Self {
            master,
            stdin,
            before,
            input: true,
        };
        passage.resize();
        Ok(passage)
    }

    /// Gives the container's terminal the size of the caller's.
    pub fn resize(&self) {
        if let Ok((columns, rows)) = terminal::size(self.stdin.as_fd()) {
            // A terminal that is closing has no size any more.
            let _ = terminal::resize(self.master.as_fd(), columns, rows);
        }
    }

    /// What to wait for: the container's output, and the caller's input while there is any.
    pub fn sources(&self) -> (BorrowedFd<'_>, Option<BorrowedFd<'_>>) {
        (self.master.as_fd(), self.input.then(|| self.stdin.as_fd()))
    }

    /// Passes input on that is there.
    pub fn write(&mut self) {
        let mut buffer = [0; 4096];
        // Not through the library's buffer, of whose content nothing tells.
        match read(&self.stdin, &mut buffer) {
            Ok(0) | Err(_) => self.input = false,
            Ok(count) => {
                // A program that does not read its input does not get it.
                let _ = write(&self.master, &buffer[..count]);
            }
        }
    }

    /// Passes output on that is there; `false` when there will be none any more.
    pub fn read(&self) -> bool {
        let mut buffer = [0; 4096];
        match read(&self.master, &mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                let mut out = io::stdout().lock();
                out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_ok()
            }
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => true,
            // The other end is closed: EIO.
            Err(_) => false,
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.stdin, SetArg::TCSANOW, before);
        }
    }
}
