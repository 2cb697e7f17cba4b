//! Compression of large answers.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Response, header};
use http_body::{Body as _, Frame};

use crate::engine::body::{Body, BodyError};

/// Answers below this size are not worth the work.
const SMALLEST: u64 = 128 << 10;

/// Compresses the body of a response if its size is known and large.
pub fn compress(response: Response<Body>) -> Response<Body> {
    let large = response.body().size_hint().exact().is_some_and(|size| size >= SMALLEST);
    if !large || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts
        .headers
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    Response::from_parts(parts, Body::Stream(Box::pin(Gzip { inner: body, encoder })))
}

struct Gzip {
    inner: Body,
    /// Gone at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl http_body::Body for Gzip {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(None);
            };
            if !encoder.get_ref().is_empty() {
                let ready = std::mem::take(encoder.get_mut());
                return Poll::Ready(Some(Ok(Frame::data(ready.into()))));
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(frame) => {
                    let data = frame?.into_data().unwrap_or_default();
                    if let Some(encoder) = &mut self.encoder {
                        encoder.write_all(&data)?;
                    }
                }
                None => {
                    let rest = self
                        .encoder
                        .take()
                        .map(GzEncoder::finish)
                        .transpose()?
                        .unwrap_or_default();
                    return Poll::Ready(Some(Ok(Frame::data(rest.into()))));
                }
            }
        }
    }
}
