//! A container's log in CRI format: `TIME STREAM TAG TEXT`, one line each, where the tag is `F` for a line that the
//! container ended and `P` for a piece of one.
//!
//! Output is written as it comes, nothing is kept back: a prompt without a newline is a `P`, and a monitor that dies
//! takes no output with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{During, Result};
use crate::{broken, time};

/// The longest text in one line, as container engines have it.
const MAX_TEXT: usize = 16 * 1024;

/// What is gathered before it is written.
const BATCH: usize = 32 * 1024;

/// What is kept back, the latest of it, while the disk is full.
const BACKLOG: usize = 64 * 1024;

/// What comes before the text of a line: the time, ` stdout ` or ` stderr `, the tag and a space.
const PREFIX: usize = 40;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Stdout => b" stdout ",
            Self::Stderr => b" stderr ",
        }
    }
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    /// Rotate when it would become larger; 0 for never.
    max_bytes: u64,
    /// How many old files are kept.
    max_files: u32,
    /// Whole lines that are not in the file yet.
    pending: Vec<u8>,
    /// The last try to write failed.
    stuck: bool,
    /// Bytes of output that could not be written.
    dropped: u64,
    /// Of those, the ones the log does not mention yet.
    unmentioned: u64,
}

impl Log {
    /// Opens the log, making it and its directory where they are missing.
    pub fn open(path: &Path, max_bytes: u64, max_files: u32) -> Result<Self> {
        let file = match append(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let dir = path.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(dir).during("make", dir.display())?;
                append(path)
            }
            other => other,
        }
        .during("open the log", path.display())?;
        let size = file.metadata().during("look at", path.display())?.len();
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            size,
            max_bytes,
            max_files,
            pending: Vec::new(),
            stuck: false,
            dropped: 0,
            unmentioned: 0,
        })
    }

    /// Bytes of output that could not be written because there was no space.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether something waits for space.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Writes output. All of it is in the file when this returns, unless the disk is full.
    pub fn write(&mut self, stream: Stream, output: &[u8]) {
        let stamp = time::now();
        for piece in output.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let mut chunks = text.chunks(MAX_TEXT).peekable();
            if chunks.peek().is_none() {
                self.line(&stamp, stream, b"", ended);
            }
            while let Some(chunk) = chunks.next() {
                self.line(&stamp, stream, chunk, ended && chunks.peek().is_none());
            }
        }
        self.flush();
    }

    fn line(&mut self, stamp: &time::Stamp, stream: Stream, text: &[u8], ended: bool) {
        self.pending.extend_from_slice(stamp);
        self.pending.extend_from_slice(stream.name());
        self.pending.extend_from_slice(if ended { b"F " } else { b"P " });
        self.pending.extend_from_slice(text);
        self.pending.push(b'\n');
        let enough = if self.stuck { BACKLOG + BATCH } else { BATCH };
        if self.pending.len() >= enough {
            self.flush();
        }
    }

    /// Writes what is pending, each file up to its limit.
    pub fn flush(&mut self) {
        self.stuck = self.write_pending().is_err();
        if self.stuck {
            self.shed(BACKLOG);
        }
        if self.pending.is_empty() && self.pending.capacity() > 2 * BATCH {
            self.pending = Vec::new();
        }
    }

    /// Writes what is pending for the last time: what there is no space for is lost.
    pub fn finish(&mut self) {
        self.flush();
        self.shed(0);
    }

    fn write_pending(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.mention_loss()?;
        }
        while !self.pending.is_empty() {
            let end = self.end_of_file();
            self.append(&self.pending[..end])?;
            self.size += end as u64;
            self.pending.drain(..end);
            if self.max_bytes > 0 && !broken::lacks("log-limit") && self.size >= self.max_bytes {
                self.rotate();
            }
        }
        Ok(())
    }

    /// How much of what is pending still goes into this file: up to the line that fills it. A file ends with a whole line
    /// of the container's, unless that line is as long as a file.
    fn end_of_file(&self) -> usize {
        let all = self.pending.len();
        if self.max_bytes == 0 || broken::lacks("log-limit") || self.size + (all as u64) < self.max_bytes {
            return all;
        }
        let mut end = 0;
        for line in self.pending.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            let size = self.size + end as u64;
            if size >= self.max_bytes && (is_ended(line) || size >= self.max_bytes.saturating_mul(2)) {
                break;
            }
        }
        end
    }

    /// Drops the oldest pending lines until no more than `keep` bytes are left.
    fn shed(&mut self, keep: usize) {
        let mut end = 0;
        for line in self.pending.split_inclusive(|byte| *byte == b'\n') {
            if self.pending.len() - end <= keep {
                break;
            }
            end += line.len();
            let text = line.len().saturating_sub(PREFIX + 1) + usize::from(is_ended(line));
            self.dropped += text as u64;
            self.unmentioned += text as u64;
        }
        self.pending.drain(..end);
    }

    /// Says in the log itself that something is missing, as soon as there is space to say it.
    fn mention_loss(&mut self) -> io::Result<()> {
        if self.unmentioned == 0 {
            return Ok(());
        }
        let stamp = time::now();
        let line = format!(
            "{} stderr F [{} bytes of output are missing here: no space was left for the log]\n",
            String::from_utf8_lossy(&stamp),
            self.unmentioned
        );
        self.append(line.as_bytes())?;
        self.size += line.len() as u64;
        self.unmentioned = 0;
        Ok(())
    }

    /// Writes all of `bytes` or nothing: what a full disk took of it is cut off again, so that no line is torn.
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match (&self.file).write(&bytes[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if written > 0 {
                        self.file.set_len(self.size)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Renames `log` to `log.1`, that to `log.2` and so on; the oldest goes.
    fn rotate(&mut self) {
        let old = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        // A rename that fails leaves a gap or an old file; the log itself goes on.
        for number in (1..self.max_files).rev() {
            let _ = fs::rename(old(number), old(number + 1));
        }
        let moved = if self.max_files > 0 {
            fs::rename(&self.path, old(1))
        } else {
            fs::remove_file(&self.path)
        };
        // Without a new file the old one is written on, under whatever name it has now.
        if moved.is_ok()
            && let Ok(file) = append(&self.path)
        {
            self.file = file;
            self.size = 0;
        }
    }
}

/// Whether the container ended a line of the log itself.
fn is_ended(line: &[u8]) -> bool {
    line.get(PREFIX - 2) == Some(&b'F')
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("barepodtest-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    /// Stream, tag and text of every line.
    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| line[31..].to_owned()).collect()
    }

    #[test]
    fn lines_and_pieces() {
        let dir = temporary("lines");
        let path = dir.join("c/0.log");
        let mut log = Log::open(&path, 0, 0).unwrap();
        log.write(Stream::Stdout, b"one\ntwo\n\nthr");
        log.write(Stream::Stdout, b"ee\n");
        log.write(Stream::Stderr, b"\n");
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("20") && text.as_bytes()[29] == b'Z' && text.as_bytes()[30] == b' ',
            "{text}"
        );
        let expected = [
            "stdout F one",
            "stdout F two",
            "stdout F ",
            "stdout P thr",
            "stdout F ee",
            "stderr F ",
        ];
        assert_eq!(lines(&path), expected);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn long_lines_are_cut() {
        let dir = temporary("long");
        let path = dir.join("0.log");
        let mut log = Log::open(&path, 0, 0).unwrap();
        let long = [vec![b'x'; 2 * MAX_TEXT], vec![b'y'; 5], vec![b'\n']].concat();
        log.write(Stream::Stdout, &long);
        log.write(Stream::Stdout, &[vec![b'z'; MAX_TEXT], vec![b'\n']].concat());
        let lengths: Vec<(char, usize)> = lines(&path)
            .iter()
            .map(|line| (line.as_bytes()[7].into(), line.len() - 9))
            .collect();
        assert_eq!(lengths, [('P', MAX_TEXT), ('P', MAX_TEXT), ('F', 5), ('F', MAX_TEXT)]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn rotation_keeps_every_line_and_only_so_many_files() {
        let dir = temporary("rotate");
        let path = dir.join("0.log");
        let mut log = Log::open(&path, 200, 2).unwrap();
        for number in 0..20 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        let mut all: Vec<String> = Vec::new();
        for file in ["0.log.2", "0.log.1", "0.log"] {
            all.extend(lines(&dir.join(file)));
        }
        assert!(!dir.join("0.log.3").exists());
        assert_eq!(all.last().map(String::as_str), Some("stdout F line 19"));
        let numbers: Vec<u32> = all.iter().map(|line| line[14..].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert!(fs::metadata(dir.join("0.log.1")).unwrap().len() < 260);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_passes_its_limit_by_no_more_than_a_line() {
        let dir = temporary("limit");
        let path = dir.join("0.log");
        let mut log = Log::open(&path, 5000, 50).unwrap();
        // More at once than a file holds.
        let output: String = (0..2000).map(|number| format!("{number}\n")).collect();
        log.write(Stream::Stdout, output.as_bytes());
        let mut all = Vec::new();
        for number in (1..50).rev().map(|number| format!(".{number}")).chain([String::new()]) {
            let file = dir.join(format!("0.log{number}"));
            assert!(
                fs::metadata(&file).map_or(0, |file| file.len()) < 5000 + 45,
                "{}",
                file.display()
            );
            all.extend(lines(&file));
        }
        let expected: Vec<String> = (0..2000).map(|number| format!("stdout F {number}")).collect();
        assert_eq!(all, expected);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_full_disk_takes_the_oldest_whole_lines_and_says_so() {
        let dir = temporary("full");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("0.log");
        let mut log = Log::open(&path, 0, 0).unwrap();
        log.write(Stream::Stdout, b"before\n");
        let whole = log.file.try_clone().unwrap();
        let full = || OpenOptions::new().append(true).open("/dev/full").unwrap();
        log.file = full();
        log.write(Stream::Stdout, b"kept\n");
        assert!(log.is_stuck());
        assert_eq!(log.dropped(), 0, "there is room to wait");
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        for _ in 0..1000 {
            log.write(Stream::Stdout, &line);
        }
        let dropped = log.dropped();
        assert!(dropped > 900_000 && log.pending.len() <= BACKLOG, "{dropped}");
        log.file = whole;
        log.write(Stream::Stdout, b"after\n");
        assert!(!log.is_stuck());
        let written = lines(&path);
        assert!(
            written[1].contains(&format!("{dropped} bytes of output are missing")),
            "{}",
            written[1]
        );
        let kept = written[2..].iter().map(|line| line.len() as u64 - 9 + 1).sum::<u64>();
        assert_eq!(kept + dropped, 1_000_000 + 5 + 6);
        assert_eq!(written.last().map(String::as_str), Some("stdout F after"));

        log.file = full();
        log.write(Stream::Stderr, b"lost\n");
        log.finish();
        assert_eq!(log.dropped(), dropped + 5);
        fs::remove_dir_all(&dir).unwrap();
    }
}
