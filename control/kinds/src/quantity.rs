//! Resource quantities: `500m`, `1.5`, `128Mi`, `1e3`.
//!
//! A quantity is a whole number of nano units, which covers everything from `1n` to far beyond `1E`; what is finer
//! is rounded away from zero, as the API does.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde_json::Value;

const NANO_DIGITS: i32 = 9;
const NANO: i128 = 1_000_000_000;

/// How a quantity was written, and will be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Powers of 1000: `m`, `k`, `M`.
    #[default]
    DecimalSi,
    /// Powers of 1024: `Ki`, `Mi`.
    BinarySi,
    /// `e3`, `e6`.
    DecimalExponent,
}

/// The text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct ParseQuantityError;

/// An exact amount of something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Quantity = Quantity {
        nano: 0,
        format: Format::DecimalSi,
    };

    /// A whole number of units.
    pub fn from_units(units: i64, format: Format) -> Self {
        Quantity {
            nano: i128::from(units) * NANO,
            format,
        }
    }

    /// A number of thousandths.
    pub fn from_milli(milli: i64) -> Self {
        Quantity {
            nano: i128::from(milli) * 1_000_000,
            format: Format::DecimalSi,
        }
    }

    /// Reads a JSON string or number.
    pub fn from_value(value: &Value) -> Result<Self, ParseQuantityError> {
        match value {
            Value::String(text) => text.trim().parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(ParseQuantityError),
        }
    }

    /// Whole units, rounded away from zero; saturates.
    pub fn units(self) -> i64 {
        saturate(divide_up(self.nano, NANO))
    }

    /// Thousandths, rounded away from zero; saturates. For CPU these are millicores.
    pub fn milli(self) -> i64 {
        saturate(divide_up(self.nano, 1_000_000))
    }

    /// -1, 0 or 1.
    pub fn sign(self) -> i32 {
        match self.nano.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is a whole number of units.
    pub fn is_integer(self) -> bool {
        self.nano % NANO == 0
    }

    /// The same, rounded away from zero to thousandths.
    pub fn round_up_to_milli(self) -> Self {
        Quantity {
            nano: divide_up(self.nano, 1_000_000).saturating_mul(1_000_000),
            ..self
        }
    }

    /// How it was written.
    pub fn format(self) -> Format {
        self.format
    }
}

fn saturate(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

fn divide_up(n: i128, by: i128) -> i128 {
    let whole = n / by;
    match n % by {
        0 => whole,
        rest => whole + rest.signum(),
    }
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

enum Suffix {
    Ten(i32),
    Two(u32),
}

fn suffix(text: &str) -> Option<(Suffix, Format)> {
    let decimal = |e| Some((Suffix::Ten(e), Format::DecimalSi));
    let binary = |e| Some((Suffix::Two(e), Format::BinarySi));
    match text {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = text.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let exponent: i32 = exponent.parse().ok()?;
            Some((Suffix::Ten(exponent.clamp(-400, 400)), Format::DecimalExponent))
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned
            .bytes()
            .position(|b| !b.is_ascii_digit() && b != b'.')
            .unwrap_or(unsigned.len());
        let (number, rest) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(ParseQuantityError);
        }
        let (suffix, format) = suffix(rest).ok_or(ParseQuantityError)?;
        let fraction = fraction.trim_end_matches('0');
        // 22 digits after the point are finer than anything that survives rounding, even with the suffix Ei.
        let cut = fraction.len().min(22);
        let dropped = fraction.len() > cut;
        let mut mantissa = 0i128;
        for digit in whole.bytes().chain(fraction.bytes().take(cut)) {
            mantissa = mantissa.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
        }
        let mut exponent = NANO_DIGITS - i32::try_from(cut).unwrap_or(0);
        match suffix {
            Suffix::Ten(ten) => exponent += ten,
            Suffix::Two(two) => mantissa = mantissa.saturating_mul(1i128 << two),
        }
        let mut nano = match u32::try_from(exponent) {
            Ok(up) => match power_of_ten(up) {
                Some(factor) => mantissa.saturating_mul(factor),
                None if mantissa == 0 => 0,
                None => i128::MAX,
            },
            Err(_) => match power_of_ten(exponent.unsigned_abs()) {
                Some(factor) => divide_up(mantissa, factor),
                None => i128::from(mantissa > 0),
            },
        };
        if dropped && nano == 0 {
            nano = 1;
        }
        if text.starts_with('-') {
            nano = -nano;
        }
        Ok(Quantity { nano, format })
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that allows that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let exact = self.nano.abs() >= 1024 * NANO && self.nano % NANO == 0;
        if self.format == Format::BinarySi && exact {
            let mut units = self.nano / NANO;
            let mut step = 0;
            while step < 6 && units % 1024 == 0 {
                units /= 1024;
                step += 1;
            }
            return write!(f, "{units}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]);
        }
        let mut amount = self.nano;
        let mut step = 0;
        while step < 9 && amount % 1000 == 0 {
            amount /= 1000;
            step += 1;
        }
        if self.format == Format::DecimalExponent {
            let exponent = ["e-9", "e-6", "e-3", "", "e3", "e6", "e9", "e12", "e15", "e18"][step];
            return write!(f, "{amount}{exponent}");
        }
        write!(f, "{amount}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step])
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity {
            nano: self.nano.saturating_add(other.nano),
            format,
        }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity {
            nano: self.nano.saturating_sub(other.nano),
            format,
        }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Quantity::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().unwrap().to_string()
    }

    #[test]
    fn canonical_forms() {
        for (text, form) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("1", "1"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1.5Gi", "1536Mi"),
            ("512", "512"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1M", "1M"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("1e-3", "1e-3"),
            ("-1", "-1"),
            ("+2", "2"),
            ("0.1n", "1n"),
            ("123456789", "123456789"),
            ("16Ei", "16Ei"),
        ] {
            assert_eq!(canonical(text), form, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "", "m", "1 Gi", "1gb", "1Gib", "1..2", "1.2.3", "--1", "1e", "e3", "0x1", "1mm", "1K", "abc", ".",
        ] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_come_out_rounded_up() {
        let q = |t: &str| t.parse::<Quantity>().unwrap();
        assert_eq!(q("100m").milli(), 100);
        assert_eq!(q("1").milli(), 1000);
        assert_eq!(q("0.0001").milli(), 1);
        assert_eq!(q("100m").units(), 1);
        assert_eq!(q("128Mi").units(), 134_217_728);
        assert_eq!(q("1e30").units(), i64::MAX);
        assert_eq!(q("1e400").units(), i64::MAX);
        assert_eq!(q("0.0001").round_up_to_milli().to_string(), "1m");
        assert!(q("1000m").is_integer() && !q("1m").is_integer());
    }

    #[test]
    fn values_compare_and_add_by_amount() {
        let q = |t: &str| t.parse::<Quantity>().unwrap();
        assert_eq!(q("1000m"), q("1"));
        assert!(q("1Gi") > q("1G"));
        assert_eq!((q("1Gi") + q("512Mi")).to_string(), "1536Mi");
        assert_eq!((Quantity::ZERO + q("512Mi")).to_string(), "512Mi");
        assert_eq!((q("1") - q("100m")).to_string(), "900m");
        assert_eq!(Quantity::from_value(&json!(0.5)).unwrap(), q("500m"));
        assert_eq!(Quantity::from_value(&json!(2)).unwrap().to_string(), "2");
        assert!(Quantity::from_value(&json!(true)).is_err());
    }
}
