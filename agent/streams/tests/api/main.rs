//! The API over real TLS, spoken to by bare clients of WebSocket and SPDY, by kube and by kubectl.

mod access;
mod apiserver;
mod certificates;
mod client;
mod exec;
mod kube_client;
mod kubectl;
mod logs;
mod node;
mod portforward;
mod spdy;

use std::net::SocketAddr;
use std::sync::Arc;

use certificates::Authority;
use node::TestNode;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running server, ended when dropped.
struct Server {
    address: SocketAddr,
    node: Arc<TestNode>,
    authority: Authority,
    _stop: oneshot::Sender<()>,
}

impl Server {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Authority::new();
        let node = Arc::new(TestNode::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serve = barepod_streams::serve(listener, authority.server_config(true), node.clone(), async {
            let _ = stopped.await;
        });
        tokio::spawn(async move { serve.await.unwrap() });
        Self {
            address,
            node,
            authority,
            _stop: stop,
        }
    }
}
