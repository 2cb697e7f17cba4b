//! Turns records into what the client sees: whole lines, filtered, with or without times.

use jiff::Timestamp;

use super::options::LogOptions;
use super::record::{Record, Stream};

/// Records of the other stream that are held back while a line is open.
const MAX_HELD: usize = 256 * 1024;

/// Joins parts of lines.
///
/// A part is passed on at once, since its rest may take long (a prompt has none at all). If the other stream writes
/// meanwhile, its records are held back until the line is complete; they break into it only when nothing more can be
/// read for now, or too many are held.
pub(super) struct Joiner {
    options: LogOptions,
    /// The stream whose line is open in the output.
    open: Option<Stream>,
    held: Vec<Held>,
    held_bytes: usize,
    output: Vec<u8>,
    /// Bytes that may still be passed on.
    left: u64,
}

struct Held {
    timestamp: String,
    stream: Stream,
    partial: bool,
    content: Vec<u8>,
}

impl Joiner {
    pub(super) fn new(options: LogOptions) -> Self {
        let left = options.limit_bytes.unwrap_or(u64::MAX);
        Self {
            options,
            open: None,
            held: Vec::new(),
            held_bytes: 0,
            output: Vec::new(),
            left,
        }
    }

    /// Takes a physical line.
    pub(super) fn line(&mut self, line: &[u8]) {
        // Not in the format: a write that was cut off by a full disk or a crash.
        let Some(record) = Record::parse(line) else { return };
        if let Some(since) = self.options.since
            && record.timestamp.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return;
        }
        match self.open {
            Some(open) if open != record.stream => self.hold(&record),
            _ => self.write(&record),
        }
    }

    /// Nothing more can be read for now.
    pub(super) fn pause(&mut self) {
        if !self.held.is_empty() {
            self.break_line();
        }
    }

    /// What has come together.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut output = std::mem::take(&mut self.output);
        let length = output.len() as u64;
        if length > self.left {
            output.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left = self.left.saturating_sub(length);
        output
    }

    /// How much has come together.
    pub(super) fn len(&self) -> usize {
        self.output.len()
    }

    /// Whether everything the client wants has been passed on.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    fn write(&mut self, record: &Record<'_>) {
        if self.options.timestamps && self.open.is_none() {
            self.output.extend(record.timestamp.as_bytes());
            self.output.push(b' ');
        }
        self.output.extend(record.content);
        if record.partial {
            self.open = Some(record.stream);
        } else {
            self.output.push(b'\n');
            self.open = None;
            self.release();
        }
    }

    fn hold(&mut self, record: &Record<'_>) {
        self.held_bytes += record.content.len() + record.timestamp.len();
        self.held.push(Held {
            timestamp: record.timestamp.to_owned(),
            stream: record.stream,
            partial: record.partial,
            content: record.content.to_vec(),
        });
        if self.held_bytes > MAX_HELD {
            self.break_line();
        }
    }

    /// Ends the open line where it is.
    fn break_line(&mut self) {
        if self.open.take().is_some() {
            self.output.push(b'\n');
        }
        self.release();
    }

    /// Writes what was held back. All of it is of one stream, so a part at its end just opens a line again.
    fn release(&mut self) {
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held) {
            let Held {
                timestamp,
                stream,
                partial,
                content,
            } = &held;
            self.write(&Record {
                timestamp,
                stream: *stream,
                partial: *partial,
                content,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(options: &LogOptions, lines: &[&str]) -> String {
        let mut joiner = Joiner::new(options.clone());
        lines.iter().for_each(|line| joiner.line(line.as_bytes()));
        joiner.pause();
        String::from_utf8(joiner.take()).unwrap()
    }

    #[test]
    fn parts_make_lines() {
        let lines = [
            "1 stdout P ab",
            "2 stdout P cd",
            "3 stdout F ef",
            "4 stderr F x",
            "garbage",
            "5 stdout P $ ",
        ];
        assert_eq!(joined(&LogOptions::default(), &lines), "abcdef\nx\n$ ");
        let options = LogOptions {
            timestamps: true,
            ..LogOptions::default()
        };
        assert_eq!(joined(&options, &lines), "1 abcdef\n4 x\n5 $ ");
    }

    #[test]
    fn streams_do_not_mix_within_a_line() {
        let lines = [
            "1 stdout P a",
            "2 stderr P x",
            "3 stdout P b",
            "4 stderr F y",
            "5 stderr P z",
            "6 stdout F c",
            "7 stdout F d",
        ];
        // The line that is open at the end gives way, so that nothing is kept from the client.
        assert_eq!(joined(&LogOptions::default(), &lines), "abc\nxy\nz\nd\n");
    }

    #[test]
    fn an_endless_line_does_not_hold_everything_up() {
        let mut joiner = Joiner::new(LogOptions::default());
        joiner.line(b"1 stdout P progress");
        let line = format!("2 stderr F {}", "x".repeat(1000));
        (0..1000).for_each(|_| joiner.line(line.as_bytes()));
        assert!(joiner.held_bytes <= MAX_HELD && joiner.len() > 700_000);
    }

    #[test]
    fn since_and_limit() {
        let since = Some("2026-01-01T00:00:02Z".parse().unwrap());
        let lines = [
            "2026-01-01T00:00:01.999999999Z stdout F old",
            "2026-01-01T01:00:02.000000000+01:00 stdout F new",
        ];
        assert_eq!(
            joined(
                &LogOptions {
                    since,
                    ..LogOptions::default()
                },
                &lines
            ),
            "new\n"
        );
        let options = LogOptions {
            limit_bytes: Some(5),
            ..LogOptions::default()
        };
        assert_eq!(joined(&options, &["t stdout F abc", "t stdout F def"]), "abc\nd");
    }
}
