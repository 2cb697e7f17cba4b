//! Compiles pause, which the monitor carries inside itself, collects the names that tests go through, and links the
//! program at a fixed address.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Added to the linker's own script. The files of the C compiler refer to their part of the tables.
const NO_UNWINDING: &str = "SECTIONS {
    /DISCARD/ : { *(EXCLUDE_FILE(*crt*.o) .eh_frame) *(.gcc_except_table .gcc_except_table.*) }
} INSERT AFTER .text;
";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let source = manifest.join("../pause/src/main.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed={}", source.display());
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rustc-check-cfg=cfg(barepod_broken)");
    pause(&source, &out.join("pause"));
    // Read from the source, so that a new one cannot be left out of the tests.
    names(&manifest.join("src"), "fault::point(\"", &out.join("points.rs"));
    names(&manifest.join("src"), "broken::lacks(\"", &out.join("defences.rs"));
    // A static program at a fixed address has nothing to relocate, so none of its pages is written at start and all
    // monitors share them. What comes last wins over the -static-pie that rustc passes.
    if env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|features| features.split(',').any(|f| f == "crt-static")) {
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-bins=-static");
        let broken = env::var_os("CARGO_CFG_BAREPOD_BROKEN").is_some();
        if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") && !broken {
            // A panic ends the program where it happens: the tables for unwinding, a sixth of the file, would be read
            // for nothing else. Rust's own linker, which this target has, knows how to leave them out.
            let script = out.join("no-unwinding.ld");
            fs::write(&script, NO_UNWINDING).expect("OUT_DIR can be written to");
            println!(
                "cargo:rustc-link-arg-bins=-Wl,--icf=all,--no-eh-frame-hdr,-T,{}",
                script.display()
            );
            // src/sys/entry.rs, which nothing could keep from sealing the program.
            println!("cargo:rustc-link-arg-bins=-Wl,-e,barepod_entry");
        }
    }
}

/// Runs the compiler on `source` with the flags a program without any library needs.
fn pause(source: &Path, out: &Path) {
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut command = Command::new(rustc);
    command.args([
        "--edition=2024",
        "--crate-name=pause",
        "--crate-type=bin",
        "--target",
        &target,
    ]);
    command.args([
        "-Cpanic=abort",
        "-Copt-level=z",
        "-Ccodegen-units=1",
        "-Cstrip=symbols",
        "-Crelocation-model=static",
    ]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut argument = std::ffi::OsString::from("-Clinker=");
        argument.push(linker);
        command.arg(argument);
    }
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none,--no-eh-frame-hdr",
        // No page-aligned gap between headers and text: the whole file is less than one page.
        "-Wl,-z,norelro,-z,noseparate-code",
    ] {
        command.arg(format!("-Clink-arg={argument}"));
    }
    command.arg("-o").arg(out).arg(source);
    // The build's own flags (such as crt-static) must not reach this compiler.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = command
        .status()
        .expect("the compiler that builds this crate can be run");
    assert!(status.success(), "compiling pause failed: {status}");
}

/// Writes a slice of the names that follow `call` anywhere in the source, sorted.
fn names(source: &Path, call: &str, out: &Path) {
    let mut found = BTreeSet::new();
    collect(source, call, &mut found);
    let names: Vec<String> = found.into_iter().collect();
    fs::write(out, format!("&{names:?}")).expect("the build's own directory can be written to");
}

fn collect(dir: &Path, call: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("the source can be read") {
        let path = entry.expect("the source can be read").path();
        if path.is_dir() {
            collect(&path, call, found);
        } else {
            let text = fs::read_to_string(&path).expect("the source is text");
            let names = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(names.map(str::to_owned));
        }
    }
}
