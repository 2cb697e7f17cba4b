//! `events`: what a container uses, and that it was out of memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Serialize;

use super::arguments::{Arguments, Order};
use super::global::Global;
use super::state::Directory;
use super::usage::{self, Usage};
use crate::cgroup::{Cgroup, Layout, Mode};
use crate::error::{During, Error, Result};

#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Usage>,
}

/// Prints one event with `--stats`; else one now and then, and one for each time the memory was not enough, until the
/// container ends.
pub fn events(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let options = [("stats", None, false), ("interval", None, true)];
    let mut given = Arguments::parse(arguments, &options, Order::Anywhere)?;
    let id = given.only("a container's id")?;
    let interval = duration(given.value("interval").unwrap_or("5s"))?;
    let stored = Directory::new(global, &id)?.read()?;
    let Some((process, _)) = stored.process() else {
        return Err(Error::State(format!("container not running: {id} is stopped")));
    };
    let layout = Layout::detect()?;
    let cgroup = Cgroup::new(&layout, &stored.cgroup);
    let stats = || {
        print(&Event {
            kind: "stats",
            id: &id,
            data: Some(usage::read(&cgroup)),
        })
    };
    if given.has("stats") {
        return stats().map(|()| 0);
    }
    let watch = Watch::new(&cgroup)?;
    let mut kills = cgroup.oom_kills();
    let mut next = Instant::now() + interval;
    loop {
        let (ended, told) = wait(&process, &watch, next.saturating_duration_since(Instant::now()))?;
        if told {
            watch.clear();
        }
        // The number tells one from another: the kernel tells of other things in the same way.
        let now = cgroup.oom_kills();
        if now > kills {
            kills = now;
            print(&Event {
                kind: "oom",
                id: &id,
                data: None,
            })?;
        }
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            stats()?;
            next = Instant::now() + interval;
        }
    }
}

fn print(event: &Event<'_>) -> Result<()> {
    let mut line = serde_json::to_vec(event).map_err(|source| Error::Document {
        object: "an event".to_owned(),
        source,
    })?;
    line.push(b'\n');
    io::stdout().write_all(&line).during("write", "an event")
}

/// Waits for the container's end or a word of the kernel's.
fn wait(process: &OwnedFd, watch: &Watch, limit: Duration) -> Result<(bool, bool)> {
    let mut fds = [
        PollFd::new(process.as_fd(), PollFlags::POLLIN),
        PollFd::new(watch.as_fd(), PollFlags::POLLIN),
    ];
    // Rounded up: woken too early, nothing would be due.
    let limit = PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, limit) {
        Err(Errno::EINTR) => {}
        other => drop(other.during("wait for", "an event")?),
    }
    let ready = |fd: &PollFd<'_>| fd.any() == Some(true);
    Ok((ready(&fds[0]), ready(&fds[1])))
}

/// Where the kernel tells that memory was not enough.
#[derive(Debug)]
enum Watch {
    /// v2: a file changes.
    File(Inotify),
    /// v1: a descriptor is written to, as long as the file it was registered with is open.
    Event(EventFd, #[expect(dead_code, reason = "kept open")] File),
}

impl Watch {
    fn new(cgroup: &Cgroup<'_>) -> Result<Self> {
        let dir = cgroup
            .controller("memory")
            .ok_or_else(|| Error::Invalid("the cgroup controller memory is not mounted".to_owned()))?;
        match cgroup.layout().mode {
            Mode::V2 => Self::file(&dir.join("memory.events")),
            Mode::V1 | Mode::Hybrid => Self::event(&dir),
        }
    }

    fn file(path: &Path) -> Result<Self> {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).during("watch", path.display())?;
        watch
            .add_watch(path, AddWatchFlags::IN_MODIFY)
            .during("watch", path.display())?;
        Ok(Self::File(watch))
    }

    /// `cgroup.event_control` takes the two descriptors: memcg_test.rst of the kernel.
    fn event(dir: &Path) -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_flags(flags).during("make", "an event descriptor")?;
        let path = dir.join("memory.oom_control");
        let file = File::open(&path).during("open", path.display())?;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), file.as_raw_fd());
        let control = dir.join("cgroup.event_control");
        std::fs::write(&control, line).during("write", control.display())?;
        Ok(Self::Event(event, file))
    }

    fn clear(&self) {
        match self {
            Self::File(watch) => drop(watch.read_events()),
            Self::Event(event, _) => drop(event.read()),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(watch) => watch.as_fd(),
            Self::Event(event, _) => event.as_fd(),
        }
    }
}

/// A time as Go writes it: `5s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration> {
    let wrong = || Error::Invalid(format!("--interval is a time such as 5s, not {text:?}"));
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit = &rest[end..];
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        total += number
            * match &unit[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                _ => return Err(wrong()),
            };
        rest = &unit[end..];
    }
    let total = Duration::try_from_secs_f64(total).map_err(|_| wrong())?;
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_times() {
        for (text, ms) in [
            ("5s", 5000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "5", "s", "5x", "0s", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
