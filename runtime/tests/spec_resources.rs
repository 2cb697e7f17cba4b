//! `linux.resources` of an OCI configuration: what the kernel says of the limits of containers that really run. Each test
//! knows the files of cgroup v1 and of v2; which it looks at the machine decides. The virtual machine's is v2.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use barepod_runtime::cgroup::{Cgroup, Layout, Mode};
use barepod_runtime::protocol::Request;
use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{Pod, until};

fn layout() -> Layout {
    Layout::detect().unwrap()
}

fn is_v2() -> bool {
    layout().mode == Mode::V2
}

/// A container that sleeps, with limits. It is created, not started.
struct Limited(Bundle);

impl Limited {
    fn new(name: &str, resources: Value) -> Self {
        Self::with(name, |document| {
            let all = document["linux"]["resources"].as_object_mut().unwrap();
            all.extend(resources.as_object().unwrap().clone());
        })
    }

    fn with(name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let bundle = Bundle::new(name, |document| {
            document["process"]["args"] = json!(["sleep", "1000"]);
            change(document);
        });
        bundle.good(&["create", "--bundle", bundle.path(), &bundle.id]);
        Self(bundle)
    }

    /// A file of the container's cgroup; the names are a controller's and its file's on v1, and the file's on v2.
    fn file(&self, controller: &str, v1: &str, v2: &str) -> PathBuf {
        let layout = layout();
        let path = PathBuf::from(format!("/barepodtest-{}/c", self.0.id));
        let cgroup = Cgroup::new(&layout, &path);
        if is_v2() {
            cgroup.tracker().join(v2)
        } else {
            cgroup.controller(controller).unwrap().join(v1)
        }
    }

    #[track_caller]
    fn says(&self, controller: &str, v1: (&str, &str), v2: (&str, &str)) {
        let path = self.file(controller, v1.0, v2.0);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text.trim(), if is_v2() { v2.1 } else { v1.1 }, "{}", path.display());
    }

    fn update(&self, resources: Value) -> Result<(), String> {
        let file = self.0.dir.join("resources.json");
        fs::write(&file, resources.to_string()).unwrap();
        let output = self
            .0
            .command(&["update", "--resources", file.to_str().unwrap(), &self.0.id]);
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }
}

#[track_caller]
fn refused(name: &str, words: &str, resources: Value) {
    let bundle = Bundle::new(name, |document| {
        let all = document["linux"]["resources"].as_object_mut().unwrap();
        all.extend(resources.as_object().unwrap().clone());
    });
    let said = bundle.bad(&["create", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains(words) && said.trim_end().lines().count() == 1, "{said}");
    assert!(!bundle.tracker().exists(), "nothing was made");
}

#[test]
fn processor_time() {
    let limited = Limited::new(
        "cpu",
        json!({ "cpu": { "shares": 2048, "quota": 20_000, "period": 50_000, "burst": 10_000 } }),
    );
    limited.says("cpu", ("cpu.shares", "2048"), ("cpu.weight", "174"));
    limited.says("cpu", ("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 50000"));
    limited.says("cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "20000 50000"));
    limited.says("cpu", ("cpu.cfs_burst_us", "10000"), ("cpu.max.burst", "10000"));
    limited.update(json!({ "cpu": { "quota": 5000, "burst": 0 } })).unwrap();
    limited.says("cpu", ("cpu.cfs_quota_us", "5000"), ("cpu.max", "5000 50000"));
    limited.update(json!({ "cpu": { "quota": -1 } })).unwrap();
    limited.says("cpu", ("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 50000"));
    limited.update(json!({ "cpu": { "idle": 1, "shares": null } })).unwrap();
    limited.says("cpu", ("cpu.idle", "1"), ("cpu.idle", "1"));
    limited.update(json!({ "cpu": { "idle": 0, "shares": 512 } })).unwrap();
    limited.says("cpu", ("cpu.idle", "0"), ("cpu.idle", "0"));
    limited.says("cpu", ("cpu.shares", "512"), ("cpu.weight", "59"));
    refused(
        "cpu-burst",
        "burst is larger",
        json!({ "cpu": { "quota": 1000, "burst": 2000 } }),
    );
    let words = if is_v2() {
        "cgroup v2 has nothing like it"
    } else {
        "CONFIG_RT_GROUP_SCHED"
    };
    if is_v2() || !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        refused(
            "cpu-rt",
            words,
            json!({ "cpu": { "realtimeRuntime": 1000, "realtimePeriod": 10_000 } }),
        );
    }
}

#[test]
fn processors_and_nodes() {
    let limited = Limited::new("cpuset", json!({ "cpu": { "cpus": "0", "mems": "0" } }));
    limited.says("cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0"));
    limited.says("cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0"));
    limited.0.good(&["start", &limited.0.id]);
    let allowed = limited
        .0
        .good(&["exec", &limited.0.id, "grep", "Cpus_allowed_list", "/proc/self/status"]);
    assert_eq!(allowed.split_whitespace().last(), Some("0"));
    refused("cpuset-none", "write ", json!({ "cpu": { "cpus": "999" } }));
}

