//! A process on its way into a container is the runtime's program for a moment: its file must not be written to through
//! it (CVE-2019-5736), nor its memory looked into.

use std::fs;

use serde_json::json;

use crate::bundle::{Hostile, pod_container};
use crate::escaped;
use crate::harness::{moment, race};
use crate::support::{Pod, output, process, until};

pub fn attack() {
    as_the_program();
    through_procfs();
    into_memory();
}

/// A container whose program is whatever executes it.
fn as_the_program() {
    let hostile = Hostile::new("itself", &[], |document| {
        document["process"]["args"] = json!(["/proc/self/exe", "features"])
    });
    let said = hostile.bundle.said();
    if !said.contains("is the container runtime itself") {
        escaped!("the runtime is a container's program: {said}");
    }
}

/// One that may look at every process of its own, and holds on to whatever it executes.
fn through_procfs() {
    let seconds = moment(1);
    let hostile = Hostile::new("holds", &["executables", &seconds.to_string()], |document| {
        for set in ["bounding", "effective", "permitted"] {
            document["process"]["capabilities"][set]
                .as_array_mut()
                .unwrap()
                .push(json!("CAP_SYS_PTRACE"));
        }
    });
    // An interpreter is executed as well, without being asked for.
    let script = hostile.root().join("script");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let bundle = &hostile.bundle;
    let out = bundle.dir.join("held");
    let mut command = bundle.prepare(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    assert!(
        command
            .stdout(fs::File::create(&out).unwrap())
            .status()
            .unwrap()
            .success()
    );
    let said = || fs::read_to_string(&out).unwrap();
    until("it looks", || said().contains("ready").then_some(()));
    while bundle.status() == "running" {
        // Either ends at once.
        bundle.command(&["exec", "--detach", &bundle.id, "/attacker", "hello"]);
        bundle.command(&["exec", "--detach", &bundle.id, "/script"]);
        if let Some(line) = said().lines().find(|line| line.starts_with("writable")) {
            escaped!("{line}");
        }
    }
    assert!(said().contains("sealed"), "the runtime was never seen: {}", said());
}

/// One with a container's ordinary rights looks into the memory of those that are about to have the same.
fn into_memory() {
    let seconds = race(2);
    let mut pod = Pod::new("peek");
    let container = pod_container(&pod, &["peek", &seconds.to_string()]);
    pod.run(&container).unwrap();
    let said = || output(&container.log_path);
    until("it looks", || said().contains("ready").then_some(()));
    let mut number = 0;
    while pod.describe().containers[0].exit.is_none() {
        number += 1;
        // It may end meanwhile.
        let _ = pod.exec(&container.id, &format!("e{number}"), process(&["/attacker", "hello"]));
        if let Some(line) = said().lines().find(|line| line.starts_with("memory")) {
            escaped!("{line}");
        }
    }
    assert!(number > 5, "only {number} were executed");
    pod.stop();
}
