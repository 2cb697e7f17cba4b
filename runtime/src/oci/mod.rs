//! The OCI runtime command line over the same code as the monitor: a container from a bundle, without a pod.
//!
//! A container is a directory below `--root` with what is needed to find it again, and a process. Nothing else runs for
//! it: `create` leaves the process waiting at a socket, to which `start` connects. Whoever changes a container holds the
//! lock of its directory meanwhile; whoever only looks does not wait.

mod arguments;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod global;
mod kill;
mod launch;
mod list;
mod namespaces;
mod pause;
mod preserved;
mod process;
mod ps;
mod spec;
mod staged;
mod start;
mod state;
mod terminal;
mod update;
mod usage;
mod wait;

use crate::error::{Error, Result, chain};
use global::Global;

const USAGE: &str = "\
usage: barepod-runtime [--root DIR] [--log FILE] [--log-format text|json] [--debug] [--systemd-cgroup] COMMAND

  create [--bundle DIR] [--config FILE] [--pid-file FILE] [--console-socket SOCKET] [--preserve-fds N] [--no-pivot]
         [--no-new-keyring] ID
  start ID
  run [--detach] [--keep] [as create] ID
  state ID
  exec [--process FILE] [--cwd DIR] [--env NAME=VALUE] [--user UID[:GID]] [--additional-gids GID] [--cap CAPABILITY]
       [--tty] [--detach] [--pid-file FILE] [--console-socket SOCKET] [--preserve-fds N] [--cgroup PATH]
       [--ignore-paused] [--no-new-privs] [--apparmor PROFILE] [--process-label LABEL] ID COMMAND...
  kill [--all] ID [SIGNAL]
  delete [--force] [--regex] ID
  pause ID
  resume ID
  ps [--format table|json] ID [OPTIONS OF PS]
  events [--stats] [--interval TIME] ID
  update [--resources FILE|-] [--memory BYTES] [--memory-swap BYTES] [--memory-reservation BYTES] [--cpu-quota US]
         [--cpu-period US] [--cpu-share N] [--cpu-burst US] [--cpu-idle 0|1] [--cpuset-cpus LIST] [--cpuset-mems LIST]
         [--pids-limit N] [--blkio-weight N] ID
  list [--quiet] [--format table|json]
  spec [--bundle DIR] [--rootless]
  features
  monitor < sandbox.json

Options may stand before and after ID, but not after the COMMAND of an exec.
";

/// Runs a command; returns the exit code.
#[must_use]
pub fn main(arguments: Vec<String>) -> i32 {
    let mut global = Global::default();
    match run(arguments, &mut global) {
        Ok(code) => code,
        Err(error) => {
            let message = chain(&error);
            eprintln!("barepod-runtime: {message}");
            global.log("error", &message);
            global.failure
        }
    }
}

fn run(arguments: Vec<String>, global: &mut Global) -> Result<i32> {
    let mut given = global.read(arguments)?;
    if given.has("version") {
        // In the form that engines take apart: the specification's version on a line of its own.
        println!(
            "barepod-runtime version {}\nspec: {}",
            env!("CARGO_PKG_VERSION"),
            crate::document::OCI_VERSION
        );
        return Ok(0);
    }
    let mut rest = given.positional().into_iter();
    let Some(command) = rest.next().filter(|_| !given.has("help")) else {
        print!("{USAGE}");
        return Ok(0);
    };
    let rest: Vec<String> = rest.collect();
    if let [help] = rest.as_slice()
        && ["--help", "-h"].contains(&help.as_str())
    {
        print!("{USAGE}");
        return Ok(0);
    }
    global.log("debug", &format!("{command} {}", rest.join(" ")));
    match command.as_str() {
        "create" => create::create(global, rest),
        "run" => create::run(global, rest),
        "start" => start::start(global, rest),
        "state" => state::print(global, rest),
        "exec" => {
            // Not what programs usually say.
            global.failure = 255;
            exec::exec(global, rest)
        }
        "kill" => kill::kill(global, rest),
        "delete" => delete::delete(global, rest),
        "pause" => pause::pause(global, rest),
        "resume" => pause::resume(global, rest),
        "ps" => ps::ps(global, rest),
        "events" => events::events(global, rest),
        "update" => update::update(global, rest),
        "list" => list::list(global, rest),
        "spec" => spec::spec(rest),
        "features" => features::print(),
        "help" => {
            print!("{USAGE}");
            Ok(0)
        }
        "checkpoint" | "restore" => Err(Error::Invalid(format!(
            "{command} is not supported: no state of processes is saved or restored"
        ))),
        other => Err(Error::Invalid(format!("there is no command {other}\n{USAGE}"))),
    }
}
