//! Services from every side: pods, the machine, and another machine.

use std::collections::BTreeSet;

use barepod_tests::{Cluster, Options, Ran, Space, eventually};

use crate::space;

/// Serves the pod's name on port 8080.
const NAME_SERVER: &str = "mkdir /tmp/w; hostname >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w";

/// Two pods of a name server, `app: names`, with readiness that follows the file `/tmp/w/index.html`.
fn names(n: &Space<'_>) {
    let script = serde_json::to_string(NAME_SERVER).expect("a string");
    n.apply(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: names}}, spec: {{replicas: 2, selector: {{matchLabels: {{app: names}}}}, template: {{metadata: {{labels: {{app: names}}}}, \
         spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: 'tools:1', command: [sh, -c, {script}], ports: [{{name: web, containerPort: 8080}}], \
         readinessProbe: {{httpGet: {{path: /, port: web}}, periodSeconds: 1}}}}]}}}}}}}}"
    ));
    n.pods("names", 2);
}

/// Waits until a Service has so many endpoints in its slices.
fn endpoints(n: &Space<'_>, service: &str, count: usize) {
    let query = format!("endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{service}");
    n.until(&query, &format!("{count} endpoints of {service}"), |slices| {
        let all = slices
            .values()
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        all.filter(|e| e["conditions"]["ready"] == true).count() == count
    });
}

/// Who answers `count` requests from inside a container. bash needs no other program for them.
fn from_pod(n: &Space<'_>, pod: &str, ip: &str, port: &str, count: u32) -> BTreeSet<String> {
    let script = format!(
        "for i in $(seq {count}); do timeout 2 bash -c 'exec 3<>/dev/tcp/{ip}/{port} && printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3 && tail -n 1 <&3' || exit 1; done"
    );
    let lines = eventually(&format!("{pod} gets answers of {ip}:{port}"), || {
        n.try_sh(pod, &script).ok()
    });
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn services_lead_to_ready_pods_from_everywhere() {
    let n = space("paths");
    let c = n.cluster;
    names(&n);
    n.kubectl("expose deployment names --port=80 --target-port=web --type=NodePort");
    n.sleeper("box");
    endpoints(&n, "names", 2);
    let ip = n.field("service/names", "{.spec.clusterIP}");
    let port = n.field("service/names", "{.spec.ports[0].nodePort}");
    let node = c.kubectl("get node node-1 -o 'jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}'");
    let pods = n.pods("names", 2);
    let known: BTreeSet<String> = pods.keys().cloned().collect();
    let (url, node_url) = (format!("http://{ip}/"), format!("http://{node}:{port}/"));
    for url in [&url, &node_url] {
        let page = eventually(url, || c.curl(url));
        assert!(known.contains(page.trim()), "{url}: {page}");
    }
    for (ip, port) in [(&ip, "80"), (&node, port.as_str())] {
        assert_eq!(from_pod(&n, "box", ip, port, 24), known);
    }
    for (name, pod) in &pods {
        let pod_ip = pod["status"]["podIP"].as_str().expect("it is ready");
        let page = c.curl(&format!("http://{pod_ip}:8080/"));
        assert_eq!(page.expect("the machine reaches the pod").trim(), name);
        assert_eq!(from_pod(&n, "box", pod_ip, "8080", 1), [name.clone()].into());
        // Through its own Service a pod reaches the other one and itself.
        assert_eq!(from_pod(&n, name, &ip, "80", 24), known);
    }
    let legacy = n.kubectl("get endpoints names --no-headers");
    for pod in pods.values() {
        assert!(
            legacy.contains(pod["status"]["podIP"].as_str().expect("it is ready")),
            "{legacy}"
        );
    }
    // The API server is a Service too.
    n.try_sh(
        "box",
        "timeout 5 bash -c 'exec 3<>/dev/tcp/$KUBERNETES_SERVICE_HOST/$KUBERNETES_SERVICE_PORT'",
    )
    .ok()
    .expect("the API server's Service");
    // Who is not ready gets no requests.
    let first = known.first().expect("two");
    n.sh(first, "mv /tmp/w/index.html /tmp/w/other");
    endpoints(&n, "names", 1);
    let rest = eventually("only the ready one answers", || {
        let seen: BTreeSet<_> = (0..12).map(|_| c.curl(&url)).collect();
        match seen.len() {
            1 => seen.into_iter().next().expect("one"),
            _ => Err(format!("{seen:?}")),
        }
    });
    assert_ne!(rest.trim(), first);
    n.kubectl("scale deployment names --replicas=0");
    eventually("connections are refused when nobody is left", || {
        let ran = Ran::of(c.client("curl").args(["-s", "--max-time", "2", &url]));
        if ran.code == 7 { Ok(()) } else { Err(format!("{ran:?}")) }
    });
}

#[test]
fn session_affinity_keeps_clients_at_one_pod() {
    let n = space("affinity");
    names(&n);
    n.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: sticky}, spec: {selector: {app: names}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: web}]}}",
    );
    endpoints(&n, "sticky", 2);
    let ip = n.field("service/sticky", "{.spec.clusterIP}");
    n.sleeper("box");
    let seen = || from_pod(&n, "box", &ip, "80", 20).len();
    assert_eq!(seen(), 1);
    n.kubectl(r#"patch service sticky -p '{"spec":{"sessionAffinity":"None"}}'"#);
    eventually("requests are spread again", || match seen() {
        2 => Ok(()),
        count => Err(count.to_string()),
    });
}

