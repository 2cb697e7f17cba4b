//! Resource quantities such as `250m`, `1.5Gi` or `1e3`, rounded up to whole units.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// In thousandths: the unit the scheduler counts CPU in.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 3)
}

/// In whole units: bytes, pods, devices.
pub(crate) fn units(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 0)
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

    fn q(text: &str) -> Quantity {
        Quantity(text.to_owned())
    }

    #[test]
    fn reads_cpu_in_thousandths() {
        assert_eq!(milli(&q("250m")), Some(250));
        assert_eq!(milli(&q("2")), Some(2000));
        assert_eq!(milli(&q("0.1")), Some(100));
        assert_eq!(milli(&q("1n")), Some(1));
        assert_eq!(milli(&q("1.0005")), Some(1001));
    }

    #[test]
    fn reads_memory_in_bytes() {
        assert_eq!(units(&q("1Ki")), Some(1024));
        assert_eq!(units(&q("1.5Gi")), Some(1_610_612_736));
        assert_eq!(units(&q("128974848000m")), Some(128_974_848));
        assert_eq!(units(&q("1e3")), Some(1000));
        assert_eq!(units(&q("12E")), Some(i64::MAX));
        assert_eq!(units(&q("-3")), Some(-3));
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["", "abc", "1x", "1e99", "."] {
            assert_eq!(units(&q(text)), None, "{text}");
        }
    }
}
