//! Writes a large document piece by piece through a compressor, so that it never exists as a whole.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// What takes a document: an object whose entries may be objects that are written entry by entry, too.
pub(super) trait Sink {
    /// Writes an entry of the object.
    fn entry(&mut self, key: &str, value: &Value);

    /// Begins an entry that is itself an object.
    fn open(&mut self, key: &str);

    /// Ends the object begun last.
    fn close(&mut self);

    /// Ends the document; what was written, compressed.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// Writes one JSON object.
pub(super) struct JsonWriter {
    out: GzEncoder<Vec<u8>>,
    /// The object being written has no entry yet.
    first: bool,
}

/// Writing into memory cannot fail.
pub(super) const IN_MEMORY: &str = "compressing into memory does not fail";

impl JsonWriter {
    pub(super) fn new() -> Self {
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        out.write_all(b"{").expect(IN_MEMORY);
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.write_all(b",").expect(IN_MEMORY);
        }
        self.first = false;
        serde_json::to_writer(&mut self.out, key).expect(IN_MEMORY);
        self.out.write_all(b":").expect(IN_MEMORY);
    }
}

impl Sink for JsonWriter {
    fn entry(&mut self, key: &str, value: &Value) {
        self.key(key);
        serde_json::to_writer(&mut self.out, value).expect(IN_MEMORY);
    }

    fn open(&mut self, key: &str) {
        self.key(key);
        self.out.write_all(b"{").expect(IN_MEMORY);
        self.first = true;
    }

    fn close(&mut self) {
        self.out.write_all(b"}").expect(IN_MEMORY);
        self.first = false;
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        self.close();
        self.out.finish().expect(IN_MEMORY)
    }
}
