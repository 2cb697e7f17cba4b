//! Beginning a new generation with nothing but what lives.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use super::frame::{Batch, Position};
use super::media::{Blob, Media};
use super::{Log, begin, name, name_unfinished};
use crate::Object;

/// How much goes into one frame of a new generation.
const FRAME: usize = 256 << 10;
/// How much is written between two syncs, so that those of the commits do not wait for much.
const STRIDE: u64 = 8 << 20;

/// A generation that does not have its final name yet.
pub(crate) struct Unfinished {
    file: Box<dyn Blob>,
    position: Position,
    generation: u64,
}

/// A new generation being written by a thread of its own, and what was committed since.
pub(crate) struct Compaction {
    outcome: Receiver<Outcome>,
    tail: Vec<Batch>,
}

/// A new generation that is to take over.
pub(crate) type Outcome = io::Result<Unfinished>;

impl Compaction {
    /// Repeats a commit in the new generation.
    pub(crate) fn push(&mut self, batch: &Batch) {
        self.tail.push(batch.clone());
    }

    /// What became of it, if it is over.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(panicked())),
        }
    }

    /// Waits for the end of it.
    pub(crate) fn wait(&self) -> Outcome {
        self.outcome.recv().unwrap_or_else(|_| Err(panicked()))
    }
}

fn panicked() -> io::Error {
    io::Error::other("the compactor panicked")
}

/// Writes objects into a new file and makes them durable; also says where the next frame goes.
pub(crate) fn snapshot<'a>(
    media: &dyn Media,
    name: &str,
    objects: impl Iterator<Item = &'a Arc<Object>>,
    reserved: u64,
) -> io::Result<(Box<dyn Blob>, Position)> {
    let (file, mut position) = begin(media, name)?;
    let (mut batch, mut buffer) = (Batch::default(), Vec::new());
    let mut synced = 0;
    let mut write = |batch: &mut Batch, position: &mut Position| {
        position.frame(batch, &mut buffer);
        file.write_at(position.offset, &buffer)?;
        *position = position.after(batch);
        batch.clear();
        if position.offset - synced > STRIDE {
            synced = position.offset;
            file.sync()?;
        }
        Ok::<_, io::Error>(())
    };
    for object in objects {
        batch.put(object);
        if batch.len() >= FRAME {
            write(&mut batch, &mut position)?;
        }
    }
    batch.reserve(reserved);
    write(&mut batch, &mut position)?;
    file.sync()?;
    Ok((file, position))
}

impl Log {
    /// Starts to write a new generation from the current objects. `done` is called at its end.
    pub(crate) fn compact(
        &self,
        objects: Vec<Arc<Object>>,
        reserved: u64,
        done: impl FnOnce() + Send + 'static,
    ) -> io::Result<Compaction> {
        let (media, generation) = (self.media.clone(), self.generation + 1);
        let (sender, outcome) = mpsc::channel();
        let thread = std::thread::Builder::new().name("store-compactor".into());
        thread.spawn(move || {
            let result = snapshot(&*media, &name_unfinished(generation), objects.iter(), reserved);
            let result = result.map(|(file, position)| Unfinished {
                file,
                position,
                generation,
            });
            drop(objects);
            // The writer waits for this before it ends.
            let _ = sender.send(result);
            done();
        })?;
        Ok(Compaction {
            outcome,
            tail: Vec::new(),
        })
    }

    /// Goes on with the new generation. After a failure the old one stays.
    pub(crate) fn adopt(&mut self, compaction: Compaction, outcome: Outcome) -> io::Result<()> {
        let result = outcome.and_then(|unfinished| self.replace(unfinished, &compaction.tail));
        if result.is_err() {
            // What is left of it is removed at the next start otherwise.
            let _ = self.media.remove(&name_unfinished(self.generation + 1));
        }
        result
    }

    /// Lets a finished generation take over.
    pub(crate) fn replace(&mut self, unfinished: Unfinished, tail: &[Batch]) -> io::Result<()> {
        let Unfinished {
            file,
            mut position,
            generation,
        } = unfinished;
        let mut buffer = Vec::new();
        for batch in tail {
            position.frame(batch, &mut buffer);
            file.write_at(position.offset, &buffer)?;
            position = position.after(batch);
        }
        if !tail.is_empty() {
            file.sync()?;
        }
        self.media.rename(&name_unfinished(generation), &name(generation))?;
        let old = name(self.generation);
        self.file = file;
        self.generation = generation;
        self.claimed = position.offset;
        self.position = position;
        self.broken = false;
        // From here on a start takes the new generation if the name survives and the old one if it does not. They say
        // the same until something is appended, which waits for the name.
        self.unsettled = true;
        self.settle()?;
        if let Err(error) = self.media.remove(&old) {
            tracing::warn!(%error, file = old, "an old generation of the store stays until the next start");
        }
        Ok(())
    }
}
