//! Times as the API writes them, and ages as `kubectl` shows them.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::Value;

use crate::value;

/// `metav1.Time`: seconds and a trailing `Z`, `2026-01-31T12:00:00Z`.
pub fn rfc3339(at: Timestamp) -> String {
    let mut text = String::with_capacity(20);
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    match DateTimePrinter::new().print_timestamp(&whole, &mut text) {
        Ok(()) => text,
        Err(_) => whole.to_string(),
    }
}

/// `metav1.MicroTime`: six fractional digits, `2026-01-31T12:00:00.000000Z`.
pub fn rfc3339_micro(at: Timestamp) -> String {
    let whole = rfc3339(at);
    let micros = at.subsec_microsecond().max(0);
    format!("{}.{micros:06}Z", whole.trim_end_matches('Z'))
}

/// Reads an RFC 3339 time.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// `metadata.creationTimestamp` as text.
pub fn creation(obj: &Value) -> Option<&str> {
    value::str_at(obj, &["metadata", "creationTimestamp"])
}

/// How long ago a time was, as a table cell: `5s`, `3m20s`, `2d3h`; `<unknown>` without a time.
pub fn since(time: Option<&str>, now: Timestamp) -> String {
    match time.and_then(parse) {
        Some(then) => human(now.as_second() - then.as_second()),
        None => "<unknown>".into(),
    }
}

/// Age of an object by its creation timestamp.
pub fn age(obj: &Value, now: Timestamp) -> String {
    since(creation(obj), now)
}

/// A duration in seconds, shortened the way users of `kubectl get` know it.
pub fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        i64::MIN..=-2 => "<invalid>".into(),
        -1 => "0s".into(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, 'd', s % DAY / HOUR, 'h'),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, 'y', s % YEAR / DAY, 'd'),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shortened_as_users_know_them() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (183_600, "2d3h"),
            (8 * 86_400, "8d"),
            (3 * 365 * 86_400 + 86_400, "3y1d"),
            (9 * 365 * 86_400, "9y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn times_are_written_as_the_api_does() {
        let at: Timestamp = "2026-01-31T12:00:00.123456789Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2026-01-31T12:00:00Z");
        assert_eq!(rfc3339_micro(at), "2026-01-31T12:00:00.123456Z");
        assert_eq!(since(Some("2026-01-31T11:59:55Z"), at), "5s");
        assert_eq!(since(None, at), "<unknown>");
    }
}
