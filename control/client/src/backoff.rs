//! How soon something that failed is tried again: at once after a hiccup, and within seconds once a server that was away
//! for long is back.

use std::time::Duration;

/// Delays that double, each a little off, so that the nodes of a cluster do not come back all at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// From the first delay to the longest.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The next delay.
    pub fn step(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        let mut byte = [0_u8; 1];
        // Without randomness the delay is merely not spread.
        let _ = getrandom::fill(&mut byte);
        delay.mul_f32(0.75 + f32::from(byte[0]) / 512.0)
    }

    /// It went well: the next delay is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_within_bounds() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut it = Backoff::new(first, longest);
        let delays: Vec<Duration> = (0..12).map(|_| it.step()).collect();
        assert!(delays[0] >= first.mul_f32(0.75) && delays[0] <= first.mul_f32(1.25));
        assert!(delays[11] >= longest.mul_f32(0.75));
        assert!(delays.iter().all(|delay| *delay <= longest.mul_f32(1.25)));
        it.reset();
        assert!(it.step() <= first.mul_f32(1.25));
    }
}
