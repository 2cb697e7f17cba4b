//! Layers and archives come plain or compressed; the first bytes tell, so that a wrong media type does not matter.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

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
        Box::new(ZstdFrames { reader: Some(reader), frame: None })
    } else {
        Box::new(reader)
    })
}

/// Whether a file that starts with `start` is compressed.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(GZIP) || start.starts_with(ZSTD)
}

/// A decoder handles one frame; a layer may consist of many (zstd:chunked, parallel compressors).
struct ZstdFrames<R: Read> {
    reader: Option<R>,
    frame: Option<Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>>,
}

impl<R: BufRead> ZstdFrames<R> {
    /// Starts the next data frame; false at the end of the input.
    fn next_frame(&mut self) -> io::Result<bool> {
        let Some(mut reader) = self.reader.take() else { return Ok(false) };
        loop {
            let start = reader.fill_buf()?;
            if start.is_empty() {
                return Ok(false);
            }
            // Skippable frames (RFC 8878, 3.1.2) carry no data; zstd:chunked keeps its table of contents in them.
            let mut header = [0; 8];
            if start.len() < 8 || !(start[1..4] == [0x2a, 0x4d, 0x18] && start[0] & 0xf0 == 0x50) {
                break;
            }
            reader.read_exact(&mut header)?;
            let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
            let skipped = io::copy(&mut reader.by_ref().take(u64::from(length)), &mut io::sink())?;
            if skipped != u64::from(length) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.frame = Some(Box::new(StreamingDecoder::new(reader).map_err(io::Error::other)?));
        Ok(true)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.frame {
                Some(frame) => match frame.read(buffer)? {
                    0 if !buffer.is_empty() => {
                        self.reader = self.frame.take().map(|frame| frame.into_inner());
                    }
                    count => return Ok(count),
                },
                None => {
                    if !self.next_frame()? {
                        return Ok(0);
                    }
                }
            }
        }
    }
}
