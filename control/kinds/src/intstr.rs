//! Values that are a number or a percentage.

use serde_json::Value;

use crate::path::{Errors, Path};

const PERCENT_MESSAGE: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
    '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// A number, or a percentage of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Number(i64),
    /// So many of a hundred.
    Percent(i64),
}

impl Amount {
    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Number(0) | Amount::Percent(0))
    }
}

/// Reads a value without checking it.
pub fn parse(value: Option<&Value>) -> Option<Amount> {
    match value? {
        Value::String(text) => {
            let digits = text.strip_suffix('%')?;
            let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            valid.then(|| Amount::Percent(digits.parse().unwrap_or(i64::MAX)))
        }
        other => other.as_i64().map(Amount::Number),
    }
}

/// Reads a value that must not be negative; reports one that is, or is malformed.
pub fn amount(value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) -> Option<Amount> {
    let parsed = parse(value);
    match (value, parsed) {
        (Some(Value::String(text)), None) => errors.invalid(path, text.as_str(), PERCENT_MESSAGE),
        (_, Some(Amount::Number(number))) => errors.not_negative(path, Some(number)),
        _ => {}
    }
    parsed
}

/// Reports a percentage above a hundred.
pub fn at_most_all(value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    if let (Some(Amount::Percent(percent)), Some(value)) = (parse(value), value)
        && percent > 100
    {
        errors.invalid(path, value.clone(), "must not be greater than 100%");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_percentages() {
        let mut errors = Errors::new();
        let path = Path::new("x");
        assert_eq!(
            amount(Some(&json!("25%")), &path, &mut errors),
            Some(Amount::Percent(25))
        );
        assert_eq!(amount(Some(&json!(3)), &path, &mut errors), Some(Amount::Number(3)));
        assert_eq!(amount(None, &path, &mut errors), None);
        assert!(errors.is_empty());
        assert_eq!(amount(Some(&json!("x")), &path, &mut errors), None);
        amount(Some(&json!(-1)), &path, &mut errors);
        at_most_all(Some(&json!("101%")), &path, &mut errors);
        assert_eq!(errors.into_vec().len(), 3);
    }
}
