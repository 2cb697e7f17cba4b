//! Builds the two small static programs that `barepod` carries inside itself: the runtime helper and the program of the
//! demo image. Both need code generation settings of their own, which a cargo dependency cannot have.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("cli is a folder of the workspace")
        .to_owned();
    let target = env::var("TARGET").expect("cargo sets TARGET");
    for path in [
        "runtime/src",
        "runtime/build.rs",
        "runtime/Cargo.toml",
        "pause/src",
        "Cargo.lock",
        "cli/demo",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    runtime(&root, &out, &target);
    demo(&root, &out, &target);
}

/// `barepod-runtime` with the `embed` profile, in a target directory of its own because cargo holds the lock of the
/// one that this script runs in.
fn runtime(root: &Path, out: &Path, target: &str) {
    let dir = out.join("embed");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "barepod-runtime",
            "--bin",
            "barepod-runtime",
            "--profile",
            "embed",
        ])
        .arg("--target")
        .arg(target)
        .arg("--target-dir")
        .arg(&dir)
        // What cargo tells this script about itself must not reach the inner one.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_MANIFEST_DIR");
    run(&mut cargo);
    let built = dir.join(target).join("embed").join("barepod-runtime");
    std::fs::copy(&built, out.join("barepod-runtime")).unwrap_or_else(|e| panic!("copy {}: {e}", built.display()));
}

fn demo(root: &Path, out: &Path, target: &str) {
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc
        .args(["--edition", "2024", "--crate-name", "demo", "--target", target, "-o"])
        .arg(out.join("demo"))
        .args([
            "-Copt-level=z",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
            "-Ccodegen-units=1",
        ])
        .arg(root.join("cli/demo/main.rs"));
    run(&mut rustc);
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}
