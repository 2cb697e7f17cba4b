//! The thread through which every write goes. It takes all writes that wait, checks and numbers them, makes them
//! durable with one sync, shows them to readers and watchers, and answers. While it syncs, the next group gathers.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::memory::Memory;
use crate::state::State;
use crate::{Change, Error, Event, EventKind, Expect, Guard, Object, Write, WriteError};

type Reply = Result<Arc<Object>, WriteError>;
/// The results of a job and where they go.
type Answer = (oneshot::Sender<Vec<Reply>>, Vec<Reply>);

/// Some writes of one caller and where their results go.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) writes: Vec<Write>,
    pub(crate) reply: oneshot::Sender<Vec<Reply>>,
}

/// Where callers leave their writes.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// Something else is to be looked after.
    poked: bool,
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job; gives it back if the store is closed.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(job);
        }
        waiting.jobs.push(job);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// Wakes the writer without a job.
    pub(crate) fn poke(&self) {
        self.lock().poked = true;
        self.ready.notify_one();
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    /// Swaps everything that waits for an empty list; false once closed and empty.
    fn take(&self, jobs: &mut Vec<Job>) -> bool {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() && !waiting.poked && !waiting.closed {
            waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut waiting.jobs, jobs);
        std::mem::take(&mut waiting.poked) || !jobs.is_empty()
    }
}

pub(crate) struct Writer {
    pub(crate) disk: Disk,
    pub(crate) memory: Arc<Memory>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) volatile: Vec<String>,
    /// Keys whose current object is newer than the one on disk.
    pub(crate) dirty: BTreeSet<Arc<str>>,
}

/// A group of writes on its way: what was accepted so far.
#[derive(Default)]
struct Group {
    events: Vec<Arc<Event>>,
    /// The state of the keys that the accepted writes touched.
    touched: HashMap<Arc<str>, Option<Arc<Object>>>,
    durable: bool,
}

impl Writer {
    pub(crate) fn run(mut self) {
        let mut jobs = Vec::new();
        while self.inbox.take(&mut jobs) {
            if !jobs.is_empty() {
                self.group(jobs.drain(..));
            }
            self.disk.tend(&self.memory, &self.inbox);
        }
        let state = self.memory.state();
        let (revision, extra) = (state.revision, unwritten(&self.dirty, &state));
        drop(state);
        if let Err(error) = self.disk.finish(&extra, revision) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store could not be closed cleanly"
            );
        }
        self.memory.close();
    }

    fn group(&mut self, jobs: std::vec::Drain<'_, Job>) {
        let mut group = Group::default();
        let mut answers = Vec::with_capacity(jobs.len());
        let extra = {
            // Only this thread writes to the state, so what is read here stays true until `publish`.
            let state = self.memory.state();
            let mut revision = state.revision;
            for job in jobs {
                let results = job.writes.into_iter().map(|write| {
                    let accepted = accept(&state, &mut group, write, revision + 1, &self.volatile);
                    revision += u64::from(accepted.is_ok());
                    accepted
                });
                answers.push((job.reply, results.collect::<Vec<Reply>>()));
            }
            group.durable |= !self.disk.covers(revision);
            if group.durable {
                unwritten(&self.dirty, &state)
            } else {
                Vec::new()
            }
        };
        if let Err(error) = self.persist(&group, &extra) {
            tracing::error!(error = &*error as &dyn std::error::Error, "a commit failed");
            for result in answers.iter_mut().flat_map(|(_, results)| results) {
                if result.is_ok() {
                    *result = Err(WriteError::Storage(error.clone()));
                }
            }
            group.events.clear();
        }
        self.publish(&group.events, answers);
    }

    fn persist(&mut self, group: &Group, extra: &[Arc<Object>]) -> Result<(), Arc<Error>> {
        let Some(last) = group.events.last() else { return Ok(()) };
        if !group.durable {
            self.dirty
                .extend(group.events.iter().map(|event| event.object.shared_key()));
            return Ok(());
        }
        self.disk
            .commit(&group.events, extra, last.revision())
            .map_err(Arc::new)?;
        self.dirty.clear();
        Ok(())
    }

    fn publish(&mut self, events: &[Arc<Event>], answers: Vec<Answer>) {
        self.memory.publish(events, || {
            for (reply, results) in answers {
                // A caller that went away does not want its answer.
                let _ = reply.send(results);
            }
        });
        for event in events {
            self.disk.account(event);
        }
    }
}

fn unwritten(dirty: &BTreeSet<Arc<str>>, state: &State) -> Vec<Arc<Object>> {
    dirty.iter().filter_map(|key| state.get(key).cloned()).collect()
}

/// Checks one write against the state and the writes before it, and numbers it.
fn accept(state: &State, group: &mut Group, write: Write, revision: u64, volatile: &[String]) -> Reply {
    let Write {
        key,
        expect,
        change,
        guard,
    } = write;
    let current = match group.touched.get(key.as_str()) {
        Some(touched) => touched.clone(),
        None => state.get(&key).cloned(),
    };
    let holds = match (expect, &current) {
        (Expect::Absent, None) => true,
        (Expect::Revision(expected), Some(object)) => object.revision() == expected,
        _ => false,
    };
    if !holds {
        return Err(WriteError::Conflict { current });
    }
    if guard.is_some_and(|guard| !unchanged(state, group, &guard)) {
        return Err(WriteError::Guard);
    }
    let key: Arc<str> = current
        .as_ref()
        .map_or_else(|| key.as_str().into(), |object| object.shared_key());
    let created = current.as_ref().map_or(revision, |object| object.created());
    let (kind, object) = match (change, &current) {
        (Change::Put(encoded), None) => (EventKind::Added, encoded.commit(key.clone(), created, revision)),
        (Change::Put(encoded), Some(_)) => (EventKind::Modified, encoded.commit(key.clone(), created, revision)),
        (Change::Delete { last: Some(encoded) }, _) => {
            (EventKind::Deleted, encoded.commit(key.clone(), created, revision))
        }
        (Change::Delete { last: None }, Some(current)) => (EventKind::Deleted, current.at(revision)),
        (Change::Delete { last: None }, None) => return Err(WriteError::Conflict { current: None }),
    };
    group.durable |= kind != EventKind::Modified || !volatile.iter().any(|prefix| key.starts_with(prefix.as_str()));
    let object = Arc::new(object);
    group
        .touched
        .insert(key, (kind != EventKind::Deleted).then(|| object.clone()));
    group.events.push(Arc::new(Event {
        kind,
        object: object.clone(),
        previous: current,
    }));
    Ok(object)
}

/// Whether a guard holds, in the state and the writes before this one.
fn unchanged(state: &State, group: &Group, guard: &Guard) -> bool {
    let changes = |event: &Event| event.kind != EventKind::Deleted && event.object.key().starts_with(&guard.prefix);
    if group.events.iter().any(|event| changes(event)) {
        return false;
    }
    match state.history.check(guard.revision, state.revision) {
        Ok(()) => !state.history.after(guard.revision).any(|event| changes(event)),
        Err(_) => {
            let bounds = (Bound::Included(guard.prefix.as_str()), Bound::Unbounded);
            let below = state.objects.range::<str, _>(bounds);
            let mut below = below.take_while(|(key, _)| key.starts_with(&guard.prefix));
            below.all(|(_, object)| object.revision() <= guard.revision)
        }
    }
}
