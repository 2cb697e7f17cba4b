//! Loading and attaching a device filter: on cgroup v2 devices are a BPF program, not files.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{check, check_fd};

/// One instruction of extended BPF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// Number in the instruction.
    pub immediate: i32,
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE` and attaches it to a v2 cgroup, where it stays when the
/// descriptors are closed.
///
/// # Errors
/// What `bpf(2)` says.
pub fn attach_device_filter(cgroup: BorrowedFd<'_>, program: &[Instruction], license: &CStr) -> io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    let load = Load {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the attribute is a prefix of bpf_attr as BPF_PROG_LOAD reads it; what it points to outlives the call.
    let program =
        check_fd(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of_val(&load)) })?;
    change(BPF_PROG_ATTACH, cgroup, program.as_fd(), BPF_F_ALLOW_MULTI)
}

/// Takes a program off a cgroup.
///
/// # Errors
/// What `bpf(2)` says.
pub fn detach_device_filter(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    change(BPF_PROG_DETACH, cgroup, program, 0)
}

fn change(command: libc::c_int, cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let attach = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags,
    };
    // SAFETY: the attribute is a prefix of bpf_attr as both commands read it, and both descriptors are open.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attach, size_of_val(&attach)) }).map(drop)
}

/// The device filters that are attached to a cgroup itself.
///
/// # Errors
/// What `bpf(2)` says.
pub fn device_filters(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    const MOST: u32 = 64;
    #[repr(C)]
    struct Query {
        target: u32,
        kind: u32,
        query_flags: u32,
        attach_flags: u32,
        programs: u64,
        count: u32,
        padding: u32,
    }
    let mut programs = [0_u32; MOST as usize];
    let mut query = Query {
        target: cgroup.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        programs: programs.as_mut_ptr() as u64,
        count: MOST,
        padding: 0,
    };
    // SAFETY: the attribute is a prefix of bpf_attr as BPF_PROG_QUERY reads and writes it; the kernel fills at most as
    // many elements of the array as it is told there are, and both outlive the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of_val(&query)) })?;
    let found = programs.iter().take(query.count.min(MOST) as usize);
    found
        .map(|id| {
            let by_id: [u32; 3] = [*id, 0, 0];
            // SAFETY: the attribute is a prefix of bpf_attr as BPF_PROG_GET_FD_BY_ID reads it.
            check_fd(unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    BPF_PROG_GET_FD_BY_ID,
                    by_id.as_ptr(),
                    size_of_val(&by_id),
                )
            })
        })
        .collect()
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
