//! A node whose containers are host processes.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use barepod_streams::{Error, ExecRequest, ExitStatus, LogSource, Node, Session};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};

pub struct TestNode {
    pub dir: PathBuf,
    pub finished: watch::Sender<bool>,
    /// What was asked for last.
    pub last: Mutex<Option<ExecRequest>>,
    /// What was asked for last through the API server in place of HTTP.
    pub upgrade: Mutex<Option<String>>,
    /// Sessions that live.
    pub sessions: Arc<AtomicUsize>,
}

/// Counts a session for as long as its exit is waited for.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TestNode {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("barepod-streams-api-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self {
            dir,
            finished: watch::Sender::new(false),
            last: Mutex::default(),
            upgrade: Mutex::default(),
            sessions: Arc::default(),
        }
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("0.log")
    }

    fn alive(&self) -> Alive {
        self.sessions.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(&self.sessions))
    }

    fn run(&self, request: ExecRequest) -> Result<Session, Error> {
        *self.last.lock().unwrap() = Some(request.clone());
        if request.tty {
            return Ok(self.terminal());
        }
        let stdio = |wanted| if wanted { Stdio::piped() } else { Stdio::null() };
        let mut child = Command::new(&request.command[0])
            .args(&request.command[1..])
            .stdin(stdio(request.stdin))
            .stdout(stdio(request.stdout))
            .stderr(stdio(request.stderr))
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::Internal(format!("cannot run {:?}: {error}", request.command[0])))?;
        let alive = self.alive();
        Ok(Session {
            stdin: child.stdin.take().map(|pipe| Box::new(pipe) as _),
            stdout: child.stdout.take().map(|pipe| Box::new(pipe) as _),
            stderr: child.stderr.take().map(|pipe| Box::new(pipe) as _),
            resize: None,
            exit: async move {
                let status = child.wait().await.unwrap();
                drop(alive);
                Ok(ExitStatus {
                    code: status.code().unwrap_or(137),
                })
            }
            .boxed(),
        })
    }

    /// Says the sizes it is given, and ends with the first input.
    fn terminal(&self) -> Session {
        let (resize, mut sizes) = mpsc::channel(4);
        let (stdin, mut input) = tokio::io::duplex(64);
        let (mut output, stdout) = tokio::io::duplex(64);
        let alive = self.alive();
        Session {
            stdin: Some(Box::new(stdin)),
            stdout: Some(Box::new(stdout)),
            stderr: None,
            resize: Some(resize),
            exit: async move {
                let _alive = alive;
                let mut byte = [0];
                loop {
                    tokio::select! {
                        Some(barepod_streams::TerminalSize { width, height }) = sizes.recv() => {
                            output.write_all(format!("{width}x{height}\r\n").as_bytes()).await.unwrap();
                        }
                        _ = tokio::io::AsyncReadExt::read(&mut input, &mut byte) => {
                            return Ok(ExitStatus { code: i32::from(byte[0]) });
                        }
                    }
                }
            }
            .boxed(),
        }
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

impl Node for TestNode {
    fn pods(&self) -> serde_json::Value {
        serde_json::json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [] })
    }

    fn container_logs<'a>(
        &'a self,
        _namespace: &'a str,
        _pod: &'a str,
        container: &'a str,
        previous: bool,
    ) -> BoxFuture<'a, Result<LogSource, Error>> {
        let result = match (container, previous) {
            ("main", false) => Ok(LogSource {
                path: self.log(),
                finished: self.finished.subscribe(),
            }),
            ("main", true) => Err(Error::BadRequest(
                "previous terminated container \"main\" not found".to_owned(),
            )),
            _ => Err(Error::NotFound(format!("container {container:?} not found"))),
        };
        async { result }.boxed()
    }

    fn exec<'a>(
        &'a self,
        _namespace: &'a str,
        _pod: &'a str,
        container: &'a str,
        request: ExecRequest,
    ) -> BoxFuture<'a, Result<Session, Error>> {
        let result = match container {
            "main" => self.run(request),
            _ => Err(Error::NotFound(format!("container {container:?} not found"))),
        };
        async { result }.boxed()
    }

    fn attach<'a>(
        &'a self,
        _namespace: &'a str,
        _pod: &'a str,
        _container: &'a str,
        mut request: ExecRequest,
    ) -> BoxFuture<'a, Result<Session, Error>> {
        request.command = ["sh", "-c", "echo attached; cat; exit 3"].map(str::to_owned).to_vec();
        let result = self.run(request);
        async { result }.boxed()
    }

    fn dial<'a>(&'a self, _namespace: &'a str, _pod: &'a str, port: u16) -> BoxFuture<'a, Result<TcpStream, Error>> {
        let connect = TcpStream::connect(("127.0.0.1", port));
        async { connect.await.map_err(|error| Error::Internal(error.to_string())) }.boxed()
    }
}
