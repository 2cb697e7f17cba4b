//! PID 1 of a pod's PID namespace, and what keeps the pod's namespaces alive: it reaps, obeys SIGTERM and SIGINT, and
//! does nothing else.
//!
//! There is no library under it, not even libc: one page of text and one page of stack are all the memory it costs.
//! The monitor executes it from a sealed memory file with an empty root, no capabilities and no open files.
#![no_std]
#![no_main]

use core::arch::{asm, naked_asm};
use core::ptr;

/// System call numbers and the call itself, for one architecture.
#[cfg(target_arch = "x86_64")]
mod arch {
    use super::asm;

    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;

    /// Calls the kernel with four arguments.
    ///
    /// # Safety
    /// The arguments must be what the numbered system call expects.
    pub unsafe fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
        let result: isize;
        // SAFETY: the instruction clobbers rcx and r11 only, which are declared; the caller answers for the arguments.
        unsafe {
            asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
                 in("r10") d, lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        result
    }
}

/// System call numbers and the call itself, for one architecture.
#[cfg(target_arch = "aarch64")]
mod arch {
    use super::asm;

    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const PRCTL: usize = 167;
    pub const EXIT_GROUP: usize = 94;

    /// Calls the kernel with four arguments.
    ///
    /// # Safety
    /// The arguments must be what the numbered system call expects.
    pub unsafe fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
        let result: isize;
        // SAFETY: the kernel preserves every register but x0; the caller answers for the arguments.
        unsafe {
            asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
                 options(nostack));
        }
        result
    }
}

use arch::{EXIT_GROUP, PRCTL, RT_SIGACTION, RT_SIGPROCMASK, RT_SIGTIMEDWAIT, call};

const SIGINT: u64 = 2;
const SIGTERM: u64 = 15;
const SIGCHLD: usize = 17;
const SIG_BLOCK: usize = 0;
const SIG_IGN: usize = 1;
const SA_NOCLDWAIT: u64 = 2;
const PR_SET_DUMPABLE: usize = 4;
const PR_SET_NAME: usize = 15;
/// Bytes of the kernel's signal set.
const SIGSET_SIZE: usize = 8;

/// The kernel's `struct sigaction`, with the restorer field that x86-64 has and aarch64 has not.
#[repr(C)]
struct Sigaction {
    handler: usize,
    flags: u64,
    #[cfg(target_arch = "x86_64")]
    restorer: usize,
    mask: u64,
}

/// The entry point: aligns the stack as the ABI wants it and leaves the assembly.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("xor ebp, ebp", "and rsp, -16", "call {run}", "ud2", run = sym run);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x29, xzr", "mov x30, xzr", "bl {run}", "brk 1", run = sym run);
}

extern "C" fn run() -> ! {
    // Ignoring SIGCHLD with SA_NOCLDWAIT makes the kernel reap every child, those handed over included: signal(7).
    let reap = Sigaction {
        handler: SIG_IGN,
        flags: SA_NOCLDWAIT,
        #[cfg(target_arch = "x86_64")]
        restorer: 0,
        mask: 0,
    };
    // Blocked signals are queued even for the init of a PID namespace, which otherwise never sees those it has no
    // handler for: pid_namespaces(7).
    let leave: u64 = (1 << (SIGINT - 1)) | (1 << (SIGTERM - 1));
    let name = c"pause";
    // SAFETY: every pointer is to a live local of the type the call reads; prctl takes plain numbers and a string.
    unsafe {
        // Started from a memory file it would be shown under the descriptor's number.
        call(PRCTL, PR_SET_NAME, name.as_ptr() as usize, 0, 0);
        // A container of the pod shares the PID namespace: it must not trace the process outside its limits.
        call(PRCTL, PR_SET_DUMPABLE, 0, 0, 0);
        call(RT_SIGACTION, SIGCHLD, ptr::from_ref(&reap) as usize, 0, SIGSET_SIZE);
        call(RT_SIGPROCMASK, SIG_BLOCK, ptr::from_ref(&leave) as usize, 0, SIGSET_SIZE);
        loop {
            if call(RT_SIGTIMEDWAIT, ptr::from_ref(&leave) as usize, 0, 0, SIGSET_SIZE) > 0 {
                call(EXIT_GROUP, 0, 0, 0, 0);
            }
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
