//! `ps`, `inspect` and `enter` against what the kernel says, with control service and agent dead.

use std::collections::BTreeSet;

use barepod_tests::Cluster;
use serde_json::Value;

use crate::own_node;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: seen, labels: {app: seen}}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  volumes: [{name: work, emptyDir: {}}]
  containers:
  - name: limited
    image: tools:1
    command: [sh, -c, 'sleep 2000 & exec sleep 1000']
    volumeMounts: [{name: work, mountPath: /work}]
    resources: {limits: {memory: 48Mi, cpu: 150m}}
  - {name: free, image: 'tools:1', command: [sleep, '1000']}
---
apiVersion: v1
kind: Service
metadata: {name: seen}
spec: {selector: {app: seen}, ports: [{port: 80, targetPort: 8080}]}
";

/// A node with that pod, and nothing else alive.
fn orphaned(name: &str) -> Cluster {
    let c = own_node(name);
    let n = c.default_space();
    n.apply(POD);
    n.ready("seen");
    n.until("endpointslices", "the pod is behind its Service", |all| {
        all.values().any(|slice| {
            slice["endpoints"][0]["conditions"]["ready"] == true
                && slice["metadata"]["labels"]["kubernetes.io/service-name"] == "seen"
        })
    });
    let ip = n.field("pod/seen", "{.status.podIP}");
    barepod_tests::eventually("its rules are there", || {
        let rules = c.run("nft list ruleset").stdout;
        if rules.contains(&ip) { Ok(()) } else { Err(rules) }
    });
    c.kill_daemons(&["agent", "control"]);
    c
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = pod["containers"].as_array().expect("containers");
    all.iter()
        .find(|c| c["name"] == *name)
        .expect("the container is listed")
}

fn numbers(values: &Value) -> BTreeSet<String> {
    values
        .as_array()
        .expect("a list")
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// A file of the node's kernel.
fn read(c: &Cluster, path: &str) -> String {
    c.run(&format!("cat {path}"))
        .ok()
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .trim()
        .to_owned()
}

#[test]
fn ps_lists_what_the_kernel_has() {
    let c = orphaned("ps");
    let listed = c.barepod_json("ps");
    let pod = &listed[0];
    assert_eq!(text(pod, "name"), "default/seen");
    let (monitor, pause) = (pod["monitor_pid"].to_string(), pod["pause_pid"].to_string());
    assert_eq!(read(&c, &format!("/proc/{pause}/comm")), "pause");
    assert!(read(&c, &format!("/proc/{monitor}/comm")).contains("barepod"));
    assert!(
        read(&c, &format!("/proc/{pause}/stat")).contains(&format!(") S {monitor} ")),
        "pause is the monitor's child"
    );
    // The processes of a container are those of its cgroup, each by its name.
    let programs = |name: &str| -> Vec<String> {
        let line = |pid: &String| {
            c.run(&format!("sh -c 'tr \"\\0\" \" \" </proc/{pid}/cmdline'"))
                .stdout
                .trim()
                .to_owned()
        };
        let mut all: Vec<String> = numbers(&container(pod, name)["pids"]).iter().map(line).collect();
        all.sort();
        all
    };
    assert_eq!(programs("limited"), ["sleep 1000", "sleep 2000"]);
    assert_eq!(programs("free"), ["sleep 1000"]);
    let table = c.barepod("ps").stdout;
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["POD", "CONTAINER", "ID", "STATE", "PIDS", "SINCE"]);
    let row = |name: &str| {
        rows.iter()
            .find(|r| r[1] == name)
            .unwrap_or_else(|| panic!("{name}: {table}"))
    };
    assert_eq!(row("(monitor)")[3..5], ["running", &monitor]);
    assert_eq!(row("(pause)")[3..5], ["running", &pause]);
    let free = numbers(&container(pod, "free")["pids"])
        .into_iter()
        .next()
        .expect("one");
    assert_eq!(row("free")[3..5], ["running", &free]);
    assert!(text(container(pod, "free"), "id").starts_with(row("free")[2]));
    let yaml = c.barepod("ps -o yaml").stdout;
    assert!(
        yaml.contains("name: default/seen") && yaml.contains(&format!("monitor_pid: {monitor}")),
        "{yaml}"
    );
    // What ends while nobody looks is told by the monitor.
    c.kill(&[free]);
    barepod_tests::eventually("the end is listed", || {
        let table = c.barepod("ps").stdout;
        if table.lines().any(|l| l.contains(" free ") && l.contains("exited 137")) {
            Ok(())
        } else {
            Err(table)
        }
    });
    c.kill(&[monitor]);
    let table = c.barepod("ps").stdout;
    assert!(
        table.lines().any(|l| l.contains("(monitor)") && l.contains("dead")),
        "{table}"
    );
    c.up("");
}

