//! Medians and their like.

use std::time::Duration;

/// Samples of one thing, in milliseconds.
#[derive(Debug, Default, Clone)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    /// The given percentile, 0 to 100, in milliseconds.
    pub fn percentile(&self, p: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index between 0 and the length"
        )]
        let at = ((sorted.len().saturating_sub(1)) as f64 * p / 100.0) as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    /// One line of a table: name, count, median, 99th percentile.
    pub fn line(&self, name: &str) -> String {
        format!(
            "{name:<44} n={:<5} p50 {:>9.3} ms   p99 {:>9.3} ms",
            self.0.len(),
            self.percentile(50.0),
            self.percentile(99.0)
        )
    }
}
