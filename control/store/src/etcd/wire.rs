//! The wire format of protocol buffers, as much of it as the messages of etcd need.

/// A message being written. Fields with their default value are left out, as proto3 has it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Writer(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Writer {
    pub(crate) fn number(mut self, field: u64, value: u64) -> Self {
        if value != 0 {
            self.varint(field << 3 | VARINT);
            self.varint(value);
        }
        self
    }

    pub(crate) fn flag(self, field: u64, value: bool) -> Self {
        self.number(field, u64::from(value))
    }

    pub(crate) fn bytes(self, field: u64, value: &[u8]) -> Self {
        if value.is_empty() {
            self
        } else {
            self.field(field, value)
        }
    }

    /// A message within this one, which is written even if it is empty.
    pub(crate) fn message(self, field: u64, value: &Writer) -> Self {
        self.field(field, &value.0)
    }

    fn field(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(crate) fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Value::Number(_) => &[],
            Value::Bytes(bytes) => bytes,
        }
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// What was to be a message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed")]
pub(crate) struct Malformed;

/// Shows every field of a message, in order.
pub(crate) fn read<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u64, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            VARINT => Value::Number(varint(&mut message)?),
            FIXED64 => Value::Bytes(take(&mut message, 8)?),
            BYTES => {
                let length = varint(&mut message)?;
                Value::Bytes(take(&mut message, length)?)
            }
            FIXED32 => Value::Bytes(take(&mut message, 4)?),
            _ => return Err(Malformed),
        };
        each(tag >> 3, value)?;
    }
    Ok(())
}

fn take<'a>(from: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, rest) = from.split_at_checked(length).ok_or(Malformed)?;
    *from = rest;
    Ok(taken)
}

fn varint(from: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(from, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_round_trip() {
        let inner = Writer::default().number(6, 300);
        let message = Writer::default()
            .bytes(1, b"key")
            .number(2, 0)
            .message(3, &inner)
            .flag(64, true)
            .number(5, u64::MAX);
        let mut seen = Vec::new();
        read(message.as_slice(), |field, value| {
            seen.push((field, value));
            Ok(())
        })
        .unwrap();
        let expected = [
            (1, Value::Bytes(b"key")),
            (3, Value::Bytes(&[0x30, 0xac, 0x02])),
            (64, Value::Number(1)),
            (5, Value::Number(u64::MAX)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&[0x0a, 0x05, 1][..], &[0x80], &[0x0b], &[0xff; 11]] {
            assert_eq!(read(bytes, |_, _| Ok(())), Err(Malformed), "{bytes:?}");
        }
    }
}
