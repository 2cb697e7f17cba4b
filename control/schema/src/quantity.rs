//! Resource quantities: `100m`, `1.5Gi`, `2e3`.
//!
//! The API server parses every quantity of a body and writes it back in canonical form: no fraction, the largest suffix
//! that loses nothing, and the style (binary, decimal, exponent) of what was given.

use std::fmt;

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Decimal,
    Binary,
    Exponent,
}

/// A parsed quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    nanos: i128,
    style: Style,
}

/// Text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// A number with a suffix that does not exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// Too large.
    #[error("unable to parse quantity's value")]
    Range,
}

const NANO: i128 = 1_000_000_000;
const DECIMAL_SUFFIXES: [(&str, u32); 10] = [
    ("n", 0),
    ("u", 3),
    ("m", 6),
    ("", 9),
    ("k", 12),
    ("M", 15),
    ("G", 18),
    ("T", 21),
    ("P", 24),
    ("E", 27),
];
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Parses a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        // Beyond nanos nothing is kept but the direction of rounding, so digits after the 30th only matter for being
        // zero or not.
        let fraction = fraction.trim_end_matches('0');
        let kept = &fraction[..fraction.len().min(30)];
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(kept.bytes()) {
            let digit = i128::from(digit - b'0');
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|m| m.checked_add(digit))
                .ok_or(QuantityError::Range)?;
        }
        let fraction_digits = u32::try_from(kept.len()).map_err(|_| QuantityError::Range)?;
        let (numerator, style) = scale(suffix)?;
        let nanos = match numerator {
            Scale::Factor(factor) => divide_up(
                mantissa.checked_mul(factor).ok_or(QuantityError::Range)?,
                power(fraction_digits)?,
            ),
            Scale::Inverse(divisor) => divide_up(
                mantissa,
                divisor
                    .checked_mul(power(fraction_digits)?)
                    .ok_or(QuantityError::Range)?,
            ),
        };
        Ok(Self {
            nanos: if text.starts_with('-') { -nanos } else { nanos },
            style,
        })
    }

    /// A quantity of so many billionths.
    pub fn from_nanos(nanos: i128) -> Self {
        Quantity {
            nanos,
            style: Style::Decimal,
        }
    }

    /// The value in billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// The value in thousandths, rounded up; what CPU is counted in.
    pub fn millis(self) -> i128 {
        round_up(self.nanos, NANO / 1000)
    }

    /// The value, rounded up; what bytes are counted in.
    pub fn value(self) -> i128 {
        round_up(self.nanos, NANO)
    }
}

fn round_up(value: i128, unit: i128) -> i128 {
    value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0)
}

enum Scale {
    /// Nanos are the number times this.
    Factor(i128),
    /// Nanos are the number divided by this.
    Inverse(i128),
}

fn power(exponent: u32) -> Result<i128, QuantityError> {
    10i128.checked_pow(exponent).ok_or(QuantityError::Range)
}

fn divide_up(value: i128, by: i128) -> i128 {
    value / by + i128::from(value % by != 0)
}

fn scale(suffix: &str) -> Result<(Scale, Style), QuantityError> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(known, _)| *known == suffix) {
        return Ok((Scale::Factor(power(*exponent)?), Style::Decimal));
    }
    if let Some(at) = BINARY_SUFFIXES.iter().position(|known| *known == suffix) {
        return Ok((Scale::Factor(NANO << (10 * at)), Style::Binary));
    }
    let Some(exponent) = suffix.strip_prefix(['e', 'E']) else {
        let known = suffix.bytes().all(|byte| b"eEinumkKMGTP0123456789+-".contains(&byte));
        return Err(if known {
            QuantityError::Suffix
        } else {
            QuantityError::Format
        });
    };
    let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    let shift = exponent.checked_add(9).ok_or(QuantityError::Range)?;
    let scale = match u32::try_from(shift) {
        Ok(shift) => Scale::Factor(power(shift)?),
        Err(_) => Scale::Inverse(power(shift.unsigned_abs())?),
    };
    Ok((scale, Style::Exponent))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Small binary quantities, and those with a fraction, are written as decimals, so that they need no rounding.
        if self.style == Style::Binary && self.nanos.abs() >= 1024 * NANO && self.nanos % NANO == 0 {
            let mut value = self.value();
            let mut at = 0;
            while value % 1024 == 0 && at + 1 < BINARY_SUFFIXES.len() {
                value /= 1024;
                at += 1;
            }
            return write!(f, "{value}{}", BINARY_SUFFIXES[at]);
        }
        let (mut value, mut at) = (self.nanos, 0);
        while value % 1000 == 0 && at + 1 < DECIMAL_SUFFIXES.len() {
            value /= 1000;
            at += 1;
        }
        let (suffix, shift) = DECIMAL_SUFFIXES[at];
        match (self.style, i64::from(shift) - 9) {
            (Style::Exponent, 0) => write!(f, "{value}"),
            (Style::Exponent, exponent) => write!(f, "{value}e{exponent}"),
            _ => write!(f, "{value}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (given, canonical) in [
            ("0", "0"),
            ("1", "1"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("0.5Ki", "512"),
            ("1.1Gi", "1181116006400m"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1.5e3", "1500"),
            ("12E", "12E"),
            ("-1.5", "-1500m"),
            ("+2", "2"),
            ("0.0000000001", "1n"),
            ("110", "110"),
            ("24684268Ki", "24684268Ki"),
            ("1e-3", "1e-3"),
            ("0Mi", "0"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
        ] {
            assert_eq!(
                Quantity::parse(given).map(|q| q.to_string()).as_deref(),
                Ok(canonical),
                "{given}"
            );
        }
    }

    #[test]
    fn values_are_rounded_up() {
        let quantity = Quantity::parse("1.0005").unwrap();
        assert_eq!(
            (quantity.nanos(), quantity.millis(), quantity.value()),
            (1_000_500_000, 1001, 2)
        );
        assert_eq!(Quantity::parse("64Mi").unwrap().value(), 64 << 20);
        assert_eq!(Quantity::parse("-1500m").unwrap().value(), -1);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "abc",
            "1x",
            "1 Gi",
            "1.2.3",
            "1KiB",
            "-",
            ".",
            "1e",
            "1mm",
            "1e2147483647",
            "1e-2147483648",
            "9999999999999999999999999999999999999999E",
        ] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }
}
