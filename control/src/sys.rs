//! Calls to the C library that have no safe wrapper.

/// Keeps all threads on one heap. What a request leaves behind is freed by another thread than the one that made it, so
/// that a heap for each thread would keep what none of them uses (mallopt(3)).
pub fn one_heap() {
    // SAFETY: the call only sets a number that later allocations read.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}
