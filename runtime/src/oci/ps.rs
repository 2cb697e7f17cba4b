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
use crate::time;

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

/// The columns of `ps -ef`: ps(1).
fn table(pids: &[i32]) {
    println!(
        "{:<8} {:>7} {:>7} {:>2} {:<5} {:<7} {:>8} CMD",
        "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME"
    );
    // Without either the columns are less telling.
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime
        .split('.')
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(0);
    for pid in pids {
        // Whichever has ended meanwhile is not there any more.
        if let Some(line) = line(*pid, &users, uptime) {
            println!("{line}");
        }
    }
}

/// The name of a user in the text of passwd(5), or his number.
fn name(users: &str, uid: u32) -> String {
    let number = uid.to_string();
    let entry = users.lines().find(|line| line.split(':').nth(2) == Some(&number));
    entry
        .and_then(|line| line.split(':').next())
        .map_or(number.clone(), str::to_owned)
}

/// When something began: the minute if it was today, else the day.
fn began(now: u64, seconds_ago: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (then, today) = (time::text(now.saturating_sub(seconds_ago)), time::text(now));
    if then[..10] == today[..10] {
        return then[11..16].to_owned();
    }
    let month = then[5..7]
        .parse()
        .ok()
        .and_then(|month: usize| MONTHS.get(month.wrapping_sub(1)));
    format!("{}{}", month.unwrap_or(&"?"), &then[8..10])
}

fn line(pid: i32, users: &str, uptime: u64) -> Option<String> {
    let stat = Stat::of(pid)?;
    let user = name(users, fs::metadata(format!("/proc/{pid}")).ok()?.uid());
    let age = uptime.saturating_sub(stat.start_ticks / TICKS_PER_SECOND);
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let mut command: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    if command.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        command.push(format!("[{}]", name.trim_end()));
    }
    let seconds = stat.ticks / TICKS_PER_SECOND;
    Some(format!(
        "{user:<8} {pid:>7} {:>7} {:>2} {:<5} {:<7} {:02}:{:02}:{:02} {}",
        stat.parent,
        (stat.ticks * 100 / TICKS_PER_SECOND / age.max(1)).min(99),
        began(time::now_seconds(), age),
        terminal(stat.terminal),
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
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
    fn beginnings_and_users() {
        // 2026-01-02T15:04:05Z.
        let now = 1_767_366_245;
        assert_eq!(began(now, 60), "15:03");
        assert_eq!(began(now, 86_400), "Jan01");
        assert_eq!(began(now, 3 * 86_400), "Dec30");
        let users = "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/false\n";
        assert_eq!([name(users, 33), name(users, 3)], ["web", "3"]);
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(34816), "pts/0");
        assert_eq!(terminal(34823), "pts/7");
        assert_eq!(terminal(1025), "tty1");
    }
}