#[test]
fn inspect_tells_the_kernels_truth() {
    let c = orphaned("inspect");
    let pod = c.barepod_json("inspect default/seen");
    let pause = pod["pause_pid"].to_string();
    for kind in ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user"] {
        let link = c.run(&format!("readlink /proc/{pause}/ns/{kind}")).stdout;
        assert_eq!(text(&pod["namespaces"], kind), link.trim());
    }
    let limited = container(&pod, "limited");
    let dirs: Vec<&str> = limited["cgroups"]
        .as_array()
        .expect("cgroups")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let ps = c.barepod_json("ps");
    let procs = read(&c, &format!("{}/cgroup.procs", dirs[0]));
    assert_eq!(
        procs.lines().map(str::to_owned).collect::<BTreeSet<_>>(),
        numbers(&container(&ps[0], "limited")["pids"])
    );
    assert_eq!(
        numbers(&limited["pids"]),
        numbers(&container(&ps[0], "limited")["pids"])
    );
    // Every limit as the kernel's file has it, and the ones that were asked for.
    let limits = limited["limits"].as_object().expect("limits");
    for (file, value) in limits {
        let dir = dirs.iter().find(|dir| std::path::Path::new(dir).join(file).exists());
        assert_eq!(
            read(&c, &format!("{}/{file}", dir.expect("in one of them"))),
            value.as_str().expect("text")
        );
    }
    let v2 = limits.contains_key("memory.max");
    let of = |file: &str| limits[file].as_str().expect("text");
    assert_eq!(
        of(if v2 { "memory.max" } else { "memory.limit_in_bytes" }),
        (48 << 20).to_string()
    );
    match v2 {
        true => assert_eq!(of("cpu.max"), "15000 100000"),
        false => assert_eq!((of("cpu.cfs_quota_us"), of("cpu.cfs_period_us")), ("15000", "100000")),
    }
    let usage = &limited["usage"];
    assert_eq!(
        (&usage["pids"], &usage["memory_limit_bytes"]),
        (&2.into(), &(48 << 20).into())
    );
    let charged = usage["memory_bytes"].as_u64().expect("a number");
    let file = if v2 { "memory.current" } else { "memory.usage_in_bytes" };
    let dir = dirs
        .iter()
        .find(|dir| std::path::Path::new(dir).join(file).exists())
        .expect("one has it");
    let kernel: u64 = read(&c, &format!("{dir}/{file}")).parse().expect("a number");
    assert!(charged.abs_diff(kernel) <= 1 << 20, "{charged} {kernel}");
    assert!(usage["cpu_ns"].as_u64().is_some_and(|ns| ns > 0), "{usage}");
    // The mounts are those of the container's first process.
    let first = container(&ps[0], "limited")["pid"].to_string();
    let table = read(&c, &format!("/proc/{first}/mountinfo"));
    let targets: Vec<&str> = table.lines().filter_map(|l| l.split(' ').nth(4)).collect();
    let shown: Vec<&str> = limited["mounts"]
        .as_array()
        .expect("mounts")
        .iter()
        .map(|m| text(m, "target"))
        .collect();
    assert_eq!(shown, targets);
    assert!(shown.contains(&"/work") && shown.contains(&"/proc"), "{shown:?}");
    // The pair of links: ours has the pod's UID as its alias, and each names the other's number.
    let host = &pod["host_link"];
    let name = text(host, "name");
    let shown = c.run(&format!("ip -j -d link show {name}")).stdout;
    let link = &serde_json::from_str::<Value>(&shown).expect("JSON")[0];
    assert_eq!(link["ifalias"], pod["uid"]);
    assert_eq!(link["ifindex"], host["index"]);
    let eth0 = pod["network"]["links"]
        .as_array()
        .expect("links")
        .iter()
        .find(|l| l["name"] == "eth0")
        .expect("eth0");
    assert_eq!(link["link_index"], eth0["index"]);
    assert_eq!(eth0["peer"], host["index"]);
    let inside = c
        .run(&format!("nsenter -t {pause} -n ip -o -4 address show dev eth0"))
        .stdout;
    let address = eth0["addresses"][0].as_str().expect("an address");
    assert!(
        inside.contains(address) && inside.contains("eth0"),
        "{address}: {inside}"
    );
    let ip = address.split('/').next().expect("before the prefix");
    // The rules that lead to it.
    let rules: Vec<&str> = pod["proxy_rules"]
        .as_array()
        .expect("rules")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(rules.iter().any(|rule| rule.contains("default/seen")), "{rules:?}");
    assert!(c.run("nft list ruleset").stdout.contains(ip));
    // The same for people.
    let table = c.barepod("inspect seen").stdout;
    for word in [
        "pod         default/seen",
        text(&pod, "uid"),
        address,
        name,
        "container limited (running)",
        "memory ",
        "/work",
        rules[0],
    ] {
        assert!(table.contains(word), "{word} is missing: {table}");
    }
    assert!(c.barepod("inspect seen -o yaml").stdout.contains("proxy_rules:"));
    // Found by whatever names it.
    let uid = text(&pod, "uid");
    for name in ["seen", uid, &uid[..8], &text(limited, "id")[..12]] {
        assert_eq!(c.barepod_json(&format!("inspect {name}"))["uid"], *uid);
    }
    let unknown = c.barepod("inspect nobody").refused();
    assert!(
        unknown.contains("no pod \"nobody\" on this node") && unknown.contains("barepod ps"),
        "{unknown}"
    );
    c.up("");
}

