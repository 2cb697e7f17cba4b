//! `barepod up --demo`, `up` again after whatever happened, `reset`.

use std::collections::BTreeSet;

use barepod_tests::{Cluster, Options, Ran, Space, eventually};
use serde_json::Value;

use crate::own_node;

/// The addresses that `up` tells to ask with curl.
fn addresses(told: &str) -> Vec<String> {
    let all = told
        .lines()
        .filter_map(|l| l.trim().strip_prefix("curl ")?.split_whitespace().next());
    all.map(str::to_owned).collect()
}

/// What the demo's Service answers, by pod, as soon as both pods have answered.
fn both_answer(c: &Cluster, address: &str) {
    eventually("both pods answer", || {
        let pages: BTreeSet<String> = (0..16).filter_map(|_| c.curl(address).ok()).collect();
        let pods: BTreeSet<&str> = pages
            .iter()
            .filter_map(|p| p.split("pod ").nth(1)?.split(' ').next())
            .collect();
        if pods.len() == 2 {
            Ok(())
        } else {
            Err(format!("{pages:?}"))
        }
    });
}

#[test]
fn demo_comes_up_and_reset_leaves_nothing() {
    let c = Cluster::down("up");
    let ran = c.barepod("up --demo");
    assert_eq!(ran.code, 0, "{ran:?}\n{}", c.logs());
    let (told, progress) = (&ran.stdout, format!("{}{}", ran.stdout, ran.stderr));
    for step in [
        "control service is up",
        "agent is up",
        "node node-1 is ready",
        "demo image",
        "is ready",
        "demo answers",
    ] {
        assert!(progress.contains(step), "{step} is missing: {progress}");
    }
    let kubeconfig = c.dir().join("etc/admin.kubeconfig");
    assert!(
        told.contains(&format!("export KUBECONFIG={}", kubeconfig.display())),
        "{told}"
    );
    assert!(told.contains("kubectl get pods -o wide"), "{told}");
    let n = c.default_space();
    let pods = n.pods("demo", 2);
    for (name, pod) in &pods {
        let row = told
            .lines()
            .find(|l| l.starts_with(name.as_str()))
            .unwrap_or_else(|| panic!("{name}: {told}"));
        let ip = pod["status"]["podIP"].as_str().expect("an address");
        for word in ["2/2", "Running", ip, "web, writer"] {
            assert!(row.contains(word), "{word} is missing: {row}");
        }
    }
    let addresses = addresses(told);
    assert_eq!(addresses.len(), 2, "{told}");
    assert!(
        addresses[0].contains(&n.field("service/demo", "{.spec.clusterIP}")),
        "{addresses:?}"
    );
    assert!(
        addresses[1].contains(&n.field("service/demo", "{.spec.ports[0].nodePort}")),
        "{addresses:?}"
    );
    for address in &addresses {
        both_answer(&c, address);
    }
    // The sidecar writes what the web container serves: its page names its pod.
    let (name, pod) = pods.first_key_value().expect("two");
    let page = c.curl(&format!(
        "http://{}:8080/",
        pod["status"]["podIP"].as_str().expect("an address")
    ));
    assert!(
        page.as_ref()
            .is_ok_and(|p| p.contains(name.as_str()) && p.contains("Hello from barepod")),
        "{page:?}"
    );
    assert!(n.kubectl(&format!("logs {name} -c writer")).contains("wrote the page"));
    // Once more changes nothing, after a reset everything comes back, be it at other addresses.
    let again = c.up("--demo");
    assert!(again.contains("Running"), "{again}");
    assert_eq!(
        n.pods("demo", 2).keys().collect::<Vec<_>>(),
        pods.keys().collect::<Vec<_>>()
    );
    c.reset();
    let told = c.up("--demo --service-cidr 10.97.0.0/16");
    let address = &self::addresses(&told)[0];
    assert!(address.contains("10.97."), "{address}");
    both_answer(&c, address);
}

#[test]
fn one_file_without_any_other_program_is_enough() {
    let c = Cluster::down("alone");
    let copy = c.dir().join("the-one-file");
    std::fs::copy(barepod_tests::barepod(), &copy).expect("a copy");
    // No environment and no search path by which it could find another program.
    let dir = c.dir().display();
    let ran = c.run(&format!(
        "env -i PATH=/nonexistent {} --conf-dir {dir}/etc --state-dir {dir}/lib --run-dir {dir}/run --cgroup-parent {} up --demo",
        copy.display(),
        c.cgroup()
    ));
    assert_eq!(ran.code, 0, "{ran:?}\n{}", c.logs());
    both_answer(&c, &addresses(&ran.stdout)[0]);
    std::fs::remove_file(copy).expect("removed");
}

#[test]
fn again_after_kill_9_of_each_part() {
    let c = Cluster::down("killed");
    let told = c.up("--demo");
    let n = c.default_space();
    let identity = |n: &Space<'_>| -> Vec<String> {
        let containers = |pod: &Value| {
            pod["status"]["containerStatuses"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        let all = n.pods("demo", 2);
        all.values()
            .flat_map(containers)
            .map(|c| format!("{} {}", c["containerID"], c["restartCount"]))
            .collect()
    };
    let before = identity(&n);
    assert!(before.iter().all(|c| c.ends_with(" 0")), "{before:?}");
    for victims in [&["control"][..], &["agent"], &["control", "agent"]] {
        c.kill_daemons(victims);
        let again = c.up("--demo");
        assert!(again.contains("Running"), "{again}");
        assert_eq!(identity(&n), before, "after {victims:?}");
    }
    // With their monitors the pods are lost; others take their place.
    let monitors = c.barepod_json("ps");
    let pids = monitors
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| p["monitor_pid"].to_string());
    let mut victims: Vec<String> = pids.collect();
    victims.extend(["control", "agent"].map(|daemon| c.daemon_pid(daemon)));
    c.kill(&victims);
    c.up("--demo");
    eventually("two new ones", || {
        let all = n.get("pods -l app=demo");
        let ready = all["items"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|p| barepod_tests::is_ready(p))
            .count();
        if ready == 2 { Ok(()) } else { Err(all.to_string()) }
    });
    both_answer(&c, &addresses(&told)[0]);
}

