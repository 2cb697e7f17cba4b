//! Wall-clock time as RFC 3339 with nanoseconds, which logs and records carry.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment as `2026-01-02T15:04:05.000000000Z`.
pub type Stamp = [u8; 30];

/// The current time.
#[must_use]
pub fn now() -> Stamp {
    // The clock of a machine that is set before 1970 counts as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    stamp(since.as_secs(), since.subsec_nanos())
}

/// The current second since 1970.
#[must_use]
pub fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// A second since 1970 as text.
#[must_use]
pub fn text(seconds: u64) -> String {
    String::from_utf8_lossy(&stamp(seconds, 0)).into_owned()
}

/// The current time as text.
#[must_use]
pub fn now_text() -> String {
    String::from_utf8_lossy(&now()).into_owned()
}

fn stamp(seconds: u64, nanoseconds: u32) -> Stamp {
    let (year, month, day) = civil(seconds / 86400);
    let second = seconds % 86400;
    let mut out = *b"0000-00-00T00:00:00.000000000Z";
    digits(&mut out[0..4], year);
    digits(&mut out[5..7], month);
    digits(&mut out[8..10], day);
    digits(&mut out[11..13], second / 3600);
    digits(&mut out[14..16], second / 60 % 60);
    digits(&mut out[17..19], second % 60);
    digits(&mut out[20..29], u64::from(nanoseconds));
    out
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. The year begins in March
/// here, so that the leap day is its last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_rfc_3339() {
        let text = |s, n| String::from_utf8(stamp(s, n).to_vec()).unwrap();
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_827_696, 7), "2000-02-29T12:34:56.000000007Z");
        assert_eq!(text(1_767_366_245, 123_456_789), "2026-01-02T15:04:05.123456789Z");
        assert_eq!(text(4_102_444_799, 999_999_999), "2099-12-31T23:59:59.999999999Z");
    }
}
