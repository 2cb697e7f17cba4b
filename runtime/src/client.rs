//! Talking to a monitor: one packet each way, with descriptors beside it. Usable from blocking code and from an event
//! loop that knows when the descriptor is ready.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_socket, socket};

use crate::protocol::{Envelope, FromMonitor};
use crate::sys;

/// Connects to `monitor.sock`. The descriptor blocks.
///
/// # Errors
/// `NotFound` without such a file, `ConnectionRefused` when the monitor behind it is dead.
pub fn connect(socket_path: &Path) -> io::Result<OwnedFd> {
    open(socket_path, SockFlag::empty())
}

/// [`connect`], with a descriptor that does not block: [`send`] and [`recv`] fail with `WouldBlock` instead.
///
/// # Errors
/// As [`connect`]; `WouldBlock` when too many clients wait to be accepted.
pub fn connect_nonblocking(socket_path: &Path) -> io::Result<OwnedFd> {
    open(socket_path, SockFlag::SOCK_NONBLOCK)
}

fn open(socket_path: &Path, flags: SockFlag) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC | flags,
        None,
    )?;
    with_address(socket_path, |address| Ok(connect_socket(socket.as_raw_fd(), address)?))?;
    Ok(socket)
}

/// Calls `f` with the address of a socket file. A path longer than the 107 bytes an address holds is reached through a
/// descriptor of its directory.
pub(crate) fn with_address<T>(socket_path: &Path, f: impl FnOnce(&UnixAddr) -> io::Result<T>) -> io::Result<T> {
    if let Ok(address) = UnixAddr::new(socket_path) {
        return f(&address);
    }
    let (Some(dir), Some(name)) = (socket_path.parent(), socket_path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(dir)?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    f(&UnixAddr::new(&short)?)
}

/// Sends a request with descriptors beside it.
///
/// # Errors
/// `WouldBlock` on a non-blocking socket while the monitor does not read; `BrokenPipe` when it is gone.
pub fn send(socket: impl AsFd, envelope: &Envelope, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    sys::socket::send(socket, &encode(envelope)?, fds)
}

// Encoder and decoder are large and of no type of the caller's: they are compiled here, not wherever they are used.

fn encode(envelope: &Envelope) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(envelope)
}

fn decode(packet: &[u8]) -> serde_json::Result<FromMonitor> {
    serde_json::from_slice(packet)
}

/// Receives a reply or an event with its descriptors; `None` when the monitor is gone.
///
/// # Errors
/// `WouldBlock` on a non-blocking socket with nothing there; `InvalidData` for a packet of another protocol.
pub fn recv(socket: impl AsFd) -> io::Result<Option<(FromMonitor, Vec<OwnedFd>)>> {
    match sys::socket::receive(socket) {
        Ok(Some((packet, fds))) => Ok(Some((decode(&packet)?, fds))),
        Ok(None) => Ok(None),
        // A peer that died with something unread of ours is gone all the same.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

/// A descriptor of a program that nobody can write to through `/proc/PID/exe`: a read-only mount of its own, attached
/// nowhere. A monitor executed from `/proc/self/fd/N` of it is safe from containers that overwrite the runtime
/// (CVE-2019-5736), and need not make such a mount itself. One serves for any number of starts.
///
/// # Errors
/// The file is not there, or the caller may not mount.
pub fn sealed_executable(program: &Path) -> io::Result<OwnedFd> {
    let tree = sys::mount::clone_tree(AT_FDCWD, program, false)?;
    let read_only = sys::mount::Attributes {
        set: libc::MOUNT_ATTR_RDONLY,
        ..Default::default()
    };
    sys::mount::set_attributes(&tree, false, read_only)?;
    Ok(tree)
}
