//! The node on pure cgroup v2, in a virtual machine under software emulation that is booted twice with one disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use barepod_tests::{Ran, barepod, images, kubectl};

/// The programs of the runtime's own tests that cgroups and devices matter to.
fn runtime_tests() -> Vec<PathBuf> {
    let names = ["sandbox", "container", "stats"];
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([
        "test",
        "--release",
        "--locked",
        "--no-run",
        "--message-format=json",
        "-p",
        "barepod-runtime",
    ]);
    command.args(names.iter().flat_map(|name| ["--test", name]));
    let told = Ran::of(command.current_dir(env!("CARGO_MANIFEST_DIR"))).ok();
    let told = told.unwrap_or_else(|e| panic!("the runtime's tests cannot be built: {e}"));
    let messages = told
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let found: Vec<PathBuf> = messages
        .filter(|message| names.iter().any(|name| message["target"]["name"] == *name))
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    assert_eq!(found.len(), names.len(), "{found:?}");
    found
}

/// The file of a program that may be on the search path.
fn resolved(program: &Path) -> PathBuf {
    let found = Ran::of(Command::new("sh").args(["-c", "command -v \"$0\""]).arg(program));
    Path::new(found.stdout.trim()).canonicalize().expect("it is there")
}

#[test]
fn node_on_pure_cgroup_v2() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vm = here.join("vm");
    let out = std::env::var_os("BAREPOD_TEST_VM").map_or_else(|| here.join("../target/vm"), PathBuf::from);
    let to = |from: &Path, to: &str| format!("{}:{to}", from.display());
    let build = here.join("images/build");
    let mut items = vec![
        to(&barepod(), "/usr/local/bin/barepod"),
        to(
            &barepod().with_file_name("barepod-runtime"),
            "/usr/local/bin/barepod-runtime",
        ),
        to(&resolved(&kubectl()), "/usr/local/bin/kubectl"),
        to(&vm.join("guest"), "/usr/local/bin/guest"),
        to(
            &std::env::current_exe().expect("a test has a file"),
            "/usr/local/bin/node",
        ),
        to(&images().join("tools.oci"), "/var/images/tools.oci"),
        // So that the images count as made.
        to(&images().join("stamp"), "/var/images/stamp"),
        to(&build, &build.display().to_string()),
    ];
    for test in runtime_tests() {
        let name = test.file_stem().expect("a file").to_string_lossy();
        let name = name.split('-').next().unwrap_or_default();
        items.push(to(&test, &format!("/var/tests/{name}")));
    }
    let packed = Ran::of(Command::new(vm.join("initrd")).arg(&out).args(items));
    packed.ok().unwrap_or_else(|e| panic!("tests/vm/initrd: {e}"));
    let disk = out.join(format!("disk-{}", std::process::id()));
    let made = Ran::of(Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&disk).arg("512M"));
    made.ok().unwrap_or_else(|e| panic!("mke2fs: {e}"));
    for (boot, last) in [("first", "ok missing controllers"), ("again", "ok no file either")] {
        let ran = Ran::of(
            Command::new(vm.join("run"))
                .arg(&out)
                .arg(&disk)
                .args(["900", "guest", boot]),
        );
        println!("{}", ran.stdout);
        assert_eq!(ran.code, 0, "{boot}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(last), "the guest did not get to its last check");
    }
    std::fs::remove_file(disk).expect("removed");
}
