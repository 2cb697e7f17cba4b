//! Reading a log back.

use std::io;
use std::sync::Arc;

use super::frame::{self, Entry, FILE_HEADER, HEADER, Position, START};
use super::media::{Blob, Media};
use super::{Log, begin, name, name_unfinished};
use crate::Object;
use crate::range::Objects;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The operating system refused.
    #[error("{operation} {file}")]
    Io {
        operation: &'static str,
        file: String,
        source: io::Error,
    },
    /// There is something that no crash leaves behind.
    #[error("{file} is damaged at byte {offset}: restore a backup")]
    Damaged { file: String, offset: u64 },
}

/// What a log says.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) objects: Objects,
    /// No revision above this was handed out.
    pub(crate) reserved: u64,
    /// Whether the last entry was a reservation, with which every copy ends.
    sealed: bool,
}

/// Opens the newest generation, or begins the first one, and cleans up behind a crash.
pub(crate) fn open(media: Arc<dyn Media>) -> Result<(Log, Content), OpenError> {
    let names = list(&*media)?;
    for unfinished in names.iter().filter(|name| name.ends_with(".new")) {
        media.remove(unfinished).map_err(failed("remove", unfinished))?;
    }
    let generations = generations(&names);
    let Some(newest) = generations.last().copied() else {
        return first(media).map(|log| (log, Content::default()));
    };
    for old in &generations[..generations.len() - 1] {
        let old = name(*old);
        media.remove(&old).map_err(failed("remove", &old))?;
    }
    let file_name = name(newest);
    let file = media.open(&file_name).map_err(failed("open", &file_name))?;
    let (content, position) = replay(&*file, &file_name)?;
    let mut log = Log {
        media,
        claimed: file.len().map_err(failed("open", &file_name))?,
        file,
        generation: newest,
        position,
        broken: false,
        unsettled: false,
        buffer: Vec::new(),
    };
    if rest(&*log.file, &file_name, position)? == Rest::Torn {
        log.cut().map_err(failed("cut", &file_name))?;
    }
    Ok((log, content))
}

/// Reads the newest generation of a directory that another process may be writing to.
pub(crate) fn read(media: &dyn Media) -> Result<Content, OpenError> {
    loop {
        let Some(newest) = generations(&list(media)?).last().copied() else {
            return Ok(Content::default());
        };
        let file_name = name(newest);
        match media.open(&file_name) {
            Ok(file) => return replay(&*file, &file_name).map(|(content, _)| content),
            // A newer generation has just taken over.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("open", &file_name)(error)),
        }
    }
}

/// Reads a copy, which has to be whole.
pub(crate) fn read_copy(media: &dyn Media, file_name: &str) -> Result<Content, OpenError> {
    let file = media.open(file_name).map_err(failed("open", file_name))?;
    let (content, position) = replay(&*file, file_name)?;
    let length = file.len().map_err(failed("read", file_name))?;
    if !content.sealed || position.offset != length {
        return Err(OpenError::Damaged {
            file: file_name.to_owned(),
            offset: position.offset,
        });
    }
    Ok(content)
}

/// Puts objects in place of whatever a directory holds.
pub(crate) fn install<'a>(
    media: &dyn Media,
    objects: impl Iterator<Item = &'a Arc<Object>>,
    reserved: u64,
) -> Result<(), OpenError> {
    let old = generations(&list(media)?);
    let generation = old.last().map_or(1, |newest| newest + 1);
    let (unfinished, file_name) = (name_unfinished(generation), name(generation));
    super::snapshot(media, &unfinished, objects, reserved).map_err(failed("write", &unfinished))?;
    media
        .rename(&unfinished, &file_name)
        .map_err(failed("make", &file_name))?;
    media.sync().map_err(failed("sync", "the directory"))?;
    for old in old.into_iter().map(name) {
        media.remove(&old).map_err(failed("remove", &old))?;
    }
    Ok(())
}

fn failed(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |source| OpenError::Io {
        operation,
        file,
        source,
    }
}

fn list(media: &dyn Media) -> Result<Vec<String>, OpenError> {
    media.list().map_err(failed("list", "the directory"))
}

fn generations(names: &[String]) -> Vec<u64> {
    let mut generations: Vec<u64> = names
        .iter()
        .filter_map(|name| u64::from_str_radix(name.strip_suffix(".log")?, 16).ok())
        .collect();
    generations.sort_unstable();
    generations
}

fn first(media: Arc<dyn Media>) -> Result<Log, OpenError> {
    let (unfinished, file_name) = (name_unfinished(1), name(1));
    let (file, position) = begin(&*media, &unfinished).map_err(failed("make", &unfinished))?;
    file.sync().map_err(failed("sync", &unfinished))?;
    media
        .rename(&unfinished, &file_name)
        .map_err(failed("make", &file_name))?;
    media.sync().map_err(failed("sync", "the directory"))?;
    Ok(Log {
        media,
        file,
        generation: 1,
        claimed: position.offset,
        position,
        broken: false,
        unsettled: false,
        buffer: Vec::new(),
    })
}

/// What is behind the last whole frame.
#[derive(PartialEq, Eq)]
enum Rest {
    /// Nothing, or claimed space.
    Empty,
    /// The beginning of a frame that was not acknowledged.
    Torn,
}

