//! How long a container that keeps ending has to wait: not at all the first time, then 10 s, 20 s, … 5 min, and from
//! the beginning again after 10 quiet minutes.

use std::time::{Duration, Instant};

/// First delay.
const INITIAL: Duration = Duration::from_secs(10);
/// Longest delay.
const MAX: Duration = Duration::from_secs(300);
/// A container that ran this long since its last restart starts over.
const RESET: Duration = Duration::from_secs(600);

/// The delay before one container's next start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    delay: Duration,
    updated: Option<Instant>,
}

impl Backoff {
    /// When a container that ended at `ended` may start.
    pub fn ready_at(&self, ended: Instant) -> Instant {
        if self.expired(ended) { ended } else { ended + self.delay }
    }

    /// A start follows an end at `ended`: the next one will wait longer.
    pub fn restarted(&mut self, ended: Instant, now: Instant) {
        self.delay = if self.expired(ended) {
            INITIAL
        } else {
            (self.delay * 2).clamp(INITIAL, MAX)
        };
        self.updated = Some(now);
    }

    /// The delay in force.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    fn expired(&self, ended: Instant) -> bool {
        self.updated
            .is_none_or(|updated| ended.saturating_duration_since(updated) > RESET)
    }
}

/// The delay before a failed step (image, volume, sandbox, status) is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    next: Duration,
    first: Duration,
    max: Duration,
}

impl Retry {
    /// Delays from `first` doubling up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            next: first,
            first,
            max,
        }
    }

    /// The delay to wait now; the next one is twice as long.
    pub fn step(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.max);
        delay
    }

    /// It worked: the next delay is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn first_restart_is_immediate_then_doubles_to_five_minutes() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let mut at = start;
        let mut delays = Vec::new();
        for _ in 0..8 {
            let ready = backoff.ready_at(at);
            delays.push((ready - at).as_secs());
            backoff.restarted(at, ready);
            at = ready + secs(1);
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_reset() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        backoff.restarted(start, start);
        backoff.restarted(start + secs(1), start + secs(11));
        assert_eq!(backoff.delay(), secs(20));
        let ended = start + secs(11 + 601);
        assert_eq!(backoff.ready_at(ended), ended);
        backoff.restarted(ended, ended);
        assert_eq!(backoff.delay(), secs(10));
    }

    #[test]
    fn retries_double_and_reset() {
        let mut retry = Retry::new(secs(1), secs(3));
        assert_eq!([retry.step(), retry.step(), retry.step()], [secs(1), secs(2), secs(3)]);
        retry.reset();
        assert_eq!(retry.step(), secs(1));
    }
}
