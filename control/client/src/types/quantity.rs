//! Resource quantities such as `250m`, `1.5Gi` or `1e3`, rounded up to whole units.

use serde::{Deserialize, Serialize};

/// An amount of a resource, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl Quantity {
    /// In thousandths: what CPU is counted in. `None` when it is no quantity.
    #[must_use]
    pub fn milli(&self) -> Option<i64> {
        scaled(&self.0, 3)
    }

    /// In whole units: bytes, pods, devices. `None` when it is no quantity.
    #[must_use]
    pub fn units(&self) -> Option<i64> {
        scaled(&self.0, 0)
    }
}

/// The value times ten to the `digits`, rounded up, at most `i64::MAX`.
fn scaled(text: &str, digits: i32) -> Option<i64> {
    let end = text
        .find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (binary, exponent) = multiplier(suffix)?;
    let exponent = exponent + digits - i32::try_from(fraction.len()).ok()?;
    let mantissa = mantissa.checked_mul(1i128.checked_shl(binary)?);
    let value = match mantissa {
        Some(m) if exponent >= 0 => 10i128
            .checked_pow(exponent.unsigned_abs())
            .and_then(|p| m.checked_mul(p)),
        Some(m) => {
            let divisor = 10i128.checked_pow(exponent.unsigned_abs()).unwrap_or(i128::MAX);
            Some(m / divisor + i128::from(m % divisor != 0 && !negative))
        }
        None => None,
    };
    let value = value.unwrap_or(i128::from(i64::MAX)).min(i128::from(i64::MAX));
    let value = i64::try_from(value).ok()?;
    Some(if negative { -value } else { value })
}

/// Powers of two and of ten that a suffix stands for.
fn multiplier(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (0, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 30)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milli(text: &str) -> Option<i64> {
        Quantity(text.to_owned()).milli()
    }

    fn units(text: &str) -> Option<i64> {
        Quantity(text.to_owned()).units()
    }

    #[test]
    fn reads_cpu_in_thousandths() {
        for (text, want) in [
            ("250m", 250),
            ("2", 2000),
            ("0.1", 100),
            ("1n", 1),
            ("1u", 1),
            ("1500u", 2),
            ("1.0005", 1001),
        ] {
            assert_eq!(milli(text), Some(want), "{text}");
        }
    }

    #[test]
    fn reads_memory_in_bytes() {
        for (text, want) in [
            ("0", 0),
            ("1.5", 2),
            ("100m", 1),
            ("1Ki", 1024),
            ("1.5Gi", 3 << 29),
            ("128974848000m", 128_974_848),
            ("1k", 1000),
            ("1e3", 1000),
            ("1E3", 1000),
            ("2E", 2_000_000_000_000_000_000),
            ("12E", i64::MAX),
            ("-3", -3),
            (".5", 1),
        ] {
            assert_eq!(units(text), Some(want), "{text}");
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["", "abc", "m", "1x", "1e99", ".", "1.2.3", "Mi"] {
            assert_eq!(units(text), None, "{text}");
        }
    }
}
