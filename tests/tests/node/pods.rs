//! The life of a pod: init containers, restarts, ends, deletion, confinement, static pods.

use barepod_tests::eventually;
use serde_json::Value;

use crate::{own_node, space};

fn status(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

#[test]
fn init_containers_run_first_and_sidecars_beside() {
    let n = space("init");
    n.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: staged}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: work, emptyDir: {}}]
  initContainers:
  - {name: first, image: 'tools:1', command: [sh, -c, 'echo first >>/work/order'], volumeMounts: [{name: work, mountPath: /work}]}
  - {name: beside, image: 'tools:1', restartPolicy: Always, command: [sh, -c, 'echo beside >>/work/order; exec sleep 1000'], volumeMounts: [{name: work, mountPath: /work}],
     startupProbe: {exec: {command: [grep, beside, /work/order]}, periodSeconds: 1}}
  - {name: second, image: 'tools:1', command: [sh, -c, 'echo second >>/work/order'], volumeMounts: [{name: work, mountPath: /work}]}
  containers:
  - {name: main, image: 'tools:1', command: [sh, -c, 'echo main >>/work/order; exec sleep 1000'], volumeMounts: [{name: work, mountPath: /work}]}
",
    );
    n.ready("staged");
    assert_eq!(
        n.sh("staged -c main", "cat /work/order"),
        "first\nbeside\nsecond\nmain\n"
    );
    let wide = n.kubectl("get pod staged --no-headers");
    assert!(wide.contains("2/2"), "{wide}");
}

#[test]
fn restart_policies_and_back_off() {
    let n = space("restart");
    let pod = |name: &str, policy: &str, code: u32| {
        n.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: {policy}, containers: [{{name: main, image: 'tools:1', \
             command: [sh, -c, 'echo last words >/dev/termination-log; exit {code}']}}]}}}}"
        ));
    };
    pod("never", "Never", 3);
    pod("done", "OnFailure", 0);
    pod("again", "OnFailure", 3);
    pod("always", "Always", 0);
    let phase = |wanted: &'static str| move |pod: &Value| pod["status"]["phase"] == wanted;
    let never = n.until_one("pods/never", "failed", phase("Failed"));
    let end = &status(&never)["state"]["terminated"];
    assert_eq!(
        (&end["exitCode"], &end["reason"]),
        (&3.into(), &"Error".into()),
        "{never}"
    );
    assert_eq!(end["message"].as_str().map(str::trim), Some("last words"));
    assert_eq!(status(&never)["restartCount"], 0);
    let done = n.until_one("pods/done", "succeeded", phase("Succeeded"));
    assert_eq!(status(&done)["state"]["terminated"]["reason"], "Completed");
    // The first restart comes at once, the next one after a wait that is told.
    for name in ["again", "always"] {
        let waiting = n.until_one(&format!("pods/{name}"), "backing off", |pod| {
            status(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        });
        assert_eq!(status(&waiting)["restartCount"], 1, "{waiting}");
        let message = status(&waiting)["state"]["waiting"]["message"]
            .as_str()
            .unwrap_or_default();
        assert!(message.contains("back-off 10s"), "{message}");
        n.event(name, "Back-off restarting failed container");
        assert!(n.kubectl(&format!("get pod {name}")).contains("CrashLoopBackOff"));
    }
    let twice = n.until_one("pods/again", "restarted again", |pod| status(pod)["restartCount"] == 2);
    assert_eq!(status(&twice)["lastState"]["terminated"]["exitCode"], 3);
}

#[test]
fn deletion_is_graceful() {
    let n = space("grace");
    let marks = n.cluster.dir().join("grace");
    std::fs::create_dir_all(&marks).expect("a directory");
    let pod = |name: &str, script: &str, grace: u32| {
        n.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: {grace}, volumes: [{{name: marks, hostPath: {{path: {}}}}}], \
             containers: [{{name: main, image: 'tools:1', volumeMounts: [{{name: marks, mountPath: /marks}}], \
             lifecycle: {{postStart: {{exec: {{command: [touch, /marks/{name}-started]}}}}, preStop: {{exec: {{command: [touch, /marks/{name}-stopping]}}}}}}, \
             command: [sh, -c, {}]}}]}}}}",
            marks.display(),
            serde_json::to_string(script).expect("a string"),
        ));
    };
    let polite = "trap 'touch /marks/polite-ended; exit 0' TERM; touch /marks/polite-runs; while :; do sleep 0.1; done";
    pod("polite", polite, 60);
    pod("stubborn", "trap '' TERM; while :; do sleep 0.1; done", 1);
    for name in ["polite", "stubborn"] {
        n.ready(name);
    }
    eventually("the trap is set", || {
        marks.join("polite-runs").exists().then_some(()).ok_or_else(String::new)
    });
    n.kubectl("delete pod polite stubborn --timeout=30s");
    for mark in ["polite-started", "polite-stopping", "polite-ended", "stubborn-stopping"] {
        assert!(marks.join(mark).exists(), "{mark} is missing");
    }
    // Deleted by force, the object goes at once; what ran is gone soon after.
    pod("forced", "trap '' TERM; while :; do sleep 0.1; done", 600);
    n.ready("forced");
    n.kubectl("delete pod forced --force --grace-period=0");
    n.try_kubectl("get pod forced").refused();
    eventually("the node has it no more", || {
        let listed = n.cluster.barepod("ps").stdout;
        if listed.contains("grace/forced") {
            Err(listed)
        } else {
            Ok(())
        }
    });
    std::fs::remove_dir_all(&marks).expect("the marks are ours");
}

