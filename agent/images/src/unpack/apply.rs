//! Applies one entry after the other to the layer's directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::parents::{Parent, Parents, components};
use super::{LayerError, metadata, remove_tree};
use crate::sys;
use crate::tarball::{Entry, Kind};
use crate::view::{OPAQUE, View};

/// How layers mark removed files (OCI image specification, layer, "whiteouts").
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
/// aufs kept its own bookkeeping under such names; old images still have some.
const AUFS_INTERNAL: &[u8] = b".wh..wh.";

/// A layer being unpacked.
pub(super) struct Layer {
    parents: Parents,
    /// Directories get their times last, since making something in a directory changes them.
    times: Vec<(PathBuf, (i64, u32))>,
    buffer: Vec<u8>,
}

impl Layer {
    pub(super) fn new(root: OwnedFd, lower: &View) -> io::Result<Self> {
        Ok(Self {
            parents: Parents::new(root, lower)?,
            times: Vec::new(),
            buffer: vec![0; 256 * 1024],
        })
    }

    /// Makes what `entry` describes; `data` yields its content.
    pub(super) fn apply(&mut self, entry: &Entry, data: &mut impl Read) -> Result<(), LayerError> {
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let fail = |operation| {
            move |source| LayerError::Entry {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        let components = components(&entry.path)?;
        let Some((name, parent)) = components.split_last() else {
            // The layer's own root: only its attributes can be set.
            return self.set_root(entry).map_err(fail("set the attributes of"));
        };
        let parent = self.parents.open(parent).map_err(fail("open the directory of"))?;
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return match name.as_bytes() {
                OPAQUE_WHITEOUT => sys::set_xattr(&parent.directory, OPAQUE, b"y").map_err(fail("make opaque")),
                internal if internal.starts_with(AUFS_INTERNAL) => Ok(()),
                _ if matches!(hidden, b"" | b"." | b"..") => Err(LayerError::Name { path: path.to_owned() }),
                _ => whiteout(&parent, OsStr::from_bytes(hidden)).map_err(fail("hide the file named by")),
            };
        }
        let fresh_over_whiteout = self.make_room(&parent, name, entry).map_err(fail("replace"))?;
        match entry.kind {
            Kind::File => self.file(&parent, name, entry, data).map_err(fail("write")),
            Kind::Directory => self
                .directory(&parent, name, entry, fresh_over_whiteout)
                .map_err(fail("make")),
            Kind::HardLink => self.hard_link(&parent, name, entry),
            Kind::Symlink => {
                self.parents.forget();
                symlinkat(OsStr::from_bytes(&entry.link), &parent.directory, *name)
                    .map_err(io::Error::from)
                    .and_then(|()| metadata::set_at(&parent.directory, name, entry))
                    .map_err(fail("link"))
            }
            Kind::CharDevice => node(&parent, name, entry, SFlag::S_IFCHR).map_err(fail("make the device")),
            Kind::BlockDevice => node(&parent, name, entry, SFlag::S_IFBLK).map_err(fail("make the device")),
            Kind::Fifo => node(&parent, name, entry, SFlag::S_IFIFO).map_err(fail("make")),
        }
    }

    /// Sets what had to wait until everything was made.
    pub(super) fn finish(mut self) -> Result<(), LayerError> {
        // What an entry said comes last and counts.
        for (path, mtime) in self.parents.take_made().into_iter().chain(self.times) {
            let how = OpenHow::new()
                .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
            let name = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &path
            };
            // A later entry may have replaced the directory.
            if let Ok(directory) = openat2(self.parents.root(), name, how) {
                metadata::set_times(&directory, mtime).map_err(|source| LayerError::Entry {
                    operation: "set the times of",
                    path,
                    source,
                })?;
            }
        }
        Ok(())
    }

    fn set_root(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind == Kind::Directory {
            metadata::set(self.parents.root(), entry)?;
            self.times.push((PathBuf::new(), entry.mtime));
        }
        Ok(())
    }

    /// Removes what a later entry of the same name replaces; a directory stays for a directory. Returns whether a
    /// whiteout was there.
    fn make_room(&mut self, parent: &Parent, name: &OsStr, entry: &Entry) -> io::Result<bool> {
        match metadata::existing(&parent.directory, name)? {
            None => Ok(false),
            Some((SFlag::S_IFDIR, _)) if entry.kind == Kind::Directory => Ok(false),
            Some((SFlag::S_IFDIR, _)) => {
                self.parents.forget();
                remove_tree(&parent.directory, name)?;
                Ok(false)
            }
            Some((kind, device)) => {
                self.parents.forget();
                unlinkat(&parent.directory, name, UnlinkatFlags::NoRemoveDir)?;
                Ok(kind == SFlag::S_IFCHR && device == 0)
            }
        }
    }

    fn file(&mut self, parent: &Parent, name: &OsStr, entry: &Entry, data: &mut impl Read) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&parent.directory, name, flags, Mode::from_bits_truncate(0o600))?);
        loop {
            match data.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => file.write_all(&self.buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let file = OwnedFd::from(file);
        metadata::set(&file, entry)?;
        metadata::set_times(&file, entry.mtime)
    }

    fn directory(&mut self, parent: &Parent, name: &OsStr, entry: &Entry, over_whiteout: bool) -> io::Result<()> {
        match mkdirat(&parent.directory, name, Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = openat(&parent.directory, name, flags, Mode::empty())?;
        metadata::set(&directory, entry)?;
        if over_whiteout {
            // The whiteout hid a directory of the same name below; the new one must go on hiding it.
            sys::set_xattr(&directory, OPAQUE, b"y")?;
        }
        self.times.push((parent.path.join(name), entry.mtime));
        Ok(())
    }

    fn hard_link(&self, parent: &Parent, name: &OsStr, entry: &Entry) -> Result<(), LayerError> {
        let path = || PathBuf::from(OsStr::from_bytes(&entry.path));
        let target = components(&entry.link)?;
        let missing = || LayerError::LinkTarget {
            path: path(),
            target: target.iter().collect(),
        };
        let (target_name, target_parent) = target.split_last().ok_or_else(missing)?;
        let directory = self
            .parents
            .open_existing(target_parent)
            .map_err(|_| missing())?
            .directory;
        // Without AT_SYMLINK_FOLLOW a link is linked itself; the directory was opened beneath the root.
        linkat(&directory, *target_name, &parent.directory, name, AtFlags::empty()).map_err(|error| match error {
            nix::errno::Errno::ENOENT => missing(),
            error => LayerError::Entry {
                operation: "link",
                path: path(),
                source: error.into(),
            },
        })
    }
}

fn node(parent: &Parent, name: &OsStr, entry: &Entry, kind: SFlag) -> io::Result<()> {
    let (major, minor) = entry.device;
    let device = makedev(u64::from(major), u64::from(minor));
    mknodat(&parent.directory, name, kind, Mode::from_bits_truncate(0o600), device)?;
    metadata::set_at(&parent.directory, name, entry)
}

/// Hides `name` of the layers below. What this layer itself has under the name stays: a whiteout is about the layers
/// below only, whatever the order of the entries.
fn whiteout(parent: &Parent, name: &OsStr) -> io::Result<()> {
    match metadata::existing(&parent.directory, name)? {
        None => Ok(mknodat(&parent.directory, name, SFlag::S_IFCHR, Mode::empty(), 0)?),
        Some((SFlag::S_IFDIR, _)) => {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let directory = openat(&parent.directory, name, flags, Mode::empty())?;
            sys::set_xattr(&directory, OPAQUE, b"y")
        }
        Some(_) => Ok(()),
    }
}
