//! Real programs from Debian's packages, run as people run them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use barepod_tests::eventually;

use crate::space;

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
    let n = space("nginx");
    n.apply(NGINX);
    n.kubectl("rollout status deployment/nginx --timeout=60s");
    let url = format!("http://{}/", n.field("service/nginx", "{.spec.clusterIP}"));
    let get = || n.cluster.curl(&url);
    assert_eq!(
        eventually("nginx answers through its Service", get),
        "configured by a config map\n"
    );
    let (stop, sent, failed) = (AtomicBool::new(false), AtomicU32::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    sent.fetch_add(1, Ordering::Relaxed);
                    if let Err(why) = get() {
                        failed.lock().expect("no panic").push(why);
                    }
                }
            });
        }
        // Whatever happens in here, the clients must end, or the scope never does.
        let rolled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for image in ["nginx:2", "nginx:1"] {
                n.kubectl(&format!("set image deployment/nginx nginx={image}"));
                n.kubectl("rollout status deployment/nginx --timeout=60s");
                n.pods("nginx", 3);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = rolled {
            std::panic::resume_unwind(panic);
        }
    });
    let (sent, failed) = (sent.into_inner(), failed.into_inner().expect("no panic"));
    assert!(sent > 50, "only {sent} requests were sent");
    assert!(failed.is_empty(), "{} of {sent} requests: {failed:?}", failed.len());
}

#[test]
fn redis_data_survives_its_pod() {
    let n = space("redis");
    let data = n.cluster.dir().join("redis-data");
    let start = |name: &str| {
        n.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: redis, image: 'redis:1', volumeMounts: [{{name: data, mountPath: /data}}], \
             readinessProbe: {{exec: {{command: [redis-cli, ping]}}, periodSeconds: 1}}, livenessProbe: {{tcpSocket: {{port: 6379}}}}}}], \
             volumes: [{{name: data, hostPath: {{path: {}, type: DirectoryOrCreate}}}}]}}}}",
            data.display()
        ));
        n.ready(name);
    };
    start("first");
    assert_eq!(n.sh("first", "redis-cli set answer 42").trim(), "OK");
    // redis writes its data when it is asked to end, which deletion does.
    n.kubectl("delete pod first");
    start("second");
    assert_eq!(n.sh("second", "redis-cli get answer").trim(), "42");
    n.kubectl("delete pod second");
    std::fs::remove_dir_all(&data).expect("the data is the host's");
}

#[test]
fn two_containers_share_network_ipc_and_processes() {
    let n = space("shared");
    n.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: server, image: 'nginx:1'}
  - {name: client, image: 'tools:1', command: [sleep, '1000']}
",
    );
    n.ready("pair");
    let in_client = |script: &str| n.sh("pair -c client", script);
    let in_server = |script: &str| n.sh("pair -c server", script);
    let page = eventually("nginx answers", || {
        n.try_sh("pair -c client", "wget -qO- http://localhost/").ok()
    });
    assert!(page.contains("nginx"), "{page}");
    let processes = in_client("ps");
    assert!(
        processes.contains("nginx: master") && processes.contains("pause"),
        "{processes}"
    );
    assert!(in_server("ps").contains("sleep 1000"));
    // System V IPC: a queue and memory made in one container are there, with their numbers, in the other.
    for (make, table) in [("ipcmk -Q", "msg"), ("ipcmk -M 4096", "shm")] {
        let made = in_client(make);
        let id = made.trim().rsplit(' ').next().expect("ipcmk prints the id");
        let seen = in_server(&format!("cat /proc/sysvipc/{table}"));
        let found = seen.lines().any(|l| l.split_whitespace().nth(1) == Some(id));
        assert!(found, "{id} is not in {seen}");
    }
    assert_eq!(in_client("hostname"), in_server("hostname"));
    // Own root file systems all the same.
    n.try_sh("pair -c client", "ls /etc/nginx").refused();
    in_server("ls /etc/nginx");
}
