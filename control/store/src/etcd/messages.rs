//! The messages of etcd's v3 API that are needed. Field numbers are those of `etcdserverpb` and `mvccpb`.

use super::wire::{Malformed, Value, Writer, read};

/// The first key behind all keys with a prefix; etcd's ranges end before it.
pub(crate) fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // Nothing is behind: a zero byte means "to the end".
    vec![0]
}

/// What a read asks for.
#[derive(Debug, Default)]
pub(crate) struct RangeRequest<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) range_end: &'a [u8],
    pub(crate) limit: u64,
    pub(crate) revision: u64,
    pub(crate) keys_only: bool,
}

impl RangeRequest<'_> {
    pub(crate) fn encode(&self) -> Writer {
        Writer::default()
            .bytes(1, self.key)
            .bytes(2, self.range_end)
            .number(3, self.limit)
            .number(4, self.revision)
            .flag(8, self.keys_only)
    }
}

pub(crate) fn put(key: &[u8], value: &[u8], lease: u64) -> Writer {
    Writer::default().bytes(1, key).bytes(2, value).number(3, lease)
}

pub(crate) fn delete(key: &[u8]) -> Writer {
    Writer::default().bytes(1, key)
}

/// What a transaction requires.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Compare<'a> {
    /// The key was last written at this revision; 0 is not at all.
    ModRevision(&'a [u8], u64),
    /// The key was written so many times since it was made.
    Version(&'a [u8], u64),
    /// No key of a range was written at this revision or later.
    AllBefore {
        key: &'a [u8],
        range_end: &'a [u8],
        revision: u64,
    },
}

impl Compare<'_> {
    fn encode(self) -> Writer {
        // result: EQUAL 0, LESS 2; target: VERSION 0, MOD 2.
        const LESS: u64 = 2;
        const MOD: u64 = 2;
        match self {
            Compare::ModRevision(key, revision) => Writer::default().number(2, MOD).bytes(3, key).number(6, revision),
            Compare::Version(key, version) => Writer::default().bytes(3, key).number(4, version),
            Compare::AllBefore {
                key,
                range_end,
                revision,
            } => {
                let compare = Writer::default().number(1, LESS).number(2, MOD).bytes(3, key);
                compare.number(6, revision).bytes(64, range_end)
            }
        }
    }
}

/// One step of a transaction.
#[derive(Debug)]
pub(crate) enum Operation {
    Range(Writer),
    Put(Writer),
    Delete(Writer),
}

impl Operation {
    fn encode(&self) -> Writer {
        let (field, message) = match self {
            Operation::Range(message) => (1, message),
            Operation::Put(message) => (2, message),
            Operation::Delete(message) => (3, message),
        };
        Writer::default().message(field, message)
    }
}

/// If everything compares as required, the first operation is done, otherwise the second, if there is one.
pub(crate) fn transaction(compare: &[Compare<'_>], success: &Operation, failure: Option<&Operation>) -> Writer {
    let mut message = Writer::default();
    for compare in compare {
        message = message.message(1, &compare.encode());
    }
    message = message.message(2, &success.encode());
    match failure {
        Some(failure) => message.message(3, &failure.encode()),
        None => message,
    }
}

pub(crate) fn compaction(revision: u64) -> Writer {
    Writer::default().number(1, revision)
}

pub(crate) fn lease_grant(seconds: u64) -> Writer {
    Writer::default().number(1, seconds)
}

/// Follows a range from a revision on.
pub(crate) fn watch(key: &[u8], range_end: &[u8], start_revision: u64) -> Writer {
    let create = Writer::default()
        .bytes(1, key)
        .bytes(2, range_end)
        .number(3, start_revision);
    Writer::default().message(1, &create)
}

/// A key and what it holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyValue<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) version: u64,
    pub(crate) value: &'a [u8],
}

impl<'a> KeyValue<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut kv = KeyValue::default();
        read(message, |field, value| {
            match field {
                1 => kv.key = value.bytes(),
                2 => kv.created = value.number(),
                3 => kv.modified = value.number(),
                4 => kv.version = value.number(),
                5 => kv.value = value.bytes(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(kv)
    }
}

/// The revision in a response's header.
fn header(value: Value<'_>) -> Result<u64, Malformed> {
    let mut revision = 0;
    read(value.bytes(), |field, value| {
        if field == 3 {
            revision = value.number();
        }
        Ok(())
    })?;
    Ok(revision)
}

/// The answer to a [`RangeRequest`].
#[derive(Debug, Default)]
pub(crate) struct RangeResponse<'a> {
    pub(crate) revision: u64,
    pub(crate) kvs: Vec<KeyValue<'a>>,
    pub(crate) more: bool,
}

impl<'a> RangeResponse<'a> {
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut response = RangeResponse::default();
        read(message, |field, value| {
            match field {
                1 => response.revision = header(value)?,
                2 => response.kvs.push(KeyValue::decode(value.bytes())?),
                3 => response.more = value.number() != 0,
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// The answer to a [`transaction`].
#[derive(Debug, Default)]
pub(crate) struct TxnResponse<'a> {
    pub(crate) revision: u64,
    pub(crate) succeeded: bool,
    /// What the range found, if that was the operation.
    pub(crate) kvs: Vec<KeyValue<'a>>,
}

impl<'a> TxnResponse<'a> {
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut response = TxnResponse::default();
        read(message, |field, value| {
            match field {
                1 => response.revision = header(value)?,
                2 => response.succeeded = value.number() != 0,
                3 => read(value.bytes(), |field, value| {
                    if field == 1 {
                        response.kvs = RangeResponse::decode(value.bytes())?.kvs;
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// The number of a new lease.
pub(crate) fn decode_lease_grant(message: &[u8]) -> Result<u64, Malformed> {
    number(message, 2)
}

/// How many bytes the database of a member takes.
pub(crate) fn decode_status(message: &[u8]) -> Result<u64, Malformed> {
    number(message, 3)
}

fn number(message: &[u8], wanted: u64) -> Result<u64, Malformed> {
    let mut number = 0;
    read(message, |field, value| {
        if field == wanted {
            number = value.number();
        }
        Ok(())
    })?;
    Ok(number)
}

/// One change in a [`WatchResponse`].
#[derive(Debug)]
pub(crate) struct WatchEvent<'a> {
    pub(crate) deleted: bool,
    pub(crate) kv: KeyValue<'a>,
}

/// A message of a watch.
#[derive(Debug, Default)]
pub(crate) struct WatchResponse<'a> {
    pub(crate) canceled: bool,
    /// Not 0 if the watch asked for what was compacted.
    pub(crate) compact_revision: u64,
    pub(crate) reason: String,
    pub(crate) events: Vec<WatchEvent<'a>>,
}

impl<'a> WatchResponse<'a> {
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut response = WatchResponse::default();
        read(message, |field, value| {
            match field {
                4 => response.canceled = value.number() != 0,
                5 => response.compact_revision = value.number(),
                6 => response.reason = value.text(),
                11 => response.events.push(event(value.bytes())?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }
}

fn event(message: &[u8]) -> Result<WatchEvent<'_>, Malformed> {
    let mut event = WatchEvent {
        deleted: false,
        kv: KeyValue::default(),
    };
    read(message, |field, value| {
        match field {
            1 => event.deleted = value.number() == 1,
            2 => event.kv = KeyValue::decode(value.bytes())?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(range_end(b"/a/"), b"/a0");
        assert_eq!(range_end(&[1, 0xff]), [2]);
        assert_eq!(range_end(&[0xff]), [0]);
    }
}
