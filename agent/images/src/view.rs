//! Layers seen as the one tree that overlayfs would show, without mounting it.
//!
//! The walk goes component by component with descriptors, so a symbolic link can lead anywhere in the view but never
//! out of it.

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::sys;

/// How overlayfs marks a directory that hides the ones below it (kernel documentation, filesystems/overlayfs).
pub(crate) const OPAQUE: &CStr = c"trusted.overlay.opaque";
/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// A stack of layers, uppermost first.
#[derive(Clone)]
pub(crate) struct View {
    layers: Vec<Rc<OwnedFd>>,
}

/// What a name in a merged directory is.
pub(crate) enum Found {
    /// Nothing there, or hidden by a whiteout.
    Nothing,
    /// A directory: its parts in the layers, uppermost first.
    Directory(Directory),
    /// A symbolic link's target.
    Symlink(OsString),
    /// Anything else.
    File(Located),
}

/// The parts of a merged directory.
#[derive(Clone)]
pub(crate) struct Directory(Vec<Rc<OwnedFd>>);

/// A file in one of the layers.
pub(crate) struct Located {
    parent: Rc<OwnedFd>,
    name: OsString,
}

impl View {
    /// Opens layer directories, uppermost first.
    pub(crate) fn open<P: AsRef<Path>>(layers: impl IntoIterator<Item = P>) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let layers = layers
            .into_iter()
            .map(|layer| Ok(Rc::new(open(layer.as_ref(), flags, Mode::empty())?)))
            .collect::<io::Result<_>>()?;
        Ok(Self { layers })
    }

    /// The same view with one more layer on top.
    pub(crate) fn with_top(&self, top: OwnedFd) -> Self {
        let mut layers = vec![Rc::new(top)];
        layers.extend(self.layers.iter().cloned());
        Self { layers }
    }

    pub(crate) fn root(&self) -> Directory {
        Directory(self.layers.clone())
    }

    /// The path, without links and dots, that `components` lead to. Names that do not exist stay as they are.
    pub(crate) fn canonicalise(&self, components: &[&OsStr]) -> io::Result<Vec<OsString>> {
        Ok(self.walk(components)?.into_iter().map(|step| step.name).collect())
    }

    /// Opens a regular file for reading, following links; nothing if it does not exist.
    pub(crate) fn open_file(&self, path: &Path) -> io::Result<Option<File>> {
        let components: Vec<_> = path.iter().filter(|part| *part != "/").collect();
        match self.walk(&components)?.pop().map(|step| step.found) {
            Some(Found::File(located)) => located.open().map(Some),
            Some(Found::Directory(_)) | None => Err(io::ErrorKind::IsADirectory.into()),
            Some(Found::Nothing | Found::Symlink(_)) => Ok(None),
        }
    }

    fn walk(&self, components: &[&OsStr]) -> io::Result<Vec<Step>> {
        let mut queue: VecDeque<OsString> = components.iter().map(|part| (*part).to_owned()).collect();
        let mut steps: Vec<Step> = Vec::new();
        let mut links = 0;
        while let Some(name) = queue.pop_front() {
            match name.as_bytes() {
                b"" | b"." => continue,
                b".." => {
                    steps.pop();
                    continue;
                }
                _ => {}
            }
            let here = match steps.last() {
                None => self.root(),
                Some(Step {
                    found: Found::Directory(directory),
                    ..
                }) => directory.clone(),
                // Below a file or something missing nothing exists.
                Some(_) => Directory(Vec::new()),
            };
            match here.lookup(&name)? {
                Found::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    if target.as_bytes().first() == Some(&b'/') {
                        steps.clear();
                    }
                    for part in target.as_bytes().split(|&byte| byte == b'/').rev() {
                        queue.push_front(OsString::from_vec(part.to_vec()));
                    }
                }
                found => steps.push(Step { name, found }),
            }
        }
        Ok(steps)
    }
}

struct Step {
    name: OsString,
    found: Found,
}

impl Directory {
    /// Looks one name up, not following it.
    pub(crate) fn lookup(&self, name: &OsStr) -> io::Result<Found> {
        let mut parts = Vec::new();
        for layer in &self.0 {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = match openat(layer, name, flags, Mode::empty()) {
                Ok(file) => file,
                Err(nix::errno::Errno::ENOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let stat = fstat(&file)?;
            match kind(&stat) {
                SFlag::S_IFDIR => {
                    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    let directory = openat(layer, name, flags, Mode::empty())?;
                    let opaque = sys::get_xattr(&directory, OPAQUE)?.as_deref() == Some(b"y");
                    parts.push(Rc::new(directory));
                    if opaque {
                        break;
                    }
                }
                // Below the first directory, anything else ends the merge.
                _ if !parts.is_empty() => break,
                SFlag::S_IFCHR if stat.st_rdev == 0 => return Ok(Found::Nothing),
                SFlag::S_IFLNK => return Ok(Found::Symlink(readlinkat(&file, c"")?)),
                _ => {
                    return Ok(Found::File(Located {
                        parent: Rc::clone(layer),
                        name: name.to_owned(),
                    }));
                }
            }
        }
        Ok(if parts.is_empty() {
            Found::Nothing
        } else {
            Found::Directory(Self(parts))
        })
    }

    /// The uppermost part, which decides owner, mode and times.
    pub(crate) fn top(&self) -> Option<BorrowedFd<'_>> {
        self.0.first().map(|part| part.as_fd())
    }
}

impl Located {
    fn open(&self) -> io::Result<File> {
        // Not blocking, because a fifo would wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.parent, self.name.as_os_str(), flags, Mode::empty())?;
        if kind(&fstat(&file)?) == SFlag::S_IFREG {
            Ok(file.into())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
    }
}

/// The file type bits of a stat.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
