//! A webhook on a socket, with TLS and a certificate of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What the webhook answers to the `request` of a review: the `response` without its uid. Null is no answer at all, and
/// with `afterMs` it comes later.
pub type Answer = Box<dyn Fn(&Value) -> Value + Send + Sync>;

pub struct Hook {
    pub address: SocketAddr,
    /// As `caBundle` takes it.
    pub bundle: String,
    asked: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Hook {
    pub async fn start(answer: Answer) -> Self {
        let names = vec!["hook.default.svc".to_owned(), "localhost".to_owned()];
        // As `openssl req -x509` makes it, which most that make their own use.
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signing_key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, answer, seen) = (acceptor.clone(), answer.clone(), seen.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate goes here.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let respond = service_fn(move |request| respond(request, answer.clone(), seen.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), respond)
                        .await;
                });
            }
        });
        Hook {
            address,
            bundle: base64::engine::general_purpose::STANDARD.encode(cert.pem()),
            asked,
            task,
        }
    }

    /// The requests of the reviews so far, which are forgotten.
    pub fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// A `clientConfig` with a URL.
    pub fn client(&self) -> Value {
        json!({"url": format!("https://localhost:{}/review", self.address.port()), "caBundle": self.bundle})
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    assert_eq!(request.headers()["content-type"], "application/json");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    let asked = review["request"].take();
    let mut response = answer(&asked);
    if response.is_null() {
        std::future::pending::<()>().await;
    }
    if let Some(ms) = response["afterMs"].as_u64() {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    response["uid"] = asked["uid"].clone();
    review["response"] = response;
    seen.lock().unwrap().push(asked);
    Ok(Response::new(Full::new(review.to_string().into())))
}

/// A JSON patch as an answer.
pub fn patch(patch: &Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}
