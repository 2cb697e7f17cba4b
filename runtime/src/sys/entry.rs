//! Where the program begins: before the C library, for one purpose.
//!
//! A command that leads into a container executes the program a second time, sealed ([`crate::sealed`]). Done in `main`,
//! that costs the C library's start twice, most of which is the processor being asked what it can, on a virtual machine
//! a trap each time: 0.3 ms, a tenth of a container's creation. Here it costs nothing but the system calls. Whatever
//! fails is left to `main`, which does the same and can say what went wrong.
//!
//! The linker is told of the entry point by the build script.

// The kernel's process entry: argc, argv and the environment are on the stack, rdx is what `_start` wants to see again.
// Nothing here touches what the C library has not set up yet: no thread-local storage, no stack protector, no functions.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
std::arch::global_asm!(
    ".pushsection .text.barepod_entry, \"ax\", @progbits",
    ".globl barepod_entry",
    ".type barepod_entry, @function",
    "barepod_entry:",
    "xor ebp, ebp",
    "mov r12, rsp",
    "mov r13, rdx",
    // Is one of the words a command that leads into a container? Strings are followed by at least eight bytes more: the
    // name of the program and a zero word end the stack.
    "lea rbx, [rsp + 16]",
    "2:",
    "mov rdi, [rbx]",
    "test rdi, rdi",
    "jz 9f",
    "add rbx, 8",
    "mov rax, [rdi]",
    "cmp eax, 0x006e7572", // "run"
    "je 3f",
    "mov rcx, rax",
    "shl rcx, 24",
    "mov rdx, 0x0063657865000000", // "exec"
    "cmp rcx, rdx",
    "je 3f",
    "shl rax, 8",
    "mov rdx, 0x0065746165726300", // "create"
    "cmp rax, rdx",
    "jne 2b",
    // Sealed already: the file is on a read-only mount. open, fstatfs, close.
    "3:",
    "sub rsp, 256",
    "mov eax, 2",
    "lea rdi, [rip + 5f]",
    "mov esi, 0x280000", // O_PATH | O_CLOEXEC
    "syscall",
    "test eax, eax",
    "js 9f",
    "mov ebx, eax",
    "mov eax, 138",
    "mov edi, ebx",
    "mov rsi, rsp",
    "syscall",
    "mov r14d, eax",
    "mov eax, 3",
    "mov edi, ebx",
    "syscall",
    "test r14d, r14d",
    "js 9f",
    "test byte ptr [rsp + 80], 1", // f_flags, ST_RDONLY
    "jnz 9f",
    // open_tree: a mount of the file, attached nowhere.
    "mov eax, 428",
    "mov rdi, -100", // AT_FDCWD
    "lea rsi, [rip + 5f]",
    "mov edx, 0x80001", // OPEN_TREE_CLOEXEC | OPEN_TREE_CLONE
    "syscall",
    "test eax, eax",
    "js 9f",
    "mov ebx, eax",
    // mount_setattr: read-only.
    "mov qword ptr [rsp], 1", // MOUNT_ATTR_RDONLY
    "mov qword ptr [rsp + 8], 0",
    "mov qword ptr [rsp + 16], 0",
    "mov qword ptr [rsp + 24], 0",
    "mov eax, 442",
    "mov edi, ebx",
    "lea rsi, [rip + 6f]",
    "mov edx, 0x1000", // AT_EMPTY_PATH
    "mov r10, rsp",
    "mov r8d, 32",
    "syscall",
    "test eax, eax",
    "js 8f",
    // execveat: the same arguments and environment.
    "mov eax, 322",
    "mov edi, ebx",
    "lea rsi, [rip + 6f]",
    "lea rdx, [r12 + 8]",
    "mov rcx, [r12]",
    "lea r10, [r12 + 8 * rcx + 16]",
    "mov r8d, 0x1000", // AT_EMPTY_PATH
    "syscall",
    "8:",
    "mov eax, 3",
    "mov edi, ebx",
    "syscall",
    // What the kernel meant to call.
    "9:",
    "mov rsp, r12",
    "mov rdx, r13",
    "jmp _start",
    "5: .asciz \"/proc/self/exe\"",
    "6: .asciz \"\"",
    ".size barepod_entry, . - barepod_entry",
    ".popsection",
);

/// Opens the null device in place of standard files that are closed: what this program opens would become the standard
/// files of others. To be called first thing in `main`.
pub fn standard_files() {
    for fd in 0..3 {
        // SAFETY: asks for flags of a number, which is harmless for any; then opens a file nobody else knows of, which
        // gets the lowest number that is free.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}
