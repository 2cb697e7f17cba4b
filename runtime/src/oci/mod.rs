//! The OCI runtime command line over the same code as the monitor: a container from a bundle, without a pod.
//!
//! A container is a directory below `--root` with what is needed to find it again, and a process. Nothing else runs for
//! it: `create` leaves the process waiting at a socket, to which `start` connects.

mod arguments;
mod create;
mod delete;
mod exec;
mod information;
mod kill;
mod list;
mod start;
mod state;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use crate::error::{Error, Result, chain};
use crate::time;
use arguments::Arguments;

/// What holds for every command.
#[derive(Debug)]
struct Global {
    /// Where containers are kept.
    root: PathBuf,
    /// Where an error is written as well.
    log: Option<PathBuf>,
    /// As JSON.
    log_json: bool,
}

const USAGE: &str = "\
usage: barepod-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND

  create [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] ID
  start ID
  run [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] [--detach] ID
  state ID
  exec [--process FILE] [--cwd DIR] [--env NAME=VALUE] [--user UID[:GID]] [--tty] [--detach] [--pid-file FILE]
       [--console-socket SOCKET] ID COMMAND...
  kill [--all] ID [SIGNAL]
  delete [--force] ID
  list [--quiet] [--format table|json]
  spec [--bundle DIR]
  features
  monitor < sandbox.json
";

/// Runs a command; returns the exit code.
#[must_use]
pub fn main(arguments: Vec<String>) -> i32 {
    let mut global = Global {
        root: PathBuf::from("/run/barepod-runtime"),
        log: None,
        log_json: false,
    };
    match run(arguments, &mut global) {
        Ok(code) => code,
        Err(error) => {
            let message = chain(&error);
            eprintln!("barepod-runtime: {message}");
            global.log(&message);
            1
        }
    }
}

fn run(arguments: Vec<String>, global: &mut Global) -> Result<i32> {
    let options = [
        ("root", None, true),
        ("log", None, true),
        ("log-format", None, true),
        ("debug", None, false),
    ];
    let more = [
        ("help", Some('h'), false),
        ("version", Some('v'), false),
        ("systemd-cgroup", None, false),
    ];
    let mut given = Arguments::parse(arguments, &[&options[..], &more[..]].concat())?;
    if let Some(root) = given.value("root") {
        global.root = PathBuf::from(root);
    }
    global.log = given.value("log").map(PathBuf::from);
    global.log_json = given.value("log-format").as_deref() == Some("json");
    if given.has("systemd-cgroup") {
        return Err(Error::Invalid("cgroups made by systemd are not supported".to_owned()));
    }
    if given.has("version") {
        println!(
            "barepod-runtime version {}\nspec: {}",
            env!("CARGO_PKG_VERSION"),
            state::OCI_VERSION
        );
        return Ok(0);
    }
    let rest = given.positional();
    let Some((command, rest)) = rest.split_first().filter(|_| !given.has("help")) else {
        print!("{USAGE}");
        return Ok(0);
    };
    let rest = rest.to_vec();
    match command.as_str() {
        "create" => create::create(global, rest),
        "run" => create::run(global, rest),
        "start" => start::start(global, rest),
        "state" => state::print(global, rest),
        "exec" => exec::exec(global, rest),
        "kill" => kill::kill(global, rest),
        "delete" => delete::delete(global, rest),
        "list" => list::list(global, rest),
        "spec" => information::spec(rest),
        "features" => information::features(),
        other => Err(Error::Invalid(format!("there is no command {other}\n{USAGE}"))),
    }
}

impl Global {
    /// Writes an error where the caller looks for it.
    fn log(&self, message: &str) {
        let Some(path) = &self.log else { return };
        let line = if self.log_json {
            json!({ "level": "error", "msg": message, "time": time::now_text() }).to_string()
        } else {
            format!("time=\"{}\" level=error msg={message:?}", time::now_text())
        };
        if let Ok(mut file) = File::options().append(true).create(true).open(path) {
            // The message is on standard error already.
            let _ = writeln!(file, "{line}");
        }
    }
}
