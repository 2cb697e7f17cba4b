//! How many requests of pods are under way to the API at once: both sides hold memory for each.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Enough to keep a control service busy.
const SLOTS: usize = 12;

/// Takes turns; clones share them.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SLOTS)))
    }
}

impl Slots {
    /// Does a request when it is its turn. One that is given up gives its turn up, too.
    pub async fn run<T>(&self, request: impl Future<Output = T>) -> T {
        let _turn = self.0.acquire().await.expect("the semaphore is never closed");
        request.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn no_more_than_that_at_once() {
        let (slots, now, most) = (Slots::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let one = || {
            slots.run(async {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::Relaxed);
            })
        };
        futures_util::future::join_all((0..100).map(|_| one())).await;
        assert_eq!(most.load(Ordering::Relaxed), SLOTS);
    }
}
