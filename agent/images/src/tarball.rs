//! Reading tar archives entry by entry: ustar, GNU long names, pax records.
//!
//! Written here rather than taken from a library for three reasons: pax records and long names are bounded, so that
//! an archive cannot make the reader allocate without limit; binary extended attributes with newlines in them survive
//! (`security.capability` has them); and the position of an entry's data is known, for archives read at random.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// Room for the pax records of one entry; the largest honest ones hold a few extended attributes.
const MAX_RECORDS: u64 = 1024 * 1024;
/// Headers that only say something about the next one; honest archives have at most three in a row.
const MAX_PENDING: u32 = 16;

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry's description. Its data, if it is a file, are read from the [`TarReader`] that returned it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits including set-id and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) mtime: (i64, u32),
    pub(crate) size: u64,
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    /// Extended attributes: name, value.
    pub(crate) xattrs: Records,
    /// Where the data start in the archive.
    pub(crate) offset: u64,
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("bad header at byte {offset}: {reason}")]
    Header { offset: u64, reason: String },
}

/// Reads an archive once, front to back.
pub(crate) struct TarReader<R> {
    inner: R,
    /// Bytes taken from `inner`.
    position: u64,
    /// Data of the current entry that were not read yet.
    remaining: u64,
    ended: bool,
}

/// Names and values of pax records.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Records that hold for the next entry.
#[derive(Default)]
struct Pending {
    records: Records,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            position: 0,
            remaining: 0,
            ended: false,
        }
    }

    /// The next entry; what is left of the current one's data is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut pending = Pending::default();
        let mut headers = 0;
        while let Some((header, offset)) = self.header()? {
            let fail = |reason: String| TarError::Header { offset, reason };
            headers += 1;
            if headers > MAX_PENDING {
                return Err(fail("too many extended headers".to_owned()));
            }
            let size = number(&header[124..136]).map_err(fail)?;
            match header[156] {
                b'x' => pending.records = parse_pax(&self.small_data(size, offset)?).map_err(fail)?,
                // Global records are comments in every archive seen in the wild; the ones that matter are repeated.
                b'g' => drop(self.small_data(size, offset)?),
                b'L' => pending.long_path = Some(until_nul(&self.small_data(size, offset)?).to_vec()),
                b'K' => pending.long_link = Some(until_nul(&self.small_data(size, offset)?).to_vec()),
                _ => {
                    let entry = entry(&header, size, pending, self.position).map_err(fail)?;
                    self.remaining = entry.size;
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
    }

    /// The next header block, or nothing at the end of the archive.
    fn header(&mut self) -> Result<Option<([u8; BLOCK], u64)>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let padding = self.padding();
        if self.skip(self.remaining)? != self.remaining {
            return Err(TarError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        self.remaining = 0;
        // Data are padded to whole blocks, except that some writers forget about the last.
        if self.skip(padding)? != padding {
            self.ended = true;
            return Ok(None);
        }
        let offset = self.position;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => {
                    self.ended = true;
                    return Ok(None);
                }
                Ok(0) => return Err(TarError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.position += BLOCK as u64;
        if block.iter().all(|&byte| byte == 0) {
            self.ended = true;
            return Ok(None);
        }
        verify_checksum(&block).map_err(|reason| TarError::Header { offset, reason })?;
        Ok(Some((block, offset)))
    }

    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let skipped = io::copy(&mut self.inner.by_ref().take(count), &mut io::sink())?;
        self.position += skipped;
        Ok(skipped)
    }

    fn padding(&self) -> u64 {
        // The position is a multiple of the block size whenever an entry's data are read up.
        (BLOCK as u64 - (self.position + self.remaining) % BLOCK as u64) % BLOCK as u64
    }

    fn small_data(&mut self, size: u64, offset: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_RECORDS {
            return Err(TarError::Header {
                offset,
                reason: format!("records of {size} bytes"),
            });
        }
        let mut data = Vec::new();
        self.remaining = size;
        self.read_to_end(&mut data)?;
        if data.len() as u64 != size {
            return Err(TarError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(data)
    }

    /// Where the archive was read from, to read up what follows its end.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }
}

/// Reads the current entry's data.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if limit == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..limit])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        self.remaining -= count as u64;
        Ok(count)
    }
}

fn entry(header: &[u8; BLOCK], size: u64, pending: Pending, offset: u64) -> Result<Entry, String> {
    let ustar = &header[257..263] == b"ustar\0";
    let name = until_nul(&header[..100]);
    let path = match until_nul(&header[345..500]) {
        prefix if ustar && !prefix.is_empty() => [prefix, b"/", name].concat(),
        _ => name.to_vec(),
    };
    let id = |field: &[u8]| number(field).and_then(|id| u32::try_from(id).map_err(|_| format!("owner {id}")));
    let device = |field: &[u8]| number(field).and_then(|n| u32::try_from(n).map_err(|_| format!("device {n}")));
    let mut entry = Entry {
        path: pending.long_path.unwrap_or(path),
        link: pending
            .long_link
            .unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
        kind: Kind::File,
        mode: u32::try_from(number(&header[100..108])? & 0o7777).expect("four octal digits fit"),
        uid: id(&header[108..116])?,
        gid: id(&header[116..124])?,
        mtime: (
            number(&header[136..148])
                .ok()
                .and_then(|time| i64::try_from(time).ok())
                .unwrap_or(0),
            0,
        ),
        size,
        device: (0, 0),
        xattrs: Vec::new(),
        offset,
    };
    apply_records(&mut entry, pending.records)?;
    entry.kind = match header[156] {
        b'0' | b'\0' | b'7' if entry.path.ends_with(b"/") => Kind::Directory,
        b'0' | b'\0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'S' => return Err("sparse files are not supported".to_owned()),
        other => return Err(format!("unsupported entry type {:?}", char::from(other))),
    };
    if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
        entry.device = (device(&header[329..337])?, device(&header[337..345])?);
    }
    // Only files have data; some writers leave a size in the headers of links and directories.
    if entry.kind != Kind::File {
        entry.size = 0;
    }
    Ok(entry)
}

fn apply_records(entry: &mut Entry, records: Records) -> Result<(), String> {
    for (key, value) in records {
        let as_number = || {
            str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| format!("bad pax record {}", String::from_utf8_lossy(&key)))
        };
        let as_id = || as_number().and_then(|id| u32::try_from(id).map_err(|_| format!("owner {id}")));
        match key.as_slice() {
            b"path" => entry.path = value,
            b"linkpath" => entry.link = value,
            b"size" => entry.size = as_number()?,
            b"uid" => entry.uid = as_id()?,
            b"gid" => entry.gid = as_id()?,
            b"mtime" => entry.mtime = parse_time(&value).unwrap_or(entry.mtime),
            key if key.starts_with(b"GNU.sparse.") => return Err("sparse files are not supported".to_owned()),
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    entry.xattrs.push((name.to_vec(), value));
                }
            }
        }
    }
    Ok(())
}

