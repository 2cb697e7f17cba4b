//! Real programs from Debian's packages, run as people run them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use barepod_tests::{Cluster, eventually, within};

static CLUSTER: LazyLock<&Cluster> = LazyLock::new(|| {
    Cluster::shared("workloads", |cluster| {
        cluster.import("nginx-1.oci.tar", Some("nginx:1"));
        cluster.import("nginx-2.oci.tar", Some("nginx:2"));
        cluster.import("redis.docker.tar", None);
        cluster.import("tools.oci", None);
    })
});

fn namespace(name: &str) -> &'static Cluster {
    CLUSTER.kubectl(&["create", "namespace", name]);
    *CLUSTER
}

/// A request from inside a container: bash needs no other program for it.
const GET: &str = "exec 3<>/dev/tcp/$0/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3";

fn ready(c: &Cluster, ns: &str, pod: &str) {
    c.kubectl(&[
        "wait",
        "--for=condition=Ready",
        &format!("pod/{pod}"),
        "-n",
        ns,
        "--timeout=60s",
    ]);
}

const NGINX: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: nginx}
data:
  default.conf: |
    server { listen 8080; location / { return 200 "configured by a config map\n"; } location /healthz { return 200 "ok\n"; } }
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx}
spec:
  replicas: 3
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: nginx
        image: nginx:1
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        volumeMounts: [{name: conf, mountPath: /etc/nginx/sites-enabled}]
      volumes: [{name: conf, configMap: {name: nginx}}]
---
apiVersion: v1
kind: Service
metadata: {name: nginx}
spec: {selector: {app: nginx}, ports: [{port: 80, targetPort: http}]}
"#;

#[test]
fn nginx_with_its_configuration_rolls_without_a_failed_request() {
    let c = namespace("nginx");
    let n = "nginx";
    c.apply(n, NGINX);
    c.kubectl(&["rollout", "status", "-n", n, "deployment/nginx", "--timeout=60s"]);
    let ip = c.kubectl(&["get", "service", "nginx", "-n", n, "-o", "jsonpath={.spec.clusterIP}"]);
    let url = format!("http://{ip}/");
    let get = || c.run("curl", &["-sSf", "--max-time", "3", &url]).ok();
    let page = eventually("nginx answers through its Service", get);
    assert_eq!(page, "configured by a config map\n");
    let (stop, sent, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let first = std::sync::Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    sent.fetch_add(1, Ordering::Relaxed);
                    if let Err(why) = get() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        first.lock().expect("no panic").push_str(&why);
                    }
                }
            });
        }
        // Whatever happens in here, the clients must end, or the scope never does.
        let rolled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for image in ["nginx:2", "nginx:1"] {
                c.kubectl(&["set", "image", "-n", n, "deployment/nginx", &format!("nginx={image}")]);
                c.kubectl(&["rollout", "status", "-n", n, "deployment/nginx", "--timeout=60s"]);
            }
            eventually("old pods are gone", || {
                let count = c.kubectl(&["get", "pods", "-n", n, "--no-headers"]).lines().count();
                if count == 3 { Ok(()) } else { Err(count.to_string()) }
            });
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = rolled {
            std::panic::resume_unwind(panic);
        }
    });
    let (sent, failed) = (sent.into_inner(), failed.into_inner());
    assert!(sent > 50, "only {sent} requests were sent");
    assert_eq!(
        failed,
        0,
        "of {sent} requests: {}",
        first.into_inner().expect("no panic")
    );
}

#[test]
fn redis_data_survives_its_pod() {
    let c = namespace("redis");
    let n = "redis";
    let data = c.dir().join("redis-data");
    let pod = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: redis, image: 'redis:1', volumeMounts: [{{name: data, mountPath: /data}}], \
             readinessProbe: {{exec: {{command: [redis-cli, ping]}}, periodSeconds: 1}}, livenessProbe: {{tcpSocket: {{port: 6379}}}}}}], \
             volumes: [{{name: data, hostPath: {{path: {}, type: DirectoryOrCreate}}}}]}}}}",
            data.display()
        )
    };
    c.apply(n, &pod("first"));
    ready(c, n, "first");
    assert_eq!(
        c.kubectl(&["exec", "-n", n, "first", "--", "redis-cli", "set", "answer", "42"])
            .trim(),
        "OK"
    );
    assert_eq!(
        c.kubectl(&["exec", "-n", n, "first", "--", "redis-cli", "save"]).trim(),
        "OK"
    );
    c.kubectl(&["delete", "pod", "first", "-n", n]);
    c.apply(n, &pod("second"));
    ready(c, n, "second");
    assert_eq!(
        c.kubectl(&["exec", "-n", n, "second", "--", "redis-cli", "get", "answer"])
            .trim(),
        "42"
    );
    c.kubectl(&["delete", "pod", "second", "-n", n]);
    std::fs::remove_dir_all(&data).expect("the data is the host's");
}