#[test]
fn memory() {
    let mib = 1 << 20;
    let memory = json!({ "limit": 64 * mib, "reservation": 32 * mib });
    let limited = Limited::new("memory", json!({ "memory": memory }));
    limited.says(
        "memory",
        ("memory.limit_in_bytes", "67108864"),
        ("memory.max", "67108864"),
    );
    limited.says(
        "memory",
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.low", "33554432"),
    );
    limited.update(json!({ "memory": { "limit": 128 * mib } })).unwrap();
    limited.says(
        "memory",
        ("memory.limit_in_bytes", "134217728"),
        ("memory.max", "134217728"),
    );
    limited.update(json!({ "memory": { "limit": -1 } })).unwrap();
    limited.says(
        "memory",
        ("memory.limit_in_bytes", "9223372036854771712"),
        ("memory.max", "max"),
    );
    if limited
        .file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
        .exists()
    {
        let swapped = Limited::new("swap", json!({ "memory": { "limit": 64 * mib, "swap": 96 * mib } }));
        swapped.says(
            "memory",
            ("memory.memsw.limit_in_bytes", "100663296"),
            ("memory.swap.max", "33554432"),
        );
        swapped
            .update(json!({ "memory": { "limit": 128 * mib, "swap": 160 * mib } }))
            .unwrap();
        swapped.says(
            "memory",
            ("memory.memsw.limit_in_bytes", "167772160"),
            ("memory.swap.max", "33554432"),
        );
        swapped
            .update(json!({ "memory": { "limit": 32 * mib, "swap": 32 * mib } }))
            .unwrap();
        swapped.says(
            "memory",
            ("memory.memsw.limit_in_bytes", "33554432"),
            ("memory.swap.max", "0"),
        );
    }
    refused(
        "memory-swap",
        "below limit",
        json!({ "memory": { "limit": 2 * mib, "swap": mib } }),
    );
    refused("memory-tiny", "-2 is no limit", json!({ "memory": { "limit": -2 } }));
}

#[test]
fn memory_of_v1_alone() {
    if is_v2() {
        for memory in [
            json!({ "swappiness": 10 }),
            json!({ "disableOOMKiller": true }),
            json!({ "swap": 1 << 20 }),
        ] {
            refused("memory-v1", "linux.resources.memory", json!({ "memory": memory }));
        }
        return;
    }
    let limited = Limited::new(
        "memory-v1",
        json!({ "memory": { "swappiness": 10, "disableOOMKiller": true, "kernel": -1 } }),
    );
    limited.says("memory", ("memory.swappiness", "10"), ("", ""));
    let control = || fs::read_to_string(limited.file("memory", "memory.oom_control", "")).unwrap();
    assert!(control().contains("oom_kill_disable 1"));
    limited
        .update(json!({ "memory": { "disableOOMKiller": false } }))
        .unwrap();
    assert!(control().contains("oom_kill_disable 0"));
    refused(
        "memory-swappiness",
        "above 100",
        json!({ "memory": { "swappiness": 101 } }),
    );
}

