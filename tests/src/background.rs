//! A command that runs beside the test and ends with its value.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long an expected line may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A running command whose output is read line by line.
pub struct Background {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Background {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        // Ends with the output, or when nobody listens any more.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Background {
            stdin: child.stdin.take(),
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// The next line that is as wanted; panics with what came instead.
    pub fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + LIMIT;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
        panic!("the expected line did not come, but: {:#?}", self.seen);
    }

    /// Writes a line to its standard input.
    pub fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("still open");
        writeln!(stdin, "{line}").expect("the command reads");
    }

    /// Closes its standard input and waits for its end: its exit code and the output that nobody asked for yet.
    pub fn finish(mut self) -> (i32, Vec<String>) {
        drop(self.stdin.take());
        let rest = self.lines.iter().collect();
        let status = self.child.wait().expect("a child can be waited for");
        (status.code().unwrap_or(-1), rest)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