/// Records are `<length> <key>=<value>\n`, the length counting all of it (POSIX pax, extended header).
fn parse_pax(mut data: &[u8]) -> Result<Records, String> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let bad = || "malformed pax records".to_owned();
        let space = data.iter().position(|&byte| byte == b' ').ok_or_else(bad)?;
        let length: usize = str::from_utf8(&data[..space])
            .ok()
            .and_then(|n| n.parse().ok())
            .ok_or_else(bad)?;
        let record = data.get(space + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(bad)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Ok(records)
}

/// `1700000000.123456789`, sign and fraction optional.
fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    // A negative time with a fraction lies before the second it names.
    if text.starts_with('-') && nanos > 0 {
        Some((seconds - 1, 1_000_000_000 - nanos))
    } else {
        Some((seconds, nanos))
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// A numeric field: octal text, or big-endian binary behind a set first bit (GNU).
fn number(field: &[u8]) -> Result<u64, String> {
    if field[0] & 0x80 != 0 {
        let (&first, rest) = field.split_first().expect("numeric fields are not empty");
        if first & 0x40 != 0 {
            return Err("negative number".to_owned());
        }
        return rest.iter().try_fold(u64::from(first & 0x3f), |value, &byte| {
            value
                .checked_mul(256)
                .map(|value| value | u64::from(byte))
                .ok_or_else(|| "number too large".to_owned())
        });
    }
    let text = until_nul(field).trim_ascii();
    text.iter().try_fold(0_u64, |value, &byte| match byte {
        b'0'..=b'7' => value
            .checked_mul(8)
            .map(|value| value | u64::from(byte - b'0'))
            .ok_or("number too large".to_owned()),
        _ => Err(format!("bad number {:?}", String::from_utf8_lossy(text))),
    })
}

/// The sum counts the checksum field as spaces; historic writers summed signed bytes.
fn verify_checksum(block: &[u8; BLOCK]) -> Result<(), String> {
    let expected = i64::try_from(number(&block[148..156])?).unwrap_or(-1);
    let bytes = || block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
    let unsigned: i64 = bytes().map(|&byte| i64::from(byte)).sum();
    let signed: i64 = bytes().map(|&byte| i64::from(byte.cast_signed())).sum();
    if expected == unsigned || expected == signed {
        Ok(())
    } else {
        Err("checksum does not match".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(archive: &[u8]) -> Vec<(String, Kind, u64)> {
        let mut reader = TarReader::new(archive);
        let mut found = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            found.push((String::from_utf8(entry.path).unwrap(), entry.kind, entry.size));
        }
        found
    }

    fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, data: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o4755);
        header.set_uid(u64::from(u32::MAX));
        builder.append_data(&mut header, path, data).unwrap();
    }

    #[test]
    fn entries_and_their_data_come_in_order() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "a", b"first");
        append(&mut builder, &long, &[9; 600]);
        append(&mut builder, "empty", b"");
        let archive = builder.into_inner().unwrap();
        assert_eq!(
            names(&archive),
            [
                ("a".to_owned(), Kind::File, 5),
                (long, Kind::File, 600),
                ("empty".to_owned(), Kind::File, 0)
            ]
        );
        let mut reader = TarReader::new(&archive[..]);
        let entry = reader.next().unwrap().unwrap();
        assert_eq!((entry.mode, entry.uid, entry.offset), (0o4755, u32::MAX, 512));
        let mut data = String::new();
        reader.read_to_string(&mut data).unwrap();
        assert_eq!(data, "first");
    }

    #[test]
    fn pax_records_override_the_header() {
        let mut builder = tar::Builder::new(Vec::new());
        builder
            .append_pax_extensions([
                ("mtime", &b"12.5"[..]),
                ("SCHILY.xattr.security.capability", &b"\x01\n\x02=\n"[..]),
                ("uid", b"70000"),
            ])
            .unwrap();
        append(&mut builder, "x", b"data");
        let archive = builder.into_inner().unwrap();
        let entry = TarReader::new(&archive[..]).next().unwrap().unwrap();
        assert_eq!(entry.mtime, (12, 500_000_000));
        assert_eq!(entry.uid, 70000);
        assert_eq!(
            entry.xattrs,
            [(b"security.capability".to_vec(), b"\x01\n\x02=\n".to_vec())]
        );
    }

    #[test]
    fn damage_is_noticed() {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "a", &[1; 700]);
        let archive = builder.into_inner().unwrap();
        let mut flipped = archive.clone();
        flipped[0] = b'b';
        assert!(matches!(
            TarReader::new(&flipped[..]).next(),
            Err(TarError::Header { .. })
        ));
        let mut reader = TarReader::new(&archive[..800]);
        reader.next().unwrap();
        assert!(reader.next().is_err());
        // Only the padding and the end marker are missing, as umoci leaves them out.
        assert_eq!(names(&archive[..512 + 700]).len(), 1);
        assert!(TarReader::new(&archive[..100]).next().is_err());
    }

    #[test]
    fn oversized_records_are_refused_before_they_are_read() {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 33);
        header.set_cksum();
        assert!(matches!(
            TarReader::new(&header.as_bytes()[..]).next(),
            Err(TarError::Header { .. })
        ));
    }

    #[test]
    fn times_and_numbers() {
        assert_eq!(parse_time(b"1.000000001"), Some((1, 1)));
        assert_eq!(parse_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(parse_time(b"7"), Some((7, 0)));
        assert_eq!(number(b"0000644\0"), Ok(0o644));
        assert_eq!(number(b"   7 \0  "), Ok(7));
        assert_eq!(number(b"\0\0\0\0"), Ok(0));
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0"), Ok(1 << 32));
        assert!(number(b"9").is_err() && number(b"\xff\xff").is_err());
    }
}
