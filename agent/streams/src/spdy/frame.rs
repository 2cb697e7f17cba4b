//! Frames to bytes and back.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::headers::{Headers, Packer, Unpacker};

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;
const FIN: u8 = 1;
const INITIAL_WINDOW_SIZE: u32 = 7;
const ID_MASK: u32 = 0x7fff_ffff;
/// Largest frame taken; the format allows 16 MiB, clients send 32 KiB.
const MAX_FRAME: usize = 1024 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// The new stream; odd if the client opens it.
        stream: u32,
        /// The opener will send nothing.
        fin: bool,
        /// What it is for.
        headers: Headers,
    },
    /// Accepts a stream.
    SynReply {
        /// The stream.
        stream: u32,
        /// The acceptor will send nothing.
        fin: bool,
        /// More about it.
        headers: Headers,
    },
    /// Ends a stream at once, in both directions.
    RstStream {
        /// The stream.
        stream: u32,
        /// Why.
        status: RstStatus,
    },
    /// The peer's settings, as far as they matter here.
    Settings {
        /// Window that new streams start with.
        initial_window: Option<u32>,
    },
    /// To be sent back unchanged.
    Ping {
        /// Odd if the client asks.
        id: u32,
    },
    /// No new streams will be accepted.
    GoAway {
        /// Last stream that was accepted.
        last_stream: u32,
    },
    /// More headers for a stream.
    Headers {
        /// The stream.
        stream: u32,
        /// Nothing follows.
        fin: bool,
        /// The headers.
        headers: Headers,
    },
    /// Room for more data.
    WindowUpdate {
        /// The stream, or 0 for the whole connection.
        stream: u32,
        /// Bytes.
        delta: u32,
    },
    /// Data of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// Nothing follows.
        fin: bool,
        /// The data.
        data: Bytes,
    },
    /// A control frame of a type that does not matter here.
    Other {
        /// Its type.
        kind: u16,
    },
}

/// Why a stream was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RstStatus {
    /// A rule of the protocol was broken.
    ProtocolError,
    /// There is no such stream.
    InvalidStream,
    /// It was not accepted.
    RefusedStream,
    /// It is not wanted any more.
    Cancel,
    /// Any other reason.
    Other(u32),
}

impl RstStatus {
    fn code(self) -> u32 {
        match self {
            Self::ProtocolError => 1,
            Self::InvalidStream => 2,
            Self::RefusedStream => 3,
            Self::Cancel => 5,
            Self::Other(code) => code,
        }
    }

    fn of(code: u32) -> Self {
        match code {
            1 => Self::ProtocolError,
            2 => Self::InvalidStream,
            3 => Self::RefusedStream,
            5 => Self::Cancel,
            code => Self::Other(code),
        }
    }
}

/// Why bytes are no frames. The connection cannot go on after any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not SPDY/3.
    #[error("unsupported version {0}")]
    Version(u16),
    /// A frame or header block above the limit.
    #[error("frame too large")]
    TooLarge,
    /// A control frame of the wrong length.
    #[error("malformed frame of type {0}")]
    Malformed(u16),
    /// Header blocks that cannot be decompressed.
    #[error("damaged header compression")]
    Compression,
    /// Header blocks that hold no headers.
    #[error("malformed headers")]
    Headers,
}

