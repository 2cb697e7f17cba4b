//! Taking more than one's share. Each stops by itself at a limit that hurts nobody.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// No bomb goes on for longer.
const FUSE: Duration = Duration::from_secs(5);

/// Sets one off, and says how far it got.
pub fn one(kind: &str, limit: usize) {
    let end = Instant::now() + FUSE;
    let within = |count: &usize| *count < limit && Instant::now() < end;
    let reached = match kind {
        "processes" => count(within, |_| fork()),
        "memory" => {
            let mut held = Vec::new();
            count(within, |_| {
                held.push(vec![1_u8; 1 << 20]);
                println!("reached {}", held.len());
                true
            })
        }
        "files" => {
            let mut held = Vec::new();
            count(within, |_| {
                File::open("/proc/self/stat").is_ok_and(|file| {
                    held.push(file);
                    true
                })
            })
        }
        "watches" => {
            let instance = instance().expect("an instance");
            let watched = count(within, |number| {
                let file = format!("/dev/{number}");
                File::create(&file).is_ok() && instance.add_watch(file.as_str(), AddWatchFlags::IN_MODIFY).is_ok()
            });
            // And for a moment all that root has on the machine.
            drop(
                (0..200)
                    .map_while(|_| Inotify::init(InitFlags::empty()).ok())
                    .collect::<Vec<_>>(),
            );
            watched
        }
        "cgroups" => count(within, |number| {
            fs::create_dir(format!("/sys/fs/cgroup/memory/{number}")).is_ok()
                || fs::create_dir(format!("/sys/fs/cgroup/{number}")).is_ok()
        }),
        "inodes" => count(within, |number| File::create(format!("/dev/{number}")).is_ok()),
        "output" => {
            let line = [b'x'; 1023];
            let mut out = std::io::stdout().lock();
            count(within, |_| {
                out.write_all(&line).and_then(|()| out.write_all(b"\n")).is_ok()
            })
        }
        path => {
            let mut file = File::create(path).expect("a file");
            let block = vec![1; 1 << 20];
            count(within, |_| file.write_all(&block).is_ok())
        }
    };
    println!("\nreached {reached}");
}

/// An instance of inotify; another bomb may have all of them for a moment.
fn instance() -> Option<Inotify> {
    (0..20).find_map(|_| {
        let made = Inotify::init(InitFlags::empty()).ok();
        if made.is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        made
    })
}

fn count(within: impl Fn(&usize) -> bool, mut step: impl FnMut(usize) -> bool) -> usize {
    (0..).take_while(within).take_while(|number| step(*number)).count()
}

/// Makes a process that does nothing for as long as its maker lives.
fn fork() -> bool {
    // SAFETY: this process has one thread; the child waits and exits.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: plain numbers.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::sleep(60);
                libc::_exit(0)
            }
        }
        pid => pid > 0,
    }
}
