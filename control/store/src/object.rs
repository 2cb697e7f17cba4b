use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// Something derived from an object's content and kept with it, so that it is computed at most once.
pub type Cached = Arc<dyn Any + Send + Sync>;

/// An object as JSON that waits for its revision.
#[derive(Debug)]
pub struct Encoded {
    json: Vec<u8>,
    splice: usize,
    cached: Option<Cached>,
}

impl Encoded {
    /// `splice` is the offset in `json` where the decimal revision goes (between the quotes of
    /// `metadata.resourceVersion`, which must be the first member of that name in the text). It is clamped to the length
    /// of the text.
    pub fn new(json: Vec<u8>, splice: usize) -> Self {
        let splice = splice.min(json.len());
        Encoded {
            json,
            splice,
            cached: None,
        }
    }

    /// Keeps something already derived from the content, see [`Object::cached`].
    pub fn with_cached(mut self, cached: Cached) -> Self {
        self.cached = Some(cached);
        self
    }

    /// The text without a revision.
    pub(crate) fn json(&self) -> &[u8] {
        &self.json
    }

    pub(crate) fn commit(self, key: Arc<str>, created: u64, revision: u64) -> Object {
        let cached = OnceLock::new();
        if let Some(value) = self.cached {
            let _ = cached.set(value);
        }
        let bytes = splice(&self.json[..self.splice], revision, &self.json[self.splice..]);
        Object {
            key,
            bytes,
            created,
            revision,
            splice: self.splice,
            cached,
        }
    }
}

/// A stored object.
#[derive(Debug)]
pub struct Object {
    key: Arc<str>,
    bytes: Bytes,
    created: u64,
    revision: u64,
    splice: usize,
    cached: OnceLock<Cached>,
}

impl Object {
    /// The key it is stored under.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The JSON text, with its resourceVersion.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The revision of its last write.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision of its first write.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// What `make` derives from the object, computed on first use and kept as long as the object.
    pub fn cached(&self, make: impl FnOnce(&Object) -> Cached) -> &Cached {
        self.cached.get_or_init(|| make(self))
    }

    pub(crate) fn shared_key(&self) -> Arc<str> {
        self.key.clone()
    }

    /// The text without its revision, and where that goes.
    pub(crate) fn text(&self) -> (Vec<u8>, usize) {
        let (before, rest) = self.bytes.split_at(self.splice);
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        ([before, &rest[digits..]].concat(), self.splice)
    }

    /// The same object, with `revision` as its revision: as its removal, or its leaving of a selection, shows it.
    pub fn at(&self, revision: u64) -> Object {
        let (before, rest) = self.bytes.split_at(self.splice);
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        Object {
            key: self.key.clone(),
            bytes: splice(before, revision, &rest[digits..]),
            created: self.created,
            revision,
            splice: self.splice,
            cached: self.cached.clone(),
        }
    }

    /// Where the revision stands in the text.
    pub fn splice(&self) -> usize {
        self.splice
    }

    /// An object from its text without a revision, as [`Encoded`] has it; `None` if the text has no place for one.
    pub(crate) fn from_text(key: Arc<str>, created: u64, revision: u64, text: &[u8]) -> Option<Object> {
        const PLACE: &[u8] = b"\"resourceVersion\":\"";
        let splice_at = text.windows(PLACE.len()).position(|window| window == PLACE)? + PLACE.len();
        Some(Object {
            key,
            bytes: splice(&text[..splice_at], revision, &text[splice_at..]),
            created,
            revision,
            splice: splice_at,
            cached: OnceLock::new(),
        })
    }

    /// An object as it was, read back; `None` if the offset is not one in the text.
    pub(crate) fn restore(key: Arc<str>, created: u64, revision: u64, splice: usize, text: &[u8]) -> Option<Object> {
        (splice <= text.len()).then(|| Object {
            key,
            bytes: Bytes::copy_from_slice(text),
            created,
            revision,
            splice,
            cached: OnceLock::new(),
        })
    }
}

fn splice(before: &[u8], revision: u64, after: &[u8]) -> Bytes {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = revision;
    loop {
        at -= 1;
        digits[at] = b"0123456789"[usize::try_from(left % 10).unwrap_or(0)];
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let digits = &digits[at..];
    let mut text = Vec::with_capacity(before.len() + digits.len() + after.len());
    text.extend_from_slice(before);
    text.extend_from_slice(digits);
    text.extend_from_slice(after);
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_is_spliced_and_replaced() {
        let object = Encoded::new(b"{\"rv\":\"\",\"x\":1}".to_vec(), 7).commit("/a/b".into(), 5, 90);
        assert_eq!(&object.bytes()[..], b"{\"rv\":\"90\",\"x\":1}");
        let removed = object.at(12345);
        assert_eq!(&removed.bytes()[..], b"{\"rv\":\"12345\",\"x\":1}");
        assert_eq!((removed.created(), removed.revision()), (5, 12345));
    }
}
