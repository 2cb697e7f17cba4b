//! The wire format of protobuf.

use super::super::DecodeError;

/// Reads the fields of one message.
#[derive(Clone, Copy, Default)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    /// Where in the body the rest begins.
    offset: usize,
}

/// The value of a field as it is on the wire.
#[derive(Clone, Copy)]
pub(super) enum Wired<'b> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'b [u8]),
    Fixed32,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    pub(super) fn rest(&self) -> &'b [u8] {
        self.bytes
    }

    pub(super) fn error(&self, message: &'static str) -> DecodeError {
        DecodeError::Protobuf {
            message,
            offset: self.offset,
        }
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], DecodeError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.error("unexpected end"));
        };
        self.bytes = rest;
        self.offset += length;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("number longer than 64 bits"))
    }

    /// The next field: its number and value.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Wired<'b>)>, DecodeError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| self.error("field number too large"))?;
        let wired = match tag & 7 {
            0 => Wired::Varint(self.varint()?),
            1 => Wired::Fixed64(u64::from_le_bytes(
                self.take(8)?.try_into().expect("eight bytes were taken"),
            )),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| self.error("unexpected end"))?;
                Wired::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wired::Fixed32
            }
            _ => return Err(self.error("unknown wire type")),
        };
        Ok(Some((number, wired)))
    }

    /// A reader over a nested message that was just read.
    pub(super) fn message(&self, wired: Wired<'b>) -> Result<Self, DecodeError> {
        let bytes = self.bytes(wired)?;
        Ok(Self {
            bytes,
            offset: self.offset.saturating_sub(bytes.len()),
        })
    }

    pub(super) fn bytes(&self, wired: Wired<'b>) -> Result<&'b [u8], DecodeError> {
        match wired {
            Wired::Bytes(bytes) => Ok(bytes),
            _ => Err(self.error("wrong wire type")),
        }
    }

    pub(super) fn string(&self, wired: Wired<'b>) -> Result<String, DecodeError> {
        match std::str::from_utf8(self.bytes(wired)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.error("text is not UTF-8")),
        }
    }

    /// An integer; negative ones are ten bytes long on the wire whatever their width.
    pub(super) fn number(&self, wired: Wired<'b>) -> Result<i64, DecodeError> {
        match wired {
            Wired::Varint(number) => Ok(number.cast_signed()),
            _ => Err(self.error("wrong wire type for a number")),
        }
    }
}
