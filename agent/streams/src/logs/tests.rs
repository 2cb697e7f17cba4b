use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::node::LogSource;

/// A log being written.
struct Log {
    dir: PathBuf,
    finished: watch::Sender<bool>,
}

impl Log {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("barepod-streams-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self {
            dir,
            finished: watch::Sender::new(false),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("0.log")
    }

    fn source(&self) -> LogSource {
        LogSource {
            path: self.path(),
            finished: self.finished.subscribe(),
        }
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn lines(&self, range: std::ops::Range<u32>) {
        self.append(
            &range
                .map(|n| format!("2026-01-01T00:00:00.{n:09}Z stdout F line {n}\n"))
                .collect::<String>(),
        );
    }

    fn rotate(&self, kept: u32) {
        let numbered = |n: u32| {
            self.dir.join(if n == 0 {
                "0.log".to_owned()
            } else {
                format!("0.log.{n}")
            })
        };
        let _ = fs::remove_file(numbered(kept));
        for n in (0..kept).rev() {
            let _ = fs::rename(numbered(n), numbered(n + 1));
        }
        File::create_new(self.path()).unwrap();
    }

    async fn read(&self, options: LogOptions) -> String {
        let mut follower = self.follow(options).await;
        follower.rest().await
    }

    async fn follow(&self, options: LogOptions) -> Follower {
        let (sender, chunks) = mpsc::channel(1);
        tokio::spawn(send(self.source(), options, sender).await.unwrap());
        Follower {
            chunks,
            seen: String::new(),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

struct Follower {
    chunks: mpsc::Receiver<std::io::Result<Bytes>>,
    seen: String,
}

impl Follower {
    async fn until(&mut self, end: &str) {
        let wait = async {
            while !self.seen.ends_with(end) {
                let chunk = self.chunks.recv().await.expect("the log ended early").unwrap();
                self.seen.push_str(str::from_utf8(&chunk).unwrap());
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(10), wait).await;
        found.unwrap_or_else(|_| panic!("waited for {end:?}, saw {:?}", self.seen));
    }

    async fn rest(&mut self) -> String {
        let wait = async {
            while let Some(chunk) = self.chunks.recv().await {
                self.seen.push_str(str::from_utf8(&chunk.unwrap()).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .expect("the log does not end");
        std::mem::take(&mut self.seen)
    }
}

fn numbers(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("line {n}\n")).collect()
}

fn tail(lines: u64) -> LogOptions {
    LogOptions {
        tail_lines: Some(lines),
        ..LogOptions::default()
    }
}

fn follow() -> LogOptions {
    LogOptions {
        follow: true,
        ..LogOptions::default()
    }
}

#[tokio::test]
async fn everything_or_the_last_lines() {
    let log = Log::new();
    assert_eq!(log.read(LogOptions::default()).await, "");
    assert_eq!(log.read(tail(5)).await, "");
    log.lines(0..10_000);
    assert_eq!(log.read(LogOptions::default()).await, numbers(0..10_000));
    for lines in [0, 1, 2, 17, 4000, 9_999, 10_000, 20_000] {
        let first = 10_000_u32.saturating_sub(u32::try_from(lines).unwrap());
        assert_eq!(log.read(tail(lines)).await, numbers(first..10_000), "{lines}");
    }
}

#[tokio::test]
async fn the_tail_reaches_into_rotated_files() {
    let log = Log::new();
    for part in 0..4 {
        log.lines(part * 10..part * 10 + 10);
        if part < 3 {
            log.rotate(5);
        }
    }
    assert_eq!(log.read(LogOptions::default()).await, numbers(0..40));
    for lines in [1, 9, 10, 11, 20, 35, 40, 41] {
        let first = 40_u32.saturating_sub(u32::try_from(lines).unwrap());
        assert_eq!(log.read(tail(lines)).await, numbers(first..40), "{lines}");
    }
}

#[tokio::test]
async fn the_tail_counts_whole_lines() {
    let log = Log::new();
    let long = "x".repeat(70_000);
    log.append("t stdout F one\nt stdout P two \nt stdout P and \nt stdout F half\n");
    log.append(&format!(
        "t stderr P {long}\nt stderr F {long}\nt stdout P open \nt stdout P end\n"
    ));
    assert_eq!(log.read(tail(1)).await, "open end");
    assert_eq!(log.read(tail(2)).await, format!("{long}{long}\nopen end"));
    assert_eq!(log.read(tail(3)).await, format!("two and half\n{long}{long}\nopen end"));
    assert_eq!(
        log.read(tail(4)).await,
        format!("one\ntwo and half\n{long}{long}\nopen end")
    );
}

#[tokio::test]
async fn since_timestamps_and_limit() {
    let log = Log::new();
    log.lines(0..5);
    let since = Some("2026-01-01T00:00:00.000000003Z".parse().unwrap());
    let options = LogOptions {
        since,
        timestamps: true,
        limit_bytes: Some(50),
        ..LogOptions::default()
    };
    let stamped = "2026-01-01T00:00:00.000000003Z line 3\n2026-01-01T00:00:00.000000004Z line 4\n";
    assert_eq!(log.read(options).await, stamped[..50]);
}

#[tokio::test]
async fn following_ends_with_the_container() {
    let log = Log::new();
    // The file does not even exist yet.
    let mut follower = log.follow(follow()).await;
    log.lines(0..3);
    follower.until("line 2\n").await;
    log.append("t stdout P prompt> ");
    log.append("\n");
    follower.until("prompt> ").await;
    log.append("t stdout F yes\nt stdout F cut off");
    log.finished.send_replace(true);
    assert_eq!(follower.rest().await, "line 0\nline 1\nline 2\nprompt> yes\ncut off\n");
}

#[tokio::test]
async fn following_starts_at_the_tail() {
    let log = Log::new();
    log.lines(0..100);
    let mut none = log
        .follow(LogOptions {
            follow: true,
            ..tail(0)
        })
        .await;
    let mut two = log
        .follow(LogOptions {
            follow: true,
            ..tail(2)
        })
        .await;
    two.until("line 99\n").await;
    log.lines(100..101);
    log.finished.send_replace(true);
    assert_eq!(none.rest().await, "line 100\n");
    assert_eq!(two.rest().await, numbers(98..101));
}

#[tokio::test]
async fn following_survives_rotation() {
    let log = Log::new();
    log.lines(0..10);
    let mut follower = log.follow(follow()).await;
    follower.until("line 9\n").await;
    log.lines(10..20);
    log.rotate(3);
    log.lines(20..30);
    follower.until("line 29\n").await;
    // Faster than anybody reads: two rotations at once, and lines in each file.
    log.lines(30..40);
    log.rotate(3);
    log.lines(40..50);
    log.rotate(3);
    log.lines(50..60);
    follower.until("line 59\n").await;
    log.finished.send_replace(true);
    assert_eq!(follower.rest().await, numbers(0..60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_lost_while_the_log_rotates_under_load() {
    let log = Log::new();
    log.lines(0..1);
    let mut follower = log.follow(follow()).await;
    let path = log.path();
    let writer = std::thread::spawn({
        let log = Log {
            dir: log.dir.clone(),
            finished: watch::Sender::new(false),
        };
        move || {
            for n in 1..5000 {
                log.lines(n..n + 1);
                if n % 50 == 0 {
                    log.rotate(1000);
                }
            }
            std::mem::forget(log);
        }
    });
    follower.until("line 4999\n").await;
    writer.join().unwrap();
    log.finished.send_replace(true);
    assert_eq!(follower.rest().await, numbers(0..5000));
    assert!(Path::new(&path).exists());
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_work() {
    let log = Log::new();
    log.lines(0..10);
    let (sender, mut chunks) = mpsc::channel(1);
    let task = tokio::spawn(send(log.source(), follow(), sender).await.unwrap());
    chunks.recv().await.unwrap().unwrap();
    drop(chunks);
    tokio::time::timeout(Duration::from_secs(10), task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_agent_that_forgets_the_container_ends_the_work() {
    let log = Log::new();
    log.lines(0..2);
    let (sender, chunks) = mpsc::channel(1);
    let (forgotten, finished) = watch::channel(false);
    let source = LogSource {
        path: log.path(),
        finished,
    };
    tokio::spawn(send(source, follow(), sender).await.unwrap());
    let mut follower = Follower {
        chunks,
        seen: String::new(),
    };
    follower.until("line 1\n").await;
    drop(forgotten);
    assert_eq!(follower.rest().await, numbers(0..2));
}
