//! Frames: what one commit appends. All or nothing of a frame is there.
//!
//! A frame has a header of 16 bytes: the length of its payload (`u32`), a checksum (`u32`), its number (`u64`, from 1 in
//! each file). The checksum is CRC-32 over the file's salt, the number and the payload, so that bytes left over from
//! elsewhere, or put there by who knows the format but not the salt, are no frame. Frames begin at multiples of 8. All
//! numbers are little-endian. The payload is a sequence of entries, see [`Entry`].

use crc32fast::Hasher;

use crate::Object;

/// The beginning of every file; the salt follows.
pub(crate) const FILE_HEADER: [u8; 16] = *b"barepod store 1\n";
/// Where the first frame begins.
pub(crate) const START: u64 = 24;
/// The header of a frame.
pub(crate) const HEADER: usize = 16;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const RESERVE: u8 = 3;

/// What an object takes in a file.
pub(crate) fn cost(object: &Object) -> u64 {
    (PUT_FIXED + object.key().len() + object.bytes().len()) as u64
}

/// Tag, created, revision, splice, length of the key, length of the text.
const PUT_FIXED: usize = 1 + 8 + 8 + 4 + 4 + 4;

/// The payload of a frame under construction.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch(Vec<u8>);

impl Batch {
    pub(crate) fn put(&mut self, object: &Object) {
        let out = &mut self.0;
        out.reserve(PUT_FIXED + object.key().len() + object.bytes().len());
        out.push(PUT);
        out.extend_from_slice(&object.created().to_le_bytes());
        out.extend_from_slice(&object.revision().to_le_bytes());
        out.extend_from_slice(&length(object.splice()));
        out.extend_from_slice(&length(object.key().len()));
        out.extend_from_slice(&length(object.bytes().len()));
        out.extend_from_slice(object.key().as_bytes());
        out.extend_from_slice(object.bytes());
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.0.push(DELETE);
        self.0.extend_from_slice(&length(key.len()));
        self.0.extend_from_slice(key.as_bytes());
    }

    /// Says up to which revision there may be writes that are only in memory.
    pub(crate) fn reserve(&mut self, revision: u64) {
        self.0.push(RESERVE);
        self.0.extend_from_slice(&revision.to_le_bytes());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        if self.0.capacity() > 1 << 20 {
            self.0 = Vec::new();
        }
        self.0.clear();
    }
}

/// Lengths are far below 4 GiB: a body has 3 MiB at most.
fn length(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

/// One change, as a payload holds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Put {
        key: &'a str,
        created: u64,
        revision: u64,
        splice: usize,
        text: &'a [u8],
    },
    Delete(&'a str),
    Reserve(u64),
}

/// Reads the entries of a payload; `None` if it is no sequence of entries.
pub(crate) fn entries<'a>(mut payload: &'a [u8], mut each: impl FnMut(Entry<'a>) -> Option<()>) -> Option<()> {
    while let Some((tag, rest)) = payload.split_first() {
        payload = rest;
        let entry = match *tag {
            PUT => {
                let (created, revision) = (number(&mut payload)?, number(&mut payload)?);
                let splice = size(&mut payload)?;
                let (key, text) = (size(&mut payload)?, size(&mut payload)?);
                Entry::Put {
                    created,
                    revision,
                    splice,
                    key: std::str::from_utf8(take(&mut payload, key)?).ok()?,
                    text: take(&mut payload, text)?,
                }
            }
            DELETE => {
                let key = size(&mut payload)?;
                Entry::Delete(std::str::from_utf8(take(&mut payload, key)?).ok()?)
            }
            RESERVE => Entry::Reserve(number(&mut payload)?),
            _ => return None,
        };
        each(entry)?;
    }
    Some(())
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

fn number(from: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(from, 8)?.try_into().ok()?))
}

fn size(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take(from, 4)?.try_into().ok()?)).ok()
}

/// A place in a file where a frame is or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    salt: u64,
    pub(crate) offset: u64,
    pub(crate) number: u64,
}

