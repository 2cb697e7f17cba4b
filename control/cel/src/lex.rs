//! From characters to tokens.

use crate::ast::Literal;
use crate::error::Issue;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Ident(String),
    Literal(Literal),
    /// A whole number without its sign, which may only be known to the parser.
    Number(u64),
    /// One of the marks of the grammar.
    Mark(&'static str),
    End,
}

const MARKS: [&str; 27] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "+", "-", "*", "/", "%", "<",
    ">", "!", "=", "&", "|",
];

/// The tokens of a source, each with its place.
pub(crate) fn tokens(source: &str) -> Result<Vec<(Token, usize)>, Issue> {
    let mut lexer = Lexer { source, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.blank();
        let at = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        found.push((token, at));
        if end {
            return Ok(found);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn wrong(&self, at: usize, message: impl Into<String>) -> Issue {
        Issue {
            at,
            message: format!("Syntax error: {}", message.into()),
        }
    }

    /// Passes over space and comments.
    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn token(&mut self) -> Result<Token, Issue> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if let Some(prefix) = string_prefix(rest) {
            return self.string(prefix);
        }
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            self.at += end;
            return Ok(match &rest[..end] {
                "true" => Token::Literal(Literal::Bool(true)),
                "false" => Token::Literal(Literal::Bool(false)),
                "null" => Token::Literal(Literal::Null),
                "in" => Token::Mark("in"),
                name => Token::Ident(name.to_owned()),
            });
        }
        let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
        match mark {
            Some(mark @ (&"=" | &"&" | &"|")) => {
                Err(self.wrong(self.at, format!("token recognition error at: '{mark}'")))
            }
            Some(mark) => {
                self.at += mark.len();
                Ok(Token::Mark(mark))
            }
            None => Err(self.wrong(self.at, format!("token recognition error at: '{first}'"))),
        }
    }

    fn number(&mut self) -> Result<Token, Issue> {
        let (start, rest) = (self.at, self.rest());
        let invalid = |what: &str, lexer: &Self| lexer.wrong(start, format!("invalid {what} literal"));
        if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            let number = u64::from_str_radix(&hex[..end], 16).map_err(|_| invalid("int", self))?;
            self.at += 2 + end;
            return Ok(self.signless(number));
        }
        let digits = |from: usize| {
            let rest = &rest[from..];
            from + rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
        };
        let whole = digits(0);
        let mut end = whole;
        if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            end = digits(end + 1);
        }
        let exponent = rest[end..].strip_prefix(['e', 'E']);
        if let Some(after) = exponent {
            let sign = usize::from(after.starts_with(['+', '-']));
            if after[sign..].starts_with(|c: char| c.is_ascii_digit()) {
                end = digits(end + 1 + sign);
            }
        }
        self.at += end;
        if end > whole {
            let number = rest[..end].parse().map_err(|_| invalid("double", self))?;
            return Ok(Token::Literal(Literal::Double(number)));
        }
        let number = rest[..end].parse().map_err(|_| invalid("int", self))?;
        Ok(self.signless(number))
    }

    fn signless(&mut self, number: u64) -> Token {
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
            return Token::Literal(Literal::Uint(number));
        }
        Token::Number(number)
    }

    fn string(&mut self, prefix: Prefix) -> Result<Token, Issue> {
        let start = self.at;
        self.at += prefix.length;
        let rest = self.rest();
        let quote = rest.chars().next().unwrap_or('"');
        let three = format!("{quote}{quote}{quote}");
        let (quote, many) = match rest.starts_with(&three) {
            true => (three, true),
            false => (quote.to_string(), false),
        };
        self.at += quote.len();
        let (mut text, mut bytes) = (String::new(), Vec::new());
        loop {
            let rest = self.rest();
            if rest.starts_with(&quote) {
                self.at += quote.len();
                break;
            }
            let Some(next) = rest.chars().next().filter(|c| many || !matches!(c, '\n' | '\r')) else {
                return Err(self.wrong(start, "string is not closed"));
            };
            self.at += next.len_utf8();
            if next == '\\' && !prefix.raw {
                self.escape(prefix.bytes, &mut text, &mut bytes)?;
            } else {
                text.push(next);
            }
            if prefix.bytes {
                bytes.extend_from_slice(text.as_bytes());
                text.clear();
            }
        }
        Ok(Token::Literal(match prefix.bytes {
            true => Literal::Bytes(bytes),
            false => Literal::String(text),
        }))
    }

    fn escape(&mut self, is_bytes: bool, text: &mut String, bytes: &mut Vec<u8>) -> Result<(), Issue> {
        let at = self.at - 1;
        let rest = self.rest();
        let wrong = || Issue {
            at,
            message: "Syntax error: invalid escape sequence".to_owned(),
        };
        let c = rest.chars().next().ok_or_else(wrong)?;
        let simple = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '`' | '?' => c,
            _ => {
                let (skip, length, radix) = match c {
                    'x' | 'X' => (1, 2, 16),
                    'u' if !is_bytes => (1, 4, 16),
                    'U' if !is_bytes => (1, 8, 16),
                    '0'..='3' => (0, 3, 8),
                    _ => return Err(wrong()),
                };
                let digits = rest.get(skip..skip + length).ok_or_else(wrong)?;
                let code = u32::from_str_radix(digits, radix).map_err(|_| wrong())?;
                self.at += skip + length;
                if is_bytes {
                    bytes.push(u8::try_from(code).map_err(|_| wrong())?);
                } else {
                    text.push(char::from_u32(code).ok_or_else(wrong)?);
                }
                return Ok(());
            }
        };
        self.at += c.len_utf8();
        text.push(simple);
        Ok(())
    }
}

struct Prefix {
    length: usize,
    raw: bool,
    bytes: bool,
}

/// What a text that begins a string has before its quote.
fn string_prefix(rest: &str) -> Option<Prefix> {
    let length = rest.bytes().take(3).position(|byte| matches!(byte, b'"' | b'\''))?;
    let prefix = rest[..length].to_ascii_lowercase();
    matches!(prefix.as_str(), "" | "r" | "b" | "rb" | "br").then(|| Prefix {
        length,
        raw: prefix.contains('r'),
        bytes: prefix.contains('b'),
    })
}