#[test]
fn a_limit_below_what_is_in_use() {
    let limited = Limited::with("memory-check", |document| {
        document["linux"]["resources"]["memory"] = json!({ "limit": 128 << 20 });
        document["process"]["args"] = json!([
            "sh",
            "-c",
            "head -c 20000000 /dev/zero >/dev/shm/x; echo full; sleep 1000"
        ]);
    });
    limited.0.good(&["start", &limited.0.id]);
    until("it uses memory", || {
        fs::read_to_string(limited.0.dir.join("out"))
            .unwrap()
            .contains("full")
            .then_some(())
    });
    let error = limited
        .update(json!({ "memory": { "limit": 8 << 20, "checkBeforeUpdate": true } }))
        .unwrap_err();
    let words = if is_v2() {
        "below what is in use"
    } else {
        "memory.limit_in_bytes"
    };
    assert!(error.contains(words), "{error}");
    limited.says(
        "memory",
        ("memory.limit_in_bytes", "134217728"),
        ("memory.max", "134217728"),
    );
    assert_eq!(limited.0.status(), "running");
}

#[test]
fn processes() {
    let limited = Limited::new("pids", json!({ "pids": { "limit": 20 } }));
    limited.says("pids", ("pids.max", "20"), ("pids.max", "20"));
    limited.update(json!({ "pids": { "limit": -1 } })).unwrap();
    limited.says("pids", ("pids.max", "max"), ("pids.max", "max"));
    let none = Limited::new("pids-none", json!({ "pids": { "limit": 0 } }));
    none.says("pids", ("pids.max", "0"), ("pids.max", "0"));
}

#[test]
fn devices_by_rule() {
    let script = "head -c 1 /dev/zero | wc -c; cat /dev/fuse 2>&1 | head -n 1; mknod /tmp/m c 10 200 && echo made; cat /tmp/m 2>&1";
    let run = |name: &str, rules: Value| {
        let bundle = Bundle::new(name, |document| {
            document["process"]["args"] = json!(["sh", "-c", script]);
            document["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "t" }));
            document["linux"]["devices"] = json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }]);
            document["linux"]["resources"]["devices"] = rules;
        });
        String::from_utf8(bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]).stdout).unwrap()
    };
    let all = json!({ "allow": false, "access": "rwm" });
    let fuse = json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "r" });
    let nodes = json!({ "allow": true, "type": "c", "access": "m" });
    let out = run("devices-none", json!([all]));
    assert!(
        out.starts_with("1\ncat: can't open '/dev/fuse': Operation not permitted"),
        "{out}"
    );
    assert!(
        out.contains("made\n"),
        "every container may make nodes, and not open them: {out}"
    );
    let out = run("devices-some", json!([all, fuse, nodes]));
    assert!(
        !out.contains("/dev/fuse': Operation not permitted") && out.contains("made\n"),
        "{out}"
    );
    assert!(out.contains("/tmp/m': Operation not permitted"), "{out}");
    let denied = json!({ "allow": false, "type": "c", "major": 10, "minor": 229, "access": "r" });
    let out = run("devices-again", json!([all, fuse, denied]));
    assert!(out.contains("/dev/fuse': Operation not permitted"), "{out}");
}

