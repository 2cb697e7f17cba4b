//! Times as the API writes them: RFC 3339 in UTC, in seconds or in microseconds.

use jiff::Timestamp;

/// Text in the canonical form (`2024-01-02T03:04:05Z`), or nothing when it is not RFC 3339.
pub(crate) fn canonical(text: &str, micros: bool) -> Option<String> {
    Some(format(text.parse().ok()?, micros))
}

/// Whether the text is in canonical form already, in seconds; by far the most frequent case, told without parsing.
pub(crate) fn is_canonical(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 20
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            19 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
        && (b"01"..=b"12").contains(&&[bytes[5], bytes[6]])
        && (b"01"..=b"28").contains(&&[bytes[8], bytes[9]])
        && (b"00"..=b"23").contains(&&[bytes[11], bytes[12]])
        && bytes[14] < b'6'
        && bytes[17] < b'6'
}

/// Writes a time.
pub(crate) fn format(time: Timestamp, micros: bool) -> String {
    if micros {
        format!("{time:.6}")
    } else {
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// A time on the wire: seconds and nanoseconds since the epoch.
pub(crate) fn from_parts(seconds: i64, nanos: i32, micros: bool) -> Option<String> {
    Timestamp::new(seconds, if micros { nanos } else { 0 })
        .ok()
        .map(|time| format(time, micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        assert_eq!(
            canonical("2024-01-02T03:04:05.6789+02:00", false).as_deref(),
            Some("2024-01-02T01:04:05Z")
        );
        assert_eq!(
            canonical("2024-01-02T03:04:05Z", true).as_deref(),
            Some("2024-01-02T03:04:05.000000Z")
        );
        assert_eq!(
            canonical("2024-01-02T03:04:05.123456789Z", true).as_deref(),
            Some("2024-01-02T03:04:05.123456Z")
        );
        assert_eq!(canonical("yesterday", false), None);
        assert!(is_canonical("2024-01-02T03:04:05Z"));
        assert!(
            !is_canonical("2024-13-02T03:04:05Z")
                && !is_canonical("2024-01-02 03:04:05Z")
                && !is_canonical("2024-01-02T03:04:05.1Z")
        );
        assert_eq!(
            from_parts(1_700_000_000, 5_000_000, true).as_deref(),
            Some("2023-11-14T22:13:20.005000Z")
        );
        assert_eq!(
            from_parts(1_700_000_000, 5_000_000, false).as_deref(),
            Some("2023-11-14T22:13:20Z")
        );
    }
}
