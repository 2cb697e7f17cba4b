//! Writing and reading of netlink attributes (`struct nlattr`, netlink(7)).

/// Set on attributes that hold attributes.
const NESTED: u16 = 1 << 15;
/// What is left of an attribute's type without its flags.
const TYPE: u16 = 0x3fff;

/// Appends one netlink message, header included, to a buffer; its length is written when it is dropped.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>, kind: u16, flags: u16, sequence: u32) -> Self {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        Self { bytes, start }
    }

    /// The family's own header, before any attribute.
    pub(crate) fn header(&mut self, header: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(header);
        self
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(4 + value.len()).expect("an attribute is shorter than 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Text with its terminating zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let length = u16::try_from(5 + value.len()).expect("an attribute is shorter than 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).expect("an attribute is shorter than 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Length of the message so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        let length = u32::try_from(self.len()).expect("a message is shorter than 4 GiB");
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Reads attributes one after the other; ends at the first that does not fit.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The value of the first attribute of this type.
    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// The attributes inside the first attribute of this type; none if it is missing.
    pub(crate) fn inside(&self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    pub(crate) fn text(&self, kind: u16) -> Option<&'a str> {
        let value = self.get(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }

    pub(crate) fn be16(&self, kind: u16) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub(crate) fn be32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub(crate) fn be64(&self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & TYPE;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back() {
        let mut bytes = vec![];
        {
            let mut m = Message::new(&mut bytes, 7, 5, 9);
            m.header(&[2, 0, 0, 0])
                .text(1, "abc")
                .be32(2, 0x0102_0304)
                .u8(3, 9)
                .be64(4, 5)
                .nest(5, |m| {
                    m.bytes(1, &[1, 2, 3, 4, 5]).nest(2, |_| {});
                });
        }
        assert_eq!(
            u32::from_ne_bytes(bytes[0..4].try_into().unwrap()) as usize,
            bytes.len()
        );
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[4..16], &[7, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        let attributes = Attributes::new(&bytes[20..]);
        assert_eq!(attributes.text(1), Some("abc"));
        assert_eq!(attributes.be32(2), Some(0x0102_0304));
        assert_eq!(attributes.get(3), Some(&[9][..]));
        assert_eq!(attributes.be64(4), Some(5));
        assert_eq!(attributes.inside(5).get(1), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(attributes.inside(5).inside(2).count(), 0);
        assert_eq!(attributes.count(), 5);
    }

    #[test]
    fn cut_off_bytes_end_the_reading() {
        let mut bytes = vec![];
        Message::new(&mut bytes, 0, 0, 0).text(1, "one").text(2, "two");
        for cut in 16..bytes.len() {
            assert!(Attributes::new(&bytes[16..cut]).count() <= 1);
        }
        assert_eq!(
            Attributes::new(&[3, 0, 1, 0]).count(),
            0,
            "a length below the header's is no attribute"
        );
    }
}
