//! One look at a container: a command, an HTTP request, a connection. What probes and lifecycle hooks are made of.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::kinds::{ContainerPort, ExecAction, HttpGetAction, LifecycleHandler, Probe, TcpSocketAction};
use barepod_client::types::IntOrString;
use barepod_runtime::protocol::Request;
use oci_spec::runtime::Process;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::http;
use crate::drivers::monitor::Monitor;

/// How much of a command's output goes into an event, in bytes.
const OUTPUT_BYTES: u64 = 10 * 1024;

/// A running container that can be looked at.
#[derive(Debug, Clone)]
pub struct Target {
    /// The pod's monitor.
    pub monitor: Monitor,
    /// The container's id.
    pub id: String,
    /// What runs in it: commands get the same user, environment and rights.
    pub process: Arc<Process>,
    /// The pod's address.
    pub ip: Option<Ipv4Addr>,
    /// Its named ports.
    pub ports: Arc<[ContainerPort]>,
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Check {
    /// Run a command in the container; it must exit with 0.
    Exec(ExecAction),
    /// Make an HTTP request; the answer must be 2xx or 3xx.
    Http(HttpGetAction),
    /// Open a connection.
    Tcp(TcpSocketAction),
    /// Let time pass.
    Sleep(Duration),
    /// Something this agent cannot do.
    Unsupported(&'static str),
}

impl Check {
    /// Of a probe.
    pub fn of_probe(probe: &Probe) -> Self {
        if let Some(it) = &probe.exec {
            Self::Exec(it.clone())
        } else if let Some(it) = &probe.http_get {
            Self::Http(it.clone())
        } else if let Some(it) = &probe.tcp_socket {
            Self::Tcp(it.clone())
        } else if probe.grpc.is_some() {
            Self::Unsupported("grpc probes are not supported")
        } else {
            Self::Unsupported("the probe has no handler")
        }
    }

    /// Of a lifecycle hook.
    pub fn of_hook(hook: &LifecycleHandler) -> Self {
        if let Some(it) = &hook.exec {
            Self::Exec(it.clone())
        } else if let Some(it) = &hook.http_get {
            Self::Http(it.clone())
        } else if let Some(it) = &hook.tcp_socket {
            Self::Tcp(it.clone())
        } else if let Some(it) = &hook.sleep {
            Self::Sleep(Duration::from_secs(u64::try_from(it.seconds).unwrap_or(0)))
        } else {
            Self::Unsupported("the hook has no handler")
        }
    }

    /// Looks. The error is what users read in the event. Without `timeout` it takes as long as it takes.
    pub async fn run(&self, target: &Target, timeout: Option<Duration>) -> Result<(), String> {
        let look = async {
            match self {
                Self::Exec(it) => exec(target, it.command.clone().unwrap_or_default(), timeout).await,
                Self::Http(it) => get(target, it).await,
                Self::Tcp(it) => connect(target, it.host.as_deref(), &it.port).await.map(drop),
                Self::Sleep(time) => {
                    tokio::time::sleep(*time).await;
                    Ok(())
                }
                Self::Unsupported(why) => Err((*why).to_owned()),
            }
        };
        match (timeout, self) {
            // The monitor ends the command, and all it started, in time.
            (Some(timeout), Self::Http(_) | Self::Tcp(_)) => tokio::time::timeout(timeout, look)
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}"))),
            _ => look.await,
        }
    }
}

async fn exec(target: &Target, command: Vec<String>, timeout: Option<Duration>) -> Result<(), String> {
    if command.is_empty() {
        return Err("the command is empty".into());
    }
    let mut process = (*target.process).clone();
    process.set_args(Some(command));
    process.set_terminal(Some(false));
    let (read, write) = pipe().map_err(|error| format!("make pipe: {error}"))?;
    let timeout_ms = timeout.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
    let request = |exec_id| Request::Exec {
        id: target.id.clone(),
        exec_id,
        process: Box::new(process),
        tty: false,
        stdio: [false, true, true],
        timeout_ms,
    };
    let (_, _, end) = target
        .monitor
        .exec(request, &[write.as_fd(), write.as_fd()])
        .await
        .map_err(|error| error.to_string())?;
    drop(write);
    let end = end.await.map_err(|_| "the pod's monitor has ended".to_owned())?;
    if end.timed_out {
        return Err(format!("command timed out after {:?}", timeout.unwrap_or_default()));
    }
    if end.exit.code == 0 {
        return Ok(());
    }
    let mut output = Vec::new();
    // What was written is in the pipe; a process left behind may hold it open, which is not waited for.
    let _ = tokio::time::timeout(
        Duration::from_millis(50),
        read.take(OUTPUT_BYTES).read_to_end(&mut output),
    )
    .await;
    let output = String::from_utf8_lossy(&output);
    Err(if output.trim().is_empty() {
        format!("command exited with code {}", end.exit.code)
    } else {
        output.trim_end().to_owned()
    })
}

fn pipe() -> std::io::Result<(tokio::net::unix::pipe::Receiver, OwnedFd)> {
    let (read, write) = std::io::pipe()?;
    Ok((
        tokio::net::unix::pipe::Receiver::from_owned_fd(read.into())?,
        write.into(),
    ))
}

async fn get(target: &Target, action: &HttpGetAction) -> Result<(), String> {
    let headers: Vec<(String, String)> = action
        .http_headers
        .iter()
        .flatten()
        .map(|it| (it.name.clone(), it.value.clone()))
        .collect();
    let stream = connect(target, action.host.as_deref(), &action.port).await?;
    let peer = stream.peer_addr().map_err(|error| error.to_string())?;
    let host = action
        .host
        .clone()
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| peer.ip().to_string());
    let request = http::Get {
        host: format!("{host}:{}", peer.port()),
        path: action.path.as_deref().filter(|it| !it.is_empty()).unwrap_or("/"),
        headers: &headers,
    };
    let status = if action
        .scheme
        .as_deref()
        .is_some_and(|it| it.eq_ignore_ascii_case("https"))
    {
        http::get_tls(stream, &host, &request).await
    } else {
        http::get(stream, &request).await
    };
    match status.map_err(|error| error.to_string())? {
        200..=399 => Ok(()),
        other => Err(format!("HTTP probe failed with statuscode: {other}")),
    }
}

/// Opens a connection that leaves no TIME_WAIT behind: probes of many pods would fill the node's ports and the
/// connection table with them.
async fn connect(target: &Target, host: Option<&str>, port: &IntOrString) -> Result<TcpStream, String> {
    let port = number(target, port)?;
    let address = match host.filter(|it| !it.is_empty()) {
        Some(host) => host.to_owned(),
        None => IpAddr::V4(target.ip.ok_or("the pod has no address yet")?).to_string(),
    };
    let stream = TcpStream::connect((address.as_str(), port))
        .await
        .map_err(|error| format!("dial tcp {address}:{port}: {error}"))?;
    stream
        .set_zero_linger()
        .map_err(|error| format!("set linger: {error}"))?;
    Ok(stream)
}

fn number(target: &Target, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match target.ports.iter().find(|it| it.name.as_deref() == Some(name)) {
            Some(port) => port.container_port,
            None => name
                .parse()
                .map_err(|_| format!("the container has no port named {name:?}"))?,
        },
    };
    u16::try_from(number)
        .ok()
        .filter(|it| *it != 0)
        .ok_or_else(|| format!("{number} is no port"))
}
