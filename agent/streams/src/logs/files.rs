//! The chain of files a log consists of.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An opened log file, known by device and inode whatever it is called by now.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    id: (u64, u64),
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let data = file.metadata()?;
                Ok(Some(Self {
                    file,
                    id: (data.dev(), data.ino()),
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a newer file has taken this one's name.
    pub(super) fn was_replaced(&self, path: &Path) -> io::Result<bool> {
        match std::fs::metadata(path) {
            Ok(data) => Ok((data.dev(), data.ino()) != self.id),
            // Between the steps of a rotation; the new file will show up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Opens the files of a log, oldest first; with `after`, those that are newer than it.
///
/// They are opened from the newest to the oldest: a rotation meanwhile moves files towards where we are going, so one
/// may be met twice, which shows, but none is missed.
pub(super) fn open_chain(path: &Path, after: Option<&LogFile>) -> io::Result<VecDeque<LogFile>> {
    let mut files: VecDeque<LogFile> = VecDeque::new();
    let mut missing = 0;
    for number in 0.. {
        let Some(file) = LogFile::open(&numbered(path, number))? else {
            // One name may be missing between the steps of a rotation.
            missing += 1;
            if missing > 1 {
                break;
            }
            continue;
        };
        if after.is_some_and(|after| after.id == file.id) {
            break;
        }
        if files.iter().all(|known| known.id != file.id) {
            files.push_front(file);
        }
    }
    Ok(files)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_path_buf();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
