//! Runs classes of attack, each in a process of its own, against the runtime and against the broken ones.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use barepod_runtime::broken::DEFENCES;
use barepod_runtime::sys::process::{pidfd_open, pidfd_send_signal};

use crate::support::{base, budget, patience};

/// A class of attack.
#[derive(Debug)]
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// Tries it, and panics with [`escaped!`](crate::escaped) if it succeeds.
    pub attack: fn(),
    /// The defences without each of which it has to succeed.
    pub defences: &'static [&'static str],
}

/// Reports a success of the attacker's, which no other failure of a test is taken for.
#[macro_export]
macro_rules! escaped {
    ($($arg:tt)*) => { panic!("ESCAPED: {}", format_args!($($arg)*)) };
}

/// For how many seconds something is tried: a moment, or a minute in the nightly mode.
pub fn moment(seconds: usize) -> u64 {
    budget("BAREPOD_ESCAPE_SECONDS", seconds, 60) as u64
}

/// [`moment`] for a race. Where it has to be won it ends with that, so there is patience for it.
pub fn race(seconds: usize) -> u64 {
    moment(if std::env::var_os("BAREPOD_BROKEN").is_some() {
        30
    } else {
        seconds
    })
}

/// What [`escaped!`] writes.
const ESCAPED: &str = "ESCAPED: ";

/// The arguments of libtest that are understood here.
#[derive(Debug, Default)]
struct Options {
    exact: bool,
    list: bool,
    threads: usize,
    names: Vec<String>,
    skip: Vec<String>,
}

impl Options {
    fn parse(arguments: Vec<String>) -> Self {
        let mut options = Self {
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            ..Self::default()
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--skip" => options.skip.extend(arguments.next()),
                "--test-threads" => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    options.threads = number.expect("a number of threads");
                }
                // How libtest shows what it runs.
                argument if argument.starts_with('-') => {}
                _ => options.names.push(argument),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| {
            if self.exact {
                name == filter
            } else {
                name.contains(filter.as_str())
            }
        };
        (self.names.is_empty() || self.names.iter().any(matches))
            && !self.skip.iter().any(|skip| name.contains(skip.as_str()))
    }
}

/// One thing that is run: a class, against the runtime or one that lacks a defence.
struct Case<'a> {
    class: &'a Class,
    lacks: Option<&'static str>,
}

impl Case<'_> {
    fn name(&self) -> String {
        match self.lacks {
            None => self.class.name.to_owned(),
            Some(defence) => format!("{} succeeds without {defence}", self.class.name),
        }
    }
}

/// Says to a process that it is to run one class itself.
const RUN: &str = "BAREPOD_ESCAPE_CLASS";

/// Runs what the arguments ask for.
pub fn main(classes: &[Class], arguments: Vec<String>) -> ExitCode {
    if let Ok(name) = std::env::var(RUN) {
        let class = classes.iter().find(|class| class.name == name).expect("a class");
        (class.attack)();
        return ExitCode::SUCCESS;
    }
    let options = Options::parse(arguments);
    let mut cases: Vec<Case<'_>> = Vec::new();
    for class in classes {
        cases.push(Case { class, lacks: None });
        cases.extend(class.defences.iter().map(|defence| Case {
            class,
            lacks: Some(defence),
        }));
    }
    let all = cases.len();
    cases.retain(|case| options.wants(&case.name()));
    if options.list {
        cases.iter().for_each(|case| println!("{}: test", case.name()));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let begun = Instant::now();
    let mut failed = Vec::new();
    if all == cases.len()
        && let Err(missing) = every_defence_is_tried(classes)
    {
        failed.push(("every defence is tried".to_owned(), missing));
    }
    let broken = cases.iter().any(|case| case.lacks.is_some()).then(build_broken);
    failed.extend(run_all(&cases, broken.as_deref(), options.threads));
    for (name, said) in &failed {
        println!("\n---- {name} ----\n{said}");
    }
    let (verdict, passed) = (
        if failed.is_empty() { "ok" } else { "FAILED" },
        cases.len().saturating_sub(failed.len()),
    );
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        failed.len(),
        all - cases.len(),
        begun.elapsed().as_secs_f64()
    );
    ExitCode::from(if failed.is_empty() { 0 } else { 101 })
}

