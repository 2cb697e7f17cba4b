//! A transport for clients in this process: no socket, no TLS, no copies of the answer.

use std::sync::Arc;

use ::http::{Request, Response};
use barepod_client::{Body, Client, Error, Transport};
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::engine::identity::User;
use crate::engine::request::Request as ApiRequest;
use crate::engine::{Engine, error_response};
use crate::http::{aggregate, measured, until_answered};

/// Calls the engine as one user.
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
    pub fn client(self) -> Client {
        Client::new(self)
    }
}

impl Transport for InProcess {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Body>, Error>> {
        let (engine, user) = (self.engine.clone(), self.user.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let running = measured(&engine, &parts);
            if let Some(aggregated) = engine.forwarded(parts.uri.path()) {
                let request = Request::from_parts(parts, body);
                let passed = aggregate::answer_here(&engine, &user, &aggregated, request).await;
                let response = passed.unwrap_or_else(|error| error_response(&error));
                return Ok(until_answered(running, response).map(Body::new));
            }
            let mut request = ApiRequest::new(&parts, user, body);
            request.accept.gzip = false;
            // All parts share one program; each goes by its own name.
            request.user_agent = request.user.name.rsplit(':').next().unwrap_or("").to_owned();
            let response = until_answered(running, engine.handle(request).await);
            Ok(response.map(Body::new))
        })
    }
}