/// Turns bytes into frames.
pub struct Decoder {
    buffer: BytesMut,
    headers: Unpacker,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder for one direction of a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            headers: Unpacker::new(),
        }
    }

    /// Adds bytes as they arrive, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if it has arrived completely.
    ///
    /// # Errors
    /// [`FrameError`]; the decoder is useless afterwards.
    pub fn decode(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<8>() else {
            return Ok(None);
        };
        let (first, flags) = (u32::from_be_bytes([head[0], head[1], head[2], head[3]]), head[4]);
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        if length > MAX_FRAME {
            return Err(FrameError::TooLarge);
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        self.buffer.advance(8);
        let body = self.buffer.split_to(length).freeze();
        let fin = flags & FIN != 0;
        if first & !ID_MASK == 0 {
            return Ok(Some(Frame::Data {
                stream: first,
                fin,
                data: body,
            }));
        }
        let [high, low, kind @ ..] = first.to_be_bytes();
        let version = u16::from_be_bytes([high & 0x7f, low]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        self.control(u16::from_be_bytes(kind), fin, body).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, mut body: Bytes) -> Result<Frame, FrameError> {
        let malformed = FrameError::Malformed(kind);
        let minimum = match kind {
            SYN_STREAM => 10,
            SYN_REPLY | HEADERS | SETTINGS | PING => 4,
            RST_STREAM | GOAWAY | WINDOW_UPDATE => 8,
            _ => 0,
        };
        if body.len() < minimum {
            return Err(malformed);
        }
        Ok(match kind {
            SYN_STREAM => {
                let stream = body.get_u32() & ID_MASK;
                // The associated stream, priority and slot have no meaning here.
                body.advance(6);
                Frame::SynStream {
                    stream,
                    fin,
                    headers: self.headers.unpack(&body)?,
                }
            }
            SYN_REPLY => Frame::SynReply {
                stream: body.get_u32() & ID_MASK,
                fin,
                headers: self.headers.unpack(&body)?,
            },
            HEADERS => Frame::Headers {
                stream: body.get_u32() & ID_MASK,
                fin,
                headers: self.headers.unpack(&body)?,
            },
            RST_STREAM => Frame::RstStream {
                stream: body.get_u32() & ID_MASK,
                status: RstStatus::of(body.get_u32()),
            },
            SETTINGS => settings(body).ok_or(malformed)?,
            PING => Frame::Ping { id: body.get_u32() },
            GOAWAY => Frame::GoAway {
                last_stream: body.get_u32() & ID_MASK,
            },
            WINDOW_UPDATE => Frame::WindowUpdate {
                stream: body.get_u32() & ID_MASK,
                delta: body.get_u32() & ID_MASK,
            },
            kind => Frame::Other { kind },
        })
    }
}

fn settings(mut body: Bytes) -> Option<Frame> {
    let mut initial_window = None;
    for _ in 0..body.get_u32() {
        let id = body.try_get_u32().ok()? & 0x00ff_ffff;
        let value = body.try_get_u32().ok()?;
        if id == INITIAL_WINDOW_SIZE {
            initial_window = Some(value & ID_MASK);
        }
    }
    Some(Frame::Settings { initial_window })
}

/// Turns frames into bytes.
pub struct Encoder {
    headers: Packer,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder for one direction of a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self { headers: Packer::new() }
    }

    /// Appends a frame to `out`. Frames must be sent in the order they are encoded in.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) {
        match frame {
            Frame::SynStream { stream, fin, headers } => {
                let block = self.headers.pack(headers);
                head(out, SYN_STREAM, *fin, 10 + block.len());
                out.put_u32(*stream);
                out.put_bytes(0, 6);
                out.put_slice(&block);
            }
            Frame::SynReply { stream, fin, headers } => self.with_headers(SYN_REPLY, *stream, *fin, headers, out),
            Frame::Headers { stream, fin, headers } => self.with_headers(HEADERS, *stream, *fin, headers, out),
            Frame::RstStream { stream, status } => {
                head(out, RST_STREAM, false, 8);
                out.put_u32(*stream);
                out.put_u32(status.code());
            }
            Frame::Settings { initial_window } => {
                let count = u32::from(initial_window.is_some());
                head(out, SETTINGS, false, 4 + initial_window.map_or(0, |_| 8));
                out.put_u32(count);
                if let Some(size) = initial_window {
                    out.put_u32(INITIAL_WINDOW_SIZE);
                    out.put_u32(*size);
                }
            }
            Frame::Ping { id } => {
                head(out, PING, false, 4);
                out.put_u32(*id);
            }
            Frame::GoAway { last_stream } => {
                head(out, GOAWAY, false, 8);
                out.put_u32(*last_stream);
                out.put_u32(0);
            }
            Frame::WindowUpdate { stream, delta } => {
                head(out, WINDOW_UPDATE, false, 8);
                out.put_u32(*stream);
                out.put_u32(*delta);
            }
            Frame::Data { stream, fin, data } => {
                out.put_u32(*stream);
                flags_and_length(out, *fin, data.len());
                out.put_slice(data);
            }
            Frame::Other { kind } => head(out, *kind, false, 0),
        }
    }

    fn with_headers(&mut self, kind: u16, stream: u32, fin: bool, headers: &Headers, out: &mut BytesMut) {
        let block = self.headers.pack(headers);
        head(out, kind, fin, 4 + block.len());
        out.put_u32(stream);
        out.put_slice(&block);
    }
}

