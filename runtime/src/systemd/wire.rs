//! D-Bus messages as bytes: D-Bus specification, "Marshaling (Wire Format)" and "Message Format". Little-endian, and only
//! what calls of systemd need.

use std::borrow::Cow;
use std::io;
use std::ops::RangeInclusive;

/// Most bytes of a message that are read. systemd's are hundreds.
const MAX: usize = 1 << 20;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a call.
    Return,
    /// The refusal of a call.
    Error,
    /// Told to whoever listens.
    Signal,
    /// A call of ours, or anything else.
    Other,
}

/// A value in a variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// A whole number of the type with this letter, see [`Value::range`].
    Integer(char, i128),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `a`, of elements with this signature.
    Array(String, Vec<Value>),
    /// `(…)`
    Structure(Vec<Value>),
}

impl Value {
    /// `t`
    pub fn u64(number: u64) -> Self {
        Self::Integer('t', number.into())
    }

    /// `s`
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// `au`
    pub fn pids(pids: &[u32]) -> Self {
        let pids = pids.iter().map(|pid| Self::Integer('u', (*pid).into()));
        Self::Array("u".to_owned(), pids.collect())
    }

    /// `ay`
    pub fn bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.iter().map(|byte| Self::Integer('y', (*byte).into()));
        Self::Array("y".to_owned(), bytes.collect())
    }

    /// What a type of whole numbers holds, and in how many bytes. `None` if the letter is none.
    pub fn range(letter: char) -> Option<(RangeInclusive<i128>, usize)> {
        Some(match letter {
            'y' => (0..=u8::MAX.into(), 1),
            'n' => (i16::MIN.into()..=i16::MAX.into(), 2),
            'q' => (0..=u16::MAX.into(), 2),
            'i' => (i32::MIN.into()..=i32::MAX.into(), 4),
            'u' => (0..=u32::MAX.into(), 4),
            'x' => (i64::MIN.into()..=i64::MAX.into(), 8),
            't' => (0..=u64::MAX.into(), 8),
            _ => return None,
        })
    }

    /// Its type.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".to_owned(),
            Self::Integer(letter, _) => letter.to_string(),
            Self::Double(_) => "d".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Structure(parts) => format!("({})", parts.iter().map(Self::signature).collect::<String>()),
        }
    }
}

/// What the values of a type are aligned to.
fn alignment(signature: &str) -> usize {
    match signature.chars().next() {
        Some('(' | 'd') => 8,
        Some(letter) => Value::range(letter).map_or(4, |(_, size)| size),
        None => 1,
    }
}

/// A name and a value.
pub type Property = (Cow<'static, str>, Value);

/// Writes values one after the other. Alignment counts from the beginning.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn length(&mut self, length: usize) {
        self.u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// `u`
    pub fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    /// `s`, and `o` as well.
    pub fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// `g`
    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array: its length in bytes does not count the padding before its first element.
    pub fn array(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let begin = self.0.len();
        write(self);
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX);
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// A structure is aligned as such, and nothing else of it is written.
    pub fn structure(&mut self) {
        self.align(8);
    }

    /// `v`
    fn variant(&mut self, value: &Value) {
        self.signature(&value.signature());
        self.value(value);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.u32(u32::from(*value)),
            Value::Integer(letter, number) => {
                let size = Value::range(*letter).map_or(0, |(_, size)| size);
                self.align(size.max(1));
                self.0.extend(&number.to_le_bytes()[..size]);
            }
            Value::Double(number) => {
                self.align(8);
                self.0.extend(number.to_le_bytes());
            }
            Value::Text(text) => self.text(text),
            Value::Array(element, values) => {
                self.array(alignment(element), |w| values.iter().for_each(|value| w.value(value)));
            }
            Value::Structure(parts) => {
                self.structure();
                parts.iter().for_each(|part| self.value(part));
            }
        }
    }

    /// `a(sv)`
    pub fn properties(&mut self, properties: &[Property]) {
        self.array(8, |w| {
            for (name, value) in properties {
                w.structure();
                w.text(name);
                w.variant(value);
            }
        });
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A method call. `destination` is for a bus; a peer that is systemd itself ignores it.
pub struct Call<'a> {
    /// The receiver.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The method's interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Types of the arguments.
    pub signature: &'a str,
}

