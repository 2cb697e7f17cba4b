//! Label selectors.

use serde_json::{Map, Value};

use super::SelectorError;

/// How a requirement compares.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

/// A label selector: all requirements must hold; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<(String, Operator)>,
}

impl LabelSelector {
    /// Parses the text of `labelSelector=`: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser {
            tokens: tokens(text),
            at: 0,
            text,
        };
        let mut requirements = Vec::new();
        if parser.peek().is_none() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.next() {
                None => return Ok(Self { requirements }),
                Some(",") => {}
                Some(other) => return Err(parser.unexpected(other, "',' or end of string")),
            }
        }
    }

    /// Reads a `metav1.LabelSelector` (`matchLabels` and `matchExpressions`) or, when it has neither, a plain map of
    /// labels as Services and ReplicationControllers have.
    pub fn from_value(selector: &Value) -> Result<Self, SelectorError> {
        let Some(map) = selector.as_object() else {
            return Ok(Self::default());
        };
        let structured = map.iter().all(|(key, value)| {
            (key == "matchLabels" && value.is_object()) || (key == "matchExpressions" && value.is_array())
        });
        if !structured {
            return Ok(Self::from_labels(map));
        }
        let mut selector = map
            .get("matchLabels")
            .and_then(Value::as_object)
            .map_or_else(Self::default, Self::from_labels);
        for expression in map
            .get("matchExpressions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = || strings(&expression["values"]);
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In(values()),
                "NotIn" => Operator::NotIn(values()),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                "Gt" => Operator::GreaterThan(number(values().first().map_or("", String::as_str))?),
                "Lt" => Operator::LessThan(number(values().first().map_or("", String::as_str))?),
                other => return Err(SelectorError::Operator(other.to_owned())),
            };
            selector.requirements.push((key, operator));
        }
        Ok(selector)
    }

    /// Selects objects that carry all of these labels.
    pub fn from_labels(labels: &Map<String, Value>) -> Self {
        let requirement = |(key, value): (&String, &Value)| {
            (
                key.clone(),
                Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            )
        };
        Self {
            requirements: labels.iter().map(requirement).collect(),
        }
    }

    /// True when every object is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object is selected, of which `label` tells the value of a label.
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements.iter().all(|(key, operator)| {
            let value = label(key);
            match (operator, value) {
                (Operator::In(values), Some(value)) => values.iter().any(|wanted| wanted == value),
                (Operator::NotIn(values), Some(value)) => !values.iter().any(|unwanted| unwanted == value),
                (Operator::Exists, value) => value.is_some(),
                (Operator::DoesNotExist, value) => value.is_none(),
                (Operator::NotIn(_), None) => true,
                (Operator::GreaterThan(bound), Some(value)) => value.parse().is_ok_and(|value: i64| value > *bound),
                (Operator::LessThan(bound), Some(value)) => value.parse().is_ok_and(|value: i64| value < *bound),
                (Operator::In(_) | Operator::GreaterThan(_) | Operator::LessThan(_), None) => false,
            }
        })
    }

    /// Whether this object is selected by its labels.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.matches(|key| labels?.get(key)?.as_str())
    }
}

fn strings(values: &Value) -> Vec<String> {
    values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn number(text: &str) -> Result<i64, SelectorError> {
    text.parse().map_err(|_| {
        SelectorError::Invalid(format!(
            "for 'Gt', 'Lt' operators, the value must be an integer: {text:?}"
        ))
    })
}

/// Splits into words and the symbols `,` `(` `)` `!` `=` `==` `!=` `<` `>`.
fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'=' | b'!' if bytes.get(at + 1) == Some(&b'=') => 2,
            b',' | b'(' | b')' | b'!' | b'=' | b'<' | b'>' => 1,
            _ => text[at..]
                .find([' ', '\t', '\r', '\n', ',', '(', ')', '!', '=', '<', '>'])
                .unwrap_or(text.len() - at),
        };
        tokens.push(&text[at..at + length]);
        at += length;
    }
    tokens
}

fn is_word(token: &str) -> bool {
    !matches!(token, "," | "(" | ")" | "!" | "=" | "==" | "!=" | "<" | ">")
}

