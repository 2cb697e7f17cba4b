//! Files: what is open, what can be read, what can be written.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Every descriptor this process has, and what is in each that is a directory.
pub fn descriptors() {
    let entries = fs::read_dir("/proc/self/fd").expect("there is a procfs").flatten();
    let all: Vec<_> = entries
        .map(|entry| (entry.path(), fs::read_link(entry.path()).unwrap_or_default()))
        .collect();
    // The listing's own is closed again by now.
    for (path, target) in all.iter().filter(|(_, target)| !target.ends_with("fd")) {
        println!(
            "fd {} {}",
            path.file_name().unwrap_or_default().display(),
            target.display()
        );
        list(&path.to_string_lossy());
    }
}

/// The names in a directory.
pub fn list(path: &str) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        println!("entry {path} {}", entry.file_name().display());
    }
}

/// Where links lead.
pub fn links(paths: &[&str]) {
    for path in paths {
        match fs::read_link(path) {
            Ok(target) => println!("link {path} {}", target.display()),
            Err(error) => println!("failed {path} {error}"),
        }
    }
}

/// The beginning of each file that can be read.
pub fn read(paths: &[&str]) {
    for path in paths {
        let mut text = [0; 64];
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(Path::new(path));
        match opened.and_then(|mut file| file.read(&mut text)) {
            Ok(count) => println!("read {path} {:?}", String::from_utf8_lossy(&text[..count])),
            Err(error) => println!("failed {path} {error}"),
        }
    }
}

/// Which files can be opened for writing. Nothing is written.
pub fn open_for_writing(paths: &[&str]) {
    for path in paths {
        match File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(Path::new(path))
        {
            Ok(_) => println!("writable {path}"),
            Err(error) => println!("failed {path} {error}"),
        }
    }
}

/// Exchanges two names as often as possible.
pub fn flip(seconds: f64, one: &str, other: &str) {
    println!("ready");
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        for _ in 0..1000 {
            let exchanged = renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE);
            exchanged.expect("both are there");
        }
    }
}

/// What this process is to the kernel.
pub fn identity() {
    let status = fs::read_to_string("/proc/self/status").expect("there is a procfs");
    let wanted = ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
    status
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
        .for_each(|line| println!("{line}"));
}
