//! The pod's network namespace, which takes the kernel longer to make than all the others together. The spawner makes it
//! while the monitor writes records and clones pause, and hands it over; it is nobody's until pause has joined it, and
//! goes with its descriptors if that never happens.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::error::{During, Error, Result};
use crate::protocol::Failure;
use crate::sys::network::loopback_up;
use crate::sys::process::exit_now;
use crate::sys::socket::{receive, send};

/// Makes both ends of the way the namespace goes: from its maker, to pause.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    pair.during("make", "a socket pair")
}

/// Makes the namespace, with the loopback interface up, and comes back to the one called `home`.
pub fn make(home: &File) -> Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET).during("make", "a network namespace")?;
    let made = loopback_up()
        .during("bring up", "the loopback interface")
        .and_then(|()| File::open("/proc/self/ns/net").during("open", "/proc/self/ns/net"));
    if setns(home, CloneFlags::CLONE_NEWNET).is_err() {
        // Nobody else may be born in there; another spawner will be started.
        exit_now(1);
    }
    made.map(OwnedFd::from)
}

/// Hands it to pause, or says why there is none.
pub fn hand_over(to: &OwnedFd, made: &Result<OwnedFd>) {
    // pause may be gone already, which its monitor will tell.
    let _ = match made {
        Ok(namespace) => send(to, b"N", &[namespace.as_fd()]),
        Err(error) => send(to, &serde_json::to_vec(&Failure::from(error)).unwrap_or_default(), &[]),
    };
}

/// Waits for the namespace and joins it.
pub fn join(from: &OwnedFd) -> Result<()> {
    let (packet, mut fds) = receive(from)
        .during("receive", "the network namespace")?
        .ok_or_else(|| Error::State("the process that was to make the network namespace died".to_owned()))?;
    match fds.pop() {
        Some(namespace) => setns(namespace, CloneFlags::CLONE_NEWNET).during("join", "the network namespace"),
        None => Err(match serde_json::from_slice(&packet) {
            Ok(failure) => Error::Remote(failure),
            Err(source) => Error::Document {
                object: "why there is no network namespace".to_owned(),
                source,
            },
        }),
    }
}
