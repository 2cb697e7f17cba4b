//! What the control service does by itself: ownership, namespaces, priorities, placement, lost nodes.

use serde_json::Value;

use crate::{own_node, space};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: 'tools:1', command: [sleep, '1000']}]}
";

#[test]
fn owners_take_their_dependents_along_or_leave_them() {
    let n = space("owners");
    n.apply(DEPLOYMENT);
    let set = n.pods("web", 2).into_values().next().expect("two")["metadata"]["ownerReferences"][0].clone();
    assert_eq!((&set["kind"], &set["controller"]), (&"ReplicaSet".into(), &true.into()));
    let names: Vec<String> = n.pods("web", 2).into_keys().collect();
    n.kubectl("delete deployment web --cascade=orphan");
    n.until("replicasets", "nobody owns the set", |all| {
        all.len() == 1
            && all
                .values()
                .all(|set| set["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty))
    });
    assert_eq!(n.pods("web", 2).into_keys().collect::<Vec<_>>(), names);
    // A new one of that name adopts what is there.
    n.apply(DEPLOYMENT);
    n.until("replicasets", "the set is owned again", |all| {
        all.values()
            .all(|set| set["metadata"]["ownerReferences"][0]["kind"] == "Deployment")
    });
    assert_eq!(n.pods("web", 2).into_keys().collect::<Vec<_>>(), names);
    n.kubectl("delete deployment web --cascade=foreground --timeout=30s");
    assert_eq!(
        n.kubectl("get pods,replicasets -o name"),
        "",
        "foreground deletion waits for all below"
    );
    n.apply(DEPLOYMENT);
    n.pods("web", 2);
    n.kubectl("delete deployment web");
    n.until("replicasets", "sets go", |all| all.is_empty());
    n.until("pods", "pods go", |all| all.is_empty());
}

#[test]
fn namespaces_take_everything_along() {
    let n = space("doomed");
    n.apply(DEPLOYMENT);
    n.kubectl("expose deployment web --port=80");
    n.kubectl("create configmap cm");
    n.kubectl("create secret generic s");
    n.pods("web", 2);
    n.until("serviceaccounts", "the default account", |all| {
        all.contains_key("default")
    });
    n.kubectl("delete namespace doomed --timeout=60s");
    let gone = n.try_kubectl("get namespace doomed").refused();
    assert!(gone.contains("not found"), "{gone}");
    // A new one of that name is empty, but for what every namespace gets.
    n.kubectl("create namespace doomed");
    assert_eq!(
        n.kubectl("get pods,services,deployments,secrets,endpointslices -o name"),
        ""
    );
    let refused = n.try_kubectl("delete namespace default").refused();
    assert!(refused.contains("forbidden"), "{refused}");
}

#[test]
fn replication_controllers_keep_their_number() {
    let n = space("rc");
    n.apply(
        "{apiVersion: v1, kind: ReplicationController, metadata: {name: rc}, spec: {replicas: 2, selector: {app: rc}, template: {metadata: {labels: {app: rc}}, \
         spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: 'tools:1', command: [sleep, '1000']}]}}}}",
    );
    let pod = n.pods("rc", 2).into_keys().next().expect("two");
    n.kubectl(&format!("delete pod {pod}"));
    assert!(!n.pods("rc", 2).contains_key(&pod));
    n.kubectl("scale rc rc --replicas=3");
    n.pods("rc", 3);
    n.until_one("replicationcontrollers/rc", "counted", |rc| {
        rc["status"]["readyReplicas"] == 3
    });
    n.kubectl("delete rc rc");
    n.until("pods", "pods go", |all| all.is_empty());
}

#[test]
fn a_rollout_that_cannot_progress_keeps_what_works() {
    let n = space("stuck");
    n.apply(&DEPLOYMENT.replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 1"));
    let before: Vec<String> = n.pods("web", 2).into_keys().collect();
    n.kubectl("set image deployment/web main=absent:1");
    let told = n.try_kubectl("rollout status deployment/web --timeout=60s").refused();
    assert!(told.contains("exceeded its progress deadline"), "{told}");
    let all = n.get("pods");
    let items = all["items"].as_array().expect("a list");
    let ready = items.iter().filter(|pod| barepod_tests::is_ready(pod)).count();
    assert!(ready >= 2, "{all}");
    n.kubectl("rollout undo deployment/web");
    n.kubectl("rollout status deployment/web --timeout=60s");
    assert_eq!(n.pods("web", 2).into_keys().collect::<Vec<_>>(), before);
}

#[test]
fn priority_classes_give_their_value() {
    let n = space("priority");
    n.kubectl("create priorityclass important --value=1234 --description=matters");
    n.apply("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {priorityClassName: important, nodeSelector: {no: where}, containers: [{name: main, image: 'tools:1'}]}}");
    assert_eq!(
        n.field("pod/p", "{.spec.priority} {.spec.preemptionPolicy}"),
        "1234 PreemptLowerPriority"
    );
    assert!(n.kubectl("get priorityclasses").contains("system-node-critical"));
    let absent = n
        .try_with("create -f -", "{apiVersion: v1, kind: Pod, metadata: {name: q}, spec: {priorityClassName: absent, containers: [{name: main, image: 'tools:1'}]}}")
        .refused();
    assert!(
        absent.contains("no PriorityClass with name absent was found"),
        "{absent}"
    );
    n.kubectl("delete priorityclass important");
}

#[test]
fn pods_that_fit_nowhere_say_why_and_are_placed_when_they_do() {
    let n = space("fit");
    let pod = |name: &str, spec: &str| {
        n.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: 'tools:1', command: [sleep, '1000']{spec}}}}}"
        ));
    };
    pod("large", ", resources: {requests: {cpu: '1000'}}}]");
    assert!(n.event("large", "FailedScheduling").contains("Insufficient cpu"));
    pod("picky", "}], nodeSelector: {disk: fast}");
    assert!(
        n.event("picky", "FailedScheduling")
            .contains("didn't match Pod's node affinity/selector")
    );
    pod("port", ", ports: [{containerPort: 80, hostPort: 28080}]}]");
    n.ready("port");
    pod("same-port", ", ports: [{containerPort: 80, hostPort: 28080}]}]");
    assert!(n.event("same-port", "FailedScheduling").contains("free ports"));
    assert!(n.kubectl("get pods").contains("Pending"));
    n.cluster.kubectl("label node node-1 disk=fast");
    n.ready("picky");
    n.kubectl("delete pod port");
    n.ready("same-port");
    n.cluster.kubectl("label node node-1 disk-");
}

