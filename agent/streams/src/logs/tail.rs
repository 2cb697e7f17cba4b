//! Finds where the last lines start, reading from the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::files::LogFile;
use super::record::Record;

const BLOCK: u64 = 64 * 1024;
/// Enough for a record up to its tags.
const HEAD: usize = 96;

/// Where the last `lines` lines of the chain start: index of the file, and offset in it.
pub(super) fn start(files: &[&LogFile], lines: u64) -> io::Result<(usize, u64)> {
    let mut counter = Counter {
        wanted: lines,
        found: 0,
        at_end: true,
    };
    for (index, log) in files.iter().enumerate().rev() {
        if let Some(offset) = counter.search(&log.file)? {
            return Ok((index, offset));
        }
    }
    Ok((0, 0))
}

struct Counter {
    wanted: u64,
    /// Lines that start behind the current place.
    found: u64,
    /// Nothing was seen yet.
    at_end: bool,
}

impl Counter {
    /// Walks through a file's lines from the last to the first. Returns the end of the line that is one too many.
    fn search(&mut self, file: &File) -> io::Result<Option<u64>> {
        let size = file.metadata()?.len();
        if self.wanted == 0 {
            return Ok(Some(size));
        }
        let mut block = Vec::new();
        // `line_end` is behind the line that is being looked for, `block_start` where the block in memory starts.
        let (mut line_end, mut block_start) = (size, size);
        // The end of the line's own `\n` does not count.
        let mut search_end = size.saturating_sub(1);
        while line_end > 0 {
            let start = loop {
                let from = usize::try_from(search_end.saturating_sub(block_start))
                    .unwrap_or(usize::MAX)
                    .min(block.len());
                if let Some(newline) = block[..from].iter().rposition(|&byte| byte == b'\n') {
                    break block_start + newline as u64 + 1;
                }
                if block_start == 0 {
                    break 0;
                }
                search_end = search_end.min(block_start);
                let next = block_start.saturating_sub(BLOCK);
                block = read(file, next, block_start)?;
                block_start = next;
            };
            if self.is_too_many(&head(file, &block, block_start, start, line_end)?) {
                return Ok(Some(line_end));
            }
            line_end = start;
            search_end = start.saturating_sub(1);
        }
        Ok(None)
    }

    /// Takes a physical line into account. Parts belong to the line that ends behind them; at the very end they make
    /// a line of their own.
    fn is_too_many(&mut self, head: &[u8]) -> bool {
        let Some(record) = Record::parse(head) else {
            return false;
        };
        let is_last = std::mem::replace(&mut self.at_end, false);
        if record.partial && !is_last {
            return false;
        }
        self.found += 1;
        self.found > self.wanted
    }
}

/// The beginning of the line from `start` to `end`.
fn head(file: &File, block: &[u8], block_start: u64, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let end = end.min(start + HEAD as u64);
    let offset = |at: u64| usize::try_from(at - block_start).ok();
    let line = match (offset(start), offset(end)) {
        (Some(from), Some(to)) if to <= block.len() => block[from..to].to_vec(),
        _ => read(file, start, end)?,
    };
    Ok(line.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(line))
}

fn read(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
