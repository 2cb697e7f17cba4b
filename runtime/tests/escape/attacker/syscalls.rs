//! System calls that an ordinary program never makes.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Numbers that no table has, and one of the x32 ABI.
pub const UNKNOWN: [i64; 4] = [999, 4095, 0x3fff_ffff, 0x4000_0000 | 39];

/// Makes the system call with this number, with arguments that would do no harm if it were allowed.
pub fn one(number: i64) {
    // SAFETY: every call tried here is given numbers that are no valid addresses or descriptors.
    let result = unsafe { libc::syscall(number, NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE) };
    let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    println!("call {number} {}", if result < 0 { error } else { 0 });
}

/// An address where nothing is, a descriptor that is not open, and flags that do not exist.
const NOWHERE: i64 = -2;

/// Makes each in a process of its own: some end it.
pub fn all(numbers: &[&str]) {
    for number in numbers {
        let output = Command::new("/proc/self/exe")
            .arg0(super::NAME)
            .args(["syscall", number])
            .output();
        match output {
            Ok(output) if output.status.success() => print!("{}", String::from_utf8_lossy(&output.stdout)),
            Ok(output) => println!("call {number} {}", output.status),
            Err(error) => println!("call {number} cannot be tried: {error}"),
        }
    }
}

/// Asks for the process id as programs of another architecture do.
#[cfg(target_arch = "x86_64")]
pub fn foreign() {
    const GETPID: i64 = 20;
    let result: i64;
    // SAFETY: the gate of 32-bit programs takes its number in eax and answers there; it changes no other register.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") GETPID => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
    };
    println!("foreign {result}");
}

/// There is no such gate.
#[cfg(not(target_arch = "x86_64"))]
pub fn foreign() {
    std::process::abort();
}
