//! Times as the API has them: UTC, whole seconds.

use barepod_client::types::Time;
use jiff::Timestamp;

/// Now, in whole seconds.
pub fn now() -> Time {
    truncate(Timestamp::now())
}

/// From RFC 3339 text with any fraction; now when it cannot be read.
pub fn parse(text: &str) -> Time {
    text.parse().map_or_else(|_| now(), truncate)
}

/// The API has no fractions of a second in `Time`: without this an unchanged status would look changed.
pub fn truncate(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_dropped() {
        assert_eq!(parse("2026-01-02T03:04:05.999999999Z"), parse("2026-01-02T03:04:05Z"));
    }
}
