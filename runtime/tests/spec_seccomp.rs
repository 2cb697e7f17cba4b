//! `linux.seccomp` of an OCI configuration, in containers that really run.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use support::bundle::Bundle;
use support::patience;

/// A container with a profile.
fn bundle(name: &str, script: &str, profile: Value) -> Bundle {
    Bundle::new(name, |document| {
        document["process"]["args"] = json!(["sh", "-c", script]);
        document["root"]["readonly"] = json!(true);
        document["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
        document["linux"]["seccomp"] = profile;
    })
}

/// A profile that allows everything but `mkdir`, for which there is an action.
fn but_mkdir(action: &str) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": action }] })
}

fn run(bundle: &Bundle) -> (i32, String, String) {
    let output = bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_action_does_what_it_says() {
    // The shell tells how its child ended.
    const TRY: &str = "mkdir /tmp/x; echo $?";
    for (action, code, words) in [
        ("SCMP_ACT_ALLOW", "0", ""),
        ("SCMP_ACT_LOG", "0", ""),
        ("SCMP_ACT_ERRNO", "1", "Operation not permitted"),
        ("SCMP_ACT_TRACE", "1", "Function not implemented"),
        ("SCMP_ACT_TRAP", "159", ""),
        ("SCMP_ACT_KILL", "159", ""),
        ("SCMP_ACT_KILL_THREAD", "159", ""),
        ("SCMP_ACT_KILL_PROCESS", "159", ""),
    ] {
        let (_, out, err) = run(&bundle("action", TRY, but_mkdir(action)));
        assert_eq!(out, format!("{code}\n"), "{action}: {err}");
        assert!(err.contains(words), "{action}: {err}");
    }
}

#[test]
fn error_numbers() {
    let mut profile = but_mkdir("SCMP_ACT_ERRNO");
    profile["syscalls"][0]["errnoRet"] = json!(libc::ENOSPC);
    assert!(
        run(&bundle("errno", "mkdir /tmp/x", profile))
            .2
            .contains("No space left on device")
    );
    let mut profile = but_mkdir("SCMP_ACT_KILL");
    profile["syscalls"][0]["errnoRet"] = json!(1);
    let (code, _, err) = run(&bundle("errno-kill", "true", profile));
    assert!(
        code == 1 && err.contains("SCMP_ACT_KILL of mkdir returns no error number"),
        "{err}"
    );
}

#[test]
fn arguments_are_looked_at() {
    // kill(2) of signal 0 only.
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["kill"], "action": "SCMP_ACT_ERRNO",
        "args": [{ "index": 1, "value": 0, "op": "SCMP_CMP_NE" }] }] });
    let (_, out, err) = run(&bundle(
        "arguments",
        "sleep 100 & kill -0 $! && echo yes; kill $! || echo no; exec true",
        profile,
    ));
    assert_eq!(out, "yes\nno\n", "{err}");
}

#[test]
fn flags_are_taken() {
    let mut profile = but_mkdir("SCMP_ACT_ERRNO");
    profile["flags"] = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    ]);
    let (code, out, err) = run(&bundle(
        "flags",
        "grep Seccomp: /proc/self/status | cut -f 2",
        profile.clone(),
    ));
    assert_eq!((code, out.as_str()), (0, "2\n"), "{err}");
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_FLY"]);
    assert_eq!(run(&bundle("flags-bad", "true", profile)).0, 1);
}

