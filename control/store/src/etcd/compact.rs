//! Forgetting the past of etcd, once for all replicas.
//!
//! Every replica tries, at the same interval, to write the revision of its last try into one key, on the condition that
//! nobody else has written there since. The one that succeeds compacts up to that revision, which is then an interval
//! old; the others learn how often the key was written and try again later. kube-apiserver does it the same way.

use std::sync::Arc;
use std::time::Duration;

use super::grpc::CallError;
use super::messages::{self, Compare, Operation, RangeRequest, TxnResponse};
use super::{CALL, COMPACT, Shared, TXN};

/// How often the key was written, and etcd's revision at the last look.
#[derive(Default, Clone, Copy)]
struct Seen {
    version: u64,
    revision: u64,
}

pub(super) async fn compact(shared: Arc<Shared>, interval: Duration) {
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(interval).await;
        match step(&shared, seen).await {
            Ok(now) => seen = now,
            Err(error) => tracing::warn!(%error, "etcd's past cannot be compacted"),
        }
    }
}

async fn step(shared: &Shared, seen: Seen) -> Result<Seen, CallError> {
    let key = shared.key("/.compacted");
    let key = key.as_bytes();
    let range = RangeRequest {
        key,
        ..RangeRequest::default()
    };
    let message = messages::transaction(
        &[Compare::Version(key, seen.version)],
        &Operation::Put(messages::put(key, seen.revision.to_string().as_bytes(), 0)),
        Some(&Operation::Range(range.encode())),
    );
    let answer = shared.channel.call(TXN, &message, CALL).await?;
    let answer = TxnResponse::decode(&answer).map_err(|cause| CallError::Malformed { path: TXN, cause })?;
    if !answer.succeeded {
        return Ok(Seen {
            version: answer.kvs.first().map_or(0, |kv| kv.version),
            revision: answer.revision,
        });
    }
    if seen.revision > 0 {
        let message = messages::compaction(seen.revision);
        shared.channel.call(COMPACT, &message, CALL).await?;
    }
    Ok(Seen {
        version: seen.version + 1,
        revision: answer.revision,
    })
}
