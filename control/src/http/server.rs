//! The listener: one task for each connection, all of them ended when the server stops.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::service::Service;
use super::socket::Socket;
use super::tls::{ServerTls, UpstreamTls};
use super::upstream::Upstream;
use super::{identity, service};
use crate::engine::Engine;
use crate::sys;

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// Until a connection has a complete request head. Longer than clients keep idle connections, so that they and not
    /// the server close them.
    pub head: Duration,
    /// To send a body.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(120),
            body: Duration::from_secs(60),
        }
    }
}

/// How long running requests get when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Connections served at a time, if there are descriptors for so many; more have to wait in the kernel's queue.
const CONNECTIONS: usize = 50_000;
/// Descriptors kept back for the store and for connections to nodes.
const RESERVE: usize = 500;
const HEADER_BYTES: usize = 64 << 10;
const HEADERS: usize = 100;

/// The API server on a socket.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server for an engine on a listening socket.
    pub fn new(listener: TcpListener, tls: ServerTls, upstream: UpstreamTls, engine: Arc<Engine>) -> Self {
        Self::with_limits(listener, tls, upstream, engine, Limits::default())
    }

    /// As [`Server::new`], with other limits.
    pub fn with_limits(
        listener: TcpListener,
        tls: ServerTls,
        upstream: UpstreamTls,
        engine: Arc<Engine>,
        limits: Limits,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let service = Arc::new(Service::new(engine, Upstream::new(upstream), stopped, limits));
        Server {
            listener,
            acceptor: TlsAcceptor::from(tls.0),
            service,
            stop,
        }
    }

    /// The address it listens on.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is done, then lets running requests finish for a short while.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        let most = CONNECTIONS.min(sys::descriptors().saturating_sub(RESERVE)).max(1);
        loop {
            while connections.try_join_next().is_some() {}
            tokio::select! {
                () = &mut shutdown => break,
                _ = connections.join_next(), if connections.len() >= most => {}
                accepted = self.listener.accept(), if connections.len() < most => match accepted {
                    Ok((stream, _)) => {
                        let connection = connection(stream, self.acceptor.clone(), self.service.clone());
                        connections.spawn(connection);
                    }
                    Err(error) => {
                        // Out of descriptors or memory: others have to close first, see accept(2).
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(self.listener);
        // Nobody listens only if there is no connection.
        let _ = self.stop.send(true);
        let finished = tokio::time::timeout(FAREWELL, async { while connections.join_next().await.is_some() {} });
        if finished.await.is_err() {
            connections.shutdown().await;
        }
    }
}

/// Waits until the server stops; an error means that it is gone already.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// One connection. Most of them live long and wait: what only the handshake needs is given back after it, and each
/// protocol takes no more than its own.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, service: Arc<Service>) {
    let Some(stream) = Box::pin(handshake(stream, acceptor, service.limits().handshake)).await else {
        return;
    };
    let peer = stream.get_ref().0.peer_addr();
    let quiet = service.clone();
    let result = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Box::pin(serve_http2(stream, service)).await,
        _ => Box::pin(serve_http1(stream, service)).await,
    };
    if let Err(error) = result {
        tracing::debug!(%error, ?peer, "a connection broke off");
    }
    // What it had may be worth giving back.
    quiet.engine.quiet().request();
}

async fn handshake(stream: TcpStream, acceptor: TlsAcceptor, limit: Duration) -> Option<Box<TlsStream<Socket>>> {
    match tokio::time::timeout(limit, acceptor.accept(Socket::new(stream))).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn serve_http2(stream: Box<TlsStream<Socket>>, service: Arc<Service>) -> hyper::Result<()> {
    let mut stopped = service.stopped();
    let user = identity::user(stream.get_ref().1.peer_certificates());
    let source = stream.get_ref().0.peer_addr().ok().map(|address| address.ip());
    // On the heap, so that a connection that waits has no room for it.
    let handler = service_fn(move |request| Box::pin(service::answer(service.clone(), user.clone(), source, request)));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        .max_header_list_size(64 << 10)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20);
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(stream), handler));
    tokio::select! {
        result = connection.as_mut() => result,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn serve_http1(stream: Box<TlsStream<Socket>>, service: Arc<Service>) -> hyper::Result<()> {
    let (mut stopped, limits) = (service.stopped(), service.limits());
    let user = identity::user(stream.get_ref().1.peer_certificates());
    let source = stream.get_ref().0.peer_addr().ok().map(|address| address.ip());
    // On the heap, so that a connection that waits has no room for it.
    let handler = service_fn(move |request| Box::pin(service::answer(service.clone(), user.clone(), source, request)));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(HEADERS)
        .max_header_size(HEADER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), handler);
    let mut connection = Box::pin(connection.with_upgrades());
    tokio::select! {
        result = connection.as_mut() => result,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
