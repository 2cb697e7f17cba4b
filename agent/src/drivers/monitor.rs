//! A pod's monitor: starting it, asking it, hearing from it.
//!
//! ```text
//! requests ──► socket ──► monitor        one connection a pod; replies are matched by number
//! Event   ◄── reader task ◄── socket     the task ends, and the event channel closes, when the monitor is gone
//! ```

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use barepod_runtime::client;
use barepod_runtime::protocol::{
    ContainerConfig, ContainerState, Envelope, Event, Exit, Failure, FromMonitor, FromSpawner, MAX_PACKET, Request,
    Response, SandboxConfig, SandboxState,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use crate::shared::spawn;
use crate::sys;

/// Events a worker may leave unread for a while; the monitor is made to wait beyond.
const QUEUE: usize = 256;

/// Why a monitor could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be run.
    #[error("run {program}: {source}")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The monitor ended without saying that the sandbox is ready.
    #[error("monitor gave no answer: {0}")]
    NoAnswer(String),
    /// The sandbox could not be made, or a request failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The socket could not be used.
    #[error("{operation} {socket}: {source}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// On which.
        socket: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The monitor is gone.
    #[error("the pod's monitor has ended")]
    Gone,
    /// It answered something else than what was asked.
    #[error("the monitor's answer does not fit the question")]
    Unexpected,
}

/// The `barepod-runtime` program, opened once so that no container can reach it (see
/// [`barepod_runtime::client::sealed_executable`]), and the spawner that it runs as.
#[derive(Debug)]
pub struct Program {
    _sealed: Option<OwnedFd>,
    path: PathBuf,
    spawner: tokio::sync::Mutex<Option<Spawner>>,
}

#[derive(Debug)]
struct Spawner {
    socket: AsyncFd<OwnedFd>,
    /// Reaped when it is dropped.
    _process: Child,
}

/// A sandbox in the making.
#[derive(Debug)]
pub struct Beginning {
    answers: AsyncFd<OwnedFd>,
    monitor: OwnedFd,
    /// The pod's network namespace, unless it is the node's.
    pub netns: Option<Arc<OwnedFd>>,
}

impl Program {
    /// Opens the program.
    pub fn open(path: &Path) -> Result<Self, Error> {
        std::fs::metadata(path).map_err(|source| Error::Run {
            program: path.display().to_string(),
            source,
        })?;
        let (sealed, path) = match client::sealed_executable(path) {
            Ok(sealed) => {
                let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), sealed.as_raw_fd()));
                (Some(sealed), path)
            }
            // The spawner then protects itself.
            Err(error) => {
                tracing::warn!(program = %path.display(), %error, "runtime not sealed");
                (None, path.to_owned())
            }
        };
        Ok(Self {
            _sealed: sealed,
            path,
            spawner: tokio::sync::Mutex::default(),
        })
    }

    /// Has a sandbox begun; [`Beginning::ready`] waits until it is there.
    pub async fn spawn(&self, config: &SandboxConfig) -> Result<Beginning, Error> {
        let answers = self.ask(config).await.map_err(|source| self.failed(source))?;
        match heard(&answers).await.map_err(|source| self.failed(source))? {
            Some((FromSpawner::Begun, fds)) => {
                let mut fds = fds.into_iter();
                Ok(Beginning {
                    answers,
                    monitor: fds.next().ok_or(Error::Unexpected)?,
                    netns: fds.next().map(Arc::new),
                })
            }
            Some((FromSpawner::Failed(failure), _)) => Err(failure.into()),
            Some((FromSpawner::Ready(_), _)) => Err(Error::Unexpected),
            None => Err(Error::NoAnswer("the spawner died".to_owned())),
        }
    }

    /// Asks the spawner, and another one if it is gone.
    async fn ask(&self, config: &SandboxConfig) -> std::io::Result<AsyncFd<OwnedFd>> {
        let mut slot = self.spawner.lock().await;
        if let Some(spawner) = &*slot {
            match spawner.ask(config).await {
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    tracing::warn!("the spawner died; starting another one");
                }
                other => return other,
            }
        }
        slot.insert(Spawner::start(&self.path)?).ask(config).await
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Run {
            program: self.path.display().to_string(),
            source,
        }
    }
}

impl Spawner {
    fn start(program: &Path) -> std::io::Result<Self> {
        let (command, socket) = client::spawner(program)?;
        Ok(Self {
            socket: nonblocking(socket)?,
            _process: Command::from(command).spawn()?,
        })
    }

    async fn ask(&self, config: &SandboxConfig) -> std::io::Result<AsyncFd<OwnedFd>> {
        let asked = self
            .socket
            .async_io(Interest::WRITABLE, |fd| client::spawn(fd, config))
            .await;
        nonblocking(asked?)
    }
}

