//! SHA-256 digests: their text form, and readers that compute them on the way.

use std::fmt::Write as _;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// The digest of `bytes` as `sha256:<hex>`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    text(Sha256::new_with_prefix(bytes))
}

fn text(hasher: Sha256) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in hasher.finalize() {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

/// The hexadecimal part of `sha256:<hex>`; anything else is refused, which also keeps digests safe as file names.
pub(crate) fn hex(digest: &str) -> Result<&str> {
    let invalid = || Error::InvalidDigest {
        digest: digest.to_owned(),
    };
    let hex = digest.strip_prefix("sha256:").ok_or_else(invalid)?;
    if is_hex64(hex) { Ok(hex) } else { Err(invalid()) }
}

/// Whether `text` has the form of a SHA-256 sum.
pub(crate) fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The chain id of a layer with `diff_id` above a layer with chain id `below`, as the OCI image specification
/// defines it under "layer chain id".
pub(crate) fn chain_id(below: Option<&str>, diff_id: &str) -> String {
    match below {
        None => diff_id.to_owned(),
        Some(below) => sha256(format!("{below} {diff_id}").as_bytes()),
    }
}

/// Errors unless `actual` is `expected`.
pub(crate) fn verify(object: &str, expected: &str, actual: &str) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::DigestMismatch {
        object: object.to_owned(),
        expected: expected.to_owned(),
        actual: actual.to_owned(),
    })
}

/// A reader that hashes what passes through it.
pub(crate) struct HashReader<R> {
    inner: R,
    hasher: Sha256,
    length: u64,
}

impl<R: Read> HashReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            length: 0,
        }
    }

    /// Reads what is left and returns the digest and length of everything.
    pub(crate) fn finish(mut self) -> io::Result<(String, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((text(self.hasher), self.length))
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.length += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_checked_before_they_become_file_names() {
        assert_eq!(
            hex(&sha256(b"")).unwrap(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for bad in ["sha256:../../etc/passwd", "sha512:00", "sha256:", "", "sha256:E3B0"] {
            assert!(hex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_chain_id_covers_what_lies_below() {
        let bottom = chain_id(None, &sha256(b"a"));
        assert_eq!(bottom, sha256(b"a"));
        assert_ne!(
            chain_id(Some(&bottom), &sha256(b"b")),
            chain_id(Some(&sha256(b"c")), &sha256(b"b"))
        );
    }

    #[test]
    fn hashing_includes_what_was_not_read() {
        let mut reader = HashReader::new(&b"hello world"[..]);
        reader.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(reader.finish().unwrap(), (sha256(b"hello world"), 11));
    }
}