#[test]
fn enter_runs_the_machines_programs_in_the_pods_namespaces() {
    let c = orphaned("enter");
    let pod = c.barepod_json("inspect seen");
    let enter = |line: &str| c.barepod(&format!("enter seen {line}"));
    let out = |line: &str| {
        enter(line)
            .ok()
            .unwrap_or_else(|e| panic!("enter {line}: {e}"))
            .trim()
            .to_owned()
    };
    for kind in ["net", "ipc", "uts"] {
        // Without the PID namespace, in which /proc would show other processes.
        assert_eq!(
            out(&format!("--ns {kind} -- readlink /proc/self/ns/{kind}")),
            text(&pod["namespaces"], kind)
        );
    }
    let address = pod["network"]["links"][1]["addresses"][0].as_str().expect("an address");
    assert!(out("-- ip -o address").contains(address), "ip(8) is not in the image");
    assert_eq!(out("-- hostname"), "seen");
    assert_eq!(out("--ns net -- hostname"), "node-1");
    // With the mount namespace the program is the container's.
    assert!(out("--ns mnt,pid --container limited -- ps").contains("sleep 2000"));
    assert!(out("--ns mnt -- ls /").contains("bin"));
    enter("--ns mnt --container limited -- touch /work/entered")
        .ok()
        .expect("the volume is there");
    assert_eq!(enter("-- sh -c 'exit 7'").code, 7);
    let unknown = enter("--container nobody --ns mnt -- true").refused();
    assert!(unknown.contains("no container \"nobody\""), "{unknown}");
    let missing = enter("-- no-such-program").refused();
    assert!(missing.contains("no-such-program"), "{missing}");
    c.up("");
    let n = c.default_space();
    assert_eq!(n.sh("seen -c limited", "ls /work").trim(), "entered");
}