#[test]
fn containers_are_confined() {
    let n = space("confined");
    n.sleeper("box");
    n.script("bare", "exec sleep 1000", ", securityContext: {allowPrivilegeEscalation: false, runAsUser: 65534, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}");
    n.ready("bare");
    let field = |pod: &str, name: &str| {
        let status = n.sh(pod, "cat /proc/1/status /proc/self/status");
        let line = status
            .lines()
            .rev()
            .find_map(|l| l.strip_prefix(&format!("{name}:")).map(str::trim).map(str::to_owned));
        line.expect("in status")
    };
    assert_eq!(
        field("box", "NoNewPrivs"),
        "0",
        "Kubernetes' default allows privilege escalation"
    );
    assert_eq!(field("box", "Seccomp"), "2");
    assert_eq!(field("box", "CapEff"), "00000000a80425fb");
    assert_eq!(field("bare", "NoNewPrivs"), "1");
    assert_eq!(field("bare", "CapBnd"), "0000000000000000");
    assert_eq!(n.sh("bare", "id -u").trim(), "65534");
    n.try_sh("bare", "touch /tmp/x").refused();
    for script in [
        "mount -t tmpfs x /mnt",
        "unshare -r true",
        "echo 1 >/proc/sys/kernel/panic",
        "cat /proc/kcore",
        "echo b >/proc/sysrq-trigger",
        "mknod /dev/sda b 8 0 && cat /dev/sda",
        "hostname other",
        "ls /proc/acpi/* | grep .",
    ] {
        let ran = n.try_sh("box", script);
        assert!(ran.code != 0, "{script}: {ran:?}");
    }
}

#[test]
fn out_of_memory_and_out_of_processes_are_told() {
    let n = space("limits");
    n.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: hog}, spec: {restartPolicy: Never, containers: [{name: main, image: 'tools:1', \
         command: [sh, -c, 'x=a; while :; do x=$x$x; done'], resources: {limits: {memory: 16Mi}}}]}}",
    );
    let hog = n.until_one("pods/hog", "out of memory", |pod| {
        status(pod)["state"]["terminated"]["reason"] == "OOMKilled"
    });
    assert_eq!(hog["status"]["phase"], "Failed");
    assert_eq!(status(&hog)["state"]["terminated"]["exitCode"], 137);
    n.sleeper("box");
    let files = "/sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/../pids.max";
    let ran = n.try_sh("box", &format!("cat {files} 2>/dev/null"));
    assert!(!ran.stdout.is_empty(), "the number of processes is counted: {ran:?}");
}

#[test]
fn static_pods_are_mirrored() {
    let c = own_node("static");
    let n = c.default_space();
    let dir = c.dir().join("etc/manifests");
    let pod = |seconds: u32| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: static}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: 'tools:1', command: [sleep, '{seconds}']}}]}}}}"
        )
    };
    std::fs::write(dir.join("broken.yaml"), "{apiVersion: v1, kind: Pod, metadata: [").expect("a file");
    std::fs::write(dir.join("static.yaml"), pod(1000)).expect("a file");
    let mirror = n.ready("static-node-1");
    assert!(
        mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string(),
        "{mirror}"
    );
    assert!(
        c.logs().contains("broken.yaml"),
        "the broken one is told of: {}",
        c.logs()
    );
    assert!(n.sh("static-node-1", "ps").contains("sleep 1000"));
    // A mirror that is deleted comes back, without touching what runs.
    let id = status(&mirror)["containerID"].clone();
    n.kubectl("delete pod static-node-1 --grace-period=0 --force");
    let again = n.until_one("pods/static-node-1", "mirrored again", |pod| {
        pod["metadata"]["uid"] != mirror["metadata"]["uid"] && barepod_tests::is_ready(pod)
    });
    assert_eq!(status(&again)["containerID"], id);
    // A changed manifest is another pod.
    std::fs::write(dir.join("static.yaml"), pod(2000)).expect("a file");
    n.until_one("pods/static-node-1", "made anew", |pod| {
        barepod_tests::is_ready(pod) && status(pod)["containerID"] != id
    });
    assert!(n.sh("static-node-1", "ps").contains("sleep 2000"));
    // It needs no API server.
    c.kill_daemons(&["control"]);
    std::fs::write(
        dir.join("second.yaml"),
        pod(3000).replace("name: static}", "name: second}"),
    )
    .expect("a file");
    eventually("the second one runs", || {
        let listed = c.barepod("ps").stdout;
        let runs = listed
            .lines()
            .any(|l| l.contains("default/second-node-1") && l.contains(" main ") && l.contains("running"));
        if runs { Ok(()) } else { Err(listed) }
    });
    c.up("");
    n.ready("second-node-1");
    for file in ["static.yaml", "second.yaml", "broken.yaml"] {
        std::fs::remove_file(dir.join(file)).expect("removed");
    }
    n.until("pods", "they go with their files", |all| all.is_empty());
}
