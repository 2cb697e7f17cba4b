//! Builds the two small static programs that `barepod` carries inside itself, compressed: the runtime helper and the
//! program of the demo image. Both need code generation settings of their own, which a cargo dependency cannot have.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Asked for now: a build script that was compiled before its directory was moved is run again as it is.
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&manifest_dir)
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
    if glibc().is_some_and(|version| version >= RELATIVE_RELOCATIONS) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The C library from which on a static program can have its relocations packed, which makes it 6 % smaller.
const RELATIVE_RELOCATIONS: (u32, u32) = (2, 36);

/// The version of the C library that is linked.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Compresses `program` into `PROGRAM.z` beside it.
fn compress(program: &Path, out: &Path) {
    let bytes = std::fs::read(program).unwrap_or_else(|e| panic!("read {}: {e}", program.display()));
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&bytes).expect("memory takes everything");
    let compressed = encoder.finish().expect("memory takes everything");
    std::fs::write(out, compressed).unwrap_or_else(|e| panic!("write {}: {e}", out.display()));
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
    compress(&built, &out.join("barepod-runtime.z"));
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
    compress(&out.join("demo"), &out.join("demo.z"));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}
