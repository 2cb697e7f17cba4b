//! Accepting connections and answering requests.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::auth::Identity;
use crate::error::{Error, ServeError};
use crate::exec;
use crate::logs::{self, LogOptions};
use crate::node::{ExecRequest, Node};
use crate::portforward::{self, Target};
use crate::query::Query;
use crate::route::{self, Container, Route};
use crate::upgrade::{Connection, Handshake};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Time for a client to finish its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a client to send the head of a request; also how long a connection may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after an error of accept that will not go away at once (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API until `shutdown` resolves, then ends every session.
///
/// `tls` must require client certificates and verify them against the cluster's authority; which of them may do what
/// is decided here.
///
/// # Errors
/// [`ServeError::Accept`] if the listening socket is unusable.
pub fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    node: Arc<dyn Node>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, Result<(), ServeError>> {
    // Boxed here, so that it is compiled with this crate and not with whoever awaits it.
    serve_until(listener, tls, node, Box::pin(shutdown))
}

fn serve_until(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    node: Arc<dyn Node>,
    shutdown: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<(), ServeError>> {
    Box::pin(accept_all(listener, tls, node, shutdown))
}

async fn accept_all(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    node: Arc<dyn Node>,
    mut shutdown: BoxFuture<'static, ()>,
) -> Result<(), ServeError> {
    let acceptor = TlsAcceptor::from(tls);
    let (stop, stopped) = watch::channel(false);
    // Every task holds the sender; when all are gone, the receiver ends.
    let (running, mut done) = mpsc::channel::<Infallible>(1);
    let server = Server {
        node,
        tasks: Tasks { stopped, running },
    };
    let result = loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = server.clone().connection(stream, peer, acceptor.clone());
                server.tasks.spawn(connection);
            }
            Err(error) if is_fatal(&error) => break Err(ServeError::Accept(error)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection, trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    stop.send_replace(true);
    drop(server);
    done.recv().await;
    result
}

/// Errors of accept(2) that say something about the socket rather than about one connection or the system's state.
fn is_fatal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput) || matches!(error.raw_os_error(), Some(9 | 88))
}

/// The server's tasks, all ended by its shutdown.
#[derive(Clone)]
struct Tasks {
    stopped: watch::Receiver<bool>,
    running: mpsc::Sender<Infallible>,
}

impl Tasks {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(Box::pin(work));
    }

    fn spawn_boxed(&self, work: BoxFuture<'static, ()>) {
        let mut stopped = self.stopped.clone();
        let running = self.running.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                _ = stopped.wait_for(|&stopped| stopped) => {}
            }
            drop(running);
        });
    }
}

#[derive(Clone)]
struct Server {
    node: Arc<dyn Node>,
    tasks: Tasks,
}