#[test]
fn with_and_without_new_privileges() {
    // Only what comes after the filter has to be allowed by it.
    let names = json!([
        "execve",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlink",
        "readlinkat",
        "getrandom",
        "mprotect",
        "write",
        "writev",
        "exit_group",
        "uname",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "mmap",
        "munmap",
        "ioctl",
        "fstat",
        "newfstatat",
        "rt_sigaction",
        "rt_sigprocmask",
        "getpid",
        "getppid",
        "getcwd",
        "stat",
        "prctl",
        "capset",
        "fcntl",
        "dup2",
        "close",
        "open",
        "openat",
        "read",
        "lseek",
        "fork",
        "clone",
        "wait4",
        "rt_sigreturn",
        "tgkill",
        "gettid",
        "poll",
        "fadvise64",
        "getresuid",
        "getresgid"
    ]);
    for privileges in [true, false] {
        let bundle = bundle(
            "strict",
            "echo strict",
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            { "names": names, "action": "SCMP_ACT_ALLOW" }
        ] }),
        );
        bundle.change(|document| {
            document["process"]["noNewPrivileges"] = json!(privileges);
            document["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        });
        let (code, out, err) = run(&bundle);
        assert_eq!((code, out.as_str()), (0, "strict\n"), "{privileges}: {err}");
    }
}

/// A program of 32 bits that asks for its process id and says whether it got it: an ELF header, one program header,
/// and code, without a compiler.
fn program_of_32_bits() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const START: u32 = 52 + 32;
    const CODE: [u8; 48] = [
        0xb8, 20, 0, 0, 0, // mov eax, getpid
        0xcd, 0x80, // int 0x80
        0xbb, 1, 0, 0, 0, // mov ebx, 1
        0xb9, 0, 0, 0, 0, // mov ecx, "yes"
        0xba, 4, 0, 0, 0, // mov edx, 4
        0x85, 0xc0, // test eax, eax
        0x7f, 0x08, // jg over the next two
        0x83, 0xc1, 4, // add ecx, 4: "no"
        0xba, 3, 0, 0, 0, // mov edx, 3
        0xb8, 4, 0, 0, 0, // mov eax, write
        0xcd, 0x80, // int 0x80
        0x31, 0xdb, // xor ebx, ebx
        0x8d, 0x43, 1, // lea eax, [ebx + 1]: exit
        0xcd, 0x80, // int 0x80
    ];
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let mut code = CODE.to_vec();
    code[13..17].copy_from_slice(&(BASE + START + length(&CODE)).to_le_bytes());
    code.extend(b"yes\nno\n");
    let mut program = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let size = START + length(&code);
    // ET_EXEC for EM_386.
    for half in [2_u16, 3] {
        program.extend(half.to_le_bytes());
    }
    for word in [1, BASE + START, 52, 0, 0] {
        program.extend(word.to_le_bytes());
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        program.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        program.extend(word.to_le_bytes());
    }
    program.extend(code);
    program
}

#[test]
#[cfg(target_arch = "x86_64")]
fn programs_of_32_bits() {
    let profile = |architectures: Value| {
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures,
                "syscalls": [{ "names": ["getpid"], "action": "SCMP_ACT_ERRNO" }] })
    };
    for (architectures, denied, expected) in [
        (
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
            true,
            "no\n0\n",
        ),
        (json!(["SCMP_ARCH_X86"]), true, "no\n0\n"),
        (json!(["SCMP_ARCH_X86"]), false, "yes\n0\n"),
        (json!(["SCMP_ARCH_X86_64"]), true, "159\n"),
        (json!([]), true, "159\n"),
    ] {
        let mut profile = profile(architectures);
        if !denied {
            profile["syscalls"] = json!([]);
        }
        let bundle = bundle("x86", "/v/small; echo $?", profile);
        fs::create_dir(bundle.dir.join("volume")).unwrap();
        let program = bundle.dir.join("volume/small");
        fs::write(&program, program_of_32_bits()).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        bundle.change(|document| {
            document["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "destination": "/tmp/v", "source": "volume", "options": ["bind"] }));
            document["process"]["args"] = json!(["sh", "-c", "/tmp/v/small; echo $?"]);
        });
        let (_, out, err) = run(&bundle);
        assert_eq!(out, expected, "{err}");
    }
}

/// Takes one connection: what is said, and the descriptors that come with the first part.
fn listen(listener: &UnixListener) -> (Value, Vec<OwnedFd>) {
    let timeout = PollTimeout::try_from(patience()).unwrap();
    assert_eq!(
        poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], timeout).unwrap(),
        1,
        "nobody connects"
    );
    let (mut stream, _) = listener.accept().unwrap();
    let mut first = [0; 64];
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut parts = [IoSliceMut::new(&mut first)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let mut fds = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for us.
            fds.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    let bytes = message.bytes;
    let mut text = first[..bytes].to_vec();
    stream.read_to_end(&mut text).unwrap();
    (serde_json::from_slice(&text).unwrap(), fds)
}

