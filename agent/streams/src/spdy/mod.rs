//! SPDY/3.1 frames, as far as port-forwarding clients use them.
//!
//! Written from the protocol's draft 3.1: control frames of version 3, header blocks compressed with zlib over a fixed
//! dictionary, one compression state for all blocks of a direction.

mod dictionary;
mod frame;
mod headers;
mod window;

pub use frame::{Decoder, Encoder, Frame, FrameError, RstStatus};
pub use headers::Headers;
pub(crate) use window::Windows;