fn head(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    flags_and_length(out, fin, length);
}

fn flags_and_length(out: &mut BytesMut, fin: bool, length: usize) {
    let length = u32::try_from(length).ok().filter(|&length| length < 1 << 24);
    let length = length.expect("frames are cut to far less than 16 MiB");
    out.put_u32(u32::from(fin) << 24 | length);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        let headers = |kind: &str| {
            vec![
                ("streamtype".to_owned(), kind.to_owned()),
                ("port".to_owned(), "80".to_owned()),
            ]
        };
        vec![
            Frame::SynStream {
                stream: 1,
                fin: false,
                headers: headers("error"),
            },
            Frame::SynStream {
                stream: 3,
                fin: true,
                headers: headers("data"),
            },
            Frame::SynReply {
                stream: 1,
                fin: false,
                headers: Vec::new(),
            },
            Frame::Data {
                stream: 3,
                fin: false,
                data: Bytes::from(vec![7; 40_000]),
            },
            Frame::Data {
                stream: 3,
                fin: true,
                data: Bytes::new(),
            },
            Frame::Headers {
                stream: 3,
                fin: false,
                headers: headers("x"),
            },
            Frame::RstStream {
                stream: 3,
                status: RstStatus::Cancel,
            },
            Frame::Settings {
                initial_window: Some(1 << 20),
            },
            Frame::Settings { initial_window: None },
            Frame::Ping { id: 5 },
            Frame::WindowUpdate {
                stream: 0,
                delta: 65536,
            },
            Frame::GoAway { last_stream: 3 },
            Frame::Other { kind: 11 },
        ]
    }

    #[test]
    fn frames_survive_the_round_trip_however_they_are_cut() {
        let mut bytes = BytesMut::new();
        let mut encoder = Encoder::new();
        frames().iter().for_each(|frame| encoder.encode(frame, &mut bytes));
        for size in [1, 3, 8, 1000, bytes.len()] {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.push(chunk);
                while let Some(frame) = decoder.decode().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames());
        }
    }

    #[test]
    fn a_known_frame() {
        let mut bytes = BytesMut::new();
        Encoder::new().encode(&Frame::Ping { id: 1 }, &mut bytes);
        assert_eq!(&bytes[..], [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
        bytes.clear();
        Encoder::new().encode(
            &Frame::Data {
                stream: 5,
                fin: true,
                data: Bytes::from("hi"),
            },
            &mut bytes,
        );
        assert_eq!(&bytes[..], [0, 0, 0, 5, 1, 0, 0, 2, b'h', b'i']);
    }

    #[test]
    fn bad_frames_are_errors() {
        for (bytes, error) in [
            (&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1][..], FrameError::Version(2)),
            (&[0x80, 3, 0, 6, 0, 0, 0, 2, 0, 0], FrameError::Malformed(6)),
            (&[0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 9], FrameError::Malformed(4)),
            (&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff], FrameError::TooLarge),
        ] {
            let mut decoder = Decoder::new();
            decoder.push(bytes);
            assert_eq!(decoder.decode(), Err(error));
        }
    }
}