impl Call<'_> {
    /// The whole message.
    pub fn message(&self, serial: u32, body: Vec<u8>) -> Vec<u8> {
        const METHOD_CALL: u8 = 1;
        let mut message = Writer(vec![b'l', METHOD_CALL, 0, 1]);
        message.length(body.len());
        message.u32(serial);
        message.array(8, |w| {
            for (code, kind, text) in [
                (1, "o", self.path),
                (2, "s", self.interface),
                (3, "s", self.member),
                (6, "s", self.destination),
                (8, "g", self.signature),
            ] {
                if text.is_empty() {
                    continue;
                }
                w.structure();
                w.0.push(code);
                w.signature(kind);
                if kind == "g" {
                    w.signature(text);
                } else {
                    w.text(text);
                }
            }
        });
        message.align(8);
        message.0.extend(body);
        message.0
    }
}

/// How long a message is whose first 16 bytes these are.
///
/// # Errors
/// They begin no message, or one that is too long or of another byte order.
pub fn length(fixed: &[u8; 16]) -> io::Result<usize> {
    if fixed[0] != b'l' || fixed[3] != 1 {
        return Err(malformed());
    }
    let number = |at: usize| {
        let bytes = fixed[at..at + 4].try_into().map_err(|_| malformed())?;
        usize::try_from(u32::from_le_bytes(bytes)).map_err(io::Error::other)
    };
    let (body, fields): (usize, usize) = (number(4)?, number(12)?);
    let length = (16 + fields).next_multiple_of(8).checked_add(body);
    length.filter(|length| *length <= MAX).ok_or_else(malformed)
}

/// A message received.
#[derive(Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Which call it answers.
    pub reply_to: u32,
    /// The name of a signal.
    pub member: String,
    /// The name of an error.
    pub error: String,
    signature: String,
    bytes: Vec<u8>,
    body: usize,
}

