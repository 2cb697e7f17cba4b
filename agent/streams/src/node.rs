//! What the server asks of the node it speaks for.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::error::Error;

/// The node behind the API. Implemented by the agent.
pub trait Node: Send + Sync + 'static {
    /// The node's pods as a `v1.PodList`.
    fn pods(&self) -> serde_json::Value;

    /// Where a container's log is; with `previous`, of the instance before the last restart.
    fn container_logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        previous: bool,
    ) -> BoxFuture<'a, Result<LogSource, Error>>;

    /// Starts a program in a running container.
    fn exec<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        request: ExecRequest,
    ) -> BoxFuture<'a, Result<Session, Error>>;

    /// Connects to the streams of a container's own program. `request.command` is empty.
    fn attach<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        request: ExecRequest,
    ) -> BoxFuture<'a, Result<Session, Error>>;

    /// Connects to `127.0.0.1:port` inside the pod's network namespace.
    fn dial<'a>(&'a self, namespace: &'a str, pod: &'a str, port: u16) -> BoxFuture<'a, Result<TcpStream, Error>>;
}

/// A container's log file.
#[derive(Debug, Clone)]
pub struct LogSource {
    /// The file that is written now; rotated ones lie beside it as `<path>.1` (newest), `<path>.2`, …
    pub path: PathBuf,
    /// Becomes true when the container has ended and everything it wrote is in the file. A dropped sender counts as
    /// true.
    pub finished: watch::Receiver<bool>,
}

/// What a client wants to run, and which streams it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The client sends standard input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants standard error; never together with `tty`, where both are one stream.
    pub stderr: bool,
    /// The program gets a terminal.
    pub tty: bool,
}

/// A running exec or attach. Dropping it (its `exit` in particular) before it has ended means that the client is gone.
pub struct Session {
    /// Takes what the client sends; shut down and dropped when the client closes its side.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Yields standard output, or the terminal's output.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Yields standard error.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Takes changes of the client's window size.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Resolves when the program has ended.
    pub exit: BoxFuture<'static, Result<ExitStatus, Error>>,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// Its exit code; 128 + the signal's number if a signal ended it.
    pub code: i32,
}
