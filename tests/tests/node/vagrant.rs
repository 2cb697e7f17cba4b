//! The Vagrantfile is valid and names both machines.

use std::path::Path;
use std::process::Command;

fn vagrant(args: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let home = std::env::temp_dir().join(format!("barepodtest-vagrant-{}-{}", std::process::id(), args[0]));
    let out = Command::new("vagrant")
        .args(args)
        .current_dir(root)
        .env("VAGRANT_HOME", &home)
        .env("VAGRANT_DOTFILE_PATH", home.join("dot"))
        .env("VAGRANT_DEFAULT_PROVIDER", "libvirt")
        .output()
        .expect("vagrant runs: tests/run installs it");
    let _ = std::fs::remove_dir_all(&home);
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "vagrant {args:?}: {text}");
    text
}

#[test]
fn validates() {
    assert!(vagrant(&["validate"]).contains("validated successfully"));
}

#[test]
fn names_two_machines() {
    let status = vagrant(&["status"]);
    assert!(status.contains("node-1") && status.contains("node-2"), "{status}");
}
