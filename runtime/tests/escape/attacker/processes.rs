//! Other processes that can be seen: the runtime on its way into a container is one for a moment.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, fstatvfs};

/// The pids in this procfs.
fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("there is a procfs").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn until(seconds: f64, mut step: impl FnMut()) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    println!("ready");
    while Instant::now() < end {
        step();
    }
}

/// Takes hold of every program that any process executes, and says which of them could be written to (CVE-2019-5736).
pub fn executables(seconds: f64) {
    let own = fs::metadata("/proc/self/exe").expect("there is a procfs");
    let mut seen = BTreeSet::new();
    until(seconds, || {
        for pid in pids() {
            let Ok(program) = File::open(format!("/proc/{pid}/exe")) else {
                continue;
            };
            let Ok(metadata) = program.metadata() else { continue };
            use std::os::unix::fs::MetadataExt;
            let name = (metadata.dev(), metadata.ino());
            if name == (own.dev(), own.ino()) || !seen.insert(name) {
                continue;
            }
            let path = fs::read_link(format!("/proc/self/fd/{}", program.as_raw_fd())).unwrap_or_default();
            let read_only = fstatvfs(&program).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY));
            // Not while it is executed, but from the moment it is not: nothing is written.
            let opened = File::options()
                .write(true)
                .open(format!("/proc/self/fd/{}", program.as_raw_fd()));
            let busy = opened
                .as_ref()
                .is_err_and(|error| error.raw_os_error() == Some(libc::ETXTBSY));
            let writable = opened.is_ok() || busy && !read_only;
            println!("{} {}", if writable { "writable" } else { "sealed" }, path.display());
        }
    });
}

/// Looks into the memory of every process that is not executing a program of the container's.
pub fn peek(seconds: f64) {
    let own = fs::read_link("/proc/self/exe").expect("there is a procfs");
    until(seconds, || {
        for pid in pids().filter(|pid| *pid != 1) {
            let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else {
                continue;
            };
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            // Looked at after the memory was opened: the descriptor is of this or an earlier program.
            if program != own && !program.as_os_str().is_empty() {
                println!("memory {pid} {}", program.display());
            }
            drop(memory);
        }
    });
}

/// Keeps so many processes alive, each for a short time only, so that pids are used again soon. Says when one of them
/// was ended by a signal that is not its maker's.
pub fn churn(seconds: f64, width: usize) {
    let mut alive = VecDeque::new();
    until(seconds, || {
        // SAFETY: this process has one thread; the child does nothing but wait.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            },
            pid if pid > 0 => alive.push_back(pid),
            _ => {}
        }
        while alive.len() > width {
            let (pid, mut status) = (alive.pop_front().unwrap_or_default(), 0);
            // SAFETY: ends a child that is not reaped yet, waits for it, and stores its status.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, &raw mut status, 0);
            }
            if libc::WTERMSIG(status) != libc::SIGKILL {
                println!("signalled {}", libc::WTERMSIG(status));
            }
        }
    });
    for pid in alive {
        // SAFETY: plain numbers; the children are not reaped yet.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}
