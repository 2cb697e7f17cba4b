//! Reads a log piece by piece; blocking, but only for as long as the disk takes.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use super::files::{LogFile, open_chain};
use super::join::Joiner;
use super::options::LogOptions;
use super::tail;

const BLOCK: usize = 64 * 1024;
/// Output that is passed on at a time.
const CHUNK: usize = 64 * 1024;
/// The longest physical line; the writer cuts far earlier.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// What a step brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Output, and more may be there.
    Data(Bytes),
    /// Everything that is there has been read.
    Idle,
    /// The client wants no more.
    End,
}

/// A place in a log.
pub(super) struct LogReader {
    path: PathBuf,
    current: Option<LogFile>,
    position: u64,
    /// Newer files, in order.
    next: VecDeque<LogFile>,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    joiner: Joiner,
}

impl LogReader {
    /// Opens a log where the options say. A log whose file was not made yet is empty.
    pub(super) fn open(path: PathBuf, options: &LogOptions) -> io::Result<Self> {
        let mut next = open_chain(&path, None)?;
        let mut position = 0;
        if let Some(lines) = options.tail_lines {
            let (index, offset) = tail::start(&next.iter().collect::<Vec<_>>(), lines)?;
            next.drain(..index);
            position = offset;
        }
        let current = next.pop_front();
        Ok(Self {
            path,
            current,
            position,
            next,
            rest: Vec::new(),
            joiner: Joiner::new(options.clone()),
        })
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        while !self.joiner.is_full() && self.joiner.len() < CHUNK {
            if !self.fill()? && !self.advance()? {
                self.joiner.pause();
                return Ok(self.output().unwrap_or(Step::Idle));
            }
        }
        Ok(self.output().unwrap_or(Step::End))
    }

    /// The container has ended and everything was read: a last line without an end counts too.
    pub(super) fn finish(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.rest);
        self.joiner.line(&rest);
        self.joiner.pause();
        match self.output() {
            Some(Step::Data(data)) => Some(data),
            _ => None,
        }
    }

    fn output(&mut self) -> Option<Step> {
        let output = self.joiner.take();
        if output.is_empty() {
            None
        } else {
            Some(Step::Data(output.into()))
        }
    }

    /// Reads a block of the current file; false at its end.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(current) = &self.current else { return Ok(false) };
        let before = self.rest.len();
        self.rest.resize(before + BLOCK, 0);
        let read = current.file.read_at(&mut self.rest[before..], self.position);
        self.rest.truncate(before + *read.as_ref().unwrap_or(&0));
        let count = read?;
        if count == 0 {
            // Somebody emptied the file instead of replacing it.
            if current.file.metadata()?.len() < self.position {
                self.position = 0;
                self.rest.clear();
                return Ok(true);
            }
            return Ok(false);
        }
        self.position += count as u64;
        let complete = self
            .rest
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |newline| newline + 1);
        for line in self.rest[..complete].split_inclusive(|&byte| byte == b'\n') {
            self.joiner.line(line.strip_suffix(b"\n").unwrap_or(line));
        }
        self.rest.drain(..complete);
        if self.rest.len() > MAX_LINE {
            self.rest.clear();
        }
        Ok(true)
    }

    /// Goes on to the next file; false if there is none. Called at the end of the current one.
    fn advance(&mut self) -> io::Result<bool> {
        if self.next.is_empty() {
            match &self.current {
                None => self.next = open_chain(&self.path, None)?,
                Some(current) if current.was_replaced(&self.path)? => {
                    // Written to between our last read and its renaming, but never after that.
                    if self.fill()? {
                        return Ok(true);
                    }
                    self.next = open_chain(&self.path, self.current.as_ref())?;
                }
                Some(_) => {}
            }
        }
        let Some(next) = self.next.pop_front() else {
            return Ok(false);
        };
        let rest = std::mem::take(&mut self.rest);
        self.joiner.line(&rest);
        self.current = Some(next);
        self.position = 0;
        Ok(true)
    }
}