/// The node's pods are told to go after their time, replaced, and when the node is back it does as told.
#[test]
fn a_dead_nodes_pods_are_deleted_and_replaced() {
    let c = own_node("dead");
    let n = c.default_space();
    let soon = "tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}], ";
    n.apply(&DEPLOYMENT.replace(
        "spec: {terminationGracePeriodSeconds: 0",
        &format!("spec: {{{soon}terminationGracePeriodSeconds: 5"),
    ));
    let before: Vec<String> = n.pods("web", 2).into_keys().collect();
    c.kill_daemons(&["agent"]);
    let unknown = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "Unknown"))
    };
    let node = n.until_one("nodes/node-1", "silent", unknown);
    assert!(n.kubectl("get nodes").contains("NotReady"), "{node}");
    n.until("pods", "old ones are told to go, new ones wait", |all| {
        let old = all
            .values()
            .filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
            .count();
        let new = all.values().filter(|pod| pod["status"]["phase"] == "Pending").count();
        old == 2 && new == 2
    });
    c.up("");
    let after = n.pods("web", 2);
    assert!(
        before.iter().all(|name| !after.contains_key(name)),
        "{before:?} {after:?}"
    );
}

#[test]
fn cordons_and_taints_keep_pods_away() {
    let c = own_node("cordon");
    let n = c.default_space();
    c.kubectl("cordon node-1");
    assert!(c.kubectl("get nodes").contains("SchedulingDisabled"));
    n.script("waits", "exec sleep 1000", "");
    assert!(n.event("waits", "FailedScheduling").contains("unschedulable"));
    c.kubectl("taint node node-1 only=special:NoSchedule");
    c.kubectl("uncordon node-1");
    n.until("events", "the taint is told", |all| {
        all.values()
            .any(|e| e["message"].as_str().is_some_and(|m| m.contains("untolerated taint")))
    });
    c.kubectl("taint node node-1 only-");
    n.ready("waits");
}
