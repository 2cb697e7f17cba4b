//! Giving memory back after a burst of requests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::sys;

/// How long it has to be quiet.
const QUIET: Duration = Duration::from_secs(2);

/// Requests after which there may be something to give back. What a quiet cluster says to keep itself alive is fewer in
/// a minute, and leaves nothing.
const BURST: u64 = 200;

/// Counts requests; the first ones of a burst wake [`Quiet::run`].
#[derive(Debug, Default)]
pub struct Quiet {
    requests: AtomicU64,
    told: AtomicBool,
    burst: Notify,
}

impl Quiet {
    /// There was a request.
    pub fn request(&self) {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        if before >= BURST && !self.told.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::Relaxed) {
            self.burst.notify_one();
        }
    }

    /// Waits for bursts and gives memory back after each. Sleeps while there are none.
    pub async fn run(&self) {
        loop {
            self.burst.notified().await;
            let mut seen = 0;
            loop {
                let now = self.requests.load(Ordering::Relaxed);
                if now - seen < BURST {
                    break;
                }
                seen = now;
                tokio::time::sleep(QUIET).await;
            }
            if let Err(error) = tokio::task::spawn_blocking(sys::trim).await {
                tracing::warn!(%error, "memory was not given back");
            }
            self.requests.store(0, Ordering::Relaxed);
            self.told.store(false, Ordering::Relaxed);
        }
    }
}
