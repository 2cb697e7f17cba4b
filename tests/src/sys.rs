//! What the harness needs of the C library.

use std::sync::OnceLock;

static RUN: OnceLock<fn()> = OnceLock::new();

extern "C" fn run() {
    if let Some(run) = RUN.get() {
        run();
    }
}

/// Registers what runs when this process ends in an orderly way, atexit(3). Once a process.
pub fn at_exit(what: fn()) {
    if RUN.set(what).is_ok() {
        // SAFETY: `run` is a function of this program and does not unwind: its caller catches panics.
        unsafe { libc::atexit(run) };
    }
}

/// Ends this process at once, _exit(2).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: nothing of this process is needed any more.
    unsafe { libc::_exit(code) }
}