impl Server {
    async fn connection(self, stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor) {
        set_options(&stream);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "TLS handshake timed out"),
        };
        let identity = Arc::new(Identity::of(stream.get_ref().1.peer_certificates()));
        let service = service_fn(move |request| {
            let (server, identity) = (self.clone(), Arc::clone(&identity));
            async move { Ok::<_, Infallible>(server.answer(request, (*identity).as_ref()).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, identity: Option<&Identity>) -> Response<Body> {
        match identity {
            None => text(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Some(identity) if !identity.is_allowed() => {
                let message = format!("Forbidden (user={}, resource=nodes, subresource=proxy)", identity.user);
                text(StatusCode::FORBIDDEN, &message)
            }
            Some(_) => self
                .route(request)
                .await
                .unwrap_or_else(|error| text(error.status(), &error.to_string())),
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let Some(route) = Route::of(request.uri()) else {
            return Ok(text(StatusCode::NOT_FOUND, "404 page not found"));
        };
        let is_stream = matches!(route, Route::Exec(_) | Route::Attach(_) | Route::PortForward { .. });
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_upgrade = is_stream && request.method() == Method::POST;
        if !is_read && !is_upgrade {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed"));
        }
        match route {
            Route::Healthz => Ok(text(StatusCode::OK, "ok")),
            Route::Pods => Ok(json(&self.node.pods())),
            Route::Logs(container) => self.logs(request, &container).await,
            Route::Exec(container) => self.command(request, container, true),
            Route::Attach(container) => self.command(request, container, false),
            Route::PortForward { namespace, pod } => self.port_forward(request, namespace, pod),
        }
    }

    async fn logs(&self, mut request: Request<Incoming>, container: &Container) -> Result<Response<Body>, Error> {
        let query = Query::of(request.uri());
        let options = LogOptions::parse(|name| query.get(name))?;
        let previous = query.flag(&["previous"]);
        let Container {
            namespace,
            pod,
            container,
        } = container;
        let handshake = Handshake::if_asked(&mut request, &logs::PROTOCOLS)?;
        let source = self.node.container_logs(namespace, pod, container, previous).await?;
        let mut chunks = {
            let (sender, receiver) = mpsc::channel(1);
            let task = logs::send(source, options, sender).await?;
            self.tasks.spawn(task);
            receiver
        };
        if let Some(handshake) = handshake {
            let response = handshake.response();
            self.tasks.spawn(async move {
                let protocol = handshake.protocol();
                match handshake.finish().await {
                    Ok(Connection::WebSocket(socket)) => logs::carry(socket, protocol, chunks).await,
                    Ok(Connection::Spdy(_)) => {}
                    Err(error) => tracing::debug!(%error, "client left before the upgrade"),
                }
            });
            return Ok(response);
        }
        let frames = futures_util::stream::poll_fn(move |cx| {
            chunks
                .poll_recv(cx)
                .map(|chunk| chunk.map(|chunk: io::Result<Bytes>| chunk.map(Frame::data)))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(response)
    }

    fn command(
        &self,
        mut request: Request<Incoming>,
        place: Container,
        is_exec: bool,
    ) -> Result<Response<Body>, Error> {
        let exec = ExecRequest::of(&Query::of(request.uri()), is_exec)?;
        let handshake = Handshake::of(&mut request, &exec::PROTOCOLS)?;
        let protocol = handshake.protocol();
        let response = handshake.response();
        let node = Arc::clone(&self.node);
        self.tasks.spawn(async move {
            let connection = match handshake.finish().await {
                Ok(connection) => connection,
                Err(error) => return tracing::debug!(%error, "client left before the upgrade"),
            };
            let wanted = exec.clone();
            // Asked only now, because kubectl shows an error on the error channel, but answers a refused upgrade by
            // trying SPDY and then shows what it thinks of that.
            let begin = async {
                let Container {
                    namespace,
                    pod,
                    container,
                } = &place;
                if is_exec {
                    return node.exec(namespace, pod, container, exec).await;
                }
                // How the container's own program ends is no result of the attach.
                let session = node.attach(namespace, pod, container, exec).await;
                session.map(exec::without_exit_code)
            };
            exec::run(connection, protocol, &wanted, begin).await;
        });
        Ok(response)
    }

    fn port_forward(
        &self,
        mut request: Request<Incoming>,
        namespace: String,
        pod: String,
    ) -> Result<Response<Body>, Error> {
        let ports = route::ports(&Query::of(request.uri()))?;
        let handshake = Handshake::of(&mut request, &portforward::PROTOCOLS)?;
        let protocol = handshake.protocol();
        if portforward::needs_ports(&handshake) && !(1..=portforward::MAX_PORTS).contains(&ports.len()) {
            let message = format!(
                "name 1 to {} ports with the query parameter port",
                portforward::MAX_PORTS
            );
            return Err(Error::BadRequest(message));
        }
        let response = handshake.response();
        let target = Target {
            node: Arc::clone(&self.node),
            namespace,
            pod,
        };
        self.tasks.spawn(async move {
            match handshake.finish().await {
                Ok(connection) => portforward::run(connection, protocol, target, &ports).await,
                Err(error) => tracing::debug!(%error, "client left before the upgrade"),
            }
        });
        Ok(response)
    }
}

/// Frames are sent as they come, and the kernel finds out about clients that vanished without a word.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &60);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &15);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &4);
}

fn text(status: StatusCode, message: &str) -> Response<Body> {
    response(
        status,
        "text/plain; charset=utf-8",
        Bytes::from(format!("{message}\n").into_bytes()),
    )
}

fn json(value: &serde_json::Value) -> Response<Body> {
    response(StatusCode::OK, "application/json", Bytes::from(value.to_string()))
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let body = Full::new(body)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
