//! How soon a watch that broke is begun again: at once after a hiccup, and within seconds once a control service that
//! was away for long is back.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// First delay.
const FIRST: Duration = Duration::from_millis(100);
/// Longest delay.
const LONGEST: Duration = Duration::from_secs(5);

/// Delays that double, each a little off, so that the nodes of a cluster do not come back all at once.
#[derive(Debug)]
pub struct Reconnect(Duration);

impl Default for Reconnect {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Iterator for Reconnect {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.0;
        self.0 = (delay * 2).min(LONGEST);
        let mut byte = [0_u8; 1];
        // Without randomness the delay is merely not spread.
        let _ = getrandom::fill(&mut byte);
        Some(delay.mul_f32(0.75 + f32::from(byte[0]) / 512.0))
    }
}

impl Backoff for Reconnect {
    fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_bounds() {
        let mut it = Reconnect::default();
        let delays: Vec<_> = it.by_ref().take(12).collect();
        assert!(delays[0] <= FIRST.mul_f32(1.25) && delays[0] >= FIRST.mul_f32(0.75));
        assert!(delays.iter().all(|delay| *delay <= LONGEST.mul_f32(1.25)));
        it.reset();
        assert!(it.next().is_some_and(|delay| delay <= FIRST.mul_f32(1.25)));
    }
}
