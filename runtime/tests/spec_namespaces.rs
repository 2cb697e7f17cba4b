//! `linux.namespaces` and what goes with them, in containers that really run.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{base, until};

/// A process in namespaces of its own, for containers to join.
struct Holder {
    child: Child,
    pid: String,
}

impl Holder {
    fn new(options: &[&str]) -> Self {
        let mut child = Command::new("unshare")
            .args(options)
            .args(["sh", "-c", "echo $$; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut pid = child.id().to_string();
        if options.contains(&"--fork") {
            let children = format!("/proc/{pid}/task/{pid}/children");
            pid = fs::read_to_string(children).unwrap().trim().to_owned();
        }
        Self { child, pid }
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.pid)
    }

    fn inode(&self, name: &str) -> String {
        fs::read_link(self.path(name)).unwrap().to_string_lossy().into_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn bundle(name: &str, script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::new(name, |document| {
        document["process"]["args"] = json!(["sh", "-c", script]);
        change(document);
    })
}

#[track_caller]
fn says(name: &str, script: &str, change: impl FnOnce(&mut Value)) -> String {
    let bundle = bundle(name, script, change);
    bundle.good(&["run", "--bundle", bundle.path(), &bundle.id])
}

#[track_caller]
fn refused(name: &str, words: &str, change: impl FnOnce(&mut Value)) {
    let bundle = bundle(name, "echo it ran", change);
    let said = bundle.bad(&["run", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains(words) && said.trim_end().lines().count() == 1, "{said}");
}

/// Changes the path of a namespace, or takes the whole entry out.
fn set(document: &mut Value, kind: &str, path: Option<&str>) {
    let list = document["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != kind);
    list.extend(path.map(|path| {
        if path.is_empty() {
            json!({ "type": kind })
        } else {
            json!({ "type": kind, "path": path })
        }
    }));
}

fn own(name: &str) -> String {
    fs::read_link(Path::new("/proc/self/ns").join(name))
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

const LIST: &str = "for n in pid net ipc uts cgroup time mnt; do readlink /proc/self/ns/$n; done";

#[test]
fn each_kind_is_made_joined_or_inherited() {
    let made = says("ns-new", LIST, |document| set(document, "time", Some("")));
    for (_, file) in KINDS {
        assert!(!made.contains(&own(file)), "{file}: {made}");
    }
    let holder = Holder::new(&[
        "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup", "--time", "--mount",
    ]);
    let joined = says("ns-path", LIST, |document| {
        for (kind, file) in KINDS {
            set(document, kind, Some(&holder.path(file)));
        }
    });
    for (_, file) in KINDS {
        assert!(joined.contains(&holder.inode(file)), "{file}: {joined}");
    }
    let inherited = says("ns-none", LIST, |document| {
        document["hostname"] = json!("");
        for kind in ["network", "ipc", "uts", "cgroup"] {
            set(document, kind, None);
        }
        document["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| mount["type"] != "sysfs" && mount["type"] != "mqueue");
    });
    for file in ["net", "ipc", "uts", "cgroup", "time"] {
        assert!(inherited.contains(&own(file)), "{file}: {inherited}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    refused("ns-type", "is no ipc namespace", |d| {
        set(d, "ipc", Some("/proc/self/ns/net"))
    });
    refused("ns-gone", "open the namespace /nowhere", |d| {
        set(d, "ipc", Some("/nowhere"))
    });
    refused("ns-relative", "not absolute", |d| {
        set(d, "ipc", Some("proc/self/ns/ipc"))
    });
    refused("ns-twice", "ipc twice", |d| {
        d["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "ipc" }));
    });
    refused("ns-host", "hostname needs a uts namespace", |d| set(d, "uts", None));
    refused("ns-sysctl", "shares with the machine", |d| {
        set(d, "network", Some("/proc/self/ns/net"));
        d["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    });
    refused("ns-machine", "would change the whole machine", |d| {
        d["linux"]["sysctl"] = json!({ "kernel.panic": "1", "net.ipv4.ip_forward": "1" });
    });
}

#[test]
fn names_and_parameters() {
    let out = says(
        "names",
        "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax",
        |d| {
            d["hostname"] = json!("inside");
            d["domainname"] = json!("example.test");
            d["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel/shmmax": "4096" });
        },
    );
    assert_eq!(out, "inside\nexample.test\n1\n4096\n");
}

#[test]
fn clocks_of_a_time_namespace() {
    let before: f64 = fs::read_to_string("/proc/uptime")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let bundle = bundle(
        "time",
        "cut -d ' ' -f 1 /proc/uptime; cat /proc/self/timens_offsets; sleep 1000",
        |d| {
            set(d, "time", Some(""));
            d["linux"]["timeOffsets"] =
                json!({ "boottime": { "secs": 86400, "nanosecs": 5 }, "monotonic": { "secs": 7 } });
        },
    );
    let id = bundle.id.as_str();
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), id]);
    let text = until("it has written", || {
        let text = fs::read_to_string(bundle.dir.join("out")).unwrap();
        (text.lines().count() == 3).then_some(text)
    });
    let uptime: f64 = text.lines().next().unwrap().parse().unwrap();
    assert!(uptime - before >= 86_400.0, "{text}");
    let offsets: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(offsets, [["monotonic", "7", "0"], ["boottime", "86400", "5"]]);
    let inside = bundle.good(&[
        "exec",
        id,
        "sh",
        "-c",
        "readlink /proc/self/ns/time; readlink /proc/1/ns/time",
    ]);
    assert_eq!(
        inside.lines().next(),
        inside.lines().nth(1),
        "an exec has the container's clocks"
    );
    assert!(!inside.contains(&own("time")));
}

/// A root file system that belongs to the users of a user namespace.
fn owned_root(bundle: &Bundle, user: u32) {
    let root = bundle.dir.join("rootfs");
    fs::remove_file(&root).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(base().join("rootfs"))
        .arg(&root)
        .status()
        .unwrap();
    assert!(copied.success());
    let owned = Command::new("chown")
        .args(["-hR", &format!("{user}:{user}")])
        .arg(&root)
        .status()
        .unwrap();
    assert!(owned.success());
}

fn in_user_namespace(document: &mut Value) {
    set(document, "user", Some(""));
    let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    document["linux"]["uidMappings"] = mapping.clone();
    document["linux"]["gidMappings"] = mapping;
    document["root"]["readonly"] = json!(false);
}

#[test]
fn users_of_a_user_namespace() {
    let script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -G; touch /new && ls -ln /new | cut -c 1-17; \
        echo x >/dev/null; head -c 4 /dev/zero | wc -c; hostname; readlink /proc/self/ns/user; \
        stat -c %u:%g:%t:%T:%a /dev/null /dev/made; echo done; exec sleep 1000";
    let bundle = bundle("users", script, |document| {
        in_user_namespace(document);
        document["hostname"] = json!("mapped");
        document["process"]["user"]["additionalGids"] = json!([7]);
        document["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "user.max_pid_namespaces": "5" });
        document["linux"]["resources"]["pids"] = json!({ "limit": 100 });
        document["linux"]["devices"] = json!([{ "path": "/dev/made", "type": "c", "major": 1, "minor": 5, "uid": 3, "gid": 4, "fileMode": 0o426 }]);
        document["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 }]);
    });
    owned_root(&bundle, 100_000);
    let id = bundle.id.as_str();
    bundle.good(&["create", "--bundle", bundle.path(), id]);
    assert_eq!(bundle.status(), "created");
    bundle.good(&["start", id]);
    let out = until("it has written", || {
        let text = fs::read_to_string(bundle.dir.join("out")).unwrap();
        text.ends_with("done\n").then_some(text)
    });
    let lines: Vec<String> = out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines[..4], ["0 100000 65536", "0 100000 65536", "0", "0 7"]);
    assert!(lines[4].starts_with("-rw-r--r-- 1 0"), "{out}");
    assert_eq!(lines[5..7], ["4", "mapped"]);
    assert_ne!(lines[7], own("user"));
    assert_eq!(lines[8..11], ["0:0:1:3:666", "3:4:1:5:426", "done"], "{out}");
    let new = fs::metadata(bundle.dir.join("rootfs/new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&new), 100_000);

    let exec = "id -u; readlink /proc/self/ns/user; ulimit -n; touch /tmp/by-exec && ls -ln /tmp/by-exec | cut -c 1-17";
    let inside = bundle.good(&["exec", "--user", "9:9", id, "sh", "-c", "id -u; cat /proc/self/uid_map"]);
    assert!(inside.starts_with("9\n"), "{inside}");
    let inside = bundle.good(&["exec", id, "sh", "-c", exec]);
    assert!(inside.starts_with(&format!("0\n{}\n50\n-rw", lines[7])), "{inside}");

    // Nobody named, its maker is root there, and the only one.
    let alone = self::bundle(
        "users-alone",
        "cat /proc/self/uid_map /proc/self/gid_map; id -u",
        |document| {
            set(document, "user", Some(""));
            for mount in document["mounts"].as_array_mut().unwrap() {
                let options = mount["options"].as_array_mut();
                options
                    .into_iter()
                    .for_each(|options| options.retain(|option| option != "gid=5"));
            }
        },
    );
    let out = alone.good(&["run", "--bundle", alone.path(), &alone.id]);
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "1", "0", "0", "1", "0"]);

    // Another container in the first one's user namespace, and in its others.
    let pid = {
        let state: Value = serde_json::from_str(&bundle.good(&["state", id])).unwrap();
        state["pid"].to_string()
    };
    let joins = self::bundle(
        "users-join",
        "for n in user net ipc; do readlink /proc/self/ns/$n; done; stat -c %u /v/file; id -u; ls /dev/null",
        |document| {
            for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc")] {
                set(document, kind, Some(&format!("/proc/{pid}/ns/{file}")));
            }
            document["root"]["readonly"] = json!(false);
            // It is mapped as the namespace that is joined.
            let volume = json!({ "destination": "/v", "source": "volume", "options": ["bind", "idmap"] });
            document["mounts"].as_array_mut().unwrap().push(volume);
        },
    );
    owned_root(&joins, 100_000);
    fs::create_dir(joins.dir.join("volume")).unwrap();
    fs::write(joins.dir.join("volume/file"), "").unwrap();
    std::os::unix::fs::chown(joins.dir.join("volume/file"), Some(5), None).unwrap();
    let out = joins.good(&["run", "--bundle", joins.path(), &joins.id]);
    let net = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(out.lines().next().unwrap(), lines[7]);
    assert_eq!(out.lines().nth(1).unwrap(), net.to_string_lossy());
    assert!(out.ends_with("5\n0\n/dev/null\n"), "{out}");
}

#[test]
fn a_user_namespace_joins_others() {
    let holder = Holder::new(&["--net", "--ipc"]);
    let bundle = bundle(
        "users-net",
        "readlink /proc/self/ns/net; cat /proc/self/uid_map",
        |document| {
            in_user_namespace(document);
            set(document, "network", Some(&holder.path("net")));
            // sysfs shows a network namespace, over which the container has no rights.
            document["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
        },
    );
    owned_root(&bundle, 100_000);
    let out = bundle.good(&["run", "--bundle", bundle.path(), &bundle.id]);
    assert!(out.starts_with(&holder.inode("net")) && out.contains("100000"), "{out}");
}

#[test]
fn a_mount_namespace_is_shared() {
    // The machine's: nothing of the container is left in it afterwards.
    let mounts = || -> Vec<String> {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        text.lines()
            .map(|line| line.split(' ').nth(4).unwrap().to_owned())
            .collect()
    };
    let shared = |document: &mut Value| {
        set(document, "mount", None);
        document["root"]["readonly"] = json!(false);
    };
    let bundle = bundle(
        "mount-none",
        "readlink /proc/self/ns/mnt; ls / | tr '\\n' ' '; sleep 1000",
        shared,
    );
    let (before, id) = (mounts(), bundle.id.as_str());
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), id]);
    let out = until("it has written", || {
        let text = fs::read_to_string(bundle.dir.join("out")).unwrap();
        text.contains("usr").then_some(text)
    });
    let own = fs::read_link("/proc/thread-self/ns/mnt").unwrap();
    assert!(
        out.starts_with(&*own.to_string_lossy()) && out.contains("bin dev etc"),
        "{out}"
    );
    let inside = bundle.good(&["exec", id, "sh", "-c", "ls /bin/busybox; [ ! -e /work ]"]);
    assert_eq!(inside, "/bin/busybox\n");
    bundle.good(&["delete", "--force", id]);
    assert_eq!(mounts(), before);

    let holder = Holder::new(&["--mount", "--propagation", "private"]);
    let joined = self::bundle(
        "mount-path",
        "readlink /proc/self/ns/mnt; ls / | tr '\\n' ' '",
        |document| {
            set(document, "mount", Some(&holder.path("mnt")));
        },
    );
    let out = joined.good(&["run", "--bundle", joined.path(), &joined.id]);
    assert!(
        out.starts_with(&holder.inode("mnt")) && out.contains("bin dev etc"),
        "{out}"
    );
    assert_eq!(mounts(), before);
}
