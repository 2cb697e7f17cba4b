//! What the unit tests share.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::unpack::remove_tree;

/// A directory of a test's own, removed when dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("barepod-images-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let parent = fs::File::open(self.0.parent().unwrap()).unwrap();
        remove_tree(&parent, OsStr::new(self.0.file_name().unwrap())).unwrap();
    }
}

/// A tar archive with entries no honest tool writes.
#[derive(Default)]
pub(crate) struct RawTar(Vec<u8>);

impl RawTar {
    pub(crate) fn entry(mut self, kind: u8, path: &str, link: &str, data: &[u8]) -> Self {
        self.push(kind, path, link, data, |_| {});
        self
    }

    pub(crate) fn file(self, path: &str, data: &str) -> Self {
        self.entry(b'0', path, "", data.as_bytes())
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, b"")
    }

    pub(crate) fn with(mut self, kind: u8, path: &str, set: impl FnOnce(&mut tar::Header)) -> Self {
        self.push(kind, path, "", b"", set);
        self
    }

    pub(crate) fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}");
        let mut records = Vec::new();
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let digits = (body.len() + 2).to_string().len();
        records.extend((body.len() + digits).to_string().as_bytes());
        records.extend(body);
        self.push(b'x', "pax", "", &records, |_| {});
        self
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    fn push(&mut self, kind: u8, path: &str, link: &str, data: &[u8], set: impl FnOnce(&mut tar::Header)) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        set(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }
}
