//! Connects a client to the streams of a container's own program.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use barepod_streams::{Error, ExecRequest, ExitStatus, Session};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::exec::{internal, refused, resizes};
use super::{container, terminal};
use crate::drivers::monitor::Monitor;
use crate::pods::registry::View;
use crate::pods::shape;

pub(super) async fn attach(
    view: &View,
    sandbox_dir: &Path,
    name: &str,
    request: ExecRequest,
) -> Result<Session, Error> {
    let it = container(view, name)?;
    let gone = || Error::NotFound(format!("container not found ({name:?})"));
    let id = it.id.clone().filter(|_| it.process.is_some()).ok_or_else(gone)?;
    // A connection of its own: with it the monitor sees the client go (`stdinOnce`).
    let (monitor, _events) = Monitor::connect(sandbox_dir).map_err(refused)?;
    let tty = shape::container(&view.pod, name).is_some_and(|(_, it)| it.tty == Some(true));
    let open = |wanted: bool| -> Result<(Option<Receiver>, Option<OwnedFd>), Error> {
        if !wanted {
            return Ok((None, None));
        }
        let (read, write) = std::io::pipe().map_err(|error| internal(&error))?;
        let read = Receiver::from_owned_fd(read.into()).map_err(|error| internal(&error))?;
        Ok((Some(read), Some(write.into())))
    };
    let (stdout, their_stdout) = open(request.stdout)?;
    let (stderr, their_stderr) = open(request.stderr && !tty)?;
    let stdio = [request.stdin, request.stdout, request.stderr && !tty];
    let fds: Vec<_> = their_stdout.iter().chain(&their_stderr).map(AsFd::as_fd).collect();
    let input = monitor.attach(&id, stdio, &fds).await.map_err(refused)?;
    drop((their_stdout, their_stderr));
    let stdin: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>> = match (input, tty) {
        (None, _) => None,
        (Some(master), true) => {
            let master = terminal::open(master).map_err(|error| internal(&error))?;
            Some(Box::new(terminal::Terminal::new(Arc::new(master))))
        }
        (Some(pipe), false) => Some(Box::new(Sender::from_owned_fd(pipe).map_err(|error| internal(&error))?)),
    };
    let mut finished = it.finished.clone();
    let resize = tty.then(|| resizes(monitor.clone(), id));
    let exit = Box::pin(async move {
        // The connection lasts as long as the session.
        let _monitor = monitor;
        let _ = finished.wait_for(|it| *it).await;
        Ok(ExitStatus { code: 0 })
    });
    Ok(Session {
        stdin,
        stdout: stdout.map(|it| Box::new(it) as _),
        stderr: stderr.map(|it| Box::new(it) as _),
        resize,
        exit,
    })
}
