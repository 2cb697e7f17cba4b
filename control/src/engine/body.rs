//! Response bodies: whole, a list put together from shared objects, or a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use barepod_store::Object;
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::encode::without_kind;
use super::watch::WatchBody;

/// The error of a body that breaks off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// About how many bytes of a list make one frame.
const CHUNK: usize = 128 << 10;

/// A body.
pub enum Body {
    /// All of it.
    Full(Option<Bytes>),
    /// A list.
    List(ListBody),
    /// A watch.
    Watch(Box<WatchBody>),
    /// Something else, for example from a node.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Body::Full(_) => "Full",
            Body::List(_) => "List",
            Body::Watch(_) => "Watch",
            Body::Stream(_) => "Stream",
        })
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::Full(Some(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Body::Full(Some(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Full(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Body::List(list) => Poll::Ready(list.next_chunk().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Watch(watch) => watch
                .poll_chunk(context)
                .map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => stream.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Body::List(list) => list.left == 0,
            Body::Watch(_) => false,
            Body::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Body::List(list) => SizeHint::with_exact(list.left as u64),
            Body::Watch(_) => SizeHint::default(),
            Body::Stream(stream) => stream.size_hint(),
        }
    }
}

impl Body {
    /// The same, with a list put together at once.
    pub fn whole(self) -> Self {
        match self {
            Body::List(list) => list.collect().into(),
            other => other,
        }
    }

    /// The same, with something that is dropped with it.
    pub fn with_guard(self, guard: impl Send + Unpin + 'static) -> Self {
        Body::Stream(Box::pin(Guarded {
            inner: self,
            _guard: guard,
        }))
    }
}

struct Guarded<G> {
    inner: Body,
    _guard: G,
}

impl<G: Unpin> http_body::Body for Guarded<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A list whose items are copied into frames only while it is being sent, without the kind and the version that its head
/// says for all of them.
pub struct ListBody {
    head: Bytes,
    objects: std::vec::IntoIter<Arc<Object>>,
    left: usize,
    started: bool,
}

/// What follows the items.
const TAIL: &[u8] = b"]}";

impl ListBody {
    /// `head` ends with the opening bracket of the items.
    pub fn new(head: Bytes, objects: Vec<Arc<Object>>) -> Self {
        let items: usize = objects.iter().map(|object| without_kind(object).len() + 1).sum();
        let left = head.len() + items + objects.len().saturating_sub(1) + TAIL.len();
        ListBody {
            head,
            objects: objects.into_iter(),
            left,
            started: false,
        }
    }

    /// The length of the whole body.
    pub fn length(&self) -> usize {
        self.left
    }

    /// The whole body at once.
    pub fn collect(mut self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.left);
        while let Some(chunk) = self.next_chunk() {
            all.extend_from_slice(&chunk);
        }
        all.freeze()
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut chunk = BytesMut::with_capacity(self.left.min(CHUNK + (8 << 10)));
        let mut separate = self.started;
        if !self.started {
            chunk.extend_from_slice(&self.head);
            self.started = true;
        }
        while chunk.len() < CHUNK {
            let Some(object) = self.objects.next() else {
                chunk.extend_from_slice(TAIL);
                break;
            };
            let before: &[u8] = if std::mem::replace(&mut separate, true) {
                b",{"
            } else {
                b"{"
            };
            chunk.extend_from_slice(before);
            chunk.extend_from_slice(without_kind(&object));
        }
        self.left -= chunk.len();
        Some(chunk.freeze())
    }
}
