//! Waiting for something that is about to become true, with a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks `attempt` until it gives a value; panics with the last refusal when `limit` is over.
pub fn within<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) if Instant::now() >= end => panic!("{what}: not within {limit:?}; last seen: {last}"),
            Err(_) => sleep(Duration::from_millis(30)),
        }
    }
}

/// [`within`] a time that is generous on a loaded machine.
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
    within(Duration::from_secs(60), what, attempt)
}
