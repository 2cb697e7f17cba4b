//! Copies of a store: taken while it runs, put back while it does not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::{self, Content, Directory, Media, OpenError};
use crate::{Error, Object};

/// How far revisions jump when a backup is put back, beyond all that are known to have been handed out. A client that
/// goes on from a revision of the lost future is then told that it is gone instead of being shown something else.
const JUMP: u64 = 1 << 20;

/// What a backup or a store holds.
#[derive(Debug, Default)]
pub struct Image {
    /// Every object, by key.
    pub objects: Vec<Arc<Object>>,
    /// No revision above this one was handed out.
    pub revision: u64,
}

impl From<Content> for Image {
    fn from(content: Content) -> Self {
        Image {
            objects: content.objects.into_values().collect(),
            revision: content.reserved,
        }
    }
}

/// Reads the store in a directory, which another process may be writing to: the state at some moment of the call.
pub fn read(directory: &Path) -> Result<Image, Error> {
    let content = log::read(&Directory::look(directory)).map_err(open_error(directory))?;
    Ok(content.into())
}

/// Writes a copy of the store in a directory, which another process may be writing to, into one file. The file appears
/// under its name when it is complete and durable.
pub fn backup(directory: &Path, file: &Path) -> Result<Image, Error> {
    let image = read(directory)?;
    let (parent, name) = place(file)?;
    let media = Directory::look(&parent);
    let unfinished = format!("{name}.new");
    let write = || {
        log::snapshot(&media, &unfinished, image.objects.iter(), image.revision)?;
        media.rename(&unfinished, &name)?;
        media.sync()
    };
    let result = write();
    if result.is_err() {
        let _ = media.remove(&unfinished);
    }
    result.map_err(write_error(file))?;
    Ok(image)
}

/// Puts a copy back in place of what is in the directory, which no other process may have.
pub fn restore(file: &Path, directory: &Path) -> Result<Image, Error> {
    let (parent, name) = place(file)?;
    let content = log::read_copy(&Directory::look(&parent), &name).map_err(open_error(file))?;
    let media = Directory::take(directory)?;
    // A store that is damaged is a reason to be here.
    let known = log::read(&media).map_or(0, |content| content.reserved);
    let mut image = Image::from(content);
    image.revision = image.revision.max(known) + JUMP;
    log::install(&media, image.objects.iter(), image.revision).map_err(open_error(directory))?;
    Ok(image)
}

/// The directory and the name of a file.
fn place(file: &Path) -> Result<(PathBuf, String), Error> {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = file.file_name().ok_or_else(|| Error::Open {
        path: file.into(),
        source: "it has no file name".into(),
    })?;
    Ok((parent.to_owned(), name.to_string_lossy().into_owned()))
}

fn open_error(path: &Path) -> impl Fn(OpenError) -> Error {
    |source| Error::Open {
        path: path.into(),
        source: source.into(),
    }
}

fn write_error(path: &Path) -> impl Fn(std::io::Error) -> Error {
    |source| match source.kind() {
        std::io::ErrorKind::StorageFull => Error::Full { path: path.into() },
        _ => Error::Commit {
            path: path.into(),
            source: source.into(),
        },
    }
}
