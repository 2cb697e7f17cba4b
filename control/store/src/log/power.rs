//! What is on the disk after the power went at any moment: every operation is recorded, and for each prefix of them the
//! disks are made that a power cut there may leave behind. Each one must open, hold every acknowledged write and no
//! refused one, and take new writes.
//!
//! What may be left behind: of the writes to a file since its last sync, any may be missing, and each may be there only
//! to some sector. The length of a file is what some of its writes since made of it. A name that was made, changed or
//! removed since the directory was synced is as it was or as it is now.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

use super::{Batch, Blob, Log, Media, open};
use crate::{Encoded, Object};

const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Op {
    Create(String, usize),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    Rename(String, String),
    Remove(String),
    SyncNames,
    /// Not an operation: until here everything in this state was acknowledged.
    Acknowledged(BTreeMap<String, u64>),
}

/// A directory in memory that keeps what was done to it.
#[derive(Default)]
struct Recorder {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    ops: Vec<Op>,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Recorder>>);

struct MemoryFile(Memory, usize);

impl Memory {
    fn of(names: BTreeMap<String, usize>, files: Vec<Vec<u8>>) -> Self {
        Memory(Arc::new(Mutex::new(Recorder {
            names,
            files,
            ops: Vec::new(),
        })))
    }

    fn with<T>(&self, run: impl FnOnce(&mut Recorder) -> T) -> T {
        run(&mut self.0.lock().unwrap())
    }
}

impl Media for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|it| it.names.keys().cloned().collect()))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let file = self
            .with(|it| it.names.get(name).copied())
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile(self.clone(), file)))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let file = self.with(|it| {
            it.files.push(Vec::new());
            let file = it.files.len() - 1;
            it.names.insert(name.to_owned(), file);
            it.ops.push(Op::Create(name.to_owned(), file));
            file
        });
        Ok(Box::new(MemoryFile(self.clone(), file)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|it| {
            let file = it.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            it.names.insert(to.to_owned(), file);
            it.ops.push(Op::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|it| {
            it.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            it.ops.push(Op::Remove(name.to_owned()));
            Ok(())
        })
    }
    fn sync(&self) -> io::Result<()> {
        self.with(|it| it.ops.push(Op::SyncNames));
        Ok(())
    }
}

impl Blob for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.with(|it| it.files[self.1].len() as u64))
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(offset).unwrap();
        Ok(self.0.with(|it| {
            let rest = it.files[self.1].get(at..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        }))
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.with(|it| {
            overwrite(&mut it.files[self.1], offset, data);
            it.ops.push(Op::Write(self.1, offset, data.to_vec()));
        });
        Ok(())
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.with(|it| {
            it.files[self.1].resize(usize::try_from(length).unwrap(), 0);
            it.ops.push(Op::SetLen(self.1, length));
        });
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        self.0.with(|it| it.ops.push(Op::Sync(self.1)));
        Ok(())
    }
}

fn overwrite(file: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let at = usize::try_from(offset).unwrap();
    if file.len() < at + data.len() {
        file.resize(at + data.len(), 0);
    }
    file[at..at + data.len()].copy_from_slice(data);
}

/// A small generator of numbers, so that a failure can be repeated (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// What is surely on the disk, and what may or may not be.
#[derive(Default)]
struct Model {
    names: BTreeMap<String, usize>,
    files: HashMap<usize, Vec<u8>>,
    pending: HashMap<usize, Vec<Op>>,
    /// Changes of names that are not durable yet, in order.
    pending_names: Vec<Op>,
    acknowledged: BTreeMap<String, u64>,
}

fn rename(names: &mut BTreeMap<String, usize>, op: &Op) {
    match op {
        Op::Create(name, file) => {
            names.insert(name.clone(), *file);
        }
        Op::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Op::Remove(name) => {
            names.remove(name);
        }
        _ => {}
    }
}

impl Model {
    fn step(&mut self, op: &Op) {
        match op {
            Op::Create(..) | Op::Rename(..) | Op::Remove(_) => self.pending_names.push(op.clone()),
            Op::SyncNames => {
                for op in std::mem::take(&mut self.pending_names) {
                    rename(&mut self.names, &op);
                }
            }
            Op::Write(file, ..) | Op::SetLen(file, _) => self.pending.entry(*file).or_default().push(op.clone()),
            Op::Sync(file) => {
                let content = self.files.entry(*file).or_default();
                for op in self.pending.remove(file).unwrap_or_default() {
                    match op {
                        Op::Write(_, offset, data) => overwrite(content, offset, &data),
                        Op::SetLen(_, length) => content.resize(usize::try_from(length).unwrap(), 0),
                        _ => {}
                    }
                }
            }
            Op::Acknowledged(state) => self.acknowledged = state.clone(),
        }
    }

    /// One of the disks that a power cut may leave behind now. `luck` 0 keeps nothing that was not synced, 1 keeps all.
    fn cut(&self, dice: &mut Dice, luck: usize) -> Memory {
        let lucky = |dice: &mut Dice| match luck {
            0 => false,
            1 => true,
            _ => dice.roll(2) == 0,
        };
        let mut names = self.names.clone();
        // Names change in order: journals keep a prefix of the changes.
        let kept = match luck {
            0 => 0,
            1 => self.pending_names.len(),
            _ => dice.roll(self.pending_names.len() + 1),
        };
        for op in &self.pending_names[..kept] {
            rename(&mut names, op);
        }
        let mut files = Vec::new();
        let mut places = BTreeMap::new();
        for (name, file) in names {
            let mut content = self.files.get(&file).cloned().unwrap_or_default();
            for op in self.pending.get(&file).into_iter().flatten() {
                match op {
                    Op::Write(_, offset, data) => {
                        // Sector by sector: some are there, some are not.
                        let mut at = 0;
                        while at < data.len() {
                            let place = usize::try_from(*offset).unwrap() + at;
                            let end = (at + SECTOR - place % SECTOR).min(data.len());
                            if lucky(dice) {
                                overwrite(&mut content, *offset + at as u64, &data[at..end]);
                            }
                            at = end;
                        }
                    }
                    Op::SetLen(_, length) if lucky(dice) => content.resize(usize::try_from(*length).unwrap(), 0),
                    _ => {}
                }
            }
            places.insert(name, files.len());
            files.push(content);
        }
        Memory::of(places, files)
    }
}

