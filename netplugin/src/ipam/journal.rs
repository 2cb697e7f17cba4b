//! The reservations' file: one JSON object a line, appended, and rewritten when most of it is past.
//!
//! Appending needs one flush to disk where replacing a file needs two, and a batch of pods needs it once.

use super::Reservation;
use crate::files::{read_if_there, remove_if_there, replace, sync_parent};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FILE: &str = "reservations.jsonl";
/// Lines of the past that are not worth a rewrite.
const SLACK: usize = 256;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Entry {
    /// A pod has got an address.
    Reserve(Reservation),
    /// A pod has given its address back.
    Release {
        /// The pod's UID.
        uid: String,
    },
    /// The address given out last, when the lines that told it are gone.
    Last {
        /// The address.
        ip: Ipv4Addr,
    },
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes that are known to be whole lines.
    length: u64,
    lines: usize,
}

/// A failed write; every reservation of the batch fails with it.
#[derive(Debug)]
pub(super) struct WriteFailure {
    path: PathBuf,
    source: io::Error,
}

impl WriteFailure {
    /// The error once more, as an I/O error cannot be copied.
    pub(super) fn again(&self) -> Error {
        let source = self
            .source
            .raw_os_error()
            .map_or_else(|| self.source.kind().into(), io::Error::from_raw_os_error);
        Error::file("write reservations to", &self.path)(source)
    }
}

impl Journal {
    /// Opens the file and reads its entries. A last line that was not written to its end is cut off.
    pub(super) fn open(state_dir: &Path) -> Result<(Self, Vec<Entry>)> {
        let path = state_dir.join(FILE);
        let content = read_if_there(&path)?;
        let is_new = content.is_none();
        let content = content.unwrap_or_default();
        let whole = content.rfind('\n').map_or(0, |end| end + 1);
        let mut entries = vec![];
        for (number, line) in content[..whole].lines().enumerate() {
            let entry = serde_json::from_str(line).map_err(|error| Error::Damaged {
                path: path.clone(),
                line: number + 1,
                reason: error.to_string(),
            })?;
            entries.push(entry);
        }
        let file = open_file(&path).map_err(Error::file("open", &path))?;
        let length = whole as u64;
        file.set_len(length).map_err(Error::file("cut", &path))?;
        if is_new {
            sync_parent(&path).map_err(Error::file("write", &path))?;
        }
        let lines = entries.len();
        Ok((
            Self {
                path,
                file,
                length,
                lines,
            },
            entries,
        ))
    }

    /// Appends the entries; with `durable` they are on disk when this returns.
    pub(super) fn append(&mut self, entries: &[Entry], durable: bool) -> Result<(), WriteFailure> {
        let mut text = vec![];
        for entry in entries {
            serde_json::to_writer(&mut text, entry).expect("an entry is always valid JSON");
            text.push(b'\n');
        }
        let mut write = || {
            self.file.write_all(&text)?;
            if durable { self.file.sync_data() } else { Ok(()) }
        };
        if let Err(source) = write() {
            // Half a line would spoil the next one; if cutting fails too, `open` cuts it.
            let _ = self.file.set_len(self.length);
            return Err(WriteFailure {
                path: self.path.clone(),
                source,
            });
        }
        self.length += text.len() as u64;
        self.lines += entries.len();
        Ok(())
    }

    /// Rewrites the file when it has many more lines than there are pods.
    pub(super) fn compact_if_worthwhile(&mut self, pods: &BTreeMap<String, Reservation>, last: Ipv4Addr) -> Result<()> {
        if self.lines <= 2 * pods.len() + SLACK {
            return Ok(());
        }
        let entries = pods
            .values()
            .cloned()
            .map(Entry::Reserve)
            .chain([Entry::Last { ip: last }]);
        let mut text = vec![];
        for entry in entries {
            serde_json::to_writer(&mut text, &entry).expect("an entry is always valid JSON");
            text.push(b'\n');
        }
        replace(&self.path, &text)?;
        self.file = open_file(&self.path).map_err(Error::file("open", &self.path))?;
        self.length = text.len() as u64;
        self.lines = pods.len() + 1;
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

pub(super) fn remove(state_dir: &Path) -> Result<()> {
    remove_if_there(&state_dir.join(FILE))?;
    remove_if_there(&state_dir.join(format!("{FILE}.new")))
}
