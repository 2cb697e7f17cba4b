//! A transport for clients in this process: no socket, no TLS, no copies of the answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body as ClientBody;

use crate::engine::Engine;
use crate::engine::body::Body;
use crate::engine::identity::User;
use crate::engine::request::Request as ApiRequest;

/// A service for [`kube::Client::new`] that calls the engine as one user.
#[derive(Debug, Clone)]
pub struct InProcess {
    engine: Arc<Engine>,
    user: Arc<User>,
}

impl InProcess {
    /// A transport with the identity of a part of this process, such as `system:kube-controller-manager`.
    pub fn new(engine: Arc<Engine>, user: &str) -> Self {
        InProcess {
            engine,
            user: Arc::new(User::internal(user)),
        }
    }

    /// A client over it.
    pub fn client(self) -> kube::Client {
        kube::Client::new(self, "default")
    }
}

impl tower::Service<Request<ClientBody>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ClientBody>) -> Self::Future {
        let (engine, user) = (self.engine.clone(), self.user.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // A body made in this process is in memory already.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let mut request = ApiRequest::new(&parts, user, body);
            request.accept.gzip = false;
            if request.user_agent.is_empty() {
                request.user_agent = request.user.name.rsplit(':').next().unwrap_or("").to_owned();
            }
            Ok(engine.handle(request).await)
        })
    }
}