fn object(key: &str, revision: u64, size: usize) -> Arc<Object> {
    let json = format!("{{\"rv\":\"\",\"text\":\"{}\"}}", "x".repeat(size));
    Arc::new(Encoded::new(json.into_bytes(), 7).commit(key.into(), revision, revision))
}

/// Some life of a log: puts, deletes, frames of all sizes, new generations, a reopening.
fn record(seed: u64) -> Vec<Op> {
    let memory = Memory::default();
    let mut dice = Dice(seed);
    let mut state: BTreeMap<String, Arc<Object>> = BTreeMap::new();
    let (mut log, _) = open(Arc::new(memory.clone())).unwrap();
    let acknowledge = |state: &BTreeMap<String, Arc<Object>>| {
        let state = state
            .iter()
            .map(|(key, object)| (key.clone(), object.revision()))
            .collect();
        memory.with(|it| it.ops.push(Op::Acknowledged(state)));
    };
    let change = |state: &mut BTreeMap<String, Arc<Object>>, dice: &mut Dice, revision: u64| {
        let mut batch = Batch::default();
        for part in 0..=dice.roll(3) as u64 {
            let key = format!("/k/{}", dice.roll(12));
            if dice.roll(4) == 0 && state.remove(&key).is_some() {
                batch.delete(&key);
            } else {
                let size = [10, 400, 1500][dice.roll(3)];
                let object = object(&key, revision * 8 + part, size);
                batch.put(&object);
                state.insert(key, object);
            }
        }
        batch.reserve(revision * 8 + 8);
        batch
    };
    let commit = |log: &mut Log, state: &mut BTreeMap<String, Arc<Object>>, dice: &mut Dice, revision: u64| {
        let batch = change(state, dice, revision);
        log.append(&batch).unwrap();
        acknowledge(state);
        batch
    };
    for revision in 1..60 {
        match revision {
            // A new generation while commits go on.
            20 | 45 => {
                let objects = state.values().cloned().collect();
                let mut compaction = log.compact(objects, revision * 8, || {}).unwrap();
                // The order of two threads is not what is tried here.
                let outcome = compaction.wait();
                for more in 1..4 {
                    let batch = commit(&mut log, &mut state, &mut dice, revision * 8 + more);
                    compaction.push(&batch);
                }
                log.adopt(compaction, outcome).unwrap();
            }
            33 => (log, _) = open(Arc::new(memory.clone())).unwrap(),
            _ => {
                commit(&mut log, &mut state, &mut dice, revision * 64);
            }
        }
    }
    memory.with(|it| std::mem::take(&mut it.ops))
}

/// Opens what is left, compares, writes on, and opens again.
fn check(memory: &Memory, acknowledged: &BTreeMap<String, u64>, next: &BTreeMap<String, u64>, place: &str) {
    let opened = open(Arc::new(memory.clone()));
    let (mut log, content) = opened.unwrap_or_else(|error| panic!("{place}: {error}"));
    let found: BTreeMap<String, u64> = content
        .objects
        .values()
        .map(|object| (object.key().to_owned(), object.revision()))
        .collect();
    // The commit that was under way is there as a whole or not at all.
    assert!(
        found == *acknowledged || found == *next,
        "{place}: {found:?} is neither {acknowledged:?} nor {next:?}"
    );
    let mut batch = Batch::default();
    batch.put(&object("/k/new", 1 << 40, 700));
    log.append(&batch).unwrap();
    let (_, content) = open(Arc::new(memory.clone())).unwrap();
    assert_eq!(
        content.objects.len(),
        found.len() + 1,
        "{place}: what was written after the cut is there"
    );
}

#[test]
fn the_power_may_go_at_any_write() {
    let mut cuts = 0;
    for seed in 1..=2 {
        let ops = record(seed);
        let mut model = Model::default();
        let mut dice = Dice(seed * 77);
        for at in 0..=ops.len() {
            let next = ops[at..].iter().find_map(|op| match op {
                Op::Acknowledged(state) => Some(state.clone()),
                _ => None,
            });
            let next = next.unwrap_or_else(|| model.acknowledged.clone());
            for luck in 0..4 {
                let memory = model.cut(&mut dice, luck);
                let place = format!("seed {seed}, before operation {at}, luck {luck}");
                check(&memory, &model.acknowledged, &next, &place);
                cuts += 1;
            }
            if let Some(op) = ops.get(at) {
                model.step(op);
            }
        }
    }
    assert!(cuts > 1000, "{cuts}");
}

/// The test above must notice a log that acknowledges before it is durable.
#[test]
fn a_log_that_does_not_sync_is_caught() {
    let ops: Vec<Op> = record(1).into_iter().filter(|op| !matches!(op, Op::Sync(_))).collect();
    let caught = std::panic::catch_unwind(|| {
        let mut model = Model::default();
        for op in &ops {
            model.step(op);
        }
        let memory = model.cut(&mut Dice(1), 0);
        check(&memory, &model.acknowledged, &model.acknowledged, "at the end");
    });
    assert!(caught.is_err());
}
