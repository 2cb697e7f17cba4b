//! Decides which events to write: an event that happened before is counted, many events that differ only in their
//! message become one, and an object that has too many goes silent for a while.

use super::{Note, Severity};
use barepod_client::types::ObjectReference;
use barepod_client::types::Time;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Different messages with the same reason within `WINDOW_SECONDS` before they are written as one event.
const SIMILAR: usize = 10;
const WINDOW_SECONDS: i64 = 600;
/// Writes an object may cause at once, and the seconds after which it may cause one more.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
/// Entries remembered of each sort.
const REMEMBERED: usize = 1024;

/// One event to create or to count up.
#[derive(Clone, Debug)]
pub(super) struct Write {
    key: SeriesKey,
    /// It does not exist yet.
    pub(super) new: bool,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) count: i32,
    text: String,
    first: Timestamp,
    last: Timestamp,
    regarding: Arc<ObjectReference>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GroupKey {
    component: &'static str,
    object: String,
    severity: Severity,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    group: GroupKey,
    /// The message; none for combined events.
    message: Option<String>,
}

struct Series {
    name: String,
    /// What to show: for combined events the latest message.
    text: String,
    written: bool,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

struct Group {
    messages: HashSet<String>,
    since: Timestamp,
}

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

pub(super) struct Aggregator {
    series: HashMap<SeriesKey, Series>,
    groups: HashMap<GroupKey, Group>,
    buckets: HashMap<(&'static str, String), Bucket>,
    pending: Vec<(SeriesKey, Arc<ObjectReference>)>,
    waiting: HashSet<SeriesKey>,
    sequence: u32,
}

impl Aggregator {
    pub(super) fn new() -> Self {
        Self {
            series: HashMap::new(),
            groups: HashMap::new(),
            buckets: HashMap::new(),
            pending: Vec::new(),
            waiting: HashSet::new(),
            sequence: 0,
        }
    }

    /// Counts a note in.
    pub(super) fn take(&mut self, note: Note, now: Timestamp) {
        let object = identity(&note.regarding);
        if !self.allowed(note.component, &object, now) {
            return;
        }
        let group = GroupKey {
            component: note.component,
            object,
            severity: note.severity,
            reason: note.reason,
        };
        let (message, text) = match self.is_one_of_many(&group, &note.message, now) {
            true => (None, format!("(combined from similar events): {}", note.message)),
            false => (Some(note.message.clone()), note.message),
        };
        let key = SeriesKey { group, message };
        self.sequence = self.sequence.wrapping_add(1);
        let fresh = || {
            let of = note.regarding.name.as_deref().unwrap_or_default();
            let tag = now
                .as_nanosecond()
                .unsigned_abs()
                .wrapping_add(u128::from(self.sequence));
            Series {
                name: format!("{of}.{tag:x}"),
                text: String::new(),
                written: false,
                count: 0,
                first: now,
                last: now,
            }
        };
        let entry = self.series.entry(key.clone()).or_insert_with(fresh);
        if seconds_between(entry.last, now) > WINDOW_SECONDS {
            *entry = fresh();
        }
        entry.count += 1;
        entry.last = now;
        entry.text = text;
        if self.waiting.insert(key.clone()) {
            self.pending.push((key, note.regarding));
        }
    }

    /// What is to be written now, in order.
    pub(super) fn writes(&mut self) -> Vec<Write> {
        self.waiting.clear();
        let writes = std::mem::take(&mut self.pending)
            .into_iter()
            .filter_map(|(key, regarding)| {
                let series = self.series.get_mut(&key)?;
                let new = !std::mem::replace(&mut series.written, true);
                let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
                Some(Write {
                    new,
                    namespace,
                    name: series.name.clone(),
                    count: series.count,
                    text: series.text.clone(),
                    first: series.first,
                    last: series.last,
                    regarding,
                    key,
                })
            })
            .collect();
        self.forget_old();
        writes
    }

    /// The event could not be written; the next note of its kind starts anew.
    pub(super) fn failed(&mut self, write: &Write) {
        self.series.remove(&write.key);
    }

