//! Handing the descriptor of a filter's notifications to whoever answers them: OCI runtime specification, "The Container
//! Process State".

use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use oci_spec::runtime::LinuxSeccomp;
use serde::Serialize;

use crate::document::OCI_VERSION;
use crate::error::{During, Error, Result};
use crate::init::hooks::Told;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a Told<'a>,
}

/// Sends the descriptor to the profile's listener, with who it is about; `pid` is the process that has the filter.
///
/// # Errors
/// Nobody listens, or the connection breaks.
pub fn deliver(profile: Option<&LinuxSeccomp>, listener: &OwnedFd, told: &Told<'_>, pid: i32) -> Result<()> {
    let path = profile.and_then(|profile| profile.listener_path().as_deref());
    let path = path.ok_or_else(|| Error::Invalid("there is no linux.seccomp.listenerPath".to_owned()))?;
    let state = ProcessState {
        oci_version: OCI_VERSION,
        fds: ["seccompFd"],
        pid,
        metadata: profile.and_then(|profile| profile.listener_metadata().as_deref()),
        state: told,
    };
    let text = crate::records::to_json(&state);
    let mut socket = UnixStream::connect(path).during("connect to the seccomp listener", path.display())?;
    let fds = [listener.as_fd().as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&text)],
        &rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    let sent = sent.during("send the seccomp descriptor to", path.display())?;
    // Descriptors go with the first part only.
    socket
        .write_all(&text[sent..])
        .during("send the state to", path.display())
}