#[test]
fn two_containers_share_network_ipc_and_processes() {
    let c = namespace("shared");
    let n = "shared";
    c.apply(
        n,
        "
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: server, image: 'nginx:1', command: [sh, -c, 'ipcmk -Q 2>/dev/null; exec nginx -g \"daemon off;\"']}
  - {name: client, image: 'tools:1', command: [sh, -c, 'ipcmk -M 4096; exec sleep 1000']}
",
    );
    ready(c, n, "pair");
    let exec = |container: &str, script: &str| {
        c.kubectl(&["exec", "-n", n, "pair", "-c", container, "--", "sh", "-c", script])
    };
    let page = c.kubectl(&[
        "exec",
        "-n",
        n,
        "pair",
        "-c",
        "client",
        "--",
        "bash",
        "-c",
        GET,
        "localhost",
    ]);
    assert!(page.contains("nginx"), "{page}");
    let processes = exec("client", "ps");
    assert!(
        processes.contains("nginx: master") && processes.contains("pause"),
        "{processes}"
    );
    // A queue made here is seen with its number there: one System V IPC namespace.
    let made = exec("client", "ipcmk -Q");
    let id = made.trim().rsplit(' ').next().expect("ipcmk prints the id").to_owned();
    assert!(exec("client", "ipcs -q").contains(&id));
    let other = exec("server", "cat /proc/sysvipc/msg");
    assert!(
        other.lines().any(|l| l.split_whitespace().nth(1) == Some(&id)),
        "{id} is not in {other}"
    );
    // Own root file systems all the same.
    assert!(
        c.try_kubectl(&["exec", "-n", n, "pair", "-c", "client", "--", "ls", "/etc/nginx"])
            .code
            != 0
    );
}

#[test]
fn environment_volumes_and_limits() {
    let c = namespace("env");
    let n = "env";
    c.kubectl(&[
        "create",
        "configmap",
        "cm",
        "-n",
        n,
        "--from-literal=GREETING=hello",
        "--from-literal=other=value",
    ]);
    c.kubectl(&[
        "create",
        "secret",
        "generic",
        "sec",
        "-n",
        n,
        "--from-literal=token=s3cret",
    ]);
    c.apply(
        n,
        "
apiVersion: v1
kind: Pod
metadata: {name: all, labels: {app: all}, annotations: {note: here}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: tools:1
    command: [sleep, '1000']
    envFrom: [{configMapRef: {name: cm}, prefix: CM_}]
    env:
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: sec, key: token}}}
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    - {name: COMBINED, value: '$(NAME)-$(CM_GREETING)'}
    resources: {limits: {memory: 64Mi, cpu: 250m}, requests: {memory: 32Mi, cpu: 100m}}
    volumeMounts:
    - {name: cm, mountPath: /cm}
    - {name: sec, mountPath: /sec}
    - {name: info, mountPath: /info}
    - {name: disk, mountPath: /disk}
    - {name: mem, mountPath: /mem}
  volumes:
  - {name: cm, configMap: {name: cm, items: [{key: other, path: renamed}]}}
  - {name: sec, secret: {secretName: sec, defaultMode: 0400}}
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: disk, emptyDir: {}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
",
    );
    ready(c, n, "all");
    let sh = |script: &str| c.kubectl(&["exec", "-n", n, "all", "--", "sh", "-c", script]);
    let ip = c.kubectl(&["get", "pod", "all", "-n", n, "-o", "jsonpath={.status.podIP}"]);
    assert_eq!(
        sh("echo $NAME $IP $TOKEN $LIMIT $COMBINED $CM_other").trim(),
        format!("all {ip} s3cret 67108864 all-hello value")
    );
    assert_eq!(sh("cat /cm/renamed /sec/token"), "values3cret");
    assert_eq!(sh("stat -Lc %a /sec/token").trim(), "400");
    assert_eq!(sh("cat /info/labels").trim(), "app=\"all\"");
    assert_eq!(
        sh("echo x >/disk/f; echo y >/mem/f; cat /disk/f /mem/f; stat -fc %T /mem").trim(),
        "x\ny\ntmpfs"
    );
    assert_eq!(
        c.try_kubectl(&[
            "exec",
            "-n",
            n,
            "all",
            "--",
            "dd",
            "if=/dev/zero",
            "of=/mem/big",
            "bs=1M",
            "count=4"
        ])
        .code,
        1
    );
    // The limits are in the kernel, on the version of cgroups that this machine has.
    let limit = sh("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -n 1");
    assert_eq!(limit.trim(), "67108864");
    // A changed config map reaches the volume.
    c.kubectl(&[
        "patch",
        "configmap",
        "cm",
        "-n",
        n,
        "-p",
        r#"{"data":{"other":"changed"}}"#,
    ]);
    eventually("the volume follows its config map", || {
        let text = sh("cat /cm/renamed");
        if text == "changed" { Ok(()) } else { Err(text) }
    });
}

