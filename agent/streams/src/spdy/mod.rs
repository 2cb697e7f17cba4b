//! SPDY/3.1, as far as clients of exec, attach and port-forward use it.
//!
//! Written from the protocol's draft 3.1: control frames of version 3, header blocks compressed with zlib over a fixed
//! dictionary, one compression state for all blocks of a direction.

mod dictionary;
mod frame;
mod headers;
mod peer;
mod window;

pub use frame::{Decoder, Encoder, Frame, FrameError, RstStatus};
pub use headers::Headers;
pub(crate) use headers::header;
pub(crate) use peer::{Frames, Peer, Refill, WeakPeer, write};
use window::Windows;
