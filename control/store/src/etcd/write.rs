//! Writes: each one a transaction of its own.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;

use super::grpc::CallError;
use super::messages::{self, Compare, Operation, TxnResponse, range_end};
use super::{CALL, Shared, TXN, remote};
use crate::{Change, Error, Expect, Object, Write, WriteError};

pub(super) async fn write_all(shared: &Shared, writes: Vec<Write>) -> Vec<Result<Arc<Object>, WriteError>> {
    let mut results = Vec::with_capacity(writes.len());
    let mut together: Vec<Write> = Vec::new();
    let mut keys = HashSet::new();
    for write in writes {
        // Those of one key see each other, in their order.
        if !keys.insert(write.key.clone()) {
            results.extend(join_all(together.drain(..).map(|write| one(shared, write))).await);
            keys = HashSet::from([write.key.clone()]);
        }
        together.push(write);
    }
    results.extend(join_all(together.into_iter().map(|write| one(shared, write))).await);
    results
}

async fn one(shared: &Shared, write: Write) -> Result<Arc<Object>, WriteError> {
    let Ok(_permit) = shared.transactions.acquire().await else {
        return Err(WriteError::Storage(Arc::new(Error::Closed)));
    };
    let storage = |error: CallError| WriteError::Storage(Arc::new(remote(error)));
    // Whoever writes has read from the same memory: what it has seen is there, or something newer.
    let current = shared.memory.get(&write.key);
    if !holds(&write, current.as_deref()) {
        return Err(WriteError::Conflict { current });
    }
    let (succeeded, revision) = transact(shared, &write).await.map_err(storage)?;
    // The caller and those it tells about its write find it here.
    shared.catch_up(revision).await.or_else(|error| {
        tracing::warn!(%error, "a write is done but not seen yet");
        if succeeded { Ok(()) } else { Err(storage(error)) }
    })?;
    if !succeeded {
        let current = shared.memory.get(&write.key);
        return Err(match holds(&write, current.as_deref()) && write.guard.is_some() {
            true => WriteError::Guard,
            false => WriteError::Conflict { current },
        });
    }
    let seen = shared
        .memory
        .get(&write.key)
        .filter(|object| object.revision() == revision);
    match (write.change, current, seen) {
        (Change::Put(_), _, Some(seen)) => Ok(seen),
        (Change::Delete { last: None }, Some(current), _) => Ok(Arc::new(current.at(revision))),
        (Change::Put(last) | Change::Delete { last: Some(last) }, current, _) => {
            let created = current.as_ref().map_or(revision, |object| object.created());
            Ok(Arc::new(last.commit(write.key.as_str().into(), created, revision)))
        }
        (Change::Delete { last: None }, None, _) => Err(WriteError::Conflict { current: None }),
    }
}

fn holds(write: &Write, current: Option<&Object>) -> bool {
    match (write.expect, current) {
        (Expect::Absent, None) => true,
        (Expect::Revision(expected), Some(object)) => object.revision() == expected,
        _ => false,
    }
}

/// Says whether the conditions held, and at which revision etcd was then.
async fn transact(shared: &Shared, write: &Write) -> Result<(bool, u64), CallError> {
    let key = shared.key(&write.key);
    let key = key.as_bytes();
    let expected = match write.expect {
        Expect::Absent => 0,
        Expect::Revision(revision) => revision,
    };
    let mut compare = vec![Compare::ModRevision(key, expected)];
    let guarded = write.guard.as_ref().map(|guard| {
        let prefix = shared.key(&guard.prefix).into_bytes();
        (range_end(&prefix), prefix, guard.revision + 1)
    });
    if let Some((end, prefix, revision)) = &guarded {
        compare.push(Compare::AllBefore {
            key: prefix,
            range_end: end,
            revision: *revision,
        });
    }
    let mut retried = false;
    loop {
        let operation = match &write.change {
            Change::Put(object) => {
                let lease = shared.leases.of(&shared.channel, &write.key).await?;
                Operation::Put(messages::put(key, object.json(), lease))
            }
            Change::Delete { .. } => Operation::Delete(messages::delete(key)),
        };
        let message = messages::transaction(&compare, &operation, None);
        match shared.channel.call(TXN, &message, CALL).await {
            Ok(answer) => {
                let answer = TxnResponse::decode(&answer).map_err(|cause| CallError::Malformed { path: TXN, cause })?;
                return Ok((answer.succeeded, answer.revision));
            }
            Err(CallError::Refused { ref message, .. }) if message.contains("lease not found") && !retried => {
                retried = true;
                shared.leases.forget(&write.key).await;
            }
            Err(error) => return Err(error),
        }
    }
}
