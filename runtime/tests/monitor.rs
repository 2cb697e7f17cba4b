//! What a monitor promises of ends, logs and its own size.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use barepod_runtime::procfs::Stat;
use barepod_runtime::protocol::{ContainerConfig, ContainerState, Exit, Request};
use barepod_runtime::time::now_text;
use nix::mount::{MsFlags, mount};
use oci_spec::runtime::{LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder, MountBuilder, Spec};
use support::{Pod, budget, emulated, patience, until};

/// How a short container ends: its arguments, and what is to be known of it.
const ENDS: [(&[&str], i32, Option<i32>, bool); 5] = [
    (&["true"], 0, None, false),
    (&["sh", "-c", "exit 7"], 7, None, false),
    (&["sh", "-c", "kill -SEGV $$"], 139, Some(11), false),
    (&["sh", "-c", "kill -KILL $$"], 137, Some(9), false),
    // More than its limit.
    (
        &["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"],
        137,
        Some(9),
        true,
    ),
];

fn short(pod: &Pod, number: usize) -> ContainerConfig {
    let mut container = pod.container(ENDS[number % ENDS.len()].0);
    limit_memory(&mut container.spec, 8 << 20);
    container
}

fn limit_memory(spec: &mut Spec, bytes: i64) {
    let mut linux = spec.linux().clone().unwrap();
    let mut resources = linux.resources().clone().unwrap();
    resources.set_memory(Some(
        LinuxMemoryBuilder::default().limit(bytes).swap(bytes).build().unwrap(),
    ));
    linux.set_resources(Some(resources));
    spec.set_linux(Some(linux));
}

/// Checks an end; `begun` is when the container was asked for.
fn check(number: usize, exit: &Exit, begun: &str) {
    let (args, code, signal, oom_killed) = ENDS[number % ENDS.len()];
    assert_eq!(
        (exit.code, exit.signal, exit.oom_killed),
        (code, signal, oom_killed),
        "{number} {args:?}: {exit:?}"
    );
    let now = now_text();
    let order = [begun, &exit.started_at, &exit.finished_at, &now];
    assert!(order.is_sorted(), "{number} {args:?}: {order:?}");
}

/// Runs `total` containers, so many to a pod, in two pods at once.
fn in_pods(total: usize, each: usize, work: impl Fn(&mut Pod, std::ops::Range<usize>) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(each, std::sync::atomic::Ordering::Relaxed);
                    if first >= total {
                        break;
                    }
                    let mut pod = Pod::new("short");
                    work(&mut pod, first..total.min(first + each));
                    pod.stop();
                }
            });
        }
    });
}

#[test]
fn the_end_of_a_short_container_is_told_right() {
    let total = budget("BAREPOD_SHORT", 300, 10_000);
    let begun = Instant::now();
    in_pods(total, 100, |pod, numbers| {
        for number in numbers {
            let container = short(pod, number);
            let asked = now_text();
            pod.run(&container)
                .unwrap_or_else(|failure| panic!("{number}: {failure}"));
            check(number, &pod.wait(&container.id), &asked);
            let id = container.id.clone();
            pod.ask(Request::Delete { id }).unwrap();
            fs::remove_dir_all(pod.dir.join(&container.id)).unwrap();
        }
    });
    println!(
        "{total} containers, {:?} each",
        begun.elapsed() / u32::try_from(total).unwrap()
    );
}

#[test]
fn the_end_of_a_short_container_is_known_without_anybody_there() {
    let total = budget("BAREPOD_SHORT", 300, 10_000);
    in_pods(total, 100, |pod, numbers| {
        let asked = now_text();
        let mut ids = Vec::new();
        for number in numbers {
            let container = short(pod, number);
            let start = Request::Create {
                config: Some(Box::new(container.clone())),
                start: true,
            };
            pod.send(start, &[]);
            ids.push((number, container.id));
            // Gone as soon as it has asked.
            pod.reconnect();
        }
        until("all have ended", || {
            let states = pod.describe().containers;
            (states.len() == ids.len() && states.iter().all(|state| state.exit.is_some())).then_some(())
        });
        let states = pod.describe().containers;
        for (number, id) in ids {
            let state = states.iter().find(|state| state.id == id).unwrap();
            check(number, state.exit.as_ref().unwrap(), &asked);
            // The record tells the same to an agent that finds no monitor any more.
            let record = pod.config.dir.join("containers").join(format!("{id}.json"));
            let record: ContainerState = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
            assert_eq!(record.exit, state.exit);
        }
    });
}

