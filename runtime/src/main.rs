//! `barepod-runtime`: the monitor of a pod, and the OCI runtime command line.
//!
//! The library's own way to `main` asks where the stack is, makes another one for overflows and handlers for them: twenty
//! system calls, which a process that lives for two milliseconds does without.

#![no_main]

use barepod_runtime::{monitor, oci, sys};

/// What the C library calls.
// SAFETY: it is the only function of that name, and has the type that C wants.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: i32, _arguments: *const *const u8) -> i32 {
    sys::entry::standard_files();
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.peek().map(String::as_str) {
        Some("spawner") => monitor::main(),
        _ => oci::main(arguments.collect()),
    }
}
