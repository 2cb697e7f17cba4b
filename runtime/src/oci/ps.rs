//! `ps`: the processes of a container.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::arguments::{Arguments, Order};
use super::global::Global;
use super::state::Directory;
use crate::cgroup;
use crate::error::{During, Error, Result};
use crate::procfs::Stat;

/// Prints them, as pids of the caller's PID namespace; what follows the id is for the machine's ps(1).
pub fn ps(global: &Global, arguments: Vec<String>) -> Result<i32> {
    // The format may stand behind the id as well; ps(1) has no such option.
    let options = [("format", Some('f'), true)];
    let mut given = Arguments::parse(arguments, &options, Order::First)?;
    let positional = given.positional();
    let Some((id, rest)) = positional.split_first() else {
        return Err(Error::Invalid("a container's id is needed".to_owned()));
    };
    let (late, rest) = match rest {
        [format, value, rest @ ..] if format == "--format" || format == "-format" => (Some(value.clone()), rest),
        [format, rest @ ..] if format.starts_with("--format=") => (Some(format["--format=".len()..].to_owned()), rest),
        rest => (None, rest),
    };
    let stored = Directory::new(global, id)?.read()?;
    let dir = &stored.tracker;
    let pids = cgroup::procs(dir).during("list the processes of", dir.display())?;
    match late.as_deref().or(given.value("format")) {
        Some("json") => println!("{pids:?}"),
        Some("table") | None if rest.is_empty() => table(&pids),
        Some("table") | None => print!("{}", of_the_machine(&pids, rest)?),
        Some(other) => {
            return Err(Error::Invalid(format!(
                "there is no format {other}: table and json are"
            )));
        }
    }
    Ok(0)
}

/// The columns of `ps -ef` that need no look at the machine's users.
fn table(pids: &[i32]) {
    println!("{:<8} {:>7} {:>7} {:<7} {:>8} CMD", "UID", "PID", "PPID", "TTY", "TIME");
    for pid in pids {
        // Whichever has ended meanwhile is not there any more.
        if let Some(line) = line(*pid) {
            println!("{line}");
        }
    }
}

fn line(pid: i32) -> Option<String> {
    let stat = Stat::of(pid)?;
    let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let mut command: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    if command.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        command.push(format!("[{}]", name.trim_end()));
    }
    let seconds = stat.ticks / TICKS_PER_SECOND;
    Some(format!(
        "{uid:<8} {pid:>7} {:>7} {:<7} {:>8} {}",
        stat.parent,
        terminal(stat.terminal),
        format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        command.join(" ")
    ))
}

/// `USER_HZ`, which is the same on every architecture this is built for.
const TICKS_PER_SECOND: u64 = 100;

/// The device number of proc_pid_stat(5), in the words of ps(1).
fn terminal(number: i32) -> String {
    let number = number.cast_unsigned();
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", minor + ((major - 136) << 8)),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

/// What the machine's ps(1) says, less the processes that are not the container's.
fn of_the_machine(pids: &[i32], options: &[String]) -> Result<String> {
    let output = Command::new("ps").args(options).output();
    let output = output.during("run", "ps, which --format table with options needs")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Invalid(format!("ps: {}", said.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let at = title.split_whitespace().position(|column| column == "PID");
    let at = at.ok_or_else(|| Error::Invalid("ps is to show the column PID".to_owned()))?;
    let wanted = |line: &&str| {
        let pid = line.split_whitespace().nth(at).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(title)
        .chain(lines.filter(wanted))
        .map(|line| format!("{line}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(34816), "pts/0");
        assert_eq!(terminal(34823), "pts/7");
        assert_eq!(terminal(1025), "tty1");
    }
}