impl Message {
    /// Takes a message apart.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: Vec<u8>) -> io::Result<Self> {
        let fixed = bytes.first_chunk::<16>().ok_or_else(malformed)?;
        if length(fixed)? != bytes.len() {
            return Err(malformed());
        }
        let kind = match fixed[1] {
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Other,
        };
        let mut reader = Reader { bytes: &bytes, at: 12 };
        let end = 16 + usize::try_from(reader.u32()?).map_err(io::Error::other)?;
        let (mut reply_to, mut member, mut error, mut signature) = (0, String::new(), String::new(), String::new());
        while reader.at < end {
            reader.align(8);
            let code = reader.byte()?;
            match (code, reader.signature()?.as_str()) {
                (3, "s") => member = reader.text()?,
                (4, "s") => error = reader.text()?,
                (5, "u") => reply_to = reader.u32()?,
                (8, "g") => signature = reader.signature()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "u") => drop(reader.u32()?),
                (_, "g") => drop(reader.signature()?),
                _ => return Err(malformed()),
            }
        }
        Ok(Self {
            kind,
            reply_to,
            member,
            error,
            signature,
            body: end.next_multiple_of(8),
            bytes,
        })
    }

    /// The leading texts and numbers of its body, numbers as decimal text.
    pub fn arguments(&self) -> Vec<String> {
        let mut reader = Reader {
            bytes: &self.bytes,
            at: self.body,
        };
        let read = self.signature.chars().map_while(|kind| match kind {
            's' | 'o' => reader.text().ok(),
            'u' => reader.u32().ok().map(|number| number.to_string()),
            _ => None,
        });
        read.collect()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let end = self.at.checked_add(count).ok_or_else(malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| malformed())?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn text(&mut self) -> io::Result<String> {
        let length = usize::try_from(self.u32()?).map_err(io::Error::other)?;
        self.string(length)
    }

    fn signature(&mut self) -> io::Result<String> {
        let length = self.byte()?.into();
        self.string(length)
    }

    /// Text with the zero behind it.
    fn string(&mut self, length: usize) -> io::Result<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).map_err(|_| malformed())?;
        self.take(1)?;
        Ok(text)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no D-Bus message")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of a call as it is on the wire, byte for byte, made from the specification.
    #[test]
    fn a_call_is_laid_out_as_specified() {
        let call = Call {
            destination: "",
            path: "/a",
            interface: "",
            member: "M",
            signature: "s",
        };
        let mut body = Writer::default();
        body.text("hi");
        let message = call.message(7, body.into_bytes());
        let expected = [
            &b"l\x01\x00\x01\x07\x00\x00\x00\x07\x00\x00\x00\x27\x00\x00\x00"[..],
            b"\x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00",
            b"\x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x01s\x00\x00",
            b"\x02\x00\x00\x00hi\x00",
        ]
        .concat();
        assert_eq!(message, expected);
        assert_eq!(length(message.first_chunk().unwrap()).unwrap(), message.len());
        let parsed = Message::parse(message).unwrap();
        assert_eq!((parsed.kind, parsed.member.as_str()), (Kind::Other, "M"));
        assert_eq!(parsed.arguments(), ["hi"]);
    }

    #[test]
    fn values_are_aligned() {
        let mut writer = Writer::default();
        writer.properties(&[
            ("A".into(), Value::Bool(true)),
            ("Bc".into(), Value::u64(5)),
            ("D".into(), Value::pids(&[1, 2])),
            ("E".into(), Value::bytes(&[9])),
        ]);
        let expected = [
            // The length of all that follows the padding.
            &b"\x51\x00\x00\x00\x00\x00\x00\x00"[..],
            b"\x01\x00\x00\x00A\x00\x01b\x00\x00\x00\x00\x01\x00\x00\x00",
            b"\x02\x00\x00\x00Bc\x00\x01t\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00",
            b"\x01\x00\x00\x00D\x00\x02au\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00",
            b"\x01\x00\x00\x00E\x00\x02ay\x00\x00\x00\x01\x00\x00\x00\x09",
        ]
        .concat();
        assert_eq!(writer.into_bytes(), expected);
    }

    #[test]
    fn values_in_values_are_aligned() {
        let pair = |a: &str, b: &str| Value::Structure(vec![Value::text(a), Value::text(b)]);
        let list = Value::Array("(ss)".to_owned(), vec![pair("a", "r"), pair("b", "")]);
        assert_eq!(list.signature(), "a(ss)");
        let mut writer = Writer::default();
        writer.variant(&list);
        let expected = [
            &b"\x05a(ss)\x00\x00\x1d\x00\x00\x00\x00\x00\x00\x00"[..],
            b"\x01\x00\x00\x00a\x00\x00\x00\x01\x00\x00\x00r\x00\x00\x00",
            b"\x01\x00\x00\x00b\x00\x00\x00\x00\x00\x00\x00\x00",
        ];
        assert_eq!(writer.into_bytes(), expected.concat());
        let mut writer = Writer::default();
        for value in [
            Value::Integer('n', -2),
            Value::Integer('y', 7),
            Value::Double(1.0),
            Value::Integer('x', -1),
        ] {
            writer.value(&value);
        }
        let expected = [
            &b"\xfe\xff\x07\x00\x00\x00\x00\x00"[..],
            b"\x00\x00\x00\x00\x00\x00\xf0\x3f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
        ];
        assert_eq!(writer.into_bytes(), expected.concat());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(Message::parse(Vec::new()).is_err());
        assert!(length(b"B\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00").is_err());
        assert!(length(b"l\x02\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00").is_err());
        // Fields that reach behind the end.
        let bytes = b"l\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x05\x01u\x00\x01\x00\x00";
        assert!(Message::parse(bytes.to_vec()).is_err());
    }
}
