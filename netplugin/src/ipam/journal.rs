//! The reservations' file: one JSON object a line, followed by empty lines up to the file's size.
//!
//! The file has its size before it is written to: overwriting empty lines and flushing them costs one flush of the
//! disk, where growing a file, or replacing it, also commits the file system's own journal, with whatever others have
//! in it. One write is one line, so a write that a crash cut short is one line that cannot be read, with nothing after
//! it.

use super::Reservation;
use crate::files::{read_if_there, remove_if_there, replace};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const FILE: &str = "reservations.jsonl";
/// The file's size is a multiple of this.
const STEP: usize = 64 * 1024;

/// One line: first the releases count, then the reservations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    /// UIDs of pods that have given their address back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) release: Vec<String>,
    /// Pods that have got an address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reserve: Vec<Reservation>,
    /// The address given out last, where the lines that told it are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Ipv4Addr>,
}

impl Entry {
    fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("an entry is always valid JSON");
        line.push(b'\n');
        line
    }
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the next line goes.
    end: usize,
    /// Up to here the file exists.
    size: usize,
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
    /// Opens the file and reads its entries; makes it if there is none.
    pub(super) fn open(state_dir: &Path) -> Result<(Self, Vec<Entry>)> {
        let path = state_dir.join(FILE);
        let content = match read_if_there(&path)? {
            Some(content) => content,
            None => {
                replace(&path, &padded(vec![]))?;
                String::new()
            }
        };
        let (entries, end) = read(&path, &content)?;
        let file = open_file(&path)?;
        let mut journal = Self {
            path,
            file,
            end,
            size: content.len().max(end),
        };
        if journal.end < content.trim_end().len() {
            journal.blank().map_err(|f| f.again())?;
        }
        if content.is_empty() {
            journal.size = journal
                .file
                .metadata()
                .map_or(0, |m| usize::try_from(m.len()).unwrap_or(0));
        }
        Ok((journal, entries))
    }

    /// Writes a line; when this returns, it is on disk.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), WriteFailure> {
        let line = entry.line();
        if self.end + line.len() > self.size {
            self.grow(line.len())?;
        }
        let written = self.write_at(&line, self.end).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a line would spoil the file; if this fails too, reading takes it for one that was cut short.
            let _ = self.write_at(&vec![b'\n'; line.len()], self.end);
            return Err(self.failure(source));
        }
        self.end += line.len();
        Ok(())
    }

    fn grow(&mut self, need: usize) -> Result<(), WriteFailure> {
        let step = need.next_multiple_of(STEP);
        let grown = self
            .write_at(&vec![b'\n'; step], self.size)
            .and_then(|()| self.file.sync_all());
        grown.map_err(|source| self.failure(source))?;
        self.size += step;
        Ok(())
    }

    /// Overwrites what a crash has left behind the last good line.
    fn blank(&mut self) -> Result<(), WriteFailure> {
        let rest = self.size.saturating_sub(self.end);
        let blanked = self
            .write_at(&vec![b'\n'; rest], self.end)
            .and_then(|()| self.file.sync_data());
        blanked.map_err(|source| self.failure(source))
    }

    fn write_at(&self, bytes: &[u8], at: usize) -> io::Result<()> {
        self.file.write_all_at(bytes, at as u64)
    }

    fn failure(&self, source: io::Error) -> WriteFailure {
        WriteFailure {
            path: self.path.clone(),
            source,
        }
    }

    /// Bytes in use; what is worth a rewrite is the caller's to say.
    pub(super) fn len(&self) -> usize {
        self.end
    }

    /// Replaces everything by one entry.
    pub(super) fn rewrite(&mut self, entry: &Entry) -> Result<()> {
        let line = entry.line();
        self.end = line.len();
        let content = padded(line);
        self.size = content.len();
        replace(&self.path, &content)?;
        self.file = open_file(&self.path)?;
        Ok(())
    }
}

/// The entries, and where they end.
fn read(path: &Path, content: &str) -> Result<(Vec<Entry>, usize)> {
    let mut entries = vec![];
    let mut end = 0;
    let mut bad: Option<(usize, String)> = None;
    let mut at = 0;
    for (number, line) in content.split_inclusive('\n').enumerate() {
        at += line.len();
        if line == "\n" {
            bad.get_or_insert((number + 1, "the line is empty".into()));
            continue;
        }
        match (serde_json::from_str(line), &bad) {
            (Ok(entry), None) if line.ends_with('\n') => {
                entries.push(entry);
                end = at;
            }
            (Ok(_), Some((line, reason))) => {
                return Err(Error::Damaged {
                    path: path.to_owned(),
                    line: *line,
                    reason: reason.clone(),
                });
            }
            (Ok(_), None) => bad = Some((number + 1, "the line has no end".into())),
            (Err(error), _) => drop(bad.get_or_insert((number + 1, error.to_string()))),
        }
    }
    Ok((entries, end))
}

fn padded(mut content: Vec<u8>) -> Vec<u8> {
    content.resize(content.len().max(1).next_multiple_of(STEP), b'\n');
    content
}

fn open_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(Error::file("open", path))
}

pub(super) fn remove(state_dir: &Path) -> Result<()> {
    remove_if_there(&state_dir.join(FILE))?;
    remove_if_there(&state_dir.join(format!("{FILE}.new")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::TestDir;

    fn release(uid: &str) -> Entry {
        Entry {
            release: vec![uid.into()],
            ..Entry::default()
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = TestDir::new();
        let (mut journal, entries) = Journal::open(&dir.0).unwrap();
        assert!(entries.is_empty());
        // More than the file's first size.
        let long = release(&"x".repeat(1000));
        for _ in 0..100 {
            journal.append(&long).unwrap();
        }
        let size = std::fs::metadata(dir.0.join(FILE)).unwrap().len();
        assert_eq!(size, 2 * STEP as u64);
        let (mut journal, entries) = Journal::open(&dir.0).unwrap();
        assert_eq!(entries, vec![long; 100]);
        journal.rewrite(&release("a")).unwrap();
        journal.append(&release("b")).unwrap();
        let (_, entries) = Journal::open(&dir.0).unwrap();
        assert_eq!(entries, [release("a"), release("b")]);
    }

    #[test]
    fn any_part_of_a_write_may_be_missing() {
        let line = String::from_utf8(release("b").line()).unwrap();
        let whole = String::from_utf8(release("a").line()).unwrap();
        let path = Path::new("x");
        for from in 0..line.len() {
            for to in from + 1..=line.len() {
                // Only a middle part has reached the disk; the rest is as empty as before.
                let mut torn = vec![b'\n'; line.len() + 10];
                torn[from..to].copy_from_slice(&line.as_bytes()[from..to]);
                let content = format!("{whole}{}", String::from_utf8(torn).unwrap());
                let (entries, end) = read(path, &content).unwrap();
                let expected = if from == 0 && to >= line.len() - 1 { 2 } else { 1 };
                assert_eq!(entries.len(), expected, "{from}..{to}");
                assert!(end <= whole.len() + line.len());
            }
        }
    }

    #[test]
    fn a_lost_line_is_not_taken_for_a_torn_one() {
        let line = String::from_utf8(release("a").line()).unwrap();
        for content in [
            format!("\n{line}"),
            format!("{line}rubbish\n{line}"),
            format!("{line}\n{line}\n"),
        ] {
            assert!(
                matches!(read(Path::new("x"), &content), Err(Error::Damaged { .. })),
                "{content:?}"
            );
        }
    }
}