impl Beginning {
    /// Waits until the sandbox is there, or cannot be made and nothing is left of it.
    pub async fn ready(self) -> Result<SandboxState, Error> {
        match heard(&self.answers).await {
            Ok(Some((FromSpawner::Ready(state), _))) => Ok(state),
            Ok(Some((FromSpawner::Failed(failure), _))) => Err(failure.into()),
            Ok(Some((FromSpawner::Begun, _))) => Err(Error::Unexpected),
            Ok(None) | Err(_) => {
                // Whoever tries again must not find it alive.
                if let Ok(monitor) = sys::register(self.monitor) {
                    let _ = monitor.readable().await;
                }
                Err(Error::NoAnswer("it died before the sandbox was ready".to_owned()))
            }
        }
    }
}

async fn heard(answers: &AsyncFd<OwnedFd>) -> std::io::Result<Option<(FromSpawner, Vec<OwnedFd>)>> {
    answers
        .async_io(Interest::READABLE, |fd| client::recv_spawned(fd))
        .await
}

fn nonblocking(socket: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    sys::register(socket)
}

/// A connection to a monitor. Clones share it; it closes with the last one.
#[derive(Debug, Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
    _reader: Arc<Reader>,
}

#[derive(Debug)]
struct Shared {
    socket: AsyncFd<OwnedFd>,
    path: String,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    closed: bool,
    replies: HashMap<u64, oneshot::Sender<Answer>>,
    execs: HashMap<String, oneshot::Sender<ExecEnd>>,
}

/// The outcome of a request, with the descriptors that came along.
type Answer = (Result<Response, Failure>, Vec<OwnedFd>);

/// How an exec ended.
#[derive(Debug, Clone)]
pub struct ExecEnd {
    /// How its process ended.
    pub exit: Exit,
    /// Its time was over.
    pub timed_out: bool,
}

/// The sandbox as the monitor describes it.
#[derive(Debug)]
pub struct Described {
    /// State of sandbox and containers.
    pub state: SandboxState,
    /// Its network namespace; absent once the sandbox is gone.
    pub netns: Option<OwnedFd>,
}