#[test]
fn containers_are_confined() {
    let c = namespace("confined");
    let n = "confined";
    c.kubectl(&[
        "run",
        "box",
        "-n",
        n,
        "--image=tools:1",
        "--command",
        "--",
        "sleep",
        "1000",
    ]);
    ready(c, n, "box");
    let status = c.kubectl(&["exec", "-n", n, "box", "--", "cat", "/proc/self/status"]);
    let field = |name: &str| {
        status
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{name}:")))
            .expect("in status")
            .trim()
            .to_owned()
    };
    assert_eq!(
        field("NoNewPrivs"),
        "0",
        "Kubernetes' default allows privilege escalation"
    );
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("CapEff"), "00000000a80425fb");
    let refused = |script: &str| {
        let ran = c.try_kubectl(&["exec", "-n", n, "box", "--", "sh", "-c", script]);
        assert!(ran.code != 0, "{script}: {ran:?}");
    };
    refused("mount -t tmpfs x /mnt");
    refused("unshare -r true");
    refused("echo 1 >/proc/sys/kernel/panic");
    refused("cat /proc/kcore");
    refused("mknod /dev/sda b 8 0 && cat /dev/sda");
    refused("hostname other");
}

#[test]
fn out_of_memory_is_told_and_restarts() {
    let c = namespace("oom");
    let n = "oom";
    c.apply(
        n,
        "{apiVersion: v1, kind: Pod, metadata: {name: hog}, spec: {restartPolicy: Never, containers: [{name: main, image: 'tools:1', \
         command: [sh, -c, 'x=a; while :; do x=$x$x; done'], resources: {limits: {memory: 16Mi}}}]}}",
    );
    eventually("it is out of memory", || {
        let reason = c.kubectl(&[
            "get",
            "pod",
            "hog",
            "-n",
            n,
            "-o",
            "jsonpath={.status.containerStatuses[0].state.terminated.reason}",
        ]);
        if reason == "OOMKilled" { Ok(()) } else { Err(reason) }
    });
    assert_eq!(
        c.kubectl(&["get", "pod", "hog", "-n", n, "-o", "jsonpath={.status.phase}"]),
        "Failed"
    );
}

#[test]
fn services_reach_pods_from_everywhere() {
    let c = namespace("paths");
    let n = "paths";
    c.kubectl(&["create", "deployment", "web", "-n", n, "--image=nginx:1", "--port=80"]);
    c.kubectl(&["rollout", "status", "-n", n, "deployment/web", "--timeout=60s"]);
    c.kubectl(&["expose", "deployment", "web", "-n", n, "--port=80", "--type=NodePort"]);
    c.kubectl(&[
        "run",
        "box",
        "-n",
        n,
        "--image=tools:1",
        "--command",
        "--",
        "sleep",
        "1000",
    ]);
    ready(c, n, "box");
    let get = |what: &str, path: &str| c.kubectl(&["get", what, "-n", n, "-o", &format!("jsonpath={path}")]);
    let cluster_ip = get("service/web", "{.spec.clusterIP}");
    let node_port = get("service/web", "{.spec.ports[0].nodePort}");
    let node_ip = c.kubectl(&[
        "get",
        "node",
        "node-1",
        "-o",
        "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}",
    ]);
    let pod_ip = c.kubectl(&[
        "get",
        "pods",
        "-n",
        n,
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[0].status.podIP}",
    ]);
    let pod = c.kubectl(&[
        "get",
        "pods",
        "-n",
        n,
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ]);
    let from_host = |url: &str| {
        within(Duration::from_secs(10), url, || {
            c.run("curl", &["-sf", "--max-time", "2", url]).ok()
        })
    };
    let from_pod = |pod: &str, ip: &str| {
        within(Duration::from_secs(10), &format!("{pod} -> {ip}"), || {
            c.try_kubectl(&["exec", "-n", n, pod, "--", "timeout", "2", "bash", "-c", GET, ip])
                .ok()
        })
    };
    for page in [
        from_host(&format!("http://{pod_ip}/")),
        from_host(&format!("http://{cluster_ip}/")),
        from_host(&format!("http://{node_ip}:{node_port}/")),
        from_pod("box", &pod_ip),
        from_pod("box", &cluster_ip),
        // To itself through its Service.
        from_pod(&pod, &cluster_ip),
    ] {
        assert!(page.contains("nginx"), "{page}");
    }
    c.kubectl(&["scale", "deployment", "web", "-n", n, "--replicas=0"]);
    eventually("connections are refused when nobody is left", || {
        let ran = c.run("curl", &["-s", "--max-time", "2", &format!("http://{cluster_ip}/")]);
        if ran.code == 7 { Ok(()) } else { Err(format!("{ran:?}")) }
    });
}

