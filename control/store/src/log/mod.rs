//! The files of the embedded store: a log of frames, from which everything is read back into memory at the start.
//!
//! One file is current: `GENERATION.log`. It begins with a salt, then come frames, see [`frame`]. A commit is one frame,
//! written with one call behind the last one and made durable with one sync. Space is claimed ahead with zeros, so that
//! an ordinary commit changes no metadata of the file. A frame that is incomplete was never acknowledged; it is cut off
//! when the log is opened, before anything else is written.
//!
//! When the log has grown well beyond what lives in it, the current objects are written to a new generation beside it
//! (`GENERATION.new`). Commits go on into the old one meanwhile and are repeated at the end of the new one, which then
//! takes over by being renamed. So all generations together stay below three times the live objects, plus a constant.

mod compact;
mod frame;
mod media;
mod open;
#[cfg(test)]
mod power;

pub(crate) use compact::{Compaction, Outcome, snapshot};
pub(crate) use frame::{Batch, cost};
pub(crate) use media::{Blob, Directory, Media};
pub(crate) use open::{Content, OpenError, install, open, read, read_copy};

use std::io;
use std::sync::Arc;

use frame::{FILE_HEADER, Position};

/// How much space is claimed at a time; less in tests, so that they see it happen often.
const AHEAD: u64 = if cfg!(test) { 16 << 10 } else { 512 << 10 };

/// The current generation, open for appending.
pub(crate) struct Log {
    media: Arc<dyn Media>,
    file: Box<dyn Blob>,
    generation: u64,
    /// Where the next frame goes.
    position: Position,
    /// Up to here the file has been claimed with zeros.
    claimed: u64,
    /// The end of the file is not what it should be, because a write failed.
    broken: bool,
    /// The name of the file may not survive a crash yet.
    unsettled: bool,
    buffer: Vec<u8>,
}

fn name(generation: u64) -> String {
    format!("{generation:016x}.log")
}

fn name_unfinished(generation: u64) -> String {
    format!("{generation:016x}.new")
}

impl Log {
    /// How many bytes the frames take.
    pub(crate) fn length(&self) -> u64 {
        self.position.offset
    }

    /// Appends a batch as one frame and makes it durable. After a failure nothing of it is in the log.
    pub(crate) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        if self.unsettled {
            self.settle()?;
        }
        if self.broken {
            self.cut()?;
        }
        let result = self.write(batch).and_then(|()| self.file.sync());
        match result {
            Ok(()) => {
                self.position = self.position.after(batch);
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                // If this fails as well, the next append tries it again.
                let _ = self.cut();
                Err(error)
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let end = self.position.after(batch).offset;
        if end > self.claimed {
            let until = end + AHEAD;
            claim(&*self.file, self.claimed, until)?;
            self.claimed = until;
        }
        self.position.frame(batch, &mut self.buffer);
        let result = self.file.write_at(self.position.offset, &self.buffer);
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        result
    }

    fn settle(&mut self) -> io::Result<()> {
        self.media.sync()?;
        self.unsettled = false;
        Ok(())
    }

    /// Takes what a failed write may have left off the end. A frame that did reach the disk must not come back: its
    /// writes were refused.
    fn cut(&mut self) -> io::Result<()> {
        self.claimed = self.position.offset;
        self.file.set_len(self.position.offset)?;
        self.file.sync()?;
        self.broken = false;
        Ok(())
    }
}

/// Makes room with zeros, which the frames that follow overwrite in place.
fn claim(file: &dyn Blob, from: u64, until: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < until {
        let length = usize::try_from(until - at).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_at(at, &ZEROS[..length])?;
        at += length as u64;
    }
    Ok(())
}

/// A new file with nothing but its header in it.
fn begin(media: &dyn Media, name: &str) -> io::Result<(Box<dyn Blob>, Position)> {
    let salt = salt()?;
    let file = media.create(name)?;
    file.write_at(0, &FILE_HEADER)?;
    file.write_at(FILE_HEADER.len() as u64, &salt.to_le_bytes())?;
    Ok((file, Position::first(salt)))
}

fn salt() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}