#[derive(Debug)]
struct Reader(tokio::task::JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    /// Connects to the monitor in a sandbox's directory. The channel carries its events once [`Self::subscribe`] was
    /// called, and closes when it is gone.
    pub fn connect(sandbox_dir: &Path) -> Result<(Self, mpsc::Receiver<Event>), Error> {
        let path = sandbox_dir.join("monitor.sock");
        let shown = path.display().to_string();
        let failed = |source| Error::Socket {
            operation: "connect to",
            socket: shown.clone(),
            source,
        };
        let socket = client::connect_nonblocking(&path).map_err(failed)?;
        let socket = sys::register(socket).map_err(failed)?;
        let shared = Arc::new(Shared {
            socket,
            path: shown,
            waiting: Mutex::default(),
        });
        let (events, received) = mpsc::channel(QUEUE);
        let reader = spawn(read(Arc::clone(&shared), events));
        Ok((
            Self {
                shared,
                _reader: Arc::new(Reader(reader)),
            },
            received,
        ))
    }

    /// Asks, and waits for the answer.
    pub async fn request(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(Response, Vec<OwnedFd>), Error> {
        let (answer, reply) = oneshot::channel();
        let seq = {
            let mut waiting = self.shared.waiting();
            if waiting.closed {
                return Err(Error::Gone);
            }
            waiting.next += 1;
            let seq = waiting.next;
            waiting.replies.insert(seq, answer);
            seq
        };
        let envelope = Envelope { seq, request };
        let sent = self
            .shared
            .socket
            .async_io(Interest::WRITABLE, |fd| client::send(fd, &envelope, fds))
            .await;
        if let Err(source) = sent {
            self.shared.waiting().replies.remove(&seq);
            return Err(Error::Socket {
                operation: "write to",
                socket: self.shared.path.clone(),
                source,
            });
        }
        let (result, fds) = reply.await.map_err(|_| Error::Gone)?;
        Ok((result?, fds))
    }

    async fn done(&self, request: Request) -> Result<(), Error> {
        self.request(request, &[]).await.map(drop)
    }

    /// From now on events arrive.
    pub async fn subscribe(&self) -> Result<(), Error> {
        self.done(Request::Subscribe).await
    }

    /// Describes the sandbox and its containers.
    pub async fn describe(&self) -> Result<Described, Error> {
        let (response, fds) = self.request(Request::Sandbox, &[]).await?;
        let Response::Sandbox(state) = response else {
            return Err(Error::Unexpected);
        };
        Ok(Described {
            state,
            netns: fds.into_iter().next(),
        })
    }

    /// Makes a spare sandbox that of a pod.
    pub async fn claim(&self, config: SandboxConfig) -> Result<(), Error> {
        let config = Box::new(config);
        self.done(Request::Claim { config }).await
    }

    /// Makes and starts a container.
    pub async fn create(&self, config: ContainerConfig) -> Result<ContainerState, Error> {
        let invalid = |error: serde_json::Error| Error::Socket {
            operation: "encode container for",
            socket: self.shared.path.clone(),
            source: error.into(),
        };
        let size = serde_json::to_vec(&config).map_err(invalid)?.len();
        // Room for the envelope around it.
        let (response, _) = if size + 256 > MAX_PACKET {
            let file = memory_file(&config).map_err(|source| Error::Socket {
                operation: "pass container to",
                socket: self.shared.path.clone(),
                source,
            })?;
            self.request(
                Request::Create {
                    config: None,
                    start: true,
                },
                &[file.as_fd()],
            )
            .await?
        } else {
            self.request(
                Request::Create {
                    config: Some(Box::new(config)),
                    start: true,
                },
                &[],
            )
            .await?
        };
        match response {
            Response::Container(state) => Ok(state),
            _ => Err(Error::Unexpected),
        }
    }

    /// Sends a signal to a container's first process, or to all of its processes. One that is gone is no error.
    pub async fn kill(&self, id: &str, signal: i32, all: bool) -> Result<(), Error> {
        use barepod_runtime::protocol::Reason;
        match self
            .done(Request::Kill {
                id: id.to_owned(),
                signal,
                all,
            })
            .await
        {
            Err(Error::Failed(failure)) if matches!(failure.reason, Reason::NotFound | Reason::State) => Ok(()),
            result => result,
        }
    }

    /// Removes a container that has ended.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        self.done(Request::Delete { id: id.to_owned() }).await
    }

    /// Ends the sandbox and everything in it.
    pub async fn stop(&self) -> Result<(), Error> {
        self.done(Request::Stop).await
    }

    /// Starts an exec. The receiver gets how it ended; the descriptor is the terminal's master if it has one.
    pub async fn exec(
        &self,
        request: impl FnOnce(String) -> Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(String, Option<OwnedFd>, oneshot::Receiver<ExecEnd>), Error> {
        let exec_id = crate::files::random_id();
        let (ended, end) = oneshot::channel();
        self.shared.waiting().execs.insert(exec_id.clone(), ended);
        match self.request(request(exec_id.clone()), fds).await {
            Ok((_, fds)) => Ok((exec_id, fds.into_iter().next(), end)),
            Err(error) => {
                self.shared.waiting().execs.remove(&exec_id);
                Err(error)
            }
        }
    }

    /// Ends an exec.
    pub async fn kill_exec(&self, exec_id: &str) -> Result<(), Error> {
        self.done(Request::KillExec {
            exec_id: exec_id.to_owned(),
        })
        .await
    }

    /// Changes the size of a terminal.
    pub async fn resize(&self, id: &str, width: u16, height: u16) -> Result<(), Error> {
        self.done(Request::Resize {
            id: id.to_owned(),
            width,
            height,
        })
        .await
    }

    /// Copies a container's output to the given descriptors; the answer carries the way in.
    pub async fn attach(&self, id: &str, stdio: [bool; 3], fds: &[BorrowedFd<'_>]) -> Result<Option<OwnedFd>, Error> {
        let (_, fds) = self
            .request(
                Request::Attach {
                    id: id.to_owned(),
                    stdio,
                },
                fds,
            )
            .await?;
        Ok(fds.into_iter().next())
    }
}

fn memory_file(config: &ContainerConfig) -> std::io::Result<OwnedFd> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::{Seek, Write};
    let mut file = std::fs::File::from(memfd_create("container", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(config)?)?;
    file.rewind()?;
    Ok(file.into())
}

async fn read(shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    loop {
        let packet = shared.socket.async_io(Interest::READABLE, |fd| client::recv(fd)).await;
        match packet {
            Ok(Some((FromMonitor::Reply(reply), fds))) => {
                let waiting = shared.waiting().replies.remove(&reply.seq);
                if let Some(answer) = waiting {
                    let _ = answer.send((reply.result, fds));
                }
            }
            Ok(Some((
                FromMonitor::Event(Event::ExecExited {
                    exec_id,
                    exit,
                    timed_out,
                }),
                _,
            ))) => {
                let waiting = shared.waiting().execs.remove(&exec_id);
                if let Some(ended) = waiting {
                    let _ = ended.send(ExecEnd { exit, timed_out });
                }
            }
            Ok(Some((FromMonitor::Event(event), _))) => {
                // Nobody listens to a connection that was only made to ask.
                let _ = events.send(event).await;
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(socket = shared.path, %error, "monitor's socket failed");
                break;
            }
        }
    }
    let mut waiting = shared.waiting();
    waiting.closed = true;
    waiting.replies.clear();
    waiting.execs.clear();
}
