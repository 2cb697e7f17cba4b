//! Calls to the C library that have no safe wrapper.

use std::os::fd::{AsFd, AsRawFd};

/// Keeps all threads on one heap. What a request leaves behind is freed by another thread than the one that made it, so
/// that a heap for each thread would keep what none of them uses (mallopt(3)).
pub fn one_heap() {
    // SAFETY: the call only sets a number that later allocations read.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives memory that was freed back to the kernel, also what lies between pieces that are in use (malloc_trim(3)).
pub fn trim() {
    // SAFETY: the call works on the allocator's own state, under its own lock.
    unsafe { libc::malloc_trim(0) };
}

/// Lets the kernel find out whether the other end is still there when nothing is said, see tcp(7): after half a minute,
/// then four times a quarter of one.
pub fn keep_alive(socket: &impl AsFd) {
    let set = |level, option, value: libc::c_int| {
        let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
        // SAFETY: the pointer is to a number of that length, which lives across the call; the descriptor is borrowed
        // for as long. A socket that does without is as good as before, so failure does not matter.
        unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                length,
            )
        };
    };
    set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 30);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 15);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 4);
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
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

/// In how many parts the kernel divides a second when it tells times, see proc_pid_stat(5).
pub fn ticks_per_second() -> f64 {
    // SAFETY: the call only reads a number.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks.max(1) as f64
}

/// The size of a page of memory in bytes.
pub fn page_bytes() -> u64 {
    // SAFETY: the call only reads a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}
