//! Calls to the C library that have no safe wrapper.

/// Keeps all threads on one heap. What a request leaves behind is freed by another thread than the one that made it, so
/// that a heap for each thread would keep what none of them uses (mallopt(3)).
pub fn one_heap() {
    // SAFETY: the call only sets a number that later allocations read.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Takes all the file descriptors that the process may have (the soft limit is for programs that use select(2), see
/// getrlimit(2)) and says how many those are.
pub fn descriptors() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a structure of that type, which lives across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 1024;
    }
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max,
        ..limit
    };
    // SAFETY: as above.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        limit = raised;
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}
