//! Layers and archives come plain or compressed; the first bytes tell, so that a wrong media type does not matter.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 256 * 1024;

/// The content of `reader` with its compression, if any, undone.
pub(crate) fn decompress<'a>(reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let start = reader.fill_buf()?;
    Ok(if start.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(reader))
    } else if start.starts_with(ZSTD) {
        Box::new(ZstdFrames {
            reader,
            decoder: FrameDecoder::new(),
            in_frame: false,
        })
    } else {
        Box::new(reader)
    })
}

/// Whether a file that starts with `start` is compressed.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(GZIP) || start.starts_with(ZSTD)
}

/// The decoder handles one frame; a layer may consist of many (zstd:chunked, parallel compressors).
struct ZstdFrames<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    /// Starts the next data frame; false at the end of the input.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.reader.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.reader) {
                Ok(()) => return Ok(true),
                // Skippable frames (RFC 8878, 3.1.2) carry no data; zstd:chunked keeps its table of contents in them.
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.reader.by_ref().take(length), &mut io::sink())? != length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            self.in_frame = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.reader, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.in_frame = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decompress(bytes).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// One frame of one raw block, preceded by what a stored zstd file has: magic, descriptor, size.
    fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        let block = u32::from(length) << 3 | 1;
        let mut frame = ZSTD.to_vec();
        frame.extend([0x20, length]);
        frame.extend(&block.to_le_bytes()[..3]);
        frame.extend(bytes);
        frame
    }

    #[test]
    fn the_first_bytes_decide() {
        assert_eq!(plain(b"plain"), b"plain");
        assert_eq!(plain(b""), b"");
        assert_eq!(plain(&[gzip(b"one "), gzip(b"two")].concat()), b"one two");
        assert_eq!(plain(&zstd_frame(b"zstd")), b"zstd");
    }

    #[test]
    fn zstd_frames_follow_each_other_and_some_are_skipped() {
        let skip = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        let stream = [zstd_frame(b"a"), skip.clone(), zstd_frame(b""), zstd_frame(b"b"), skip].concat();
        assert_eq!(plain(&stream), b"ab");
    }

    #[test]
    fn a_cut_off_stream_is_an_error() {
        let whole = gzip(&[7; 1000]);
        assert!(
            decompress(&whole[..whole.len() - 9])
                .unwrap()
                .read_to_end(&mut Vec::new())
                .is_err()
        );
        let whole = zstd_frame(b"abcdef");
        assert!(
            decompress(&whole[..whole.len() - 3])
                .unwrap()
                .read_to_end(&mut Vec::new())
                .is_err()
        );
    }
}
