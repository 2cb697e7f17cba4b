//! The program that holds a pod together, taken out of a running pod.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use barepod_tests::{eventually, within};

use crate::{own_node, space};

/// Types of program headers, elf(5).
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// The types of a 64-bit ELF file's program headers.
fn program_headers(elf: &[u8]) -> Vec<u32> {
    let number = |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0, |n, b| n << 8 | usize::from(*b));
    assert_eq!(&elf[..5], b"\x7fELF\x02");
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let headers = (0..count).map(|i| number(start + i * size, 4));
    headers.map(|kind| u32::try_from(kind).expect("four bytes")).collect()
}

/// pause as PID 1 of a PID namespace of its own.
fn alone(program: &std::path::Path) -> (Child, String) {
    let unshare = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(program)
        .stdin(Stdio::null())
        .spawn()
        .expect("unshare(1) runs");
    let id = unshare.id();
    let pid = eventually("pause is executed", || {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).map_err(|e| e.to_string())?;
        let pid = children.trim().to_owned();
        match fs::read_link(format!("/proc/{pid}/exe")) {
            Ok(exe) if exe == program => Ok(pid),
            other => Err(format!("{other:?}")),
        }
    });
    (unshare, pid)
}

#[test]
fn it_is_tiny_and_has_no_libc_reaps_and_leaves_when_told() {
    let c = own_node("pause");
    c.default_space().sleeper("box");
    let pid = c.barepod_json("ps")[0]["pause_pid"].to_string();
    let elf = c.dir().join("pause-program");
    c.run(&format!("cp /proc/{pid}/exe {}", elf.display()))
        .ok()
        .expect("its file");
    let bytes = fs::read(&elf).expect("its file");
    assert!(bytes.len() <= 16 << 10, "{} bytes", bytes.len());
    let headers = program_headers(&bytes);
    assert!(
        !headers.contains(&PT_INTERP) && !headers.contains(&PT_DYNAMIC),
        "{headers:?}"
    );
    let has = |word: &[u8]| bytes.windows(word.len()).any(|w| w == word);
    assert!(!has(b"GLIBC") && !has(b"libc") && !has(b"musl"), "no C library");
    for signal in ["TERM", "INT"] {
        let (mut unshare, pid) = alone(&elf);
        // A process that loses its parent becomes pause's child; when it ends nothing of it may stay.
        let orphan = format!("nsenter -t {pid} -p sh -c '(sleep 0.2 & echo $!) & wait'");
        Command::new("sh")
            .args(["-c", &orphan])
            .status()
            .expect("nsenter(1) runs");
        within(Duration::from_secs(10), "the orphan was reaped", || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
            if children.trim().is_empty() {
                Ok(())
            } else {
                Err(children)
            }
        });
        assert!(unshare.try_wait().expect("wait").is_none(), "it goes on");
        Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .expect("kill(1) runs");
        let status = unshare.wait().expect("wait");
        assert_eq!(status.code(), Some(0), "it leaves on SIG{signal}");
    }
    fs::remove_file(&elf).expect("removed");
}

#[test]
fn a_pod_has_no_zombies() {
    let n = space("zombies");
    n.sleeper("box");
    n.sh("box", "for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 &) ; done");
    eventually("all were reaped", || {
        let table = n.sh("box", "ps -o pid,ppid,stat,args");
        let left = table.contains(" Z ") || table.contains("sleep 0.1");
        if left { Err(table) } else { Ok(()) }
    });
    assert_eq!(
        n.sh("box", "ps -o pid,args | head -n 2 | tail -n 1 | tr -s ' ' ' '")
            .trim(),
        "1 /pause"
    );
}

#[test]
fn the_install_is_one_static_file() {
    let program = fs::read(barepod_tests::barepod()).expect("barepod");
    let headers = program_headers(&program);
    assert!(
        !headers.contains(&PT_INTERP),
        "it needs no loader and no libraries: {headers:?}"
    );
}