    fn allowed(&mut self, component: &'static str, object: &str, now: Timestamp) -> bool {
        let bucket = self
            .buckets
            .entry((component, object.to_owned()))
            .or_insert(Bucket { tokens: BURST, at: now });
        let waited = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + waited / REFILL_SECONDS).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    /// Whether the message is yet another one where there were many different ones.
    fn is_one_of_many(&mut self, key: &GroupKey, message: &str, now: Timestamp) -> bool {
        let fresh = || Group {
            messages: HashSet::new(),
            since: now,
        };
        let group = self.groups.entry(key.clone()).or_insert_with(fresh);
        if seconds_between(group.since, now) > WINDOW_SECONDS {
            *group = fresh();
        }
        if group.messages.contains(message) {
            return false;
        }
        if group.messages.len() >= SIMILAR {
            return true;
        }
        group.messages.insert(message.to_owned());
        false
    }

    fn forget_old(&mut self) {
        if self.series.len() > REMEMBERED {
            let mut ages: Vec<Timestamp> = self.series.values().map(|s| s.last).collect();
            ages.sort_unstable();
            let middle = ages[ages.len() / 2];
            self.series.retain(|_, s| s.last > middle);
        }
        if self.groups.len() > REMEMBERED {
            self.groups.clear();
        }
        if self.buckets.len() > REMEMBERED {
            self.buckets.retain(|_, b| b.tokens < BURST - 1.0);
        }
    }
}

impl Write {
    pub(super) fn component(&self) -> &'static str {
        self.key.group.component
    }

    /// The event as a new object.
    pub(super) fn body(&self) -> Value {
        let component = self.component();
        let severity = match self.key.group.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "involvedObject": *self.regarding,
            "type": severity,
            "reason": self.key.group.reason,
            "message": self.text,
            "count": self.count,
            "firstTimestamp": Time(self.first),
            "lastTimestamp": Time(self.last),
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
        })
    }

    /// What changes when it happens again.
    pub(super) fn change(&self) -> Value {
        json!({"count": self.count, "lastTimestamp": Time(self.last), "message": self.text})
    }
}

fn identity(object: &ObjectReference) -> String {
    let part = |p: &Option<String>| p.clone().unwrap_or_default();
    let (kind, namespace) = (part(&object.kind), part(&object.namespace));
    format!("{kind}/{namespace}/{}/{}", part(&object.name), part(&object.uid))
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> i64 {
    later.as_second() - earlier.as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> Note {
        Note {
            component: "test",
            regarding: Arc::new(ObjectReference {
                kind: Some("ReplicaSet".into()),
                namespace: Some("ns".into()),
                name: Some("a".into()),
                ..ObjectReference::default()
            }),
            severity: Severity::Normal,
            reason: "SuccessfulCreate",
            message: message.to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn counts_what_is_repeated() {
        let mut aggregator = Aggregator::new();
        aggregator.take(note("x"), at(0));
        aggregator.take(note("x"), at(1));
        let writes = aggregator.writes();
        assert_eq!(writes.len(), 1);
        assert!(writes[0].new);
        assert_eq!(writes[0].count, 2);
        aggregator.take(note("x"), at(2));
        let again = aggregator.writes();
        assert!(!again[0].new);
        assert_eq!((again[0].count, &again[0].name), (3, &writes[0].name));
        assert!(aggregator.writes().is_empty());
    }

    #[test]
    fn combines_what_differs_in_the_message_only() {
        let mut aggregator = Aggregator::new();
        for i in 0..20 {
            aggregator.take(note(&format!("pod {i}")), at(0));
        }
        let writes = aggregator.writes();
        assert_eq!(writes.len(), SIMILAR + 1);
        assert_eq!(writes[SIMILAR].count, 10);
        assert_eq!(
            writes[SIMILAR].body()["message"],
            "(combined from similar events): pod 19"
        );
    }

    #[test]
    fn silences_an_object_that_has_too_many() {
        let mut aggregator = Aggregator::new();
        for _ in 0..40 {
            aggregator.take(note("x"), at(0));
        }
        assert_eq!(aggregator.writes()[0].count, 25);
        aggregator.take(note("x"), at(301));
        assert_eq!(aggregator.writes()[0].count, 26);
    }

    #[test]
    fn starts_anew_after_a_failed_write() {
        let mut aggregator = Aggregator::new();
        aggregator.take(note("x"), at(0));
        let writes = aggregator.writes();
        aggregator.failed(&writes[0]);
        aggregator.take(note("x"), at(1));
        assert_eq!(aggregator.writes()[0].count, 1);
    }
}