/// Looks behind the last whole frame. A frame that is whole there means that one before it was damaged later: every
/// frame was durable before the next one was begun.
fn rest(file: &dyn Blob, file_name: &str, end: Position) -> Result<Rest, OpenError> {
    let mut window = Window::new(file, file_name);
    let length = file.len().map_err(failed("read", file_name))?;
    let frames = (length.saturating_sub(end.offset)) / HEADER as u64;
    let mut result = Rest::Empty;
    let mut at = end.offset;
    while let Some(header) = window.get(at, HEADER)? {
        let header: [u8; HEADER] = header.try_into().unwrap_or_default();
        if header != [0; HEADER] {
            result = Rest::Torn;
            if let Some(later) = end.later(&header, frames)
                && let Some(payload) = later.expects(&header)
                && let Some(bytes) = window.get(at + HEADER as u64, payload)?
                && later.is_whole(&header, bytes)
            {
                return Err(OpenError::Damaged {
                    file: file_name.to_owned(),
                    offset: end.offset,
                });
            }
        }
        at += 8;
    }
    Ok(result)
}

/// Reads every whole frame; also says where the next one goes.
fn replay(file: &dyn Blob, file_name: &str) -> Result<(Content, Position), OpenError> {
    let damaged = |offset| OpenError::Damaged {
        file: file_name.to_owned(),
        offset,
    };
    let mut window = Window::new(file, file_name);
    let salt = match window.get(0, usize::try_from(START).unwrap_or(0))? {
        Some(header) if header[..FILE_HEADER.len()] == FILE_HEADER => {
            u64::from_le_bytes(header[FILE_HEADER.len()..].try_into().unwrap_or_default())
        }
        // The header was durable before the file had its name.
        _ => return Err(damaged(0)),
    };
    let mut content = Content::default();
    let mut position = Position::first(salt);
    while let Some(header) = window.get(position.offset, HEADER)? {
        let header: [u8; HEADER] = header.try_into().unwrap_or_default();
        let Some(length) = position.expects(&header) else { break };
        let Some(payload) = window.get(position.offset + HEADER as u64, length)? else {
            break;
        };
        if !position.is_whole(&header, payload) {
            break;
        }
        frame::entries(payload, |entry| apply(&mut content, entry)).ok_or_else(|| damaged(position.offset))?;
        position = position.skip(length);
    }
    Ok((content, position))
}

fn apply(content: &mut Content, entry: Entry<'_>) -> Option<()> {
    let objects = &mut content.objects;
    content.sealed = matches!(entry, Entry::Reserve(_));
    match entry {
        Entry::Put {
            key,
            created,
            revision,
            splice,
            text,
        } => {
            content.reserved = content.reserved.max(revision);
            let make = |key| Object::restore(key, created, revision, splice, text).map(Arc::new);
            // Snapshots are in the order of the keys: most entries go to the end.
            let behind = objects.last_key_value().is_none_or(|(last, _)| &**last < key);
            match if behind { None } else { objects.get_mut(key) } {
                Some(known) => *known = make(known.shared_key())?,
                None => {
                    let object = make(key.into())?;
                    objects.insert(object.shared_key(), object);
                }
            }
        }
        Entry::Delete(key) => {
            objects.remove(key);
        }
        Entry::Reserve(revision) => content.reserved = revision,
    }
    Some(())
}

/// A moving view of a file.
struct Window<'a> {
    file: &'a dyn Blob,
    name: &'a str,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file, and how much of it is filled.
    offset: u64,
    filled: usize,
}

impl<'a> Window<'a> {
    /// Less in tests, so that frames lie across its ends.
    const SIZE: usize = if cfg!(test) { 8 << 10 } else { 1 << 20 };

    fn new(file: &'a dyn Blob, name: &'a str) -> Self {
        Window {
            file,
            name,
            buffer: Vec::new(),
            offset: 0,
            filled: 0,
        }
    }

    /// Some bytes of the file; `None` if it is not that long.
    fn get(&mut self, offset: u64, length: usize) -> Result<Option<&[u8]>, OpenError> {
        let inside = offset.checked_sub(self.offset).and_then(|at| usize::try_from(at).ok());
        let at = match inside {
            Some(at) if at + length <= self.filled => at,
            _ => {
                self.fill(offset, length)?;
                0
            }
        };
        Ok(self.buffer[..self.filled].get(at..at + length))
    }

    fn fill(&mut self, offset: u64, length: usize) -> Result<(), OpenError> {
        // A length from a torn header may be anything.
        let end = self.file.len().map_err(failed("read", self.name))?;
        if offset.saturating_add(length as u64) > end {
            (self.offset, self.filled) = (offset, 0);
            return Ok(());
        }
        self.buffer.resize(self.buffer.len().max(length).max(Self::SIZE), 0);
        (self.offset, self.filled) = (offset, 0);
        while self.filled < self.buffer.len() {
            let at = offset + self.filled as u64;
            match self.file.read_at(at, &mut self.buffer[self.filled..]) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(error) => return Err(failed("read", self.name)(error)),
            }
        }
        Ok(())
    }
}