impl Position {
    pub(crate) fn first(salt: u64) -> Self {
        Position {
            salt,
            offset: START,
            number: 1,
        }
    }

    /// Behind a frame with a payload of this length.
    pub(crate) fn skip(self, payload: usize) -> Self {
        let length = (HEADER + payload).next_multiple_of(8) as u64;
        Position {
            salt: self.salt,
            offset: self.offset + length,
            number: self.number + 1,
        }
    }

    pub(crate) fn after(self, batch: &Batch) -> Self {
        self.skip(batch.len())
    }

    /// The frame of a batch here.
    pub(crate) fn frame(self, batch: &Batch, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(HEADER + batch.len() + 8);
        out.extend_from_slice(&length(batch.len()));
        out.extend_from_slice(&self.checksum(&batch.0).to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&batch.0);
        out.resize(out.len().next_multiple_of(8), 0);
    }

    fn checksum(self, payload: &[u8]) -> u32 {
        let mut crc = Hasher::new();
        crc.update(&self.salt.to_le_bytes());
        crc.update(&self.number.to_le_bytes());
        crc.update(payload);
        crc.finalize()
    }

    /// The length of the payload of the frame whose header this is, if it may be the one that belongs here.
    pub(crate) fn expects(self, header: &[u8; HEADER]) -> Option<usize> {
        let (mut length, mut number_) = (&header[..4], &header[8..]);
        let length = size(&mut length)?;
        (length > 0 && number(&mut number_)? == self.number).then_some(length)
    }

    /// Whether the frame is whole.
    pub(crate) fn is_whole(self, header: &[u8; HEADER], payload: &[u8]) -> bool {
        header[4..8] == self.checksum(payload).to_le_bytes()
    }

    /// The same place, for a later frame: to look for frames where there should be none.
    pub(crate) fn later(self, header: &[u8; HEADER], frames: u64) -> Option<Self> {
        let mut number_ = &header[8..];
        let later = number(&mut number_)?;
        let position = Position { number: later, ..self };
        (later > self.number && later - self.number <= frames).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoded;

    #[test]
    fn entries_round_trip_and_garbage_is_refused() {
        let object = Encoded::new(b"{\"rv\":\"\"}".to_vec(), 7).commit("/a/b".into(), 3, 12);
        let mut batch = Batch::default();
        batch.put(&object);
        batch.delete("/a/c");
        batch.reserve(77);
        let mut seen = Vec::new();
        entries(&batch.0, |entry| {
            seen.push(entry);
            Some(())
        })
        .unwrap();
        let put = Entry::Put {
            key: "/a/b",
            created: 3,
            revision: 12,
            splice: 7,
            text: b"{\"rv\":\"12\"}",
        };
        assert_eq!(seen, [put, Entry::Delete("/a/c"), Entry::Reserve(77)]);
        let cost = usize::try_from(cost(&object)).unwrap();
        assert_eq!(cost, batch.len() - 1 - 4 - 4 - 1 - 8);
        for length in 0..batch.len() {
            // A cut payload is whole entries or refused, never something else.
            let mut count = 0;
            let result = entries(&batch.0[..length], |_| {
                count += 1;
                Some(())
            });
            assert!(count <= 2 && (result.is_none() || [0, cost, batch.len() - 9].contains(&length)));
        }
        assert!(entries(&[9], |_| Some(())).is_none());
    }

    #[test]
    fn a_frame_belongs_to_its_place_and_file() {
        let mut batch = Batch::default();
        batch.delete("/x");
        let here = Position::first(5).skip(100);
        let mut frame = Vec::new();
        here.frame(&batch, &mut frame);
        let header: &[u8; HEADER] = frame[..HEADER].try_into().unwrap();
        assert_eq!(here.expects(header), Some(batch.len()));
        assert!(here.is_whole(header, &batch.0));
        assert_eq!(here.skip(1).expects(header), None);
        assert!(!Position { salt: 6, ..here }.is_whole(header, &batch.0));
        assert_eq!(frame.len() as u64, here.after(&batch).offset - here.offset);
    }
}
