//! The kubectl verbs that people use every day.

use barepod_tests::{Ran, Space, is_ready, kubectl};
use serde_json::{Value, json};

use crate::{CLUSTER, space};

/// Waits until three ready pods of `app=web` and no others are there, all of one image.
fn all_run(n: &Space<'_>, image: &str) {
    n.until(
        "pods?labelSelector=app%3Dweb",
        &format!("three pods of {image}"),
        |all| {
            let of_image = |pod: &Value| pod["spec"]["containers"][0]["image"] == *image;
            all.len() == 3 && all.values().all(|pod| is_ready(pod) && of_image(pod))
        },
    );
}

#[test]
fn create_deployment_scale_and_roll() {
    let n = space("deploy");
    n.kubectl("create deployment web --image=nginx:1 --replicas=2 --port=80");
    n.kubectl("rollout status deployment/web --timeout=60s");
    n.kubectl("expose deployment web --port=80");
    let ip = n.field("service/web", "{.spec.clusterIP}");
    let page = barepod_tests::eventually("nginx answers through its Service", || {
        n.cluster.curl(&format!("http://{ip}/"))
    });
    assert!(page.contains("nginx"), "{page}");
    n.kubectl("scale deployment web --replicas=3");
    all_run(&n, "nginx:1");
    n.kubectl("annotate deployment web kubernetes.io/change-cause='the second image'");
    n.kubectl("set image deployment/web nginx=nginx:2");
    n.kubectl("rollout status deployment/web --timeout=60s");
    all_run(&n, "nginx:2");
    let history = n.kubectl("rollout history deployment/web");
    let revisions: Vec<&str> = history.lines().filter(|l| l.starts_with(['1', '2'])).collect();
    assert!(
        revisions.len() == 2 && revisions[1].contains("the second image"),
        "{history}"
    );
    let first = n.kubectl("rollout history deployment/web --revision=1");
    assert!(first.contains("nginx:1"), "{first}");
    n.kubectl("rollout undo deployment/web");
    n.kubectl("rollout status deployment/web --timeout=60s");
    all_run(&n, "nginx:1");
    n.kubectl("rollout undo deployment/web --to-revision=2");
    all_run(&n, "nginx:2");
    // A paused rollout does nothing until it is resumed.
    n.kubectl("rollout pause deployment/web");
    n.kubectl("set image deployment/web nginx=nginx:1");
    let sets = n.get("replicasets");
    let sizes = |sets: &Value| {
        let all = sets["items"].as_array().expect("a list");
        all.iter().map(|s| s["spec"]["replicas"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&n.get("replicasets")), sizes(&sets));
    n.kubectl("rollout resume deployment/web");
    n.kubectl("rollout status deployment/web --timeout=60s");
    all_run(&n, "nginx:1");
    let before: Vec<String> = n.pods("web", 3).into_keys().collect();
    n.kubectl("rollout restart deployment/web");
    n.kubectl("rollout status deployment/web --timeout=60s");
    let after: Vec<String> = n.pods("web", 3).into_keys().collect();
    assert!(after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
    n.kubectl("delete deployment web");
    n.kubectl("wait --for=delete pod -l app=web --timeout=60s");
}

#[test]
fn run_get_describe_label_annotate_delete() {
    let n = space("run");
    n.kubectl("run box --image=tools:1 --command -- sleep 1000");
    n.kubectl("wait --for=condition=Ready pod/box --timeout=60s");
    let wide = n.kubectl("get pods -o wide");
    let ip = n.field("pod/box", "{.status.podIP}");
    for column in ["NOMINATED NODE", "box", "1/1", "Running", "node-1", &ip] {
        assert!(wide.contains(column), "{column} is missing: {wide}");
    }
    let yaml = n.kubectl("get pod box -o yaml");
    assert!(
        yaml.contains("containerStatuses:") && yaml.contains("kind: Pod"),
        "{yaml}"
    );
    let custom = n.kubectl("get pods -o custom-columns=N:.metadata.name,P:.status.phase --no-headers");
    assert_eq!(custom.split_whitespace().collect::<Vec<_>>(), ["box", "Running"]);
    n.kubectl("label pod box tier=front");
    assert_eq!(n.kubectl("get pods -l 'tier in (front,back)' -o name"), "pod/box\n");
    assert_eq!(n.kubectl("get pods -l tier!=front -o name"), "");
    n.kubectl("label pod box tier-");
    assert_eq!(n.field("pod/box", "{.metadata.labels.tier}"), "");
    n.kubectl("annotate pod box note=hello");
    assert_eq!(n.field("pod/box", "{.metadata.annotations.note}"), "hello");
    let running = n.kubectl("get pods --field-selector=status.phase=Running,spec.nodeName=node-1 -o name");
    assert_eq!(running, "pod/box\n");
    n.event("box", "Started");
    let described = n.kubectl("describe pod box");
    for word in ["Scheduled", "Started", "tools:1", &ip, "Ready             True"] {
        assert!(described.contains(word), "{word} is missing: {described}");
    }
    let node = n.kubectl("describe node node-1");
    for word in ["Allocatable:", "Ready", "KubeletReady", "box"] {
        assert!(node.contains(word), "{word} is missing: {node}");
    }
    let lease = n.cluster.kubectl("get leases -n kube-node-lease --no-headers");
    assert_eq!(
        lease.split_whitespace().collect::<Vec<_>>()[..2],
        ["node-1", "node-1"],
        "{lease}"
    );
    assert!(n.kubectl("get all").contains("pod/box"));
    assert!(n.kubectl("get events").contains("Started container box"));
    n.kubectl("delete pod box --grace-period=1");
    let gone = n.try_kubectl("get pod box").refused();
    assert!(gone.contains("pods \"box\" not found"), "{gone}");
}

const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: conf, labels: {a: '1', b: '2'}}
data: {x: one, why: two}
";

/// [`CONFIG`] without its second label and its second value.
fn less() -> String {
    CONFIG.replace(", why: two", "").replace(", b: '2'", "")
}

#[test]
fn apply_diff_edit_patch() {
    let n = space("apply");
    let x = || n.field("configmap/conf", "{.data.x}");
    assert!(n.apply(CONFIG).contains("created"));
    assert!(n.apply(CONFIG).contains("unchanged"));
    let diff = n.try_with("diff -f -", &less());
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.stdout.contains("-  why: two"), "{diff:?}");
    assert!(n.apply(&less()).contains("configured"));
    let object = n.get("configmap conf");
    assert_eq!(object["data"], json!({"x": "one"}));
    assert_eq!(object["metadata"]["labels"], json!({"a": "1"}));
    assert_eq!(n.try_with("diff -f -", &less()).code, 0);
    let mut edit = n.cluster.client(kubectl());
    edit.args(["edit", "configmap", "conf", "-n", n.name()])
        .env("KUBE_EDITOR", "sed -i s/one/edited/");
    Ran::of(&mut edit).ok().expect("kubectl edit");
    assert_eq!(x(), "edited");
    for (kind, patch) in [
        ("json", r#"[{"op":"replace","path":"/data/x","value":"json"}]"#),
        ("merge", r#"{"data":{"x":"merge"}}"#),
        ("strategic", r#"{"data":{"x":"strategic"}}"#),
    ] {
        n.kubectl(&format!("patch configmap conf --type {kind} -p '{patch}'"));
        assert_eq!(x(), kind);
    }
    n.with("replace -f -", &CONFIG.replace("one", "replaced"));
    assert_eq!(x(), "replaced");
    let dry = n.kubectl("delete configmap conf --dry-run=server");
    assert!(dry.contains("server dry run"), "{dry}");
    n.with("apply --dry-run=server -f -", &CONFIG.replace("one", "dry"));
    assert_eq!(x(), "replaced");
    n.kubectl("delete configmap conf");
    n.try_kubectl("get configmap conf").refused();
}

#[test]
fn server_side_apply_knows_owners() {
    let n = space("ssa");
    let apply = |manager: &str, text: &str, more: &str| {
        n.try_with(
            &format!("apply --server-side --field-manager {manager} -f - {more}"),
            text,
        )
    };
    assert_eq!(apply("one", CONFIG, "").code, 0);
    let other = less().replace("one", "changed");
    let conflict = apply("two", &other, "").refused();
    assert!(
        conflict.contains("conflict with \"one\"") && conflict.contains(".data.x"),
        "{conflict}"
    );
    assert_eq!(apply("two", &other, "--force-conflicts").code, 0);
    let data = || n.get("configmap conf")["data"].clone();
    assert_eq!(data(), json!({"x": "changed", "why": "two"}));
    // What its only owner no longer applies goes away.
    assert_eq!(apply("one", &other.replace("x: changed", "z: three"), "").code, 0);
    assert_eq!(data(), json!({"x": "changed", "z": "three"}));
    let managers =
        n.kubectl("get configmap conf --show-managed-fields -o 'jsonpath={.metadata.managedFields[*].manager}'");
    assert_eq!(
        managers.split(' ').collect::<std::collections::BTreeSet<_>>(),
        ["one", "two"].into()
    );
}

#[test]
fn apply_moves_to_the_server_and_back() {
    let n = space("moves");
    let value = |value: &str| CONFIG.replace("x: one", &format!("x: {value}"));
    let applied = || n.kubectl("apply view-last-applied configmap conf -o json");
    n.apply(CONFIG);
    let other = n.try_with("apply --server-side --field-manager other -f -", &value("two"));
    assert!(other.refused().contains("conflict with \"kubectl-client-side-apply\""));
    // What it applied from the client's side kubectl may apply from the server's, and the other way round.
    n.with("apply --server-side -f -", &value("two"));
    assert!(applied().contains("two"));
    assert_eq!(n.try_with("diff --server-side -f -", &value("two")).code, 0);
    n.with("apply --server-side -f -", &less().replace("one", "three"));
    assert_eq!(n.get("configmap conf")["data"], json!({"x": "three"}));
    n.apply(&value("four"));
    assert_eq!(n.get("configmap conf")["data"], json!({"x": "four", "why": "two"}));
}

#[test]
fn warnings_are_shown() {
    let n = space("warned");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a.b}, spec: {nodeSelector: {beta.kubernetes.io/os: linux}, \
               containers: [{name: c, image: 'tools:1'}]}}";
    let created = n.try_with("create --dry-run=server -f -", pod);
    assert_eq!(created.code, 0, "{created:?}");
    for text in [
        "Warning: metadata.name: this is used in the Pod's hostname",
        "Warning: spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14",
    ] {
        assert!(created.stderr.contains(text), "{created:?}");
    }
    let listed = n.try_kubectl("get endpoints");
    assert!(
        listed.stderr.contains("Warning: v1 Endpoints is deprecated in v1.33+"),
        "{listed:?}"
    );
}

#[test]
fn get_watch_shows_changes() {
    let n = space("watch");
    let mut watch = n.kubectl_beside("get configmaps -w --output-watch-events");
    let seen = |word: &'static str| move |line: &str| line.starts_with(word) && line.contains(" seen ");
    n.kubectl("create configmap seen --from-literal=a=b");
    watch.line(seen("ADDED"));
    n.kubectl("label configmap seen a=b");
    watch.line(seen("MODIFIED"));
    n.kubectl("delete configmap seen");
    watch.line(seen("DELETED"));
}

#[test]
fn discovery_and_explain() {
    let c = *CLUSTER;
    let resources = c.kubectl("api-resources");
    // Names, short names, group and version, namespaced or not, kinds.
    for line in [
        "namespaces ns v1 false Namespace",
        "nodes no v1 false Node",
        "pods po v1 true Pod",
        "services svc v1 true Service",
        "endpoints ep v1 true Endpoints",
        "endpointslices discovery.k8s.io/v1 true EndpointSlice",
        "configmaps cm v1 true ConfigMap",
        "secrets v1 true Secret",
        "serviceaccounts sa v1 true ServiceAccount",
        "events ev v1 true Event",
        "leases coordination.k8s.io/v1 true Lease",
        "replicationcontrollers rc v1 true ReplicationController",
        "replicasets rs apps/v1 true ReplicaSet",
        "deployments deploy apps/v1 true Deployment",
        "priorityclasses pc scheduling.k8s.io/v1 false PriorityClass",
    ] {
        let found = resources
            .lines()
            .any(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") == line);
        assert!(found, "{line} is missing: {resources}");
    }
    let versions = c.kubectl("api-versions");
    assert!(
        versions.lines().any(|l| l == "apps/v1") && versions.lines().any(|l| l == "v1"),
        "{versions}"
    );
    let explained = c.kubectl("explain pod.spec --recursive");
    for field in [
        "containers\t<[]Container> -required-",
        "livenessProbe\t<Probe>",
        "nodeSelector\t<map[string]string>",
        "terminationGracePeriodSeconds\t<integer>",
        "medium\t<string>",
    ] {
        assert!(explained.contains(field), "{field} is missing: {explained}");
    }
    let described = c.kubectl("explain deployment.spec.replicas");
    assert!(
        described.contains("<integer>") && described.contains("DESCRIPTION") && described.contains("desired pods"),
        "{described}"
    );
    assert!(c.kubectl("version").contains("Server Version: v1.36"));
    assert!(c.kubectl("cluster-info").contains("is running at"));
}

#[test]
fn top_says_that_there_are_no_metrics() {
    for what in ["pods", "nodes"] {
        let told = CLUSTER.try_kubectl(&format!("top {what}")).refused();
        assert!(told.contains("Metrics API not available"), "{told}");
    }
}

#[test]
fn typed_creates_in_protobuf() {
    let n = space("proto");
    n.kubectl("create configmap cm --from-literal=a=b");
    n.kubectl("create secret generic s --from-literal=password=hunter2");
    n.kubectl("create serviceaccount robot");
    n.kubectl("create service clusterip svc --tcp=80:8080");
    n.kubectl("create priorityclass proto-high --value=1000");
    n.kubectl("create deployment d --image=tools:1 --replicas=0");
    assert_eq!(n.field("secret/s", "{.data.password}"), "aHVudGVyMg==");
    assert_eq!(n.field("service/svc", "{.spec.ports[0].targetPort}"), "8080");
    assert_eq!(n.field("configmap/cm", "{.data.a}"), "b");
    assert_eq!(n.field("priorityclass/proto-high", "{.value}"), "1000");
    assert_eq!(n.field("serviceaccount/robot", "{.metadata.name}"), "robot");
    assert_eq!(
        n.field("deployment/d", "{.spec.template.spec.containers[0].image}"),
        "tools:1"
    );
    n.kubectl("delete priorityclass proto-high");
}
