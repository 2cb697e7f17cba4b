//! The database file. One table holds the objects, a second one the reserved revision.
//!
//! `reserved` is the highest revision that may have been handed out. It is raised by a block at a time, so that
//! memory-only writes need no disk write, and a start after a crash continues above it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    CommitError, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError,
};

use crate::range::Objects;
use crate::{Error, Event, EventKind, Object};

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const RESERVED: &str = "reserved";

/// How many revisions are reserved at a time.
const BLOCK: u64 = 1 << 15;

/// Opens the database; called again after a failed write.
type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

pub(crate) struct Disk {
    path: PathBuf,
    opener: Opener,
    /// `None` after a failed write: the library wants the file reopened.
    database: Option<Database>,
    reserved: u64,
    buffer: Vec<u8>,
}

impl Disk {
    /// Opens or makes the file and reads everything in it.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<(Self, Objects, u64), Error> {
        let file = path.to_path_buf();
        Self::open_with(
            path,
            Box::new(move || Database::builder().set_cache_size(cache_bytes).create(&file)),
        )
    }

    fn open_with(path: &Path, opener: Opener) -> Result<(Self, Objects, u64), Error> {
        let Some(parent) = path.parent() else {
            return Err(Error::Open {
                path: path.into(),
                source: "the path has no parent directory".into(),
            });
        };
        let failed = |source| Error::Directory {
            path: parent.into(),
            source,
        };
        fs::create_dir_all(parent).map_err(failed)?;
        let fresh = !path.exists();
        let mut disk = Disk {
            path: path.into(),
            opener,
            database: None,
            reserved: 0,
            buffer: Vec::new(),
        };
        disk.reopen()?;
        if fresh {
            // The new name itself must survive a crash, see fsync(2) on directories.
            File::open(parent)
                .and_then(|directory| directory.sync_all())
                .map_err(failed)?;
        }
        let (objects, reserved) = disk.load()?;
        disk.reserved = reserved;
        Ok((disk, objects, reserved))
    }

    fn reopen(&mut self) -> Result<&Database, Error> {
        if self.database.is_none() {
            self.database = Some((self.opener)().map_err(|error| open_error(&self.path, error))?);
        }
        self.database.as_ref().ok_or(Error::Closed)
    }

    fn load(&mut self) -> Result<(Objects, u64), Error> {
        let failed = |source: redb::Error| Error::Read {
            path: self.path.clone(),
            source: source.into(),
        };
        let Some(database) = &self.database else {
            return Err(Error::Closed);
        };
        let read = database.begin_read().map_err(|e| failed(e.into()))?;
        let mut objects = Objects::new();
        match read.open_table(OBJECTS) {
            Ok(table) => {
                for entry in table.iter().map_err(|e| failed(e.into()))? {
                    let (key, value) = entry.map_err(|e| failed(e.into()))?;
                    let object = Object::from_disk(key.value(), value.value())
                        .ok_or_else(|| failed(redb::Error::Corrupted(format!("the record of {}", key.value()))))?;
                    objects.insert(object.shared_key(), Arc::new(object));
                }
            }
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let reserved = match read.open_table(META) {
            Ok(table) => table
                .get(RESERVED)
                .map_err(|e| failed(e.into()))?
                .map_or(0, |value| value.value()),
            Err(TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(failed(error.into())),
        };
        Ok((objects, reserved))
    }

    /// Whether the revision may be handed out without a disk write.
    pub(crate) fn covers(&self, revision: u64) -> bool {
        revision <= self.reserved
    }

    /// Makes the events durable, with one sync. `extra` are current objects not written yet.
    pub(crate) fn commit(&mut self, events: &[Arc<Event>], extra: &[Arc<Object>], revision: u64) -> Result<(), Error> {
        let raise = (revision > self.reserved).then_some(revision + BLOCK);
        self.transact(events, extra, raise)?;
        if let Some(reserved) = raise {
            self.reserved = reserved;
        }
        Ok(())
    }

    /// Writes what is still in memory only and gives back the revisions that were reserved but not used.
    pub(crate) fn finish(&mut self, extra: &[Arc<Object>], revision: u64) -> Result<(), Error> {
        self.transact(&[], extra, Some(revision))
    }

    fn transact(&mut self, events: &[Arc<Event>], extra: &[Arc<Object>], reserve: Option<u64>) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = transact(self.reopen()?, &mut buffer, events, extra, reserve);
        self.buffer = buffer;
        result.map_err(|source| {
            self.database = None;
            match &source {
                redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Error::Full {
                    path: self.path.clone(),
                },
                _ => Error::Commit {
                    path: self.path.clone(),
                    source: source.into(),
                },
            }
        })
    }

    /// After a failed commit it is unknown whether it reached the disk. Tells whether it did, by reading back the
    /// last of its events from the reopened file.
    pub(crate) fn landed(&mut self, events: &[Arc<Event>]) -> bool {
        let Some(last) = events.last() else { return false };
        let Ok(database) = self.reopen() else { return false };
        let stored = || -> Result<Option<u64>, redb::Error> {
            let table = database.begin_read()?.open_table(OBJECTS)?;
            let value = table.get(last.object.key())?;
            Ok(value
                .and_then(|value| Object::from_disk(last.object.key(), value.value()))
                .map(|o| o.revision()))
        };
        match (stored(), last.kind) {
            (Ok(None), EventKind::Deleted) => true,
            (Ok(Some(revision)), EventKind::Added | EventKind::Modified) => revision == last.revision(),
            _ => false,
        }
    }
}

