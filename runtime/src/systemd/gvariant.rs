//! Values as text: <https://docs.gtk.org/glib/gvariant-text-format.html>. Of that what systemd's properties are made of:
//! truths, numbers, texts, and arrays and tuples of these.

use super::wire::Value;

/// How deep values may be in each other: D-Bus specification, "Valid Signatures".
const DEPTH: usize = 32;
/// How long a type's letters may be: the same.
const LONGEST: usize = 255;

/// Words for types, and their letters.
const TYPES: [(&str, char); 10] = [
    ("boolean", 'b'),
    ("byte", 'y'),
    ("int16", 'n'),
    ("uint16", 'q'),
    ("int32", 'i'),
    ("uint32", 'u'),
    ("int64", 'x'),
    ("uint64", 't'),
    ("double", 'd'),
    ("string", 's'),
];

/// Reads one value.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { rest: text, depth: 0 };
    let node = reader.node()?;
    if !reader.skip_space().is_empty() {
        return Err(format!("{:?} follows the value", reader.rest));
    }
    let (signature, _) = node.signature()?;
    if signature.len() > LONGEST || signature.matches(['a', '(']).count() > DEPTH {
        return Err("its type is too complicated for D-Bus".to_owned());
    }
    node.value(&signature)
}

/// What is written, before it is clear which type it has.
enum Node<'a> {
    Bool(bool),
    Number(&'a str),
    Text(String),
    Array(Vec<Node<'a>>),
    Tuple(Vec<Node<'a>>),
    /// With its type before it.
    Typed(String, Box<Node<'a>>),
}

impl Node<'_> {
    /// The type it has by itself, and whether it can have no other.
    fn signature(&self) -> Result<(String, bool), String> {
        Ok(match self {
            Self::Bool(_) => ("b".to_owned(), true),
            Self::Number(text) => (if is_whole(text) { "i" } else { "d" }.to_owned(), false),
            Self::Text(_) => ("s".to_owned(), true),
            Self::Typed(signature, _) => (signature.clone(), true),
            Self::Array(elements) => {
                let all = elements.iter().map(Self::signature).collect::<Result<Vec<_>, _>>()?;
                let by_rank = |(signature, certain): &&(String, bool)| (*certain, signature.contains('d'));
                // The last of several equals would do as well: values that do not fit it are refused.
                let element = all.iter().max_by_key(by_rank);
                let (signature, certain) = element.ok_or("an empty array needs its type before it, as in @as []")?;
                (format!("a{signature}"), *certain)
            }
            Self::Tuple(parts) if parts.is_empty() => return Err("a tuple has nothing in it".to_owned()),
            Self::Tuple(parts) => {
                let all = parts.iter().map(Self::signature).collect::<Result<Vec<_>, _>>()?;
                let certain = all.iter().all(|(_, certain)| *certain);
                let parts: String = all.into_iter().map(|(signature, _)| signature).collect();
                (format!("({parts})"), certain)
            }
        })
    }

    /// It as a value of a type.
    fn value(&self, signature: &str) -> Result<Value, String> {
        let mut letters = signature.chars();
        Ok(match (self, letters.next().unwrap_or_default()) {
            (Self::Bool(value), 'b') => Value::Bool(*value),
            (Self::Number(text), 'd') => {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                Value::Double(number.ok_or_else(|| format!("{text} is no number"))?)
            }
            (Self::Number(text), letter @ ('y' | 'n' | 'q' | 'i' | 'u' | 'x' | 't')) => {
                let number = whole(text).ok_or_else(|| format!("{text} is no whole number"))?;
                if !Value::range(letter).is_some_and(|(range, _)| range.contains(&number)) {
                    return Err(format!("{text} does not fit its type {letter}"));
                }
                Value::Integer(letter, number)
            }
            (Self::Text(text), 's') => Value::Text(text.clone()),
            (Self::Array(elements), 'a') => {
                let element = letters.as_str();
                let values = elements.iter().map(|value| value.value(element));
                Value::Array(element.to_owned(), values.collect::<Result<_, _>>()?)
            }
            (Self::Tuple(parts), '(') => {
                let mut rest = letters.as_str();
                let mut values = Vec::new();
                for part in parts {
                    let (first, others) =
                        rest.split_at(first_type(rest).ok_or("a tuple has more parts than its type")?);
                    values.push(part.value(first)?);
                    rest = others;
                }
                if rest != ")" {
                    return Err("a tuple has fewer parts than its type".to_owned());
                }
                Value::Structure(values)
            }
            (Self::Typed(own, inner), _) if own == signature => inner.value(signature)?,
            _ => {
                return Err(format!(
                    "a value is not of the type {signature}, as others or its array are"
                ));
            }
        })
    }
}

/// How long the first complete type of a signature is.
fn first_type(signature: &str) -> Option<usize> {
    let letter = signature.chars().next()?;
    match letter {
        'a' => first_type(&signature[1..]).map(|length| length + 1),
        '(' => {
            let mut at = 1;
            while !signature[at..].starts_with(')') {
                at += first_type(&signature[at..])?;
            }
            (at > 1).then_some(at + 1)
        }
        letter => TYPES.iter().any(|(_, known)| *known == letter).then_some(1),
    }
}

fn is_whole(number: &str) -> bool {
    number.contains(['x', 'X']) || !number.contains(['.', 'e', 'E'])
}

/// As `strtoull` reads it with the base 0.
fn whole(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // A second sign is none of a number.
    let plain = digits.starts_with(|digit: char| digit.is_ascii_hexdigit());
    i128::from_str_radix(digits, base)
        .ok()
        .filter(|_| plain)
        .map(|number| sign * number)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn node(&mut self) -> Result<Node<'a>, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("values are in each other more than {DEPTH} deep"));
        }
        let first = self.skip_space().chars().next().ok_or("there is no value")?;
        let node = match first {
            '\'' | '"' => Node::Text(self.text(first)?),
            '[' => Node::Array(self.list(']')?),
            '(' => Node::Tuple(self.list(')')?),
            '@' => {
                let end = self
                    .rest
                    .find(char::is_whitespace)
                    .unwrap_or(self.rest.len())
                    .min(LONGEST);
                let length = self.rest.get(1..end).and_then(first_type);
                let length = length.ok_or("after @ there is no type of systemd's properties")?;
                let signature = self.rest[1..=length].to_owned();
                self.rest = &self.rest[1 + length..];
                Node::Typed(signature, Box::new(self.node()?))
            }
            _ => self.word()?,
        };
        self.depth -= 1;
        Ok(node)
    }

    /// What is between brackets, with commas between them and perhaps behind the last.
    fn list(&mut self, end: char) -> Result<Vec<Node<'a>>, String> {
        self.rest = &self.rest[1..];
        let mut nodes = Vec::new();
        loop {
            if let Some(rest) = self.skip_space().strip_prefix(end) {
                self.rest = rest;
                return Ok(nodes);
            }
            nodes.push(self.node()?);
            match self.skip_space().strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None if self.rest.starts_with(end) => {}
                None => return Err(format!("there is no {end} where one is wanted")),
            }
        }
    }

    fn word(&mut self) -> Result<Node<'a>, String> {
        let part_of = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let length = self.rest.find(|c| !part_of(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        if let Some((_, letter)) = TYPES.iter().find(|(name, _)| *name == word) {
            return Ok(Node::Typed(letter.to_string(), Box::new(self.node()?)));
        }
        match word {
            "true" => Ok(Node::Bool(true)),
            "false" => Ok(Node::Bool(false)),
            _ if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => Ok(Node::Number(word)),
            _ => Err(format!(
                "{:?} is no value (a text is written 'so')",
                if word.is_empty() { rest } else { word }
            )),
        }
    }

    /// A text in quotes.
    fn text(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest[1..].chars();
        loop {
            match chars.next().ok_or("a text has no end")? {
                end if end == quote => break,
                '\\' => text.push(escaped(&mut chars)?),
                other => text.push(other),
            }
        }
        if text.contains('\0') {
            return Err("a text has a zero in it".to_owned());
        }
        self.rest = chars.as_str();
        Ok(text)
    }
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    let escaped = chars.next().ok_or("a text has no end")?;
    Ok(match escaped {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'u' | 'U' => {
            let digits: String = chars.by_ref().take(if escaped == 'u' { 4 } else { 8 }).collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            code.ok_or_else(|| format!("\\{escaped}{digits} is no character"))?
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(letter: char, numbers: &[i128]) -> Value {
        let numbers = numbers.iter().map(|number| Value::Integer(letter, *number));
        Value::Array(letter.to_string(), numbers.collect())
    }

    #[test]
    fn values() {
        let texts = |texts: &[&str]| Value::Array("s".to_owned(), texts.iter().map(|t| Value::text(*t)).collect());
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("5", Value::Integer('i', 5)),
            ("uint64 123456789", Value::u64(123_456_789)),
            ("int64 -0x10", Value::Integer('x', -16)),
            ("byte 017", Value::Integer('y', 15)),
            ("@t 7", Value::u64(7)),
            ("1.5", Value::Double(1.5)),
            ("double 2", Value::Double(2.0)),
            (" 'inactive-or-failed' ", Value::text("inactive-or-failed")),
            (r#""a'\"\u00e9\n""#, Value::text("a'\"é\n")),
            ("['a', 'b',]", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("[1, uint32 2]", integers('u', &[1, 2])),
            ("@ay [1, 0xff]", integers('y', &[1, 255])),
            (
                "[('/dev/null', 'rw')]",
                Value::Array(
                    "(ss)".to_owned(),
                    vec![Value::Structure(vec![Value::text("/dev/null"), Value::text("rw")])],
                ),
            ),
            (
                "@(sa(bt)) ('x', [(true, 1)])",
                Value::Structure(vec![
                    Value::text("x"),
                    Value::Array(
                        "(bt)".to_owned(),
                        vec![Value::Structure(vec![Value::Bool(true), Value::u64(1)])],
                    ),
                ]),
            ),
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value() {
        for (text, words) in [
            ("", "no value"),
            ("inactive", "'so'"),
            ("'a", "no end"),
            ("'a' 'b'", "follows"),
            ("uint64 -1", "does not fit"),
            ("uint64 'a'", "not of the type"),
            ("uint64 1.5", "no whole number"),
            ("99999999999", "does not fit"),
            ("- 1", "follows"),
            ("--1", "no whole number"),
            ("[1, 'a']", "not of the type"),
            ("()", "nothing in it"),
            (&format!("@{} []", "a".repeat(1 << 20)), "no type"),
            (&format!("@{}s []", "a".repeat(40)), "too complicated"),
            ("[]", "@as []"),
            ("[1 2]", "no ]"),
            ("@(ss) ('a',)", "fewer"),
            ("@z 1", "no type"),
            ("@() ()", "no type"),
            ("nan", "no value"),
            (r"'\ud800'", "no character"),
            (&"[".repeat(100), "deep"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
