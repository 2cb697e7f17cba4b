//! Runs a program in a running container for a client.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use barepod_runtime::protocol::Request;
use barepod_streams::{Error, ExecRequest, ExitStatus, Session};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::mpsc;

use super::{container, terminal};
use crate::drivers::monitor::{self, Monitor};
use crate::drivers::network::chain;
use crate::pods::registry::View;

pub(super) fn internal(error: &dyn std::error::Error) -> Error {
    Error::Internal(chain(error))
}

/// A failure of the monitor's; one that the request itself caused is the client's to know as such.
pub(super) fn refused(error: monitor::Error) -> Error {
    use barepod_runtime::protocol::Reason;
    match &error {
        monitor::Error::Failed(failure) => match failure.reason {
            Reason::NotFound => Error::NotFound(failure.message.clone()),
            Reason::State | Reason::Invalid => Error::BadRequest(failure.message.clone()),
            Reason::Exec | Reason::Exists | Reason::Hook | Reason::System => Error::Internal(failure.message.clone()),
        },
        _ => internal(&error),
    }
}

/// The agent's ends of a program's streams, and the program's own.
#[derive(Default)]
struct Pipes {
    stdin: Option<Sender>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    theirs: Vec<OwnedFd>,
}

impl Pipes {
    fn open(request: &ExecRequest) -> std::io::Result<Self> {
        let mut it = Self::default();
        if request.stdin {
            let (read, write) = std::io::pipe()?;
            it.stdin = Some(Sender::from_owned_fd(write.into())?);
            it.theirs.push(read.into());
        }
        for (wanted, end) in [(request.stdout, &mut it.stdout), (request.stderr, &mut it.stderr)] {
            if wanted {
                let (read, write) = std::io::pipe()?;
                *end = Some(Receiver::from_owned_fd(read.into())?);
                it.theirs.push(write.into());
            }
        }
        Ok(it)
    }
}

/// Ends the program if its client goes before it has ended.
struct Guard {
    monitor: Monitor,
    exec_id: String,
    ended: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (monitor, exec_id) = (self.monitor.clone(), self.exec_id.clone());
        crate::shared::spawn(async move {
            if let Err(error) = monitor.kill_exec(&exec_id).await {
                tracing::debug!(
                    exec_id,
                    error = chain(&error),
                    "exec of a client that went away not ended"
                );
            }
        });
    }
}

pub(super) async fn exec(view: &View, name: &str, request: ExecRequest) -> Result<Session, Error> {
    let it = container(view, name)?;
    let gone = || Error::NotFound(format!("container not found ({name:?})"));
    let (monitor, id) = (view.monitor.clone().ok_or_else(gone)?, it.id.clone().ok_or_else(gone)?);
    let mut process = (**it.process.as_ref().ok_or_else(gone)?).clone();
    if request.command.is_empty() {
        return Err(Error::BadRequest(
            "you must specify at least 1 command for the container".into(),
        ));
    }
    process.set_args(Some(request.command.clone()));
    process.set_terminal(Some(request.tty));
    if request.tty
        && let Some(env) = process.env_mut()
        && !env.iter().any(|it| it.starts_with("TERM="))
    {
        env.push("TERM=xterm".into());
    }
    let mut pipes = if request.tty {
        Pipes::default()
    } else {
        Pipes::open(&request).map_err(|error| internal(&error))?
    };
    let stdio = if request.tty {
        [false; 3]
    } else {
        [request.stdin, request.stdout, request.stderr]
    };
    let ask = |exec_id| Request::Exec {
        id,
        exec_id,
        process: Box::new(process),
        tty: request.tty,
        stdio,
        timeout_ms: None,
    };
    let fds: Vec<_> = pipes.theirs.iter().map(AsFd::as_fd).collect();
    let (exec_id, master, end) = monitor.exec(ask, &fds).await.map_err(refused)?;
    pipes.theirs.clear();
    let guard = Guard {
        monitor: monitor.clone(),
        exec_id: exec_id.clone(),
        ended: false,
    };
    let exit = Box::pin(async move {
        // The whole guard goes along: dropped before the end, it ends the program.
        let mut guard = guard;
        let end = end.await;
        guard.ended = true;
        let end = end.map_err(|_| Error::Internal("the pod's monitor has ended".into()))?;
        Ok(ExitStatus { code: end.exit.code })
    });
    if !request.tty {
        return Ok(Session {
            stdin: pipes.stdin.map(|it| Box::new(it) as _),
            stdout: pipes.stdout.map(|it| Box::new(it) as _),
            stderr: pipes.stderr.map(|it| Box::new(it) as _),
            resize: None,
            exit,
        });
    }
    let master = master.ok_or_else(|| Error::Internal("the monitor sent no terminal".into()))?;
    let master = Arc::new(terminal::open(master).map_err(|error| internal(&error))?);
    Ok(Session {
        stdin: request
            .stdin
            .then(|| Box::new(terminal::Terminal::new(Arc::clone(&master))) as _),
        stdout: Some(Box::new(terminal::Terminal::new(master))),
        stderr: None,
        resize: Some(resizes(monitor, exec_id)),
        exit,
    })
}

/// Passes changes of the window's size on, until the client goes.
pub(super) fn resizes(monitor: Monitor, id: String) -> mpsc::Sender<barepod_streams::TerminalSize> {
    let (sender, mut sizes) = mpsc::channel::<barepod_streams::TerminalSize>(4);
    crate::shared::spawn(async move {
        while let Some(size) = sizes.recv().await {
            if let Err(error) = monitor.resize(&id, size.width, size.height).await {
                tracing::debug!(id, error = chain(&error), "terminal not resized");
            }
        }
    });
    sender
}
