//! A directory or archive as a set of named files that can be read in any order.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compression;
use crate::digest;
use crate::error::{Error, Result};
use crate::tarball::{Kind, TarReader};
use crate::unpack::LayerError;

/// Largest document (index, manifest, configuration); containerd draws the line at the same size.
const MAX_DOCUMENT: u64 = 8 * 1024 * 1024;
/// An image archive has a few files for every layer.
const MAX_FILES: usize = 100_000;
/// Links from one archive member to another that are followed.
const MAX_LINKS: u32 = 10;

/// Where an import reads from.
pub(super) struct Source {
    path: PathBuf,
    kind: Form,
}

enum Form {
    Directory,
    Archive {
        file: Arc<File>,
        members: HashMap<Vec<u8>, Member>,
    },
}

enum Member {
    File { offset: u64, size: u64 },
    Link(Vec<u8>),
}

impl Source {
    /// Opens `path`. A compressed archive is first written out into `staging`, since its members are not read in the
    /// order they come in.
    pub(super) fn open(path: &Path, staging: &Path) -> Result<Self> {
        let io = || Error::io("open", path);
        // Not blocking, because a fifo would wait for a writer.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(io())?;
        let data = file.metadata().map_err(io())?;
        if data.is_dir() {
            return Ok(Self {
                path: path.to_path_buf(),
                kind: Form::Directory,
            });
        }
        if !data.is_file() {
            return Err(Error::UnknownFormat {
                path: path.to_path_buf(),
            });
        }
        let mut start = [0; 4];
        let count = file.read_at(&mut start, 0).map_err(Error::io("read", path))?;
        let file = if compression::is_compressed(&start[..count]) {
            write_out(file, path, &staging.join("archive"))?
        } else {
            file
        };
        let file = Arc::new(file);
        let members = members(&file, path)?;
        Ok(Self {
            path: path.to_path_buf(),
            kind: Form::Archive { file, members },
        })
    }

    /// What is being imported.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        match &self.kind {
            Form::Directory => self.path.join(name).is_file(),
            Form::Archive { members, .. } => lookup(members, name).is_some(),
        }
    }

    /// Opens a file for reading from its start.
    pub(super) fn read(&self, name: &str) -> Result<Box<dyn Read + '_>> {
        let missing = || Error::MissingBlob {
            object: name.to_owned(),
            path: self.path.clone(),
        };
        match &self.kind {
            Form::Directory => {
                let path = self.path.join(name);
                match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
                    Ok(file) if file.metadata().is_ok_and(|data| data.is_file()) => Ok(Box::new(file)),
                    Ok(_) => Err(missing()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                    Err(error) => Err(Error::io("open", &path)(error)),
                }
            }
            Form::Archive { file, members } => {
                let (offset, size) = lookup(members, name).ok_or_else(missing)?;
                Ok(Box::new(Range {
                    file: Arc::clone(file),
                    position: offset,
                    end: offset + size,
                }))
            }
        }
    }

    /// Reads a small file.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut reader = self.read(name)?.take(MAX_DOCUMENT + 1);
        reader
            .read_to_end(&mut content)
            .map_err(Error::io("read", &self.path.join(name)))?;
        if content.len() as u64 > MAX_DOCUMENT {
            return Err(Error::TooLarge {
                object: name.to_owned(),
                limit_bytes: MAX_DOCUMENT,
            });
        }
        Ok(content)
    }

    /// Reads a small blob of an OCI layout and checks its digest.
    pub(super) fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let content = self.document(&blob_name(digest)?)?;
        digest::verify(&format!("blob {digest}"), digest, &digest::sha256(&content))?;
        Ok(content)
    }
}

/// Where an OCI layout keeps a blob.
pub(super) fn blob_name(digest: &str) -> Result<String> {
    Ok(format!("blobs/sha256/{}", digest::hex(digest)?))
}

fn write_out(file: File, path: &Path, to: &Path) -> Result<File> {
    let mut plain = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(Error::io("create", to))?;
    compression::decompress(file)
        .and_then(|mut reader| io::copy(&mut reader, &mut plain))
        .map_err(Error::io("decompress", path))?;
    Ok(plain)
}

fn members(file: &Arc<File>, path: &Path) -> Result<HashMap<Vec<u8>, Member>> {
    let fail = |source: LayerError| Error::Archive {
        path: path.to_path_buf(),
        source,
    };
    let end = file.metadata().map_err(Error::io("look at", path))?.len();
    let mut reader = TarReader::new(Range {
        file: Arc::clone(file),
        position: 0,
        end,
    });
    let mut members = HashMap::new();
    loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(members),
            // Whatever is not even an archive gets the message about formats.
            Err(_) if members.is_empty() => {
                return Err(Error::UnknownFormat {
                    path: path.to_path_buf(),
                });
            }
            Err(error) => return Err(fail(error.into())),
        };
        let name = normal(&entry.path, b"");
        let member = match entry.kind {
            Kind::File => Member::File {
                offset: entry.offset,
                size: entry.size,
            },
            // Old versions of docker save wrote a layer once and linked to it.
            Kind::HardLink => Member::Link(normal(&entry.link, b"")),
            Kind::Symlink => Member::Link(normal(&entry.link, &name)),
            _ => continue,
        };
        members.insert(name, member);
        if members.len() > MAX_FILES {
            return Err(fail(LayerError::TooManyEntries {
                limit: MAX_FILES as u64,
            }));
        }
    }
}

/// A member's name without dots; a relative link starts from the directory of `from`. These names are only looked up
/// among the members, never opened.
fn normal(name: &[u8], from: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    if !name.starts_with(b"/") {
        parts.extend(from.split(|&byte| byte == b'/').filter(|part| !part.is_empty()));
        parts.pop();
    }
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

fn lookup(members: &HashMap<Vec<u8>, Member>, name: &str) -> Option<(u64, u64)> {
    let mut name = normal(OsStr::new(name).as_bytes(), b"");
    for _ in 0..MAX_LINKS {
        match members.get(&name)? {
            Member::File { offset, size } => return Some((*offset, *size)),
            Member::Link(target) => name.clone_from(target),
        }
    }
    None
}

/// A part of a file, read without moving the file's position.
struct Range {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let limit = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..limit], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
