//! Kubernetes resource quantities: `500m`, `1.5`, `64Mi`, `1e3`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANO: i128 = 1_000_000_000;

/// In whole units (bytes, pods), rounded up.
pub fn value(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1)
}

/// In thousandths (of a CPU), rounded up.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1_000)
}

fn scaled(text: &str, per_unit: i128) -> Option<i64> {
    let nano = nano(text)?;
    let divisor = NANO / per_unit;
    let quotient = nano.div_euclid(divisor) + i128::from(nano.rem_euclid(divisor) != 0);
    i64::try_from(quotient).ok()
}

/// The quantity in billionths; finer digits are rounded up, as the API's own arithmetic does.
fn nano(text: &str) -> Option<i128> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let fraction_digits = u32::try_from(fraction.len()).ok()?;
    let (factor, divisor) = multiplier(suffix)?;
    let numerator = digits.checked_mul(NANO)?.checked_mul(factor)?;
    let denominator = 10_i128.checked_pow(fraction_digits)?.checked_mul(divisor)?;
    let nano = numerator / denominator + i128::from(numerator % denominator != 0);
    Some(if negative { -nano } else { nano })
}

/// Factor and divisor of a suffix.
fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power), 1));
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, NANO)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            if power.unsigned_abs() > 18 {
                return None;
            }
            let factor = 10_i128.pow(power.unsigned_abs());
            Some(if power < 0 { (1, factor) } else { (factor, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        Quantity(text.to_owned())
    }

    #[test]
    fn values_round_up() {
        for (text, want) in [
            ("0", 0),
            ("1", 1),
            ("1.5", 2),
            ("100m", 1),
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("1k", 1000),
            ("1e3", 1000),
            ("1E3", 1000),
            ("2E", 2_000_000_000_000_000_000),
            ("128974848", 128_974_848),
            ("-1", -1),
            (".5", 1),
        ] {
            assert_eq!(value(&q(text)), Some(want), "{text}");
        }
    }

    #[test]
    fn thousandths_of_a_cpu() {
        for (text, want) in [
            ("1", 1000),
            ("250m", 250),
            ("0.1", 100),
            ("1u", 1),
            ("1500u", 2),
            ("2.0005", 2001),
        ] {
            assert_eq!(milli(&q(text)), Some(want), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", "1.2.3", "1x", "1e99", "Mi"] {
            assert_eq!(value(&q(text)), None, "{text}");
        }
    }
}
