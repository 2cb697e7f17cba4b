//! Connects to a port inside a pod.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use barepod_streams::Error;
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How long a program may take to accept.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to `127.0.0.1:port` in a network namespace, or in the node's.
///
/// A thread of its own enters the namespace and ends: no other task must ever run there.
pub(super) async fn dial(netns: Option<Arc<OwnedFd>>, port: u16) -> Result<TcpStream, Error> {
    let (answer, connected) = oneshot::channel();
    let work = move || {
        let connect = || -> std::io::Result<std::net::TcpStream> {
            if let Some(netns) = netns {
                setns(&*netns, CloneFlags::CLONE_NEWNET)?;
            }
            let stream = std::net::TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let _ = answer.send(connect());
    };
    let failed = |error: std::io::Error| Error::Internal(format!("connect to port {port} in the pod: {error}"));
    std::thread::Builder::new()
        .name("dial".into())
        .stack_size(64 * 1024)
        .spawn(work)
        .map_err(failed)?;
    let stream = connected
        .await
        .map_err(|_| failed(std::io::Error::other("interrupted")))?
        .map_err(failed)?;
    TcpStream::from_std(stream).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn port_of_the_nodes_own_network() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut near = dial(None, port).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        drop(listener);
        let error = dial(None, port).await.unwrap_err().to_string();
        assert!(error.contains(&format!("port {port}")), "{error}");
    }
}
