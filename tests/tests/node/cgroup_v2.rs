//! The node on pure cgroup v2, in a virtual machine under software emulation.

use std::path::{Path, PathBuf};
use std::process::Command;

use barepod_tests::{barepod, images};

#[test]
fn node_on_pure_cgroup_v2() {
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm");
    let out = std::env::var_os("BAREPOD_TEST_VM").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm"),
        PathBuf::from,
    );
    let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let kubectl = Command::new("sh")
        .args(["-c", "readlink -f \"$(command -v \"$1\")\"", "sh", &kubectl])
        .output()
        .expect("sh runs");
    let kubectl = String::from_utf8_lossy(&kubectl.stdout).trim().to_owned();
    let packed = Command::new(vm.join("initrd"))
        .arg(&out)
        .arg(format!("{}:/usr/local/bin/barepod", barepod().display()))
        .arg(format!("{kubectl}:/usr/local/bin/kubectl"))
        .arg(vm.join("guest"))
        .arg(format!(
            "{}:/var/images/tools.oci",
            images().join("tools.oci").display()
        ))
        .status()
        .expect("tests/vm/initrd runs");
    assert!(packed.success(), "tests/vm/initrd: {packed}");
    let ran = Command::new(vm.join("run"))
        .arg(&out)
        .args(["/usr/local/bin/guest", "900"])
        .output()
        .expect("tests/vm/run runs");
    let console = String::from_utf8_lossy(&ran.stdout);
    println!("{console}");
    assert!(
        ran.status.success(),
        "{}: {}\n{console}",
        ran.status,
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(
        console.contains("ok nothing is left behind"),
        "the guest did not get to its last check"
    );
}