/// A small file system for a log, in the test's own mount namespace.
fn tmpfs(dir: &Path, megabytes: usize) {
    fs::create_dir_all(dir).unwrap();
    let options = format!("size={megabytes}m");
    mount(
        Some("test"),
        dir,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .unwrap();
}

/// Numbered lines of 100 bytes.
fn lines(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let mut text = Vec::with_capacity(100 * numbers.len());
    for number in numbers {
        writeln!(text, "{number:099}").unwrap();
    }
    text
}

/// Goes through a log of what was written, and returns how much of it the log says is missing.
fn follow(rest: &mut &[u8], log: &[u8]) -> usize {
    let mut all_missing = 0;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        // A line that was read in two pieces is a P and an F.
        let whole = &line[38..40] == b"F ";
        let part = if whole { &line[40..] } else { &line[40..line.len() - 1] };
        let said = String::from_utf8_lossy(part);
        if let Some(said) = said.strip_prefix('[') {
            let missing = said.split(' ').next().unwrap().parse().unwrap();
            all_missing += missing;
            *rest = &rest[missing..];
        } else {
            *rest = rest
                .strip_prefix(part)
                .unwrap_or_else(|| panic!("not in its place: {said}"));
        }
    }
    all_missing
}

fn add_volume(spec: &mut Spec, source: &Path) {
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    let volume = MountBuilder::default().destination("/data").source(source).typ("bind");
    mounts.push(volume.options(vec!["rbind".to_owned()]).build().unwrap());
    spec.set_mounts(Some(mounts));
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: i32) -> f64 {
    // The same on every architecture: sysconf(3), `_SC_CLK_TCK`.
    Stat::of(pid).unwrap().ticks as f64 / 100.0
}

#[test]
fn a_fast_writer_loses_no_line() {
    const LIMIT: u64 = 10 << 20;
    let megabytes = budget("BAREPOD_LOG_MB", 100, 1000);
    let mut pod = Pod::new("fast-log");
    let dir = pod.dir.join("log");
    tmpfs(&dir, 4 * megabytes);
    let text = lines(0..megabytes * 10_000);
    fs::write(dir.join("text"), &text).unwrap();
    let mut container = pod.container(&["cat", "/data/text"]);
    add_volume(&mut container.spec, &dir);
    container.log_path = dir.join("0.log");
    container.log_max_bytes = LIMIT;
    container.log_max_files = 1000;
    let before = processor_time(pod.state.monitor_pid);
    let begun = Instant::now();
    pod.run(&container).unwrap();
    assert_eq!(pod.wait(&container.id).code, 0);
    let rate = |seconds: f64| text.len() as f64 / seconds / 1e6;
    let real = rate(begun.elapsed().as_secs_f64());
    // What it could do with a processor of its own, which a test has not.
    let possible = rate(processor_time(pod.state.monitor_pid) - before);
    println!("{real:.0} MB/s, {possible:.0} MB/s for each second of processor time");
    let name = |number: usize| dir.join(format!("0.log.{number}"));
    let mut files: Vec<_> = (1..).map(name).take_while(|file| file.exists()).collect();
    assert!(files.len() >= megabytes / 8, "{} files", files.len());
    files.reverse();
    let line = 100 + 40;
    for file in &files {
        let size = fs::metadata(file).unwrap().len();
        assert!((LIMIT..LIMIT + line).contains(&size), "{}: {size}", file.display());
    }
    files.push(dir.join("0.log"));
    let mut rest = text.as_slice();
    for file in files {
        let missing = follow(&mut rest, &fs::read(&file).unwrap());
        assert_eq!(missing, 0, "{}", file.display());
    }
    assert!(rest.is_empty(), "{} bytes are missing", rest.len());
    if !cfg!(debug_assertions) && !emulated() {
        assert!(possible >= 200.0, "{possible:.0} MB/s");
    }
    pod.stop();
}

