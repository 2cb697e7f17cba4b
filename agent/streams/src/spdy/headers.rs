//! Header blocks: name/value pairs under zlib.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::DICTIONARY;
use super::frame::FrameError;

/// Headers of a stream: lower-case names with their values, in order.
pub type Headers = Vec<(String, String)>;

/// The value of a header.
pub(crate) fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// A block may not become larger than this; a stream's headers take some hundred bytes.
const MAX_BLOCK: usize = 64 * 1024;

/// Packs the header blocks of one direction.
pub(super) struct Packer(Compress);

impl Packer {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        compress
            .set_dictionary(&DICTIONARY)
            .expect("a fresh zlib stream takes a dictionary");
        Self(compress)
    }

    pub(super) fn pack(&mut self, headers: &[(String, String)]) -> Vec<u8> {
        let mut plain = Vec::new();
        let number = |plain: &mut Vec<u8>, n: usize| {
            plain.extend(u32::try_from(n).expect("own headers are small").to_be_bytes());
        };
        number(&mut plain, headers.len());
        for (name, value) in headers {
            for text in [name, value] {
                number(&mut plain, text.len());
                plain.extend(text.as_bytes());
            }
        }
        let mut packed = Vec::with_capacity(plain.len() + 64);
        let mut rest = plain.as_slice();
        loop {
            let before = self.0.total_in();
            self.0
                .compress_vec(rest, &mut packed, FlushCompress::Sync)
                .expect("compressing to memory fails only for a finished stream, which this one never is");
            let taken = usize::try_from(self.0.total_in() - before).expect("it came from a slice");
            rest = &rest[taken..];
            // A flush is complete when it left room in the output (zlib.h, deflate).
            if rest.is_empty() && packed.len() < packed.capacity() {
                return packed;
            }
            packed.reserve(64);
        }
    }
}

/// Unpacks the header blocks of one direction.
pub(super) struct Unpacker(Decompress);

impl Unpacker {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn unpack(&mut self, packed: &[u8]) -> Result<Headers, FrameError> {
        let mut plain = Vec::with_capacity(1024);
        let mut rest = packed;
        loop {
            let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
            let result = self.0.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before_in).map_err(|_| FrameError::Compression)?;
            rest = &rest[taken..];
            match result {
                Ok(Status::Ok | Status::BufError) => {
                    let stuck = taken == 0 && self.0.total_out() == before_out;
                    if rest.is_empty() && plain.len() < plain.capacity() {
                        return parse(&plain);
                    }
                    if stuck && plain.len() < plain.capacity() {
                        return Err(FrameError::Compression);
                    }
                }
                Ok(Status::StreamEnd) => return Err(FrameError::Compression),
                // The first block starts with the request for the dictionary.
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&DICTIONARY)
                        .map_err(|_| FrameError::Compression)?;
                }
                Err(_) => return Err(FrameError::Compression),
            }
            if plain.len() >= MAX_BLOCK {
                return Err(FrameError::TooLarge);
            }
            plain.reserve(1024);
        }
    }
}

fn parse(mut plain: &[u8]) -> Result<Headers, FrameError> {
    let number = |plain: &mut &[u8]| {
        let (head, rest) = plain.split_first_chunk().ok_or(FrameError::Headers)?;
        *plain = rest;
        usize::try_from(u32::from_be_bytes(*head)).map_err(|_| FrameError::Headers)
    };
    let count = number(&mut plain)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let mut text = || {
            let length = number(&mut plain)?;
            let (head, rest) = plain.split_at_checked(length).ok_or(FrameError::Headers)?;
            plain = rest;
            String::from_utf8(head.to_vec()).map_err(|_| FrameError::Headers)
        };
        let name = text()?;
        headers.push((name.to_ascii_lowercase(), text()?));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(n: usize) -> Headers {
        vec![
            ("streamtype".to_owned(), "data".to_owned()),
            ("port".to_owned(), "8080".to_owned()),
            ("requestid".to_owned(), n.to_string()),
        ]
    }

    #[test]
    fn blocks_share_one_compression_state() {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        let first = packer.pack(&headers(0));
        assert_eq!(&first[..6], [0x78, first[1], 0xe3, 0xc6, 0xa7, 0xc2]);
        assert_eq!(unpacker.unpack(&first).unwrap(), headers(0));
        for n in 1..200 {
            let block = packer.pack(&headers(n));
            assert!(block.len() < first.len());
            assert_eq!(unpacker.unpack(&block).unwrap(), headers(n));
        }
        assert_eq!(unpacker.unpack(&packer.pack(&[])).unwrap(), []);
    }

    #[test]
    fn large_blocks_pass_and_larger_ones_do_not() {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        let noise: String = (0..20_000_u32)
            .map(|n| char::from(b'a' + u8::try_from(n * n % 7919 % 26).unwrap()))
            .collect();
        let large = vec![("x".to_owned(), noise)];
        assert_eq!(unpacker.unpack(&packer.pack(&large)).unwrap(), large);
        let bomb = vec![("x".to_owned(), "a".repeat(10 << 20))];
        assert!(matches!(
            unpacker.unpack(&packer.pack(&bomb)),
            Err(FrameError::TooLarge)
        ));
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Unpacker::new().unpack(b"not zlib at all").is_err());
        let mut packed = Packer::new().pack(&headers(1));
        packed.truncate(10);
        assert!(Unpacker::new().unpack(&packed).is_err());
        assert!(parse(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
