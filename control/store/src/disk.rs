//! The log as the writer uses it: what is durable, which revisions are reserved, when a new generation begins.
//!
//! `reserved` is the highest revision that may have been handed out. It is raised by a block at a time, so that
//! memory-only writes need no disk write, and a start after a crash continues above it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::{self, Batch, Compaction, Directory, Log, Media};
use crate::memory::Memory;
use crate::range::Objects;
use crate::writer::Inbox;
use crate::{Error, Event, EventKind, Object};

/// How many revisions are reserved at a time.
const BLOCK: u64 = 1 << 15;
/// A log below this size is not worth a new generation.
const SMALL: u64 = 1 << 20;

pub(crate) struct Disk {
    path: PathBuf,
    log: Log,
    reserved: u64,
    /// What the current objects take, without what holds them together.
    live: u64,
    compaction: Option<Compaction>,
    /// The length above which a new generation is tried again, after one failed.
    retry_above: u64,
    batch: Batch,
}

impl Disk {
    /// Takes the directory and reads everything in it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Objects, u64), Error> {
        Self::open_with(path, Arc::new(Directory::take(path)?))
    }

    pub(crate) fn open_with(path: &Path, media: Arc<dyn Media>) -> Result<(Self, Objects, u64), Error> {
        let (log, content) = log::open(media).map_err(|source| Error::Open {
            path: path.into(),
            source: source.into(),
        })?;
        let disk = Disk {
            path: path.into(),
            log,
            reserved: content.reserved,
            live: content.objects.values().map(|object| log::cost(object)).sum(),
            compaction: None,
            retry_above: 0,
            batch: Batch::default(),
        };
        Ok((disk, content.objects, content.reserved))
    }

    /// Whether the revision may be handed out without a disk write.
    pub(crate) fn covers(&self, revision: u64) -> bool {
        revision <= self.reserved
    }

    /// Makes the events durable, with one sync. `extra` are current objects not written yet.
    pub(crate) fn commit(&mut self, events: &[Arc<Event>], extra: &[Arc<Object>], revision: u64) -> Result<(), Error> {
        for object in extra {
            self.batch.put(object);
        }
        for event in events {
            if event.kind == EventKind::Deleted {
                self.batch.delete(event.object.key());
            } else {
                self.batch.put(&event.object);
            }
        }
        let raise = (revision > self.reserved).then_some(revision + BLOCK);
        if let Some(reserved) = raise {
            self.batch.reserve(reserved);
        }
        self.append()?;
        self.reserved = raise.unwrap_or(self.reserved);
        Ok(())
    }

    /// Writes what is still in memory only and gives back the revisions that were reserved but not used.
    pub(crate) fn finish(&mut self, extra: &[Arc<Object>], revision: u64) -> Result<(), Error> {
        if let Some(compaction) = self.compaction.take() {
            let outcome = compaction.wait();
            self.adopt(compaction, outcome);
        }
        for object in extra {
            self.batch.put(object);
        }
        self.batch.reserve(revision);
        self.append()
    }

    fn append(&mut self) -> Result<(), Error> {
        let result = self.log.append(&self.batch);
        if let (Ok(()), Some(compaction)) = (&result, &mut self.compaction) {
            compaction.push(&self.batch);
        }
        self.batch.clear();
        result.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => Error::Full {
                path: self.path.clone(),
            },
            _ => Error::Commit {
                path: self.path.clone(),
                source: source.into(),
            },
        })
    }

    /// Keeps the books of what lives: an event was made visible, in memory or durably.
    pub(crate) fn account(&mut self, event: &Event) {
        let before = event.previous.as_ref().map_or(0, |object| log::cost(object));
        let now = match event.kind {
            EventKind::Deleted => 0,
            EventKind::Added | EventKind::Modified => log::cost(&event.object),
        };
        self.live = (self.live + now).saturating_sub(before);
    }

    /// Begins or ends a new generation, if it is time. It begins at one and a half times what lives; commits wait for
    /// it when they have added a quarter more. Both generations together are then below three times what lives.
    pub(crate) fn tend(&mut self, memory: &Memory, inbox: &Arc<Inbox>) {
        let length = self.log.length();
        if let Some(compaction) = self.compaction.take() {
            let outcome = match compaction.outcome() {
                None if length > self.live / 4 * 7 + 2 * SMALL => Some(compaction.wait()),
                outcome => outcome,
            };
            match outcome {
                Some(outcome) => self.adopt(compaction, outcome),
                None => self.compaction = Some(compaction),
            }
        }
        let limit = (self.live / 2 * 3 + SMALL).max(self.retry_above);
        if self.compaction.is_some() || self.log.length() <= limit {
            return;
        }
        let objects = memory.state().objects.values().cloned().collect();
        let inbox = inbox.clone();
        match self.log.compact(objects, self.reserved, move || inbox.poke()) {
            Ok(compaction) => self.compaction = Some(compaction),
            Err(error) => self.give_up(&error),
        }
    }

    fn adopt(&mut self, compaction: Compaction, outcome: log::Outcome) {
        match self.log.adopt(compaction, outcome) {
            Ok(()) => self.retry_above = 0,
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        tracing::warn!(%error, path = %self.path.display(), "the log of the store could not be shortened");
        self.retry_above = self.log.length() + self.log.length() / 4;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::Encoded;
    use crate::log::Blob;

    /// A directory on a disk that can be full.
    struct Fragile(Directory, Arc<AtomicBool>);

    struct FragileFile(Box<dyn Blob>, Arc<AtomicBool>);

    fn check(full: &AtomicBool) -> io::Result<()> {
        match full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    impl Media for Fragile {
        fn list(&self) -> io::Result<Vec<String>> {
            self.0.list()
        }
        fn open(&self, name: &str) -> io::Result<Box<dyn Blob>> {
            Ok(Box::new(FragileFile(self.0.open(name)?, self.1.clone())))
        }
        fn create(&self, name: &str) -> io::Result<Box<dyn Blob>> {
            check(&self.1)?;
            Ok(Box::new(FragileFile(self.0.create(name)?, self.1.clone())))
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }
        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
    }

    impl Blob for FragileFile {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            self.0.read_at(offset, into)
        }
        fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write_at(offset, data)
        }
        fn set_len(&self, length: u64) -> io::Result<()> {
            check(&self.1)?;
            self.0.set_len(length)
        }
        fn sync(&self) -> io::Result<()> {
            // Written, but the sync says that it is not durable.
            check(&self.1)?;
            self.0.sync()
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
        let full = Arc::new(AtomicBool::new(false));
        let open = || {
            let media = Fragile(Directory::take(&directory).unwrap(), full.clone());
            Disk::open_with(&directory, Arc::new(media)).unwrap()
        };
        let (mut disk, _, _) = open();
        disk.commit(&[event("/a/1", 2)], &[], 2).unwrap();
        full.store(true, Ordering::SeqCst);
        let lost = [event("/a/2", 3)];
        assert!(matches!(disk.commit(&lost, &[], 3), Err(Error::Full { .. })));
        assert!(disk.commit(&lost, &[], 3).is_err());
        full.store(false, Ordering::SeqCst);
        disk.commit(&[event("/a/3", 3)], &[], 3).unwrap();
        drop(disk);
        let (_, objects, _) = open();
        assert_eq!(objects.keys().map(|key| &**key).collect::<Vec<_>>(), ["/a/1", "/a/3"]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
