//! What became of a command.

use std::process::{Command, Output, Stdio};

/// The outcome of a command.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code, -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e}")).into()
    }

    /// [`Ran::of`] with something on its standard input.
    pub fn fed(command: &mut Command, stdin: &str) -> Self {
        use std::io::Write;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut pipe = child.stdin.take().expect("piped");
        let text = stdin.to_owned();
        // A command that answers before it has read everything must not wait for us.
        let feeder = std::thread::spawn(move || pipe.write_all(text.as_bytes()));
        let ran = child.wait_with_output().expect("a child can be waited for").into();
        // One that ends early closes the pipe.
        let _ = feeder.join();
        ran
    }

    /// Exit code 0, as a result that tells the rest.
    pub fn ok(self) -> Result<String, String> {
        if self.code == 0 {
            Ok(self.stdout)
        } else {
            Err(format!("exit {}: {}{}", self.code, self.stdout, self.stderr))
        }
    }

    /// Standard error of a command that must have failed.
    pub fn refused(self) -> String {
        assert!(self.code != 0, "this should have failed: {self:?}");
        self.stderr
    }
}

impl From<Output> for Ran {
    fn from(out: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: out.status.code().unwrap_or(-1),
            stdout: text(&out.stdout),
            stderr: text(&out.stderr),
        }
    }
}
