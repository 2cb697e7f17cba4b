//! Leases: what is put with one goes when it ends. Objects that are written about the same time share one.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::grpc::{CallError, Channel};
use super::{CALL, LEASE_GRANT, messages};

/// How long a lease is given to further objects, which live up to so much longer.
const SHARED: Duration = Duration::from_secs(60);
/// How many objects share a lease at most: they all go at one revision.
const OBJECTS: u32 = 1000;

/// The leases of this process.
pub(super) struct Leases(Vec<Rule>);

struct Rule {
    prefix: String,
    kept: Duration,
    current: Mutex<Option<Lease>>,
}

struct Lease {
    id: u64,
    granted: Instant,
    objects: u32,
}

impl Leases {
    pub(super) fn new(expiring: Vec<(String, Duration)>) -> Self {
        let rule = |(prefix, kept)| Rule {
            prefix,
            kept,
            current: Mutex::new(None),
        };
        Leases(expiring.into_iter().map(rule).collect())
    }

    fn rule(&self, key: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| key.starts_with(&rule.prefix))
    }

    /// The lease for a key; 0 for those that stay.
    pub(super) async fn of(&self, channel: &Channel, key: &str) -> Result<u64, CallError> {
        let Some(rule) = self.rule(key) else { return Ok(0) };
        let mut current = rule.current.lock().await;
        if let Some(lease) = &mut *current
            && lease.granted.elapsed() < SHARED.min(rule.kept)
            && lease.objects < OBJECTS
        {
            lease.objects += 1;
            return Ok(lease.id);
        }
        let seconds = (rule.kept + SHARED.min(rule.kept)).as_secs().max(1);
        let answer = channel.call(LEASE_GRANT, &messages::lease_grant(seconds), CALL).await?;
        let id = messages::decode_lease_grant(&answer).map_err(|cause| CallError::Malformed {
            path: LEASE_GRANT,
            cause,
        })?;
        *current = Some(Lease {
            id,
            granted: Instant::now(),
            objects: 1,
        });
        Ok(id)
    }

    /// The current lease for a key has gone.
    pub(super) async fn forget(&self, key: &str) {
        if let Some(rule) = self.rule(key) {
            *rule.current.lock().await = None;
        }
    }
}
