//! One physical line of a log file.

/// Which of a program's streams a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A record: `<RFC 3339 time> stdout|stderr P|F <content>` (CRI, container logs). `P` marks a part of a line whose
/// rest follows in later records of the same stream, `F` its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was written, as text.
    pub timestamp: &'a str,
    /// Where it comes from.
    pub stream: Stream,
    /// Whether more of the line follows.
    pub partial: bool,
    /// What was written, without the line's end.
    pub content: &'a [u8],
}

impl<'a> Record<'a> {
    /// Understands a line without its `\n`; nothing if it is not in the format.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (timestamp, rest) = split(line)?;
        let (stream, rest) = split(rest)?;
        // A line without content may lack the last space.
        let (tags, content) = split(rest).unwrap_or((rest, &[]));
        let stream = match stream {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        // More tags may follow the first, after colons.
        let partial = match tags.split(|&byte| byte == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        let timestamp = str::from_utf8(timestamp).ok().filter(|text| !text.is_empty())?;
        Some(Self {
            timestamp,
            stream,
            partial,
            content,
        })
    }
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|&byte| byte == b' ')?;
    Some((&line[..space], &line[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_understood() {
        let record = Record::parse(b"2026-11-21T10:00:00.123456789Z stderr P:x  two  spaces ").unwrap();
        assert_eq!(record.timestamp, "2026-11-21T10:00:00.123456789Z");
        assert_eq!((record.stream, record.partial), (Stream::Stderr, true));
        assert_eq!(record.content, b" two  spaces ");
        assert_eq!(Record::parse(b"t stdout F").unwrap().content, b"");
        assert_eq!(Record::parse(b"t stdout F ").unwrap().content, b"");
        for bad in [
            &b""[..],
            b"t",
            b"t stdout",
            b"t stdin F x",
            b"t stdout X x",
            b" stdout F x",
            b"\xff stdout F x",
        ] {
            assert_eq!(Record::parse(bad), None);
        }
    }
}