fn transact(
    database: &Database,
    buffer: &mut Vec<u8>,
    events: &[Arc<Event>],
    extra: &[Arc<Object>],
    reserve: Option<u64>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut table = transaction.open_table(OBJECTS)?;
        for object in extra {
            object.to_disk(buffer);
            table.insert(object.key(), buffer.as_slice())?;
        }
        for event in events {
            if event.kind == EventKind::Deleted {
                table.remove(event.object.key())?;
            } else {
                event.object.to_disk(buffer);
                table.insert(event.object.key(), buffer.as_slice())?;
            }
        }
    }
    if let Some(reserved) = reserve {
        transaction.open_table(META)?.insert(RESERVED, reserved)?;
    }
    transaction
        .commit()
        .map_err(|error: CommitError| redb::Error::from(error))
}

fn open_error(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::Locked { path: path.into() },
        DatabaseError::Storage(StorageError::Io(io)) if io.kind() == std::io::ErrorKind::StorageFull => {
            Error::Full { path: path.into() }
        }
        error => Error::Open {
            path: path.into(),
            source: error.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::FileBackend;

    use super::*;
    use crate::Encoded;

    /// A file on a disk that can be full.
    #[derive(Debug)]
    struct Fragile(FileBackend, Arc<AtomicBool>);

    impl Fragile {
        fn check(&self) -> Result<(), std::io::Error> {
            let full = self.1.load(Ordering::SeqCst);
            if full {
                Err(std::io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }
    }

    impl StorageBackend for Fragile {
        fn len(&self) -> Result<u64, std::io::Error> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
            self.check()?;
            self.0.set_len(len)
        }
        fn sync_data(&self) -> Result<(), std::io::Error> {
            self.check()?;
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
            self.check()?;
            self.0.write(offset, data)
        }
    }

    fn event(key: &str, revision: u64) -> Arc<Event> {
        let object = Arc::new(Encoded::new(b"{\"rv\":\"\"}".to_vec(), 7).commit(key.into(), revision, revision));
        Arc::new(Event {
            kind: EventKind::Added,
            object,
            previous: None,
        })
    }

    #[test]
    fn a_full_disk_loses_nothing_and_recovers() {
        let directory = std::env::temp_dir().join(format!("barepodtest-disk-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("store.redb");
        let full = Arc::new(AtomicBool::new(false));
        let (file, flag) = (path.clone(), full.clone());
        let opener: Opener = Box::new(move || {
            let handle = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&file)
                .unwrap();
            Database::builder().create_with_backend(Fragile(FileBackend::new(handle)?, flag.clone()))
        });
        let (mut disk, _, _) = Disk::open_with(&path, opener).unwrap();
        disk.commit(&[event("/a/1", 2)], &[], 2).unwrap();
        full.store(true, Ordering::SeqCst);
        let lost = [event("/a/2", 3)];
        assert!(matches!(disk.commit(&lost, &[], 3), Err(Error::Full { .. })));
        assert!(!disk.landed(&lost));
        assert!(disk.commit(&lost, &[], 3).is_err());
        full.store(false, Ordering::SeqCst);
        disk.commit(&[event("/a/3", 3)], &[], 3).unwrap();
        let (objects, _) = disk.load().unwrap();
        assert_eq!(objects.keys().map(|key| &**key).collect::<Vec<_>>(), ["/a/1", "/a/3"]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
