//! Many lives of containers, on the OCI command line and under a monitor, with the runtime dying at every point at
//! which it can: afterwards everything is as it was before.
//!
//! `BAREPOD_SOAK=10000` says how many lives; a few hundred otherwise.

mod support;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use barepod_runtime::fault::POINTS;
use barepod_runtime::protocol::Request;
use barepod_runtime::sys::process::{pidfd_open, pidfd_send_signal};
use serde_json::json;
use support::bundle::Bundle;
use support::snapshot::{Snapshot, alone};
use support::{Pod, budget, check_gone, clean, of_a_pod, process, remove_parent, sandbox, start_monitor};

/// What ends the runtime in the course of a life.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    /// Nothing does.
    None,
    /// A named point.
    At(&'static str),
    /// SIGKILL after so many microseconds.
    After(u64),
}

impl Death {
    /// For the life with this number.
    fn of(number: usize) -> Self {
        match number % 3 {
            0 => Self::At(POINTS[number / 3 % POINTS.len()]),
            1 => Self::After(number as u64 * 7919 % 12_000),
            _ => Self::None,
        }
    }

    fn point(self) -> Option<&'static str> {
        match self {
            Self::At(point) => Some(point),
            Self::None | Self::After(_) => None,
        }
    }
}

/// Whether a life took its course, without anything that failed or died.
type Whole = bool;

/// One life on the command line.
fn command_line(bundle: &Bundle, death: Death) -> Whole {
    let id = bundle.id.as_str();
    let mut whole = true;
    let mut step = |arguments: &[&str], kill: bool| {
        let mut command = bundle.prepare(arguments);
        if let Some(point) = death.point() {
            command.env("BAREPOD_FAULT", point);
        }
        whole &= match death {
            Death::After(microseconds) if kill => kill_after(&mut command, microseconds),
            _ => {
                let output = bundle.run(command);
                let complaint = || String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    output.status.success() || death != Death::None,
                    "{arguments:?}: {}",
                    complaint()
                );
                output.status.success()
            }
        };
    };
    // The random death is the one of a different command each time.
    let victim = match death {
        Death::After(microseconds) => Some(microseconds % 5),
        _ => None,
    };
    let lives: [&[&str]; 5] = [
        &["create", "--bundle", bundle.path(), id],
        &["start", id],
        &["exec", id, "true"],
        &["kill", "--all", id, "KILL"],
        &["delete", "--force", id],
    ];
    for (number, arguments) in (0..).zip(lives) {
        step(arguments, victim == Some(number));
    }
    // Whatever there is of it, this removes it, as often as one likes, and the id is free again.
    bundle.good(&["delete", "--force", id]);
    bundle.good(&["delete", "--force", id]);
    whole
}

/// Runs a command that is killed after a time; whether it had ended well before.
fn kill_after(command: &mut Command, microseconds: u64) -> bool {
    let null = || std::process::Stdio::null();
    let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
    std::thread::sleep(Duration::from_micros(microseconds));
    // It is not reaped yet, so the pid is its own.
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.signal().is_none_or(|signal| signal == libc::SIGKILL), "{status}");
    status.success()
}

/// One life under a monitor.
fn monitored(death: Death) -> Whole {
    let mut config = sandbox("soak");
    // Some sandboxes are there before their pods.
    config.spare = match death {
        Death::At(point) => point.starts_with("claim."),
        Death::After(microseconds) => microseconds % 2 == 0,
        Death::None => true,
    };
    let claimed = of_a_pod(&config);
    let in_cleanup = |point: &&str| point.starts_with("cleanup.");
    let mut whole = false;
    let mut pod = Pod::try_new(&config, death.point().filter(|point| !in_cleanup(point)));
    if let Some(pod) = &mut pod {
        let monitor = pidfd_open(pod.state.monitor_pid);
        let kill = || {
            monitor
                .as_ref()
                .map(|monitor| pidfd_send_signal(monitor.as_fd(), libc::SIGKILL))
        };
        whole = std::thread::scope(|scope| {
            if let Death::After(microseconds) = death {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_micros(microseconds));
                    // Dead already is as good.
                    let _ = kill();
                });
            }
            let claim = Request::Claim {
                config: Box::new(claimed.clone()),
            };
            (!config.spare || pod.try_ask(claim).is_some()) && requests(pod).is_some()
        });
        if death.point().as_ref().is_some_and(in_cleanup) {
            // The next monitor in the same place clears what a dead one left, and dies doing so.
            let _ = kill();
            while pod.receive().is_some() {}
            whole = start_monitor(&config, death.point()).0;
        } else if whole {
            whole = pod.try_ask(Request::Stop).is_some();
        }
    }
    let places = [&config, &claimed];
    places.into_iter().for_each(clean);
    places.into_iter().for_each(check_gone);
    remove_parent(&config);
    drop(pod);
    // Not there any more if there was a pod.
    let _ = std::fs::remove_dir_all(config.dir.parent().unwrap());
    whole
}

/// A container's life in a pod; `None` as soon as something fails or the monitor is gone.
fn requests(pod: &mut Pod) -> Option<()> {
    let (brief, lasting) = (pod.container(&["true"]), pod.container(&["sleep", "1000"]));
    for container in [&brief, &lasting] {
        let config = Some(Box::new(container.clone()));
        pod.try_ask(Request::Create { config, start: true })?;
    }
    let id = || lasting.id.clone();
    pod.try_ask(Request::Exec {
        id: id(),
        exec_id: "e".to_owned(),
        process: Box::new(process(&["true"])),
        tty: false,
        stdio: [false; 3],
        timeout_ms: None,
    })?;
    pod.try_ask(Request::Kill {
        id: id(),
        signal: libc::SIGTERM,
        all: true,
    })?;
    pod.try_ask(Request::Delete { id: id() }).map(drop)
}

#[test]
fn nothing_is_left_behind() {
    if !alone("nothing_is_left_behind") {
        return;
    }
    let lives = budget("BAREPOD_SOAK", 12 * POINTS.len(), 10_000);
    let bundles: Vec<Bundle> = (0..2)
        .map(|worker| {
            Bundle::new(&format!("soak{worker}"), |document| {
                document["process"]["args"] = json!(["sleep", "1000"]);
            })
        })
        .collect();
    // One life first: what it makes once and for all is not left behind.
    assert!(bundles.iter().all(|bundle| command_line(bundle, Death::None)) && monitored(Death::None));
    let before = Snapshot::take();
    let (next, reached, begun) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()), Instant::now());
    std::thread::scope(|scope| {
        for bundle in &bundles {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= lives {
                        break;
                    }
                    let death = Death::of(number / 2);
                    let whole = if number % 2 == 0 {
                        command_line(bundle, death)
                    } else {
                        monitored(death)
                    };
                    match death {
                        Death::None => assert!(whole, "life {number} failed"),
                        Death::At(point) if !whole => drop(reached.lock().unwrap().insert(point)),
                        Death::At(_) | Death::After(_) => {}
                    }
                }
            });
        }
    });
    let reached = reached.into_inner().unwrap();
    let missed: Vec<_> = POINTS.iter().filter(|point| !reached.contains(**point)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
    before.assert_again();
    println!("{lives} lives, {} points, {:?}", POINTS.len(), begun.elapsed());
}
