//! System calls that the profile does not allow are refused, those that nobody has heard of among them, and all of
//! other architectures.

use barepod_runtime::seccomp::table;
use barepod_runtime::spec;
use serde_json::json;

use crate::attacker::syscalls::UNKNOWN;
use crate::bundle::Hostile;
use crate::escaped;

/// What an ordinary container must not call.
const DANGEROUS: [&str; 48] = [
    "acct",
    "add_key",
    "bpf",
    "clock_settime",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "quotactl",
    "reboot",
    "request_key",
    "set_mempolicy",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "umount2",
    "unshare",
];

/// An error number of our own, so that no refusal of the kernel's is taken for the filter's.
const REFUSED: u32 = 77;

pub fn attack() {
    let mut numbers: Vec<String> = DANGEROUS
        .iter()
        .filter_map(|name| Some(table::number(name)?.to_string()))
        .collect();
    assert!(numbers.len() >= 40, "{} of them are here", numbers.len());
    numbers.extend(UNKNOWN.map(|number| number.to_string()));
    let mut profile = serde_json::to_value(spec::default_seccomp(&spec::default_capabilities())).unwrap();
    profile["defaultErrnoRet"] = json!(REFUSED);
    let arguments: Vec<&str> = std::iter::once("syscalls")
        .chain(numbers.iter().map(String::as_str))
        .collect();
    let said = Hostile::new("calls", &arguments, |document| document["linux"]["seccomp"] = profile)
        .bundle
        .said();
    for number in &numbers {
        let line = said.lines().find(|line| line.starts_with(&format!("call {number} ")));
        // What is of another architecture ends the program.
        let refused = |line: &str| line.ends_with(&format!(" {REFUSED}")) || line.contains("SIGSYS");
        if !line.is_some_and(refused) {
            escaped!("system call {number}: {line:?}");
        }
    }
    // Those of threads and processes have arguments that matter: in vain is what C libraries fall back from.
    let clone3 = table::number("clone3").expect("every architecture has it").to_string();
    let said = Hostile::new("clone3", &["syscalls", &clone3], |_| {}).bundle.said();
    assert!(said.contains(&format!("call {clone3} {}", libc::ENOSYS)), "{said}");
    let output = Hostile::new("foreign", &["foreign-syscall"], |_| {}).bundle.said();
    if output.contains("foreign") {
        escaped!("a system call of another architecture: {output}");
    }
}
