//! What is to be told of a container that has ended.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use barepod_runtime::protocol::Exit;

use crate::pods::observed::Termination;
use crate::time;

/// Longest termination message, in bytes.
const MESSAGE_BYTES: u64 = 4096;
/// How much of the log stands in for a missing message, in bytes.
const LOG_BYTES: u64 = 2048;
/// How many lines of the log stand in for a missing message.
const LOG_LINES: usize = 80;

/// Where a container's last words may be.
#[derive(Debug, Clone)]
pub struct Words {
    /// The file mounted at `terminationMessagePath`.
    pub file: PathBuf,
    /// Its log, when `terminationMessagePolicy` allows it.
    pub log: Option<PathBuf>,
}

/// How the container ended. Blocking.
pub fn termination(id: &str, exit: &Exit, words: &Words) -> Termination {
    let mut message = tail(&words.file, MESSAGE_BYTES, false).unwrap_or_default();
    if message.is_empty()
        && exit.code != 0
        && let Some(log) = &words.log
    {
        message = log_tail(log);
    }
    let reason = match exit {
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        _ => "Error",
    };
    Termination {
        id: id.to_owned(),
        code: exit.code,
        signal: None,
        reason: reason.into(),
        message,
        started_at: Some(time::parse(&exit.started_at)),
        finished_at: time::parse(&exit.finished_at),
    }
}

/// The end, or the beginning, of a file as text.
fn tail(path: &Path, bytes: u64, from_end: bool) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    if from_end {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    }
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// The last lines of a log in CRI format, without their stamps.
fn log_tail(path: &Path) -> String {
    // Stamps are left out afterwards, so that more than the wanted bytes are read.
    let text = tail(path, LOG_BYTES * 4, true).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let mut kept = Vec::new();
    let mut bytes = 0_u64;
    for line in lines.iter().rev().take(LOG_LINES) {
        bytes += u64::try_from(line.len()).unwrap_or(u64::MAX) + 1;
        if bytes > LOG_BYTES {
            break;
        }
        kept.push(*line);
    }
    kept.reverse();
    if kept.is_empty() {
        String::new()
    } else {
        kept.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::scratch;

    fn exit(code: i32, oom_killed: bool) -> Exit {
        let at = "2026-01-01T00:00:00.5Z".to_owned();
        Exit {
            code,
            signal: None,
            oom_killed,
            started_at: at.clone(),
            finished_at: at,
        }
    }

    #[test]
    fn last_words_come_from_the_file_or_the_log() {
        let dir = scratch("end");
        let (file, log) = (dir.path().join("t"), dir.path().join("l"));
        std::fs::write(&file, "").unwrap();
        std::fs::write(
            &log,
            "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr F two words\n",
        )
        .unwrap();
        let words = Words {
            file: file.clone(),
            log: Some(log),
        };
        assert_eq!(termination("i", &exit(1, false), &words).message, "one\ntwo words\n");
        assert_eq!(termination("i", &exit(0, false), &words).message, "");
        std::fs::write(&file, "bye").unwrap();
        let end = termination("i", &exit(137, true), &words);
        assert_eq!(
            (end.message.as_str(), end.reason.as_str(), end.code),
            ("bye", "OOMKilled", 137)
        );
        let nothing = Words {
            file: dir.path().join("no"),
            log: None,
        };
        assert_eq!(termination("i", &exit(0, false), &nothing).reason, "Completed");
    }
}
