//! What runs in virtual machines under software emulation: on pure cgroup v2 each time, on a newer kernel and on other
//! cgroups in the nightly mode. All that goes into the machines is made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use barepod_tests::{Ran, barepod, images, kubectl};
use serde_json::Value;

/// A virtual machine that can be booted again and again with its disk.
struct Machine {
    dir: PathBuf,
    disk: PathBuf,
}

impl Machine {
    /// Packs files (from here, to there) with a kernel and makes an empty disk.
    fn new(name: &str, kernel: &str, files: &[(PathBuf, String)]) -> Self {
        let (here, out) = (Path::new(env!("CARGO_MANIFEST_DIR")), directory());
        let name = format!("{name}-{}", std::process::id());
        let mut pack = Command::new(here.join("vm/initrd"));
        pack.arg(&out).arg(&name).arg(kernel);
        for (from, to) in files {
            pack.arg(format!("{}:{to}", from.display()));
        }
        good("tests/vm/initrd", &mut pack);
        let dir = out.join(name);
        let disk = dir.join("disk");
        good(
            "mke2fs",
            Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&disk).arg("1G"),
        );
        Self { dir, disk }
    }

    /// Boots it with such cgroups for a command, which has to end well and has to have written its last line.
    fn run(&self, cgroups: &str, seconds: u32, command: &[&str], last: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/run");
        let mut run = Command::new(script);
        run.arg(&self.dir)
            .arg(&self.disk)
            .arg(seconds.to_string())
            .arg(cgroups)
            .args(command);
        let ran = Ran::of(&mut run);
        println!("{}", ran.stdout);
        assert_eq!(ran.code, 0, "{command:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(last), "{command:?} did not get to its last check");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Where machines are, and what they have in common.
fn directory() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("BAREPOD_TEST_VM").map_or_else(|| here.join("../target/vm"), PathBuf::from)
}

fn good(what: &str, command: &mut Command) -> String {
    Ran::of(command).ok().unwrap_or_else(|e| panic!("{what}: {e}"))
}

/// A node, which is rebooted.
fn node(kernel: &str) {
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm");
    // It may be a name on the search path.
    let found = good(
        "kubectl",
        Command::new("sh").args(["-c", "command -v \"$0\""]).arg(kubectl()),
    );
    let kubectl = Path::new(found.trim()).canonicalize().expect("kubectl is there");
    let own = std::env::current_exe().expect("a test has a file");
    let files = [
        (barepod(), "/usr/local/bin/barepod"),
        (kubectl, "/usr/local/bin/kubectl"),
        (vm.join("guest"), "/usr/local/bin/guest"),
        (own, "/usr/local/bin/node"),
        (images().join("tools.oci"), "/var/images/tools.oci"),
    ];
    let machine = Machine::new(
        &format!("node-{kernel}"),
        kernel,
        &files.map(|(from, to)| (from, to.to_owned())),
    );
    machine.run("v2", 900, &["guest", "first"], "ok missing controllers");
    machine.run("v2", 600, &["guest", "again"], "ok no file either");
}

/// A machine with the runtime's own tests, which look at the files of whichever cgroup version they find.
fn runtime(name: &str, kernel: &str) -> Machine {
    let programs = runtime_tests(name);
    for needed in ["barepod-runtime", "spec_resources", "escape", "soak"] {
        assert!(programs.iter().any(|(name, _)| name == needed), "{programs:?}");
    }
    let mut files: Vec<(PathBuf, String)> = programs
        .into_iter()
        .map(|(name, path)| match name.as_str() {
            "barepod-runtime" => (path, format!("/usr/local/bin/{name}")),
            _ => (path, format!("/var/tests/{name}")),
        })
        .collect();
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm");
    for guest in ["guest-runtime", "guest-systemd"] {
        files.push((vm.join(guest), format!("/usr/local/bin/{guest}")));
    }
    Machine::new(name, kernel, &files)
}

/// Where systemd is the first process it makes the cgroups that the command line is told to have made by it.
const SYSTEMD: [&str; 2] = ["systemd", "guest-systemd"];
/// The last check of both.
const LAST: &str = "ok nothing is left behind";

#[test]
fn node_on_pure_cgroup_v2() {
    node("stable");
}

#[test]
fn runtime_on_pure_cgroup_v2() {
    let machine = runtime("runtime", "stable");
    machine.run("v2", 600, &SYSTEMD, LAST);
    let nightly = std::env::var_os("BAREPOD_NIGHTLY").map(|_| "nightly");
    let tests: Vec<&str> = ["guest-runtime"].into_iter().chain(nightly).collect();
    machine.run("v2", 3600, &tests, LAST);
}

#[test]
#[ignore = "many minutes of emulation: BAREPOD_NIGHTLY=1"]
fn node_on_a_newer_kernel() {
    node("backports");
}

#[test]
#[ignore = "many minutes of emulation: BAREPOD_NIGHTLY=1"]
fn runtime_on_a_newer_kernel() {
    let machine = runtime("runtime-new", "backports");
    machine.run("v2", 600, &SYSTEMD, LAST);
    machine.run("v2", 3600, &["guest-runtime"], LAST);
}

#[test]
#[ignore = "many minutes of emulation: BAREPOD_NIGHTLY=1"]
fn runtime_on_cgroup_v1() {
    let machine = runtime("runtime-v1", "stable");
    for cgroups in ["v1", "hybrid"] {
        machine.run(cgroups, 600, &SYSTEMD, LAST);
    }
    machine.run("v1", 3600, &["guest-runtime"], LAST);
}

#[test]
#[ignore = "many minutes of emulation: BAREPOD_NIGHTLY=1"]
fn machines_of_the_vagrantfile_come_up() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/vagrant");
    let said = good("tests/vm/vagrant", Command::new(script).arg(directory()));
    assert!(said.contains("both machines came up"), "{said}");
}

/// Chosen by name and not by package: so they are the programs that are there already.
fn runtime_test_names() -> impl Iterator<Item = String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests");
    let entries = std::fs::read_dir(dir).expect("the runtime has tests");
    let names = entries.filter_map(|entry| {
        let path = entry.expect("an entry").path();
        let test = path.extension().is_some_and(|it| it == "rs") || path.join("main.rs").exists();
        test.then(|| path.file_stem().expect("a name").to_string_lossy().into_owned())
    });
    names.flat_map(|name| ["--test".to_owned(), name])
}

/// The runtime and its test programs, by name, small, in a directory with this name.
fn runtime_tests(name: &str) -> Vec<(String, PathBuf)> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["test", "--quiet", "--locked", "--workspace", "--no-run"])
        .args(runtime_test_names())
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let told = good("the runtime's tests cannot be built", &mut cargo);
    let small = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tests-{name}"));
    std::fs::create_dir_all(&small).expect("a directory for programs");
    let artifacts = told.lines().filter_map(|line| {
        let artifact: Value = serde_json::from_str(line).ok()?;
        let name = artifact["target"]["name"].as_str()?.to_owned();
        Some((name, artifact["executable"].as_str()?.to_owned()))
    });
    artifacts
        .map(|(name, program)| {
            let stripped = small.join(&name);
            good("strip", Command::new("strip").arg("-o").arg(&stripped).arg(&program));
            (name, stripped)
        })
        .collect()
}