#[test]
fn other_device_rules_for_a_running_container() {
    let script = "while ! (exec 3</dev/fuse) 2>/dev/null; do sleep 0.05; done; echo open; \
        while (exec 3</dev/fuse) 2>/dev/null; do sleep 0.05; done; echo closed";
    let mut pod = Pod::new("devices-update");
    let mut container = pod.container(&["sh", "-c", script]);
    let fuse = json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }]);
    let linux = container.spec.linux_mut().as_mut().unwrap();
    linux.set_devices(serde_json::from_value(fuse).unwrap());
    pod.run(&container).unwrap();
    let mut update = |rules: Value| {
        let resources = serde_json::from_value(json!({ "devices": rules })).unwrap();
        let id = container.id.clone();
        pod.ask(Request::Update { id, resources }).unwrap();
    };
    let none = json!({ "allow": false, "access": "rwm" });
    let fuse = json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" });
    update(json!([none, fuse]));
    until("it can be opened", || {
        support::output(&container.log_path).contains("open").then_some(())
    });
    update(json!([none]));
    assert_eq!(pod.wait(&container.id).code, 0);
    assert_eq!(
        support::output(&container.log_path),
        "open\nclosed\n",
        "the new rules are in the place of the old ones"
    );
    pod.stop();
}

/// A disk of the machine, as `major:minor`.
fn disk() -> Option<String> {
    let disks = fs::read_dir("/sys/block").unwrap().flatten();
    let mut numbers: Vec<String> = disks
        .filter(|disk| !disk.file_name().to_string_lossy().starts_with("ram"))
        .filter_map(|disk| Some(fs::read_to_string(disk.path().join("dev")).ok()?.trim().to_owned()))
        .collect();
    numbers.sort();
    numbers.pop()
}

#[test]
fn disks() {
    let disk = disk().expect("every machine has some block device");
    let (major, minor) = disk.split_once(':').unwrap();
    let device = |rate: u64| {
        let number = |text: &str| text.parse::<i64>().unwrap();
        json!([{ "major": number(major), "minor": number(minor), "rate": rate }])
    };
    let limited = Limited::new(
        "blkio",
        json!({ "blockIO": {
            "throttleReadBpsDevice": device(1_048_576), "throttleWriteBpsDevice": device(2_097_152),
            "throttleReadIOPSDevice": device(100), "throttleWriteIOPSDevice": device(200)
        } }),
    );
    let line = format!("{disk} rbps=1048576 wbps=2097152 riops=100 wiops=200");
    for (file, rate) in [
        ("read_bps", "1048576"),
        ("write_bps", "2097152"),
        ("read_iops", "100"),
        ("write_iops", "200"),
    ] {
        let file = format!("blkio.throttle.{file}_device");
        limited.says("blkio", (&file, &format!("{disk} {rate}")), ("io.max", &line));
    }
    refused("blkio-weight", "from 10 to 1000", json!({ "blockIO": { "weight": 5 } }));
    if is_v2() {
        let weighted = Limited::new("io-weight", json!({ "blockIO": { "weight": 500 } }));
        let bfq = weighted.file("", "", "io.bfq.weight").exists();
        let (file, weight) = if bfq {
            ("io.bfq.weight", "default 500")
        } else {
            ("io.weight", "default 4950")
        };
        weighted.says("", ("", ""), (file, weight));
        refused("io-leaf", "leafWeight", json!({ "blockIO": { "leafWeight": 500 } }));
    } else if ["blkio.weight", "blkio.bfq.weight"]
        .iter()
        .all(|file| !limited.file("blkio", file, "").exists())
    {
        // Whose schedulers know none.
        refused(
            "blkio-no-weight",
            "this kernel does not support the limit blkio.weight",
            json!({ "blockIO": { "weight": 500 } }),
        );
    } else {
        let weighted = Limited::new("blkio-weight", json!({ "blockIO": { "weight": 500 } }));
        let old = weighted.file("blkio", "blkio.weight", "").exists();
        weighted.says(
            "blkio",
            (if old { "blkio.weight" } else { "blkio.bfq.weight" }, "500"),
            ("", ""),
        );
    }
}