#[test]
fn notifications_go_to_the_listener() {
    let mut profile = but_mkdir("SCMP_ACT_NOTIFY");
    profile["listenerMetadata"] = json!("of the agent");
    let bundle = bundle("notify", "echo started; mkdir /tmp/x; echo $?; sleep 1000", profile);
    let path = bundle.dir.join("listener");
    let listener = UnixListener::bind(&path).unwrap();
    bundle.change(|document| {
        document["linux"]["seccomp"]["listenerPath"] = json!(path);
        document["annotations"] = json!({ "a": "b" });
    });
    let id = bundle.id.as_str();
    let creating = bundle
        .prepare(&["create", "--bundle", bundle.path(), id])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (told, fds) = listen(&listener);
    assert!(creating.wait_with_output().unwrap().status.success());
    let state: Value = serde_json::from_str(&bundle.good(&["state", id])).unwrap();
    assert_eq!(
        (&told["state"]["status"], &state["status"]),
        (&json!("creating"), &json!("created"))
    );
    bundle.good(&["start", id]);
    assert_eq!(told["fds"], json!(["seccompFd"]));
    assert_eq!(
        (&told["metadata"], &told["pid"], &told["ociVersion"]),
        (&json!("of the agent"), &state["pid"], &json!("1.3.0"))
    );
    let of = &told["state"];
    assert_eq!(
        (&of["id"], &of["bundle"], &of["annotations"]),
        (&json!(id), &json!(bundle.path()), &json!({ "a": "b" }))
    );
    assert_eq!(fds.len(), 1);
    let link = fs::read_link(format!("/proc/self/fd/{}", fds[0].as_raw_fd())).unwrap();
    assert_eq!(link.to_str(), Some("anon_inode:seccomp notify"));
    // The call waits for an answer; when nobody is left to give it, it is as if the kernel had no such call.
    let timeout = PollTimeout::try_from(patience()).unwrap();
    assert_eq!(
        poll(&mut [PollFd::new(fds[0].as_fd(), PollFlags::POLLIN)], timeout).unwrap(),
        1
    );
    drop(fds);

    // An exec has the filter and a descriptor of its own.
    let mut exec = bundle.prepare(&["exec", id, "sh", "-c", "mkdir /tmp/y; echo $?"]);
    let mut exec = exec
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (told, fds) = listen(&listener);
    assert_eq!(
        (&told["state"]["status"], told["pid"] == state["pid"]),
        (&json!("running"), false)
    );
    assert_eq!(fds.len(), 1);
    drop(fds);
    let mut line = String::new();
    BufReader::new(exec.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    exec.wait().unwrap();
    assert_eq!(line, "1\n");
}

#[test]
fn notifications_that_nobody_takes() {
    let mut profile = but_mkdir("SCMP_ACT_NOTIFY");
    assert!(
        run(&bundle("notify-none", "true", profile.clone()))
            .2
            .contains("needs a listenerPath")
    );
    profile["listenerMetadata"] = json!("x");
    assert!(
        run(&bundle("notify-meta", "true", profile.clone()))
            .2
            .contains("goes with a listenerPath")
    );
    profile["listenerPath"] = json!("/no/such/socket");
    let bundle = bundle("notify-gone", "echo it ran", profile);
    let (code, out, err) = run(&bundle);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("connect to the seccomp listener /no/such/socket"), "{err}");
    let create = ["create", "--bundle", bundle.path(), &bundle.id];
    assert!(bundle.bad(&create).contains("/no/such/socket"));
    // Hooks of the start are executed under the filter as well, so it is no later for them.
    let hook = json!([{ "path": "/bin/true" }]);
    bundle.change(|document| document["hooks"] = json!({ "startContainer": hook }));
    assert!(bundle.bad(&create).contains("/no/such/socket"));
    // Where nothing is notified the path is of no interest.
    bundle.change(|document| document["linux"]["seccomp"]["syscalls"] = json!([]));
    assert_eq!(run(&bundle).1, "it ran\n");
}