#[test]
fn a_full_disk_takes_the_oldest_output_and_gives_the_latest_back() {
    let mut pod = Pod::new("full-log");
    let dir = pod.dir.join("log");
    tmpfs(&dir, 1);
    fs::write(dir.join("ballast"), vec![0; 900 << 10]).unwrap();
    let text = lines(0..20_000);
    fs::write(pod.dir.join("text"), &text).unwrap();
    let mut container = pod.container(&["sh", "-c", "cat /data/text; touch /data/done; sleep 1000"]);
    add_volume(&mut container.spec, &pod.dir);
    container.log_path = dir.join("0.log");
    pod.run(&container).unwrap();
    let log = || fs::read_to_string(&container.log_path).unwrap();
    let done = pod.dir.join("done");
    until("all is written", || done.exists().then_some(()));
    let free = nix::sys::statvfs::statvfs(&dir).unwrap().blocks_available();
    assert!(free <= 1, "{free} blocks are free on a disk that is to be full");
    // Nothing more comes out of the container: the monitor has to look by itself.
    fs::remove_file(dir.join("ballast")).unwrap();
    let last = format!("{:099}\n", 19_999);
    until("the latest output is there", || log().ends_with(&last).then_some(()));
    let mut rest = text.as_slice();
    let missing = follow(&mut rest, log().as_bytes());
    let written = text.len() - missing;
    assert!(
        rest.is_empty() && missing > 0 && written > 64 << 10,
        "{written} written, {missing} missing"
    );
    let id = container.id.clone();
    pod.ask(Request::Kill {
        id,
        signal: 9,
        all: true,
    })
    .unwrap();
    pod.wait(&container.id);
    let state = pod.describe().containers.remove(0);
    assert_eq!(state.log_dropped_bytes, missing as u64);
    pod.stop();
}

/// A number of kibibytes in a file of `/proc`.
fn kibibytes(pid: i32, file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_pod_costs_half_a_mebibyte_that_is_not_its_own() {
    const PODS: usize = 16;
    let mut pods: Vec<Pod> = (0..PODS)
        .map(|_| {
            Pod::with("small", |config| {
                let resources = LinuxResourcesBuilder::default()
                    .memory(LinuxMemoryBuilder::default().limit(64_i64 << 20).build().unwrap())
                    .pids(LinuxPidsBuilder::default().limit(10_i64).build().unwrap());
                config.resources = Some(resources.build().unwrap());
            })
        })
        .collect();
    for pod in &mut pods {
        // One that has worked, and one that works.
        pod.script("yes | head -n 10000");
        let container = pod.container(&["sleep", "1000"]);
        pod.run(&container).unwrap();
        let (monitor, pause) = (pod.state.monitor_pid, pod.state.pause_pid.unwrap());
        let path = pod.config.cgroup.to_string_lossy().into_owned();
        for pid in [monitor, pause] {
            let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            assert!(!cgroups.contains(&path), "{pid} is charged to the pod: {cgroups}");
        }
    }
    let deadline = Instant::now() + patience();
    let size = || {
        let of = |pid| {
            if cfg!(debug_assertions) {
                // The code of a build that is not optimised is not what is promised.
                kibibytes(pid, "smaps_rollup", "Private_Dirty")
            } else {
                kibibytes(pid, "smaps_rollup", "Pss")
            }
        };
        let all = pods
            .iter()
            .map(|pod| of(pod.state.monitor_pid) + of(pod.state.pause_pid.unwrap()));
        all.sum::<u64>() / PODS as u64
    };
    while size() > 512 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{} KiB a pod", size());
    assert!(size() <= 512, "{} KiB", size());
    pods.into_iter().for_each(Pod::stop);
}