/// Nobody adds a defence without an attack that shows what it is for.
fn every_defence_is_tried(classes: &[Class]) -> Result<(), String> {
    let tried: Vec<&str> = classes.iter().flat_map(|class| class.defences).copied().collect();
    let missing: Vec<&&str> = DEFENCES.iter().filter(|defence| !tried.contains(defence)).collect();
    let unknown: Vec<&&str> = tried.iter().filter(|tried| !DEFENCES.contains(tried)).collect();
    let without: Vec<&str> = classes
        .iter()
        .filter(|class| class.defences.is_empty())
        .map(|class| class.name)
        .collect();
    if missing.is_empty() && unknown.is_empty() && without.is_empty() {
        return Ok(());
    }
    Err(format!(
        "defences without an attack: {missing:?}, unknown ones: {unknown:?}, classes that no build fails: {without:?}"
    ))
}

/// Runs all, a few at a time; returns those that failed and what they said.
fn run_all(cases: &[Case<'_>], broken: Option<&Path>, threads: usize) -> Vec<(String, String)> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { break };
                    let (name, begun) = (case.name(), Instant::now());
                    let outcome = judge(case, run(case, number, broken));
                    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
                    println!("test {name} ... {verdict} ({:.1} s)", begun.elapsed().as_secs_f64());
                    if let Err(said) = outcome {
                        failed.lock().expect("no panic holds it").push((name, said));
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no panic holds it")
}

fn run(case: &Case<'_>, number: usize, broken: Option<&Path>) -> (ExitStatus, String) {
    let own = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(own);
    command.env(RUN, case.class.name).env("RUST_BACKTRACE", "0");
    if let (Some(defence), Some(broken)) = (case.lacks, broken) {
        command.env("BAREPOD_RUNTIME", broken).env("BAREPOD_BROKEN", defence);
    }
    // A file, which nobody holds up who outlives the process.
    let path = base().join(format!("said-{}-{number}", std::process::id()));
    let said = File::create(&path).expect("a file");
    let copy = said.try_clone().expect("a descriptor");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(copy)
        .stderr(said)
        .spawn()
        .expect("this program can be run again");
    let process = pidfd_open(i32::try_from(child.id()).expect("a process id")).expect("it is not reaped yet");
    let nightly = std::env::var_os("BAREPOD_NIGHTLY").is_some();
    let patience = patience() + Duration::from_secs(if nightly { 3600 } else { 90 });
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let status = std::thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                // It hangs, which is told by how it ended.
                let _ = pidfd_send_signal(process.as_fd(), libc::SIGKILL);
            }
        });
        let status = child.wait().expect("it can be waited for");
        drop(done);
        status
    });
    let said = String::from_utf8_lossy(&fs::read(&path).expect("what it said")).into_owned();
    fs::remove_file(&path).expect("the file goes");
    (status, said)
}

fn judge(case: &Case<'_>, (status, said): (ExitStatus, String)) -> Result<(), String> {
    match case.lacks {
        None if status.success() => Ok(()),
        Some(_) if said.contains(ESCAPED) => Ok(()),
        Some(_) if status.success() => Err(format!("the attack was not noticed:\n{said}")),
        None | Some(_) => Err(format!("{status}\n{said}")),
    }
}

/// Builds the runtime whose defences can be left out, next to the others in the target directory.
fn build_broken() -> PathBuf {
    if let Some(path) = std::env::var_os("BAREPOD_BROKEN_RUNTIME") {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is a folder of the workspace");
    // What it is built for, and where: the program under test is at TARGET/TRIPLE/PROFILE/barepod-runtime.
    let built = Path::new(env!("CARGO_BIN_EXE_barepod-runtime"))
        .parent()
        .and_then(Path::parent);
    let directory = built.expect("a profile's directory is in one");
    let triple = directory
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a target's name");
    let target = directory.parent().expect("a target's directory is in one");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "barepod-runtime",
            "--bin",
            "barepod-runtime",
        ])
        .args(["--profile", "broken", "--target", triple, "--target-dir"])
        .arg(target)
        // A profile of its own, so that it never takes the place of another build.
        .args([
            "--config",
            "profile.broken.inherits = 'dev'",
            "--config",
            "profile.broken.debug = false",
        ])
        // Joined with the flags that every build has.
        .args([
            "--config",
            &format!("target.{triple}.rustflags = ['--cfg', 'barepod_broken']"),
        ])
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS");
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "{command:?}: {status}");
    directory.join("broken/barepod-runtime")
}
