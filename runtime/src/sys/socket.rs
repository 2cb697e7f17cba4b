//! `SOCK_SEQPACKET` sockets that carry descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, accept4, recv, recvmsg, sendmsg};

/// Most descriptors in one packet.
pub const MAX_FDS: usize = 8;

/// Sends one packet with descriptors beside it.
///
/// # Errors
/// What `sendmsg(2)` says; `WouldBlock` on a non-blocking socket whose peer does not read.
pub fn send(socket: impl AsFd, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let sent = retry(|| {
        sendmsg::<()>(
            socket.as_fd().as_raw_fd(),
            &[IoSlice::new(packet)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
    })?;
    if sent == packet.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives one packet and its descriptors; `None` when the peer has closed.
///
/// # Errors
/// What `recvmsg(2)` says; `WouldBlock` on a non-blocking socket with nothing there.
pub fn receive(socket: impl AsFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let raw = socket.as_fd().as_raw_fd();
    // The size first: packets are a hundred bytes mostly and a hundred kilobytes at times, and no buffer is kept.
    let size = retry(|| recv(raw, &mut [0; 1], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC))?;
    if size == 0 {
        return Ok(None);
    }
    let mut packet = vec![0; size];
    let mut control = cmsg_space!([RawFd; MAX_FDS]);
    let (bytes, fds) = {
        let mut parts = [IoSliceMut::new(&mut packet)];
        // The packet is there, so this does not wait and cannot be interrupted.
        let message = recvmsg::<()>(raw, &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                // SAFETY: the kernel has just installed these descriptors for us, nobody else owns them.
                fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        (message.bytes, fds)
    };
    packet.truncate(bytes);
    Ok(Some((packet, fds)))
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Accepts a connection, not blocking and not to be blocked by.
///
/// # Errors
/// What `accept4(2)` says; `WouldBlock` when nobody waits.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    accept_with(listener, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)
}

/// Waits for a connection on which one waits as well.
///
/// # Errors
/// What `accept4(2)` says.
pub fn accept_waiting(listener: impl AsFd) -> io::Result<OwnedFd> {
    accept_with(listener, SockFlag::SOCK_CLOEXEC)
}

fn accept_with(listener: impl AsFd, flags: SockFlag) -> io::Result<OwnedFd> {
    let raw = retry(|| accept4(listener.as_fd().as_raw_fd(), flags))?;
    // SAFETY: the kernel has just returned this descriptor, so it is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