#[test]
fn replication_controller_keeps_its_number() {
    let c = namespace("rc");
    let n = "rc";
    c.apply(
        n,
        "{apiVersion: v1, kind: ReplicationController, metadata: {name: rc}, spec: {replicas: 2, selector: {app: rc}, template: {metadata: {labels: {app: rc}}, \
         spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: 'tools:1', command: [sleep, '1000']}]}}}}",
    );
    let ready = |want: &str| {
        eventually("the number is right", || {
            let have = c.kubectl(&["get", "rc", "rc", "-n", n, "-o", "jsonpath={.status.readyReplicas}"]);
            if have == want { Ok(()) } else { Err(have) }
        })
    };
    ready("2");
    let pod = c.kubectl(&["get", "pods", "-n", n, "-o", "jsonpath={.items[0].metadata.name}"]);
    c.kubectl(&["delete", "pod", &pod, "-n", n]);
    ready("2");
    assert!(!c.kubectl(&["get", "pods", "-n", n, "-o", "name"]).contains(&pod));
    c.kubectl(&["scale", "rc", "rc", "-n", n, "--replicas=3"]);
    ready("3");
}

#[test]
fn probes_restart_and_hold_back() {
    let c = namespace("probes");
    let n = "probes";
    c.apply(
        n,
        "
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: tools:1
    command: [sh, -c, 'touch /tmp/alive; sleep 1000']
    startupProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, failureThreshold: 30}
    livenessProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
",
    );
    eventually("it runs", || {
        let ran = c.try_kubectl(&["exec", "-n", n, "probed", "--", "test", "-e", "/tmp/alive"]);
        ran.ok()
    });
    let ready = || {
        c.kubectl(&[
            "get",
            "pod",
            "probed",
            "-n",
            n,
            "-o",
            "jsonpath={.status.containerStatuses[0].ready}",
        ])
    };
    assert_eq!(ready(), "false");
    c.kubectl(&["exec", "-n", n, "probed", "--", "touch", "/tmp/ready"]);
    eventually("it becomes ready", || {
        if ready() == "true" { Ok(()) } else { Err(ready()) }
    });
    c.kubectl(&["exec", "-n", n, "probed", "--", "rm", "/tmp/alive"]);
    eventually("it is restarted", || {
        let count = c.kubectl(&[
            "get",
            "pod",
            "probed",
            "-n",
            n,
            "-o",
            "jsonpath={.status.containerStatuses[0].restartCount}",
        ]);
        if count == "1" { Ok(()) } else { Err(count) }
    });
}

#[test]
fn static_pods_are_mirrored() {
    let c = *CLUSTER;
    let file = c.dir().join("etc/manifests/static.yaml");
    let broken = c.dir().join("etc/manifests/broken.yaml");
    std::fs::write(&broken, "{apiVersion: v1, kind: Pod, metadata: [").expect("a file");
    std::fs::write(
        &file,
        "{apiVersion: v1, kind: Pod, metadata: {name: static}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: 'tools:1', command: [sleep, '1000']}]}}",
    )
    .expect("a file");
    eventually("the mirror pod runs", || {
        let ran = c.try_kubectl(&["get", "pod", "static-node-1", "-o", "jsonpath={.status.phase}"]);
        if ran.stdout == "Running" {
            Ok(())
        } else {
            Err(format!("{ran:?}"))
        }
    });
    std::fs::remove_file(&file).expect("removed");
    std::fs::remove_file(&broken).expect("removed");
    eventually("it goes with its file", || {
        if c.try_kubectl(&["get", "pod", "static-node-1"]).code != 0 {
            Ok(())
        } else {
            Err("still there".into())
        }
    });
}
