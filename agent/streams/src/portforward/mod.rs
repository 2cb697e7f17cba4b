//! Forwarding of TCP connections into a pod.
//!
//! `kubectl` and client-go open a pair of SPDY streams for every forwarded connection, on a SPDY connection or on one that
//! is tunnelled through a WebSocket; simpler clients of WebSockets get two plain channels for every port.

mod channels;
mod tunnel;

use std::sync::Arc;

use crate::error::Error;
use crate::node::Node;
use crate::upgrade::{Connection, Handshake, Protocols};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
const STREAMS: &str = "portforward.k8s.io";

/// Subprotocols, the best first.
pub(crate) const PROTOCOLS: Protocols = Protocols {
    websocket: &[TUNNEL, CHANNELS, STREAMS],
    spdy: &[STREAMS],
};

/// Ports of one request; two channels each must be told apart by one byte.
pub(crate) const MAX_PORTS: usize = 127;

/// The pod connections are made to.
pub(crate) struct Target {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) namespace: String,
    pub(crate) pod: String,
}

impl Target {
    async fn dial(&self, port: u16) -> Result<tokio::net::TcpStream, String> {
        let fail = |error: Error| format!("error forwarding port {port} to pod {}: {error}", self.pod);
        let stream = self.node.dial(&self.namespace, &self.pod, port).await.map_err(fail)?;
        // What is forwarded was cut into segments already; waiting to fill them only adds latency.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Whether the ports are named in the request, instead of with every connection.
pub(crate) fn needs_ports(handshake: &Handshake) -> bool {
    handshake.is_websocket() && handshake.protocol() != TUNNEL
}

/// Forwards until the client goes away or every port is done.
pub(crate) async fn run(connection: Connection, protocol: &str, target: Target, ports: &[u16]) {
    match connection {
        Connection::Spdy(connection) => tunnel::run(connection, target).await,
        Connection::WebSocket(socket) if protocol == TUNNEL => tunnel::run(socket, target).await,
        Connection::WebSocket(socket) => channels::run(socket, target, ports).await,
    }
}