#[test]
fn huge_pages() {
    const LIMIT: u64 = 4 << 20;
    let limited = Limited::new(
        "hugetlb",
        json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": LIMIT }] }),
    );
    let layout = layout();
    let cgroup = Cgroup::new(&layout, Path::new(&format!("/barepodtest-{}/c", limited.0.id)));
    // A hybrid has the controller in either.
    let (dir, file) = match layout.v1_hierarchy("hugetlb") {
        Some(hierarchy) => (cgroup.dir(hierarchy), "limit_in_bytes"),
        None => (cgroup.tracker(), "max"),
    };
    for kind in ["", "rsvd."] {
        let path = dir.join(format!("hugetlb.2MB.{kind}{file}"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text.trim(), LIMIT.to_string(), "{}", path.display());
    }
    refused(
        "hugetlb-size",
        "hugetlb.3MB",
        json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": LIMIT }] }),
    );
}

#[test]
fn what_no_hierarchy_has() {
    for (controller, resources) in [
        ("net_cls", json!({ "network": { "classID": 1_048_577 } })),
        (
            "net_prio",
            json!({ "network": { "priorities": [{ "name": "lo", "priority": 5 }] } }),
        ),
    ] {
        if is_v2() || !Path::new("/sys/fs/cgroup").join(controller).exists() {
            refused("no-controller", controller, resources);
        }
    }
    refused(
        "unified-path",
        "no cgroup v2 file",
        json!({ "unified": { "../x.y": "1" } }),
    );
    refused("unified-none", "flying", json!({ "unified": { "flying.max": "1" } }));
    if is_v2() {
        refused(
            "unified-file",
            "memory.flying: no such file or directory",
            json!({ "unified": { "memory.flying": "1" } }),
        );
    } else {
        refused(
            "unified-v1",
            "memory.high needs the cgroup v2 controller memory",
            json!({ "unified": { "memory.high": "1" } }),
        );
    }
    refused(
        "rdma",
        "neither hcaHandles nor hcaObjects",
        json!({ "rdma": { "mlx5_1": {} } }),
    );
}

#[test]
fn a_cgroup_that_is_not_fit() {
    let first = Limited::new("unfit", json!({}));
    let second = Bundle::new("unfit-second", |document| {
        document["linux"]["cgroupsPath"] = json!(format!("/barepodtest-{}/c", first.0.id));
    });
    let said = second.bad(&["create", "--bundle", second.path(), &second.id]);
    assert!(said.contains("has processes of others in it"), "{said}");
    assert_eq!(first.0.status(), "created", "nothing happened to the other");
    for path in ["/", "..", "/a/../b"] {
        second.change(|document| document["linux"]["cgroupsPath"] = json!(path));
        let said = second.bad(&["create", "--bundle", second.path(), &second.id]);
        assert!(said.contains("cannot be a container's own cgroup"), "{said}");
    }
}

#[test]
fn killed_as_a_group() {
    let annotate = |document: &mut Value| document["annotations"] = json!({ "io.barepod.memory.oom.group": "1" });
    if is_v2() {
        Limited::with("oom-group", annotate).says("", ("", ""), ("memory.oom.group", "1"));
        return;
    }
    let bundle = Bundle::new("oom-group", annotate);
    let said = bundle.bad(&["create", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains("cgroup v1 cannot kill a container as a group"), "{said}");
}

/// Ends the test if the machine has not what it is about. The virtual machine has to have it.
fn skip_without_v2() -> bool {
    let v2 = is_v2();
    assert!(
        v2 || std::env::var_os("BAREPOD_EXPECT_CGROUP_V2").is_none(),
        "this is to be a machine with pure cgroup v2"
    );
    !v2
}

#[test]
fn files_of_v2() {
    if skip_without_v2() {
        return;
    }
    let limited = Limited::new(
        "unified",
        json!({ "memory": { "limit": 64 << 20 }, "unified": {
            "memory.high": "33554432", "memory.max": "50331648", "memory.oom.group": "1", "pids.max": "77",
            "cpu.weight": "123", "cgroup.max.depth": "5"
        } }),
    );
    for (file, value) in [
        ("memory.high", "33554432"),
        ("memory.max", "50331648"),
        ("memory.oom.group", "1"),
        ("pids.max", "77"),
        ("cpu.weight", "123"),
        ("cgroup.max.depth", "5"),
    ] {
        limited.says("", ("", ""), (file, value));
    }
    let disk = disk().unwrap();
    let lines = format!("{disk} rbps=1048576\n{disk} wiops=120");
    let limited = Limited::new("unified-lines", json!({ "unified": { "io.max": lines } }));
    limited.says(
        "",
        ("", ""),
        ("io.max", &format!("{disk} rbps=1048576 wbps=max riops=max wiops=120")),
    );
    if fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .unwrap()
        .contains("rdma")
    {
        let limited = Limited::new("unified-more", json!({ "unified": { "rdma.max": "" } }));
        assert!(
            limited.file("", "", "rdma.max").exists(),
            "a controller is handed down when it is needed"
        );
    }
    assert!(limited.file("", "", "memory.pressure").exists() || !Path::new("/proc/pressure/memory").exists());
}

#[test]
fn a_cgroup_namespace_and_its_owner() {
    if skip_without_v2() {
        return;
    }
    let script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max; mkdir /sys/fs/cgroup/own && echo made; \
        echo 5 2>/dev/null >/sys/fs/cgroup/pids.max || echo kept";
    let run = |name: &str, change: &dyn Fn(&mut Value)| {
        let bundle = Bundle::new(name, |document| {
            document["process"]["args"] = json!(["sh", "-c", script]);
            document["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            document["linux"]["resources"]["pids"] = json!({ "limit": 50 });
            change(document);
        });
        String::from_utf8(bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]).stdout).unwrap()
    };
    let cgroup = |document: &mut Value, options: Value| {
        for mount in document["mounts"].as_array_mut().unwrap() {
            if mount["type"] == "cgroup" {
                mount["options"] = options.clone();
            }
        }
    };
    let out = run("delegated", &|document| {
        cgroup(document, json!(["nosuid", "noexec", "nodev", "rw"]))
    });
    assert_eq!(
        out, "0::/\n50\nmade\nkept\n",
        "it may make cgroups below its own, and not change its own limits"
    );
    let out = run("not-delegated", &|document| {
        cgroup(document, json!(["nosuid", "noexec", "nodev", "ro"]))
    });
    assert_eq!(out, "0::/\n50\nkept\n");
    let out = run("of-its-users", &|document| {
        cgroup(document, json!(["nosuid", "noexec", "nodev", "ro"]));
        let namespaces = document["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        namespaces.push(json!({ "type": "user" }));
        let all = json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]);
        document["linux"]["uidMappings"] = all.clone();
        document["linux"]["gidMappings"] = all;
    });
    let (own, rest) = out.split_once('\n').unwrap();
    assert!(own.ends_with("/c"), "it is in the machine's cgroup namespace: {out}");
    assert_eq!(
        rest, "50\nkept\n",
        "and sees its own cgroup only, where it could not mount them"
    );
}

#[test]
fn memory_kills_all_or_one() {
    if skip_without_v2() {
        return;
    }
    let script = "sh -c 'echo child; exec sleep 1000' & sleep 0.5; sh -c 'x=a; while :; do x=$x$x; done'; echo survived; sleep 1000";
    for (group, survived) in [("1", false), ("0", true)] {
        let bundle = Bundle::new("oom", |document| {
            document["process"]["args"] = json!(["sh", "-c", script]);
            document["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
            document["annotations"] = json!({ "io.barepod.memory.oom.group": group });
        });
        bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
        let out = || fs::read_to_string(bundle.dir.join("out")).unwrap();
        let events = bundle.tracker().join("cgroup.events");
        until("the kernel has killed", || {
            let populated = fs::read_to_string(&events).unwrap();
            (out().contains("survived") || populated.contains("populated 0")).then_some(())
        });
        assert_eq!(out().contains("survived"), survived, "{}", out());
    }
}
