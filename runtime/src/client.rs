//! Talking to a monitor and to the spawner that makes it: one packet each way, with descriptors beside it. Usable from
//! blocking code and from an event loop that knows when the descriptor is ready.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::AT_FDCWD;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_socket, socket, socketpair};

use crate::protocol::{Envelope, FromMonitor, FromSpawner, SandboxConfig};
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

fn decode_spawned(packet: &[u8]) -> serde_json::Result<FromSpawner> {
    serde_json::from_slice(packet)
}

/// Receives a reply or an event with its descriptors; `None` when the monitor is gone.
///
/// # Errors
/// `WouldBlock` on a non-blocking socket with nothing there; `InvalidData` for a packet of another protocol.
pub fn recv(socket: impl AsFd) -> io::Result<Option<(FromMonitor, Vec<OwnedFd>)>> {
    receive(socket, decode)
}

fn receive<T>(socket: impl AsFd, decode: fn(&[u8]) -> serde_json::Result<T>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    match sys::socket::receive(socket) {
        Ok(Some((packet, fds))) => Ok(Some((decode(&packet)?, fds))),
        Ok(None) => Ok(None),
        // A peer that died with something unread of ours is gone all the same.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

/// The command that starts a spawner, best from a [`sealed_executable`], and the socket on which [`spawn`] asks it. The
/// command holds the other end: dropped after the start, it lets the spawner's end be noticed.
///
/// # Errors
/// No more descriptors.
pub fn spawner(program: &Path) -> io::Result<(Command, OwnedFd)> {
    let (ours, its) = pair()?;
    let mut command = Command::new(program);
    command.arg0("barepod-runtime").arg("spawner");
    command.stdin(Stdio::from(its)).stdout(Stdio::null());
    Ok((command, ours))
}

/// Asks a spawner for a sandbox. What becomes of it comes over the returned socket, which blocks: [`recv_spawned`].
///
/// # Errors
/// `BrokenPipe` or `ConnectionReset` when the spawner is gone; `WouldBlock` on a non-blocking socket while it is busy
/// with many others.
pub fn spawn(spawner: impl AsFd, config: &SandboxConfig) -> io::Result<OwnedFd> {
    let (ours, its) = pair()?;
    sys::socket::send(spawner, &serde_json::to_vec(config)?, &[its.as_fd()])?;
    Ok(ours)
}

/// Receives the next word about a sandbox that was asked for, with its descriptors; `None` when nothing more comes.
///
/// # Errors
/// As [`recv`].
pub fn recv_spawned(socket: impl AsFd) -> io::Result<Option<(FromSpawner, Vec<OwnedFd>)>> {
    receive(socket, decode_spawned)
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
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