#[test]
fn again_after_a_reboot() {
    let mut c = own_node("reboot");
    let told = c.up("--demo");
    let work = c.dir().join("kept");
    let n = c.default_space();
    n.kubectl("create configmap kept --from-literal=a=b");
    n.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: counter}}, spec: {{terminationGracePeriodSeconds: 0, volumes: [{{name: disk, emptyDir: {{}}}}, {{name: mem, emptyDir: {{medium: Memory}}}}, {{name: host, hostPath: {{path: {}, type: DirectoryOrCreate}}}}], \
         containers: [{{name: main, image: 'tools:1', volumeMounts: [{{name: disk, mountPath: /disk}}, {{name: mem, mountPath: /mem}}, {{name: host, mountPath: /host}}], \
         command: [sh, -c, 'echo start | tee -a /disk/starts /mem/starts /host/starts; exec sleep 1000']}}]}}}}",
        work.display()
    ));
    n.apply("{apiVersion: v1, kind: Pod, metadata: {name: done}, spec: {restartPolicy: Never, containers: [{name: main, image: 'tools:1', command: ['true']}]}}");
    let manifest = c.dir().join("etc/manifests/static.yaml");
    std::fs::write(&manifest, "{apiVersion: v1, kind: Pod, metadata: {name: static}, spec: {containers: [{name: main, image: 'tools:1', command: [sleep, '1000']}]}}").expect("a file");
    let before = n.ready("counter");
    n.ready("static-node-1");
    n.until_one("pods/done", "succeeded", |pod| pod["status"]["phase"] == "Succeeded");
    let images = c.barepod("images list").stdout;
    let demo: Vec<String> = n.pods("demo", 2).into_keys().collect();
    c.reboot();
    c.up("--demo");
    let n = c.default_space();
    assert_eq!(n.field("configmap/kept", "{.data.a}"), "b");
    assert_eq!(c.barepod("images list").stdout, images);
    // The same pods run again, in new containers, each with one restart.
    let status = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    let after = n.until_one("pods/counter", "restarted", |pod| {
        barepod_tests::is_ready(pod) && status(pod)["containerID"] != status(&before)["containerID"]
    });
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(status(&after)["restartCount"], 1);
    // What is on a disk has stayed, what was in memory has not.
    assert_eq!(
        n.sh(
            "counter",
            "cat /disk/starts; echo; cat /mem/starts; echo; cat /host/starts"
        ),
        "start\nstart\n\nstart\n\nstart\nstart\n"
    );
    n.ready("static-node-1");
    assert_eq!(n.field("pod/done", "{.status.phase}"), "Succeeded");
    assert_eq!(n.pods("demo", 2).into_keys().collect::<Vec<_>>(), demo);
    both_answer(&c, &addresses(&told)[0]);
    std::fs::remove_dir_all(&work).expect("the data is the host's");
}

/// Everything that was there before, in the places that a node uses too.
const FURNISHED: &str = "
    mkdir -p $DIR/etc/manifests $DIR/lib $DIR/run
    echo mine >$DIR/etc/manifests/README
    echo mine >$DIR/lib/other
    chmod 700 $DIR/lib
    nft add table ip mine
    nft 'add chain ip mine c { type filter hook forward priority 0; policy accept; }'
    ip link add name mine type veth peer name mine1
    ip address add 198.51.100.1/24 dev mine
    ip link set mine up
    ip route add default via 198.51.100.2
    echo 1 >/proc/sys/net/ipv4/conf/all/send_redirects
";

#[test]
fn a_reset_leaves_what_was_there_as_it_was() {
    let options = Options {
        prepare: FURNISHED,
        down: true,
    };
    let c = Cluster::with("furnished", options);
    // Nothing to do is fine.
    c.reset();
    let told = c.up("--demo");
    both_answer(&c, &addresses(&told)[1]);
    assert!(
        addresses(&told)[1].contains("198.51.100.1"),
        "the node has the address of its default route: {told}"
    );
    // Pods that are being deleted, restarted and created at this moment.
    let n = c.default_space();
    n.kubectl("create deployment busy --image=barepod.local/demo:1 --replicas=3 -- /no/such/program");
    n.kubectl("delete pods -l app=demo --wait=false");
    c.reset();
    c.reset();
    let refused = Ran::of(&mut c.barepod_command("inspect demo")).refused();
    assert!(refused.contains("no pod"), "{refused}");
}

#[test]
fn names_ports_and_addresses_can_be_chosen() {
    let options = Options {
        prepare: "ip address add 192.0.2.1/32 dev lo",
        down: true,
    };
    let c = Cluster::with("chosen", options);
    c.up("--node-name other --node-ip 192.0.2.1 --port 16443 --agent-port 11250");
    let nodes = c.kubectl("get nodes -o wide");
    assert!(
        nodes.contains("other ") && nodes.contains("192.0.2.1") && nodes.contains("Ready"),
        "{nodes}"
    );
    assert!(
        c.kubectl("config view -o 'jsonpath={.clusters[0].cluster.server}'")
            .ends_with(":16443")
    );
    c.import("tools.oci", None);
    let n = c.default_space();
    n.sleeper("box");
    assert_eq!(n.sh("box", "echo through").trim(), "through");
    assert_eq!(n.field("pod/box", "{.spec.nodeName}"), "other");
}
