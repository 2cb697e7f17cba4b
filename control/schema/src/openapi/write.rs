//! Writes a large JSON object piece by piece through a compressor, so that it never exists as a whole.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// Writes one JSON object.
pub(super) struct DocumentWriter {
    out: GzEncoder<Vec<u8>>,
    /// The object being written has no entry yet.
    first: bool,
}

/// Writing into memory cannot fail.
const IN_MEMORY: &str = "compressing into memory does not fail";

impl DocumentWriter {
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

    /// Writes an entry of the object.
    pub(super) fn entry(&mut self, key: &str, value: &Value) {
        self.key(key);
        serde_json::to_writer(&mut self.out, value).expect(IN_MEMORY);
    }

    /// Begins an entry that is itself an object.
    pub(super) fn open(&mut self, key: &str) {
        self.key(key);
        self.out.write_all(b"{").expect(IN_MEMORY);
        self.first = true;
    }

    /// Ends the object begun last.
    pub(super) fn close(&mut self) {
        self.out.write_all(b"}").expect(IN_MEMORY);
        self.first = false;
    }

    /// Ends the document; what was written, compressed.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out.finish().expect(IN_MEMORY)
    }
}