#[test]
fn host_ports_and_host_network() {
    let n = space("hostports");
    let c = n.cluster;
    n.script(
        "mapped",
        NAME_SERVER,
        ", ports: [{containerPort: 8080, hostPort: 28081}]",
    );
    n.ready("mapped");
    let node = n.field("pod/mapped", "{.status.hostIP}");
    let get = |port: u16| c.curl(&format!("http://{node}:{port}/"));
    assert_eq!(eventually("the host port answers", || get(28081)), "mapped\n");
    n.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: open}}, spec: {{hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [{{name: main, image: 'tools:1', command: [sh, -c, {}]}}]}}}}",
        serde_json::to_string(&NAME_SERVER.replace("8080", "28082")).expect("a string")
    ));
    n.ready("open");
    assert_eq!(eventually("it listens on the machine", || get(28082)), "node-1\n");
    n.kubectl("delete pod mapped open");
    eventually("both ports are free again", || {
        let ports = [get(28081), get(28082)];
        if ports.iter().all(Result::is_err) {
            Ok(())
        } else {
            Err(format!("{ports:?}"))
        }
    });
}

/// A second machine, as a network namespace of its own on a cable to the node, with a web server.
const OUTSIDE: &str = "
    unshare --net sleep 100000 &
    while [ $(readlink /proc/$!/ns/net) = $(readlink /proc/$$/ns/net) ]; do sleep 0.01; done
    ip link add name cable0 type veth peer name eth0 netns $!
    ip address add 192.0.2.1/24 dev cable0
    ip link set cable0 up
    nsenter -t $! -n ip address add 192.0.2.2/24 dev eth0
    nsenter -t $! -n ip link set eth0 up
    nsenter -t $! -n ip link set lo up
    echo $! >$DIR/outside
    mkdir $DIR/site
    echo 'the other machine' >$DIR/site/index.html
    nsenter -t $! -n busybox httpd -p 8000 -h $DIR/site
";

#[test]
fn another_machine_reaches_node_ports_and_is_reached() {
    let options = Options {
        prepare: OUTSIDE,
        ..Options::default()
    };
    let c = Cluster::with("outside", options);
    c.import("tools.oci", None);
    let pid = std::fs::read_to_string(c.dir().join("outside")).expect("the process that has the namespace");
    let outside = |line: &str| c.run(&format!("nsenter -t {} -n {line}", pid.trim()));
    let curl = |url: &str| outside(&format!("curl -sSf --max-time 3 {url}")).ok();
    let n = c.default_space();
    // Beside its name this one tells who asks.
    n.script(
        "who",
        "mkdir -p /tmp/w/cgi-bin; printf '#!/bin/sh\\necho; echo $REMOTE_ADDR' >/tmp/w/cgi-bin/who; chmod +x /tmp/w/cgi-bin/who; exec httpd -f -p 8080 -h /tmp/w",
        "",
    );
    n.ready("who");
    n.kubectl("expose pod who --port=80 --target-port=8080 --type=NodePort");
    endpoints(&n, "who", 1);
    assert_eq!(
        c.kubectl("get node node-1 -o 'jsonpath={.status.addresses[0].address}'"),
        "192.0.2.1"
    );
    let port = n.field("service/who", "{.spec.ports[0].nodePort}");
    let url = format!("http://192.0.2.1:{port}/cgi-bin/who");
    let asked = eventually("the node port answers", || curl(&url));
    assert_ne!(asked.trim(), "", "{asked}");
    // A Service that keeps to its node keeps the client's address.
    n.kubectl(r#"patch service who -p '{"spec":{"externalTrafficPolicy":"Local"}}'"#);
    eventually("the client's address is kept", || {
        let asked = curl(&url)?;
        if asked.contains("192.0.2.2") {
            Ok(())
        } else {
            Err(asked)
        }
    });
    // Pods reach the other machine under the node's address: it knows no way back to theirs.
    let answer = from_pod(&n, "who", "192.0.2.2", "8000", 1);
    assert_eq!(answer, ["the other machine".to_owned()].into());
}
