//! Field selectors.

use super::SelectorError;

/// One requirement of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field, such as `spec.nodeName`.
    pub field: String,
    /// The value it must have, or must not have.
    pub value: String,
    /// It must have the value; otherwise it must not.
    pub equal: bool,
}

/// A field selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Parses the text of `fieldSelector=`: `metadata.name=a,spec.nodeName!=b`; `\,`, `\=` and `\\` are escapes in
    /// values.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_unescaped(text, b',').filter(|term| !term.is_empty()) {
            let parsed = operator(term).ok_or_else(|| {
                SelectorError::Parse(format!("invalid selector: '{text}'; can't understand '{term}'"))
            })?;
            let (field, equal, value) = parsed;
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value: unescape(value)?,
                equal,
            });
        }
        Ok(Self { requirements })
    }

    /// The requirements.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The requirements, to name their fields otherwise.
    pub fn requirements_mut(&mut self) -> &mut [FieldRequirement] {
        &mut self.requirements
    }

    /// True when every object is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that a field must have, when the selector says so: lets a list or watch be served from an index.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.equal && r.field == field)
            .map(|r| r.value.as_str())
    }

    /// Whether an object is selected; `value` gives its selectable fields (an absent one counts as empty).
    pub fn matches<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.requirements
            .iter()
            .all(|r| (value(&r.field).unwrap_or_default() == r.value) == r.equal)
    }
}

fn split_unescaped(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let mut escaped = false;
        for (at, byte) in current.bytes().enumerate() {
            if !escaped && byte == separator {
                rest = Some(&current[at + 1..]);
                return Some(&current[..at]);
            }
            escaped = !escaped && byte == b'\\';
        }
        rest = None;
        Some(current)
    })
}

/// Splits a term at its first operator.
fn operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (field, rest) = term.split_at(at);
    for (symbol, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(symbol) {
            return Some((field, equal, value));
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                _ => {
                    return Err(SelectorError::Parse(format!(
                        "invalid field selector: invalid escape sequence in value: {value}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError::Parse(format!(
                    "invalid field selector: unescaped character in value: {value}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_selectors() {
        let selector = FieldSelector::parse("spec.nodeName=n1,status.phase!=Failed,metadata.name==a\\,b").unwrap();
        assert_eq!(selector.exact("spec.nodeName"), Some("n1"));
        assert_eq!(selector.exact("status.phase"), None);
        let fields = |phase: &'static str| {
            move |field: &str| match field {
                "spec.nodeName" => Some("n1"),
                "status.phase" => Some(phase),
                "metadata.name" => Some("a,b"),
                _ => None,
            }
        };
        assert!(selector.matches(fields("Running")));
        assert!(!selector.matches(fields("Failed")));
        assert!(FieldSelector::parse("spec.nodeName=").unwrap().matches(|_| None));
        assert!(FieldSelector::parse("").unwrap().is_empty());
        assert!(FieldSelector::parse("nonsense").is_err());
        assert!(FieldSelector::parse("a=b\\x").is_err());
        assert_eq!(
            FieldSelector::parse("a!=").unwrap().requirements()[0],
            FieldRequirement {
                field: "a".into(),
                value: String::new(),
                equal: false
            }
        );
    }
}
