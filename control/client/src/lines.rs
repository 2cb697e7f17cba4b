//! A body cut into lines, as it comes.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::error::Error;
use crate::transport::Body;

/// The lines of a body.
pub(crate) struct Lines {
    body: Body,
    /// Came and was not returned yet.
    chunk: Bytes,
    /// The beginning of a line of which the rest has not come.
    begun: BytesMut,
}

impl Lines {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            chunk: Bytes::new(),
            begun: BytesMut::new(),
        }
    }

    /// The next line without its end; `None` when the body is over. An unfinished last line is left out.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(end) = self.chunk.iter().position(|byte| *byte == b'\n') {
                let mut line = self.chunk.split_to(end + 1);
                line.truncate(end);
                if self.begun.is_empty() {
                    return Ok(Some(line));
                }
                // Taken out, so that one long line does not hold its memory for ever.
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(&line);
                return Ok(Some(whole.freeze()));
            }
            self.begun.extend_from_slice(&std::mem::take(&mut self.chunk));
            match self.body.frame().await {
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(Error::Answer(error)),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;

    #[tokio::test]
    async fn lines_are_put_together_from_any_cut() {
        let chunks = ["ab", "c\nde\n", "\nf", "g", "h\nrest"];
        let frames = chunks.map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut lines = Lines::new(Body::new(body));
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(found, ["abc", "de", "", "fgh"]);
    }
}
