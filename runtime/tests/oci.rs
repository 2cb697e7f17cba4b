//! The OCI command line with real bundles.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{runtime, until};

#[test]
fn run_to_the_end() {
    let bundle = Bundle::new("run", |document| {
        document["process"]["args"] = json!(["sh", "-c", "echo $$; hostname; ip -o addr; echo err >&2; exit 7"]);
        document["hostname"] = json!("inside");
    });
    let output = bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("1\ninside\n") && text.contains("127.0.0.1/8"),
        "{text}"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "err\n");
    assert_eq!(output.status.code(), Some(7));
    assert!(bundle.bad(&["state", &bundle.id]).contains("does not exist"));
}

#[test]
fn from_creation_to_deletion() {
    let bundle = Bundle::new("life", |document| {
        document["process"]["args"] = json!(["sleep", "1000"])
    });
    let id = bundle.id.as_str();
    let pid_file = bundle.dir.join("pid");
    bundle.good(&[
        "create",
        "--bundle",
        bundle.path(),
        "--pid-file",
        pid_file.to_str().unwrap(),
        id,
    ]);
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(bundle.status(), "created");
    assert_ne!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    assert!(
        bundle
            .bad(&["create", "--bundle", bundle.path(), id])
            .contains("exists already")
    );
    bundle.good(&["start", id]);
    assert_eq!(bundle.status(), "running");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    assert!(bundle.bad(&["start", id]).contains("running"));
    assert!(bundle.bad(&["delete", id]).contains("--force"));
    assert_eq!(bundle.good(&["list", "--quiet"]), format!("{id}\n"));
    assert!(
        bundle
            .good(&["list", "--format", "json"])
            .contains("\"status\":\"running\"")
    );

    let output = bundle.command(&[
        "exec",
        "--env",
        "A=1",
        "--cwd",
        "/tmp",
        "--user",
        "1000:1000",
        id,
        "sh",
        "-c",
        "echo $A; pwd; id -u; exit 5",
    ]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1\n/tmp\n1000\n");
    assert_eq!(output.status.code(), Some(5));
    assert!(
        bundle
            .bad(&["exec", id, "no-such"])
            .contains("executable file not found in $PATH")
    );

    bundle.good(&["kill", id, "SIGKILL"]);
    until("it has stopped", || (bundle.status() == "stopped").then_some(()));
    let state = bundle.good(&["state", id]);
    assert_eq!(serde_json::from_str::<Value>(&state).unwrap()["pid"], 0);
    let keys: Vec<&str> = state
        .split("\n  \"")
        .skip(1)
        .filter_map(|line| line.split('"').next())
        .collect();
    assert_eq!(
        keys,
        ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created"]
    );
    assert!(bundle.bad(&["kill", id]).contains("not running"));
    bundle.good(&["delete", id]);
    assert!(bundle.bad(&["delete", id]).contains("does not exist"));
    bundle.good(&["delete", "--force", id]);
}

#[test]
fn what_goes_wrong_is_told() {
    let bundle = Bundle::new("wrong", |document| document["process"]["args"] = json!(["no-such"]));
    let id = bundle.id.as_str();
    let config = bundle.dir.join("config.json");
    let wrong = fs::read_to_string(&config).unwrap();
    assert!(
        bundle
            .bad(&["create", "--bundle", bundle.path(), id])
            .contains("exec: \"no-such\": executable file not found in $PATH")
    );
    // What is seen only when it is executed is told to the one who starts it.
    let script = bundle.dir.join("script");
    fs::write(&script, "#!/no-such\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut document: Value = serde_json::from_str(&wrong).unwrap();
    document["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "destination": "/tmp/script", "type": "bind", "source": script, "options": ["bind"] }));
    document["process"]["args"] = json!(["/tmp/script"]);
    fs::write(&config, document.to_string()).unwrap();
    bundle.good(&["create", "--bundle", bundle.path(), id]);
    assert!(
        bundle
            .bad(&["start", id])
            .contains("exec /tmp/script: no such file or directory")
    );
    fs::write(&config, wrong).unwrap();
    until("it has stopped", || (bundle.status() == "stopped").then_some(()));
    bundle.good(&["delete", id]);
    let log = bundle.dir.join("log");
    let options = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    bundle.bad(&[&options[..], &["run", "--bundle", bundle.path(), id]].concat());
    let line: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(
        (&line["level"], line["msg"].as_str().unwrap().contains("no-such")),
        (&json!("error"), true)
    );

    let refused = Bundle::new("refused", |document| {
        document["linux"]["uidMappings"] = json!([{ "size": 1 }])
    });
    assert!(
        refused
            .bad(&["run", "--bundle", refused.path(), &refused.id])
            .contains("linux.uidMappings needs a user namespace")
    );
    assert!(
        bundle
            .bad(&["run", "--bundle", "/nonexistent", id])
            .contains("find the bundle")
    );
    assert!(bundle.bad(&["nothing"]).contains("there is no command nothing"));
    assert!(bundle.bad(&["state", "../x"]).contains("cannot be an id"));
}

#[test]
fn namespaces_are_joined_or_shared_as_asked() {
    let bundle = Bundle::new("namespaces", |document| {
        document["process"]["args"] = json!([
            "sh",
            "-c",
            "readlink /proc/self/ns/net /proc/self/ns/uts; for n in net uts ipc; do readlink /proc/self/ns/$n; done"
        ]);
        document["hostname"] = json!("");
        document["linux"]["namespaces"] = json!([
            { "type": "pid" }, { "type": "mount" }, { "type": "ipc" },
            { "type": "network", "path": "/proc/self/ns/net" }
        ]);
        document["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
    });
    let output = bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]);
    let text = String::from_utf8(output.stdout).unwrap();
    let own = |name: &str| {
        fs::read_link(Path::new("/proc/self/ns").join(name))
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    assert!(
        text.contains(&own("net")) && text.contains(&own("uts")) && !text.contains(&own("ipc")),
        "{text}"
    );
}

#[test]
fn features_are_a_document() {
    let output = Command::new(runtime()).arg("features").output().unwrap();
    let features: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rbind")));
    assert!(
        features["linux"]["capabilities"]
            .as_array()
            .unwrap()
            .contains(&json!("CAP_SYS_ADMIN")),
        "{features}"
    );
}

#[test]
fn a_program_that_ends_at_once_was_started() {
    let bundle = Bundle::new("short", |document| document["process"]["args"] = json!(["true"]));
    // Whoever gets the orphan may have reaped it before `start` looks.
    for _ in 0..40 {
        bundle.good(&["create", "--bundle", bundle.path(), &bundle.id]);
        bundle.good(&["start", &bundle.id]);
        until("it has stopped", || (bundle.status() == "stopped").then_some(()));
        bundle.good(&["delete", &bundle.id]);
    }
}