struct Parser<'t> {
    tokens: Vec<&'t str>,
    at: usize,
    text: &'t str,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'t str> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn unexpected(&self, found: &str, expected: &str) -> SelectorError {
        SelectorError::Parse(format!("found '{found}', expected: {expected} in {:?}", self.text))
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        match self.next() {
            Some(token) if is_word(token) => {
                check_key(token)?;
                Ok(token.to_owned())
            }
            other => Err(self.unexpected(other.unwrap_or_default(), "identifier")),
        }
    }

    /// A value after an operator; nothing at all is the empty value.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Some(token) if is_word(token) => {
                self.at += 1;
                check_value(token)?;
                Ok(token.to_owned())
            }
            None | Some("," | ")") => Ok(String::new()),
            Some(other) => Err(self.unexpected(other, "identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Some("(") => {}
            other => return Err(self.unexpected(other.unwrap_or_default(), "'('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            match self.next() {
                Some(",") => {}
                Some(")") => return Ok(values),
                other => return Err(self.unexpected(other.unwrap_or_default(), "',', or ')'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<(String, Operator), SelectorError> {
        if self.peek() == Some("!") {
            self.at += 1;
            return Ok((self.key()?, Operator::DoesNotExist));
        }
        let key = self.key()?;
        let operator = match self.peek() {
            None | Some(",") => return Ok((key, Operator::Exists)),
            Some(operator) => operator,
        };
        self.at += 1;
        let operator = match operator {
            "=" | "==" => Operator::In(vec![self.value()?]),
            "!=" => Operator::NotIn(vec![self.value()?]),
            "in" => Operator::In(self.values()?),
            "notin" => Operator::NotIn(self.values()?),
            ">" => Operator::GreaterThan(number(&self.value()?)?),
            "<" => Operator::LessThan(number(&self.value()?)?),
            other => return Err(self.unexpected(other, "in, notin, =, ==, !=, gt, lt")),
        };
        Ok((key, operator))
    }
}

/// A label key: an optional DNS subdomain and `/`, then up to 63 letters, digits, `-`, `_`, `.`, letters or digits at
/// both ends.
fn check_key(key: &str) -> Result<(), SelectorError> {
    let (domain, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(domain, name)| (Some(domain), name));
    let domain_ok = domain.is_none_or(|domain| {
        !domain.is_empty()
            && domain.len() <= 253
            && domain.split('.').all(|part| {
                !part.is_empty()
                    && !part.starts_with('-')
                    && !part.ends_with('-')
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            })
    });
    if domain_ok && !name.is_empty() && is_label_text(name) {
        Ok(())
    } else {
        Err(SelectorError::Invalid(format!(
            "key: Invalid value: \"{key}\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
             with an alphanumeric character"
        )))
    }
}

fn check_value(value: &str) -> Result<(), SelectorError> {
    if is_label_text(value) {
        Ok(())
    } else {
        Err(SelectorError::Invalid(format!(
            "values[0][key]: Invalid value: \"{value}\": a valid label must be an empty string or consist of alphanumeric characters, \
             '-', '_' or '.', and must start and end with an alphanumeric character"
        )))
    }
}

fn is_label_text(text: &str) -> bool {
    let (first, last) = (text.bytes().next(), text.bytes().last());
    text.len() <= 63
        && first.is_none_or(|byte| byte.is_ascii_alphanumeric())
        && last.is_none_or(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(selector: &str, labels: Value) -> bool {
        LabelSelector::parse(selector)
            .unwrap()
            .matches(|key| labels.get(key)?.as_str())
    }

    #[test]
    fn every_operator_works() {
        let labels = || json!({"app": "web", "tier": "front", "n": "5", "empty": ""});
        for yes in [
            "",
            "app=web",
            "app==web",
            "app = web , tier=front",
            "app!=db",
            "gone!=x",
            "app in (web,db)",
            "app in (web)",
            "tier notin (back)",
            "gone notin (x)",
            "app",
            "!gone",
            "n>4",
            "n<6",
            "empty=",
            "empty in (,x)",
            "! gone",
            "example.com/x!=1",
        ] {
            assert!(matches(yes, labels()), "{yes}");
        }
        for no in [
            "app=db",
            "app!=web",
            "gone",
            "!app",
            "n>5",
            "n<5",
            "app>1",
            "gone>1",
            "app in (db)",
            "app notin (web)",
            "gone=",
            "app=web,n=6",
        ] {
            assert!(!matches(no, labels()), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "=", "a in", "a in (", "a in (b", "a=b,", "a b", "a=b c", "a>x", "-a=b", "a=-b", "a/b/c", "(", "a=b=c",
            "A_/x=1", "!a=b",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn structured_and_plain_selectors() {
        let structured = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]},
            {"key": "e", "operator": "Exists"}]});
        let selector = LabelSelector::from_value(&structured).unwrap();
        let selects = |labels: Value| selector.matches_object(&json!({"metadata": {"labels": labels}}));
        assert!(selects(json!({"a": "b", "e": ""})));
        assert!(!selects(json!({"a": "b", "c": "d", "e": ""})));
        assert!(LabelSelector::from_value(&json!({})).unwrap().is_empty());
        assert!(
            LabelSelector::from_value(&json!({"app": "x"}))
                .unwrap()
                .matches_object(&json!({"metadata": {"labels": {"app": "x"}}}))
        );
        assert!(LabelSelector::from_value(&json!({"matchExpressions": [{"key": "a", "operator": "Like"}]})).is_err());
    }
}
