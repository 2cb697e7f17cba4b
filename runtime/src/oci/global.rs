//! What holds for every command.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;

use super::arguments::{Arguments, Known, Order};
use crate::error::{Error, Result};
use crate::time;

/// Where containers are kept when nobody says.
const ROOT: &str = "/run/barepod-runtime";

/// The options before a command.
#[derive(Debug)]
pub struct Global {
    /// Where containers are kept.
    pub root: PathBuf,
    /// Cgroups are systemd's scopes.
    pub systemd_cgroup: bool,
    /// The exit code when something goes wrong.
    pub failure: i32,
    /// Where an error is written as well.
    log: Option<PathBuf>,
    /// As JSON.
    log_json: bool,
    /// With what is done, not only with what goes wrong.
    debug: bool,
}

/// `rootless`, `criu`, `log-level` and `cgroup-manager` are passed by some engines to whatever runtime they have.
const OPTIONS: [Known; 11] = [
    ("root", None, true),
    ("log", None, true),
    ("log-format", None, true),
    ("log-level", None, true),
    ("debug", None, false),
    ("systemd-cgroup", Some('s'), false),
    ("cgroup-manager", None, true),
    ("rootless", None, true),
    ("criu", None, true),
    ("help", Some('h'), false),
    ("version", Some('v'), false),
];

impl Default for Global {
    fn default() -> Self {
        Self {
            root: PathBuf::from(ROOT),
            systemd_cgroup: false,
            failure: 1,
            log: None,
            log_json: false,
            debug: false,
        }
    }
}

impl Global {
    /// Reads the options and leaves the command with its own.
    ///
    /// # Errors
    /// An option is none, or its value is not to be had.
    pub fn read(&mut self, arguments: Vec<String>) -> Result<Arguments> {
        let given = Arguments::parse(arguments, &OPTIONS, Order::First)?;
        if let Some(root) = given.value("root").filter(|root| !root.is_empty()) {
            self.root = PathBuf::from(root);
        }
        // Both may be descriptors' paths or empty, as the shims of some engines have them.
        self.log = given.value("log").filter(|log| !log.is_empty()).map(PathBuf::from);
        self.log_json = match given.value("log-format") {
            None | Some("" | "text") => false,
            Some("json") => true,
            Some(other) => {
                return Err(Error::Invalid(format!(
                    "there is no log format {other}: text and json are"
                )));
            }
        };
        self.debug = given.has("debug") || given.value("log-level") == Some("debug");
        self.systemd_cgroup = match given.value("cgroup-manager") {
            None | Some("cgroupfs") => given.has("systemd-cgroup"),
            Some("systemd") => true,
            Some(other) => {
                return Err(Error::Invalid(format!(
                    "there is no cgroup manager {other}: cgroupfs and systemd are"
                )));
            }
        };
        Ok(given)
    }

    /// Writes a line where the caller looks for it, which for what is done is standard error if no file is named, in the form in which engines read it: the last line of level
    /// `error` is what they tell their users.
    pub fn log(&self, level: &str, message: &str) {
        let wanted = self.debug || matches!(level, "error" | "warning");
        // Of an error or a warning the caller hears on standard error anyway, in words without a form.
        if !wanted || self.log.is_none() && level != "debug" {
            return;
        }
        let line = if self.log_json {
            json!({ "level": level, "msg": message, "time": time::now_text() }).to_string()
        } else {
            format!("time=\"{}\" level={level} msg={message:?}", time::now_text())
        };
        // There is nobody to be told that it cannot be told.
        let _ = match &self.log {
            Some(path) => File::options()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| writeln!(file, "{line}")),
            None => writeln!(io::stderr(), "{line}"),
        };
    }
}

impl Global {
    /// Tells of something that is not as it was asked for, and no error.
    pub fn warn(&self, message: &str) {
        match self.log {
            Some(_) => self.log("warning", message),
            // One write, where `eprintln` makes one of each part.
            None => drop(io::stderr().write_all(format!("barepod-runtime: warning: {message}\n").as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<(Global, Vec<String>)> {
        let mut global = Global::default();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let rest = global.read(words)?.positional();
        Ok((global, rest))
    }

    #[test]
    fn the_options_engines_pass() {
        let (global, rest) = read(&[
            "--root",
            "/r",
            "--log=/l",
            "--log-format",
            "json",
            "--debug",
            "--systemd-cgroup",
            "--rootless=auto",
            "create",
            "--bundle",
            "/b",
            "id",
        ])
        .unwrap();
        assert_eq!(global.root, PathBuf::from("/r"));
        assert!(global.log_json && global.debug && global.systemd_cgroup);
        assert_eq!(rest, ["create", "--bundle", "/b", "id"]);
        assert!(!read(&["--cgroup-manager=cgroupfs"]).unwrap().0.systemd_cgroup);
        assert!(read(&["--log-format", "xml"]).is_err());
    }

    #[test]
    fn the_log_is_what_engines_read() {
        let path = std::env::temp_dir().join(format!("barepodtest-log-{}", std::process::id()));
        let (global, _) = read(&["--log", path.to_str().unwrap(), "--log-format", "json"]).unwrap();
        global.log("debug", "not asked for");
        global.log("error", "a \"reason\"");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], &line["msg"]),
            (&json!("error"), &json!("a \"reason\""))
        );
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
}
