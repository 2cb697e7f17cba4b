//! A container that ends while something is executed in it: the program runs inside or not at all, never outside.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use barepod_runtime::sys::process::{pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use crate::attacker::NAME;
use crate::bundle::{Hostile, add_mount, pod_container};
use crate::escaped;
use crate::harness::race;
use crate::support::{Pod, Scratch, budget, process};

const CANARY: &str = "outside";

pub fn attack() {
    let dir = Scratch::new("death");
    fs::write(dir.join(CANARY), "outside").unwrap();
    // The same program by the same name on both sides.
    let program = dir.join(NAME);
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    command_line(&dir, &program);
    in_a_pod();
}

fn command_line(dir: &Path, program: &Path) {
    let hostile = Hostile::new("death", &["sleep", "1000"], |document| {
        document["root"]["readonly"] = json!(false);
        let namespaces = document["linux"]["namespaces"].as_array_mut().unwrap();
        // Nobody else's end takes the executed one along.
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let bundle = &hostile.bundle;
    bundle.change(|document| add_mount(document, program.to_str().unwrap(), program, &["bind", "ro"]));
    let canary = dir.join(CANARY);
    let (mut ran, mut refused) = (0, 0);
    let end = Instant::now() + Duration::from_secs(race(2));
    // Until both have happened, however busy the machine is.
    for number in 0.. {
        if Instant::now() > end && (ran > 0 && refused > 0 || number > 1000) {
            break;
        }
        bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
        let state: Value = serde_json::from_str(&bundle.good(&["state", &bundle.id])).unwrap();
        let first = pidfd_open(i32::try_from(state["pid"].as_i64().unwrap()).unwrap()).unwrap();
        let mut exec = bundle.prepare(&[
            "exec",
            &bundle.id,
            program.to_str().unwrap(),
            "read",
            canary.to_str().unwrap(),
        ]);
        let exec = exec.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(number * 397 % (12_000 << (number / 30).min(6))));
        // Dead already it cannot be: it sleeps.
        pidfd_send_signal(std::os::fd::AsFd::as_fd(&first), libc::SIGKILL).unwrap();
        let output = exec.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("\"outside\"") {
            escaped!("try {number}: it ran outside");
        }
        if said.contains("failed") {
            ran += 1;
        } else {
            refused += 1;
        }
        bundle.good(&["delete", "--force", &bundle.id]);
    }
    assert!(
        ran > 0 && refused > 0,
        "{ran} ran and {refused} were refused: the moment was never hit"
    );
}

fn in_a_pod() {
    let tries = budget("BAREPOD_ESCAPE_TRIES", 40, 2000);
    let mut pod = Pod::new("death");
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    for number in 0..tries {
        let lasts = format!("{:.4}", (number * 397 % 60) as f64 / 10_000.0);
        let container = pod_container(&pod, &["sleep", &lasts]);
        pod.run(&container).unwrap();
        let (read, write) = crate::support::pipe();
        let exec = pod.exec_with(
            &container.id,
            "e",
            process(&["/attacker", "links", "/proc/self/ns/mnt"]),
            &write,
        );
        drop(write);
        let said = crate::support::read_all(read);
        assert!(exec.is_err() || !said.is_empty() || exec.is_ok_and(|exit| exit.code != 0));
        if said.contains(&*own.to_string_lossy()) {
            escaped!("try {number}: {said}");
        }
        pod.wait(&container.id);
    }
    pod.stop();
}
