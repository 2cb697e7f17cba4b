//! Finds, or makes, the directory an entry belongs into.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};

use super::LayerError;
use super::metadata;
use crate::sys;
use crate::view::{Directory, Found, OPAQUE, View};

/// Deepest directory of a layer. Honest images stay far below; it bounds what removing a layer needs.
const MAX_DEPTH: usize = 256;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The layer's root, what lies below it, and the directory that was used last: archives list directories together.
pub(super) struct Parents {
    root: Rc<OwnedFd>,
    lower: View,
    merged: View,
    last: Option<(Vec<OsString>, Rc<Parent>)>,
    /// Directories that were made after those below, with their times: making something in them changes it.
    made: Vec<(PathBuf, (i64, u32))>,
}

/// An opened directory of the layer with its canonical place.
pub(super) struct Parent {
    pub(super) directory: OwnedFd,
    pub(super) path: PathBuf,
}

impl Parents {
    pub(super) fn new(root: OwnedFd, lower: &View) -> io::Result<Self> {
        let merged = lower.with_top(root.try_clone()?);
        let lower = lower.clone();
        Ok(Self {
            root: Rc::new(root),
            lower,
            merged,
            last: None,
            made: Vec::new(),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directories that were made here and the times they should have.
    pub(super) fn take_made(&mut self) -> Vec<(PathBuf, (i64, u32))> {
        std::mem::take(&mut self.made)
    }

    /// Must be called when a directory or link was removed, which may have been part of what was opened last.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Opens the directory that `components` lead to, links followed as the merged tree shows them. Directories
    /// missing in this layer are made with the owner and mode they have in the layers below, because overlayfs shows
    /// the uppermost directory's.
    pub(super) fn open(&mut self, components: &[&OsStr]) -> io::Result<Rc<Parent>> {
        if let Some((last, parent)) = &self.last
            && last.iter().map(OsString::as_os_str).eq(components.iter().copied())
        {
            return Ok(Rc::clone(parent));
        }
        check_depth(components.len())?;
        let parent = match self.open_plain(components) {
            Ok(parent) => parent,
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR) => self.open_or_make(components)?,
            Err(error) => return Err(error.into()),
        };
        let parent = Rc::new(parent);
        self.last = Some((
            components.iter().map(|part| (*part).to_owned()).collect(),
            Rc::clone(&parent),
        ));
        Ok(parent)
    }

    /// Opens the existing directory of a hard link's target; nothing is made.
    pub(super) fn open_existing(&self, components: &[&OsStr]) -> io::Result<Parent> {
        let canonical = self.merged.canonicalise(components)?;
        Ok(self.open_plain(&canonical.iter().map(OsString::as_os_str).collect::<Vec<_>>())?)
    }

    /// The usual case: the path exists in this layer and has no links in it.
    fn open_plain(&self, components: &[&OsStr]) -> nix::Result<Parent> {
        let path: PathBuf = components.iter().collect();
        let how = OpenHow::new()
            .flags(DIRECTORY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV);
        let name = if components.is_empty() {
            OsStr::new(".")
        } else {
            path.as_os_str()
        };
        let directory = openat2(&*self.root, name, how)?;
        Ok(Parent { directory, path })
    }

    fn open_or_make(&mut self, components: &[&OsStr]) -> io::Result<Parent> {
        let canonical = self.merged.canonicalise(components)?;
        check_depth(canonical.len())?;
        let mut directory = self.root.try_clone()?;
        let mut below = Some(self.lower.root());
        let mut path = PathBuf::new();
        for name in canonical {
            below = match below.map(|below| below.lookup(&name)).transpose()? {
                Some(Found::Directory(found)) => Some(found),
                _ => None,
            };
            let (opened, mtime) = open_or_make_one(&directory, &name, below.as_ref())?;
            directory = opened;
            path.push(name);
            self.made.extend(mtime.map(|mtime| (path.clone(), mtime)));
        }
        Ok(Parent { directory, path })
    }
}

fn check_depth(depth: usize) -> io::Result<()> {
    if depth < MAX_DEPTH {
        Ok(())
    } else {
        Err(Errno::ENAMETOOLONG.into())
    }
}

/// Opens or makes one directory that is no link. Returns the time it should have if it was made like one below.
fn open_or_make_one(
    parent: &OwnedFd,
    name: &OsStr,
    below: Option<&Directory>,
) -> io::Result<(OwnedFd, Option<(i64, u32)>)> {
    let open = || openat(parent, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty());
    let replaces_whiteout = match open() {
        Ok(directory) => return Ok((directory, None)),
        Err(Errno::ENOENT) => false,
        // A whiteout of this layer came first: the new directory hides what the whiteout hid.
        Err(Errno::ENOTDIR) if metadata::is_whiteout(parent, name)? => {
            nix::unistd::unlinkat(parent, name, nix::unistd::UnlinkatFlags::NoRemoveDir)?;
            true
        }
        Err(error) => return Err(error.into()),
    };
    mkdirat(parent, name, Mode::from_bits_truncate(0o755))?;
    let directory = open()?;
    let mtime = match below.and_then(Directory::top).filter(|_| !replaces_whiteout) {
        Some(original) => Some(metadata::copy_directory(original, &directory)?),
        None => {
            nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(0o755))?;
            None
        }
    };
    if replaces_whiteout {
        sys::set_xattr(&directory, OPAQUE, b"y")?;
    }
    Ok((directory, mtime))
}

/// Splits an entry's name into components. Leading slashes and dots mean nothing in a layer; `..` has no honest use
/// there and is refused.
pub(super) fn components(name: &[u8]) -> Result<Vec<&OsStr>, LayerError> {
    let fail = || LayerError::Name {
        path: PathBuf::from(OsStr::from_bytes(name)),
    };
    if name.contains(&0) {
        return Err(fail());
    }
    name.split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| {
            if part == b".." {
                Err(fail())
            } else {
                Ok(OsStr::from_bytes(part))
            }
        })
        .collect()
}
