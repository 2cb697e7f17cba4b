//! `barepod reset`: everything stopped, and the machine as it was before.
//!
//! Every step runs even if others failed, and the whole can be run again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use barepod_runtime::cgroup::{Cgroup, Layout};
use barepod_runtime::records;
use clap::Args;
use nix::mount::{MntFlags, umount2};

use crate::daemon;
use crate::paths::Paths;

/// Directories that `up` made are listed here, in the order in which they were made.
const CREATED: &str = ".created";

/// Options of `reset`.
#[derive(Debug, Clone, Args)]
pub struct Options {}

/// Runs every step and reports what failed.
pub fn run(paths: &Paths, _options: &Options) -> Result<ExitCode> {
    let mut failed = Vec::new();
    let mut note = |what: &str, done: Result<()>| {
        failed.extend(done.err().map(|error| format!("{what}: {error:#}")));
    };
    // The agent first: it would bring back what is taken down.
    for (name, grace) in [("agent", 10), ("control", 10)] {
        note(
            name,
            daemon::stop(&paths.pid_file(name), Duration::from_secs(grace)).map(drop),
        );
    }
    for record in records::list(&paths.run_dir) {
        for error in records::cleanup(&record) {
            note(&format!("pod {}", record.state.config.name), Err(error.into()));
        }
    }
    // Only where pods have theirs: the directories themselves may be file systems of the user's.
    let pods = [paths.state_dir.join("pods"), paths.state_dir.join("trash")];
    for target in mounts_below(&pods) {
        let done = umount2(&target, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", target.display()));
        note("mounts", done);
    }
    for error in barepod_netplugin::reset(&paths.network(), super::agent::BRIDGE) {
        note("network", Err(error.into()));
    }
    match Layout::detect() {
        Ok(layout) => {
            for error in Cgroup::new(&layout, Path::new(&paths.cgroup_parent)).remove() {
                note("cgroups", Err(error.into()));
            }
        }
        Err(error) => note("cgroups", Err(error.into())),
    }
    // The files only when all else is gone: as long as something is left over, the next reset needs the records.
    if failed.is_empty()
        && let Err(error) = remove_files(paths)
    {
        failed.push(format!("files: {error:#}"));
    }
    for line in &failed {
        eprintln!("barepod reset: {line}");
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("barepod reset: not everything could be removed; it can be run again");
    Ok(ExitCode::FAILURE)
}

/// Notes which directories do not exist yet, so that exactly those go away again.
pub fn remember_created(paths: &Paths) -> Result<()> {
    let list = paths.state_dir.join(CREATED);
    if list.exists() {
        return Ok(());
    }
    let mut missing = Vec::new();
    for dir in [&paths.state_dir, &paths.conf_dir, &paths.run_dir] {
        let mut chain: Vec<&Path> = dir.ancestors().take_while(|d| !d.exists()).collect();
        chain.reverse();
        for dir in chain {
            if !missing.iter().any(|m: &PathBuf| m == dir) {
                missing.push(dir.to_owned());
            }
        }
    }
    fs::create_dir_all(&paths.state_dir).with_context(|| format!("create {}", paths.state_dir.display()))?;
    let text: String = missing.iter().map(|dir| format!("{}\n", dir.display())).collect();
    fs::write(&list, text).with_context(|| format!("write {}", list.display()))
}

/// Our files in directories that were there before, and the directories that were not.
fn remove_files(paths: &Paths) -> Result<()> {
    let created: Vec<PathBuf> = fs::read_to_string(paths.state_dir.join(CREATED))
        .unwrap_or_default()
        .lines()
        .map(PathBuf::from)
        .collect();
    let ours: [(&Path, &[&str]); 3] = [
        (&paths.run_dir, &["pods", "network", "control.pid", "agent.pid"]),
        (&paths.conf_dir, &["pki", "admin.kubeconfig", "agent.kubeconfig"]),
        (
            &paths.state_dir,
            &[
                "store",
                "images",
                "pods",
                "trash",
                "pod-cidr",
                "pod-cidr.tmp",
                "bin",
                "log",
                CREATED,
            ],
        ),
    ];
    for (dir, names) in ours {
        if created.iter().any(|c| c == dir) {
            remove(dir)?;
        } else {
            names.iter().try_for_each(|name| remove(&dir.join(name)))?;
            // Made by us inside a directory that was there; what the user put in it stays.
            let _not_empty = fs::remove_dir(dir.join("manifests"));
        }
    }
    for dir in created.iter().rev() {
        let _not_empty_or_gone = fs::remove_dir(dir);
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let done = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match done {
        // Emptied; a file system of the user's is mounted there.
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).with_context(|| format!("remove {}", path.display())),
        _ => Ok(()),
    }
}

/// Mount points below the directories, the uppermost mount first (proc_pid_mountinfo(5), with its octal escapes).
fn mounts_below(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut below: Vec<PathBuf> = targets
        .filter(|t| dirs.iter().any(|dir| t != dir && t.starts_with(dir)))
        .collect();
    below.reverse();
    below
}

fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let octal = if *first == b'\\' { rest.get(..3) } else { None };
        match octal
            .and_then(|o| std::str::from_utf8(o).ok())
            .and_then(|o| u8::from_str_radix(o, 8).ok())
        {
            Some(byte) => {
                out.push(byte);
                bytes = &rest[3..];
            }
            None => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn mountinfo_escapes() {
        assert_eq!(unescape(r"/a\040b/c\134d").to_str(), Some(r"/a b/c\d"));
    }
}
