//! Requests with their answers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, Error as _};

use crate::connection::Connections;
use crate::error::{Error, Status};
use crate::kubeconfig::Kubeconfig;
use crate::lines::Lines;
use crate::object::{Read, decode};
use crate::request::Request;
use crate::transport::{Body, Transport};

/// Makes requests; clones share what carries them.
#[derive(Clone)]
pub struct Client(Arc<dyn Transport>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Over any transport.
    pub fn new(transport: impl Transport) -> Self {
        Self(Arc::new(transport))
    }

    /// Of the server that a kubeconfig names. Nothing is connected before the first request.
    ///
    /// # Errors
    /// Its certificates cannot be used.
    pub fn of(kubeconfig: &Kubeconfig) -> Result<Self, Error> {
        Connections::new(kubeconfig).map(Self::new)
    }

    /// The answer as it comes.
    ///
    /// The future is boxed here, so that it is in the program once and not once for every crate that awaits it.
    ///
    /// # Errors
    /// Whatever keeps it from being there.
    pub fn fetch(&self, request: Request) -> BoxFuture<'_, Result<Bytes, Error>> {
        Box::pin(async move {
            let request = request.into_http()?;
            let answer = async {
                let body = accepted(self.0.send(request).await?).await?;
                whole(body).await
            };
            match self.0.patience() {
                Some(limit) => tokio::time::timeout(limit, answer)
                    .await
                    .map_err(|_| Error::Late(limit))?,
                None => answer.await,
            }
        })
    }

    /// Only whether it went well.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn send(&self, request: Request) -> Result<(), Error> {
        self.fetch(request).await.map(drop)
    }

    /// The answer, decoded.
    ///
    /// # Errors
    /// As [`Self::fetch`], and when it is something else.
    pub async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        decode(text(&self.fetch(request).await?)?).map_err(Error::Decode)
    }

    /// The object in the answer.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn object<K: Read>(&self, request: Request) -> Result<K, Error> {
        let answer = self.fetch(request).await?;
        K::read(text(&answer)?).map_err(Error::Decode)
    }

    /// The object in the answer; `None` if there is no such object.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn find<K: Read>(&self, request: Request) -> Result<Option<K>, Error> {
        match self.object(request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The lines of an answer that goes on and on.
    pub(crate) async fn open(&self, request: Request) -> Result<Lines, Error> {
        let request = request.into_http()?;
        let begin = async { accepted(self.0.send(request).await?).await };
        let body = match self.0.patience() {
            Some(limit) => tokio::time::timeout(limit, begin)
                .await
                .map_err(|_| Error::Late(limit))?,
            None => begin.await,
        };
        body.map(Lines::new)
    }
}

/// The body of an answer that says yes.
async fn accepted(answer: http::Response<Body>) -> Result<Body, Error> {
    let code = answer.status();
    if code.is_success() {
        return Ok(answer.into_body());
    }
    let said = whole(answer.into_body()).await?;
    let mut status: Status = std::str::from_utf8(&said)
        .ok()
        .and_then(|text| decode(text).ok())
        .unwrap_or_default();
    // Whatever stands between may answer with a page of its own.
    status.code = code.as_u16();
    Err(Error::Api(Box::new(status)))
}

async fn whole(body: Body) -> Result<Bytes, Error> {
    Ok(body.collect().await.map_err(Error::Answer)?.to_bytes())
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| Error::Decode(serde_json::Error::custom(error)))
}
