//! What is looked at in every write: limits, quotas, pod security, accounts, nodes, escalation.

use std::sync::Arc;

use crate::support::{Api, MAPS, PODS, map, pod};
use barepod_control::engine::identity::User;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn quota(api: &Api, hard: Value) {
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    api.post(QUOTAS, quota).await.ok();
}

async fn used(api: &Api) -> Value {
    api.get(&format!("{QUOTAS}/q")).await.ok()["status"]["used"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_races_past_a_quota() {
    let api = Arc::new(Api::new().await);
    quota(&api, json!({"configmaps": "10"})).await;
    let creates = (0..40).map(|number| {
        let api = api.clone();
        tokio::spawn(async move { api.post(MAPS, map(&format!("m{number}"))).await.code })
    });
    let mut codes = Vec::new();
    for create in creates.collect::<Vec<_>>() {
        codes.push(create.await.unwrap());
    }
    let made = codes.iter().filter(|code| **code == 201).count();
    let refused = codes.iter().filter(|code| **code == 403).count();
    assert_eq!((made, refused), (10, 30));
    assert_eq!(used(&api).await, json!({"configmaps": "10"}));
    let refused = api.post(MAPS, map("more")).await;
    let message = r#"configmaps "more" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=10, limited: configmaps=10"#;
    assert_eq!(refused.status(), (403, "Forbidden", message));
}

#[tokio::test]
async fn what_goes_makes_room() {
    let api = Api::new().await;
    let engine = api.engine.clone();
    let keeper = tokio::spawn(async move { engine.keep_quotas().await });
    quota(&api, json!({"pods": "1", "cpu": "1", "count/configmaps": "1"})).await;
    let with_cpu = |name: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}});
        pod
    };
    let refused = api.post(PODS, pod("a")).await;
    assert!(
        refused.value["message"]
            .as_str()
            .unwrap()
            .ends_with("failed quota: q: must specify cpu for: c"),
        "{}",
        refused.value
    );
    api.post(PODS, with_cpu("a")).await.ok();
    assert_eq!(
        used(&api).await,
        json!({"pods": "1", "cpu": "600m", "count/configmaps": "0"})
    );
    assert_eq!(api.post(PODS, with_cpu("b")).await.code, 403);
    // A name that is taken holds no room.
    api.post(MAPS, map("m")).await.ok();
    assert_eq!(api.post(MAPS, map("m")).await.code, 403);
    api.delete(&format!("{PODS}/a"), json!({"gracePeriodSeconds": 0}))
        .await
        .ok();
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while used(&api).await["pods"] != "0" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the pod is counted no more");
    assert_eq!(used(&api).await["cpu"], "0");
    api.post(PODS, with_cpu("b")).await.ok();
    let ended = json!({"status": {"phase": "Succeeded"}});
    api.patch(&format!("{PODS}/b/status"), "merge-patch+json", ended)
        .await
        .ok();
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while api.post(PODS, with_cpu("c")).await.code != 201 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("a pod that ended uses nothing");
    keeper.abort();
}

#[tokio::test]
async fn an_object_that_is_not_stored_holds_no_room() {
    let api = Api::new().await;
    api.post(MAPS, map("m")).await.ok();
    quota(&api, json!({"count/configmaps": "2"})).await;
    for _ in 0..3 {
        assert_eq!(api.post(MAPS, map("m")).await.code, 409);
    }
    assert_eq!(used(&api).await, json!({"count/configmaps": "1"}));
    let path = format!("{MAPS}?dryRun=All");
    for _ in 0..3 {
        api.post(&path, map("n")).await.ok();
    }
    assert_eq!(used(&api).await, json!({"count/configmaps": "1"}));
}

#[tokio::test]
async fn pods_get_limits_accounts_and_tolerations() {
    let api = Api::new().await;
    let limits = json!([{"type": "Container", "default": {"cpu": "200m"}, "max": {"cpu": "1"}}]);
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": limits}});
    api.post("/api/v1/namespaces/default/limitranges", range).await.ok();
    let made = api.post(PODS, pod("a")).await.ok();
    let container = &made["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"]["cpu"], "200m");
    assert_eq!(
        container["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(made["spec"]["priority"], 0);
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let refused = api.post(PODS, large).await;
    let message = r#"pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#;
    assert_eq!(refused.status(), (403, "Forbidden", message));
    let mut absent = pod("c");
    absent["spec"]["priorityClassName"] = json!("none");
    assert_eq!(api.post(PODS, absent).await.code, 403);
    let nowhere = api.post("/api/v1/namespaces/none/configmaps", map("x")).await;
    assert_eq!(nowhere.status(), (404, "NotFound", r#"namespaces "none" not found"#));
}

#[tokio::test]
async fn namespaces_say_how_safe_their_pods_have_to_be() {
    let api = Api::new().await;
    let labels = json!({"metadata": {"labels": {
        "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}}});
    api.patch("/api/v1/namespaces/default", "merge-patch+json", labels)
        .await
        .ok();
    let mut host = pod("a");
    host["spec"]["hostNetwork"] = json!(true);
    let refused = api.post(PODS, host).await;
    let message =
        r#"pods "a" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)"#;
    assert_eq!(refused.status(), (403, "Forbidden", message));
    let warned = api.post(PODS, pod("b")).await;
    assert_eq!(warned.code, 201);
    assert!(
        warned.warnings[0].contains("would violate PodSecurity \\\"restricted:latest\\\""),
        "{:?}",
        warned.warnings
    );
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let warned = api
        .post("/apis/apps/v1/namespaces/default/deployments", deployment)
        .await;
    assert_eq!((warned.code, warned.warnings.len()), (201, 1));
    let wrong = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "strict"}}});
    assert_eq!(
        api.patch("/api/v1/namespaces/default", "merge-patch+json", wrong)
            .await
            .code,
        422
    );
}

#[tokio::test]
async fn a_node_writes_only_what_is_its_own() {
    let api = Api::new().await;
    let node = User::new("system:node:n1", vec!["system:nodes".into()]);
    let call = |method: &'static str, path: &'static str, body: Value| {
        let (api, node) = (&api, &node);
        async move { api.call_as(node, method, path, body).await }
    };
    call("POST", "/api/v1/nodes", json!({"metadata": {"name": "n1"}}))
        .await
        .ok();
    let other = call("POST", "/api/v1/nodes", json!({"metadata": {"name": "n2"}})).await;
    let message = r#"nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2""#;
    assert_eq!(other.status(), (403, "Forbidden", message));
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    assert_eq!(call("PATCH", "/api/v1/nodes/n1", taint).await.code, 403);
    call(
        "PATCH",
        "/api/v1/nodes/n1",
        json!({"metadata": {"labels": {"own": "x"}}}),
    )
    .await
    .ok();
    for (name, node) in [("mine", "n1"), ("other", "n2")] {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = json!(node);
        api.post(PODS, pod).await.ok();
    }
    let running = json!({"status": {"phase": "Running"}});
    call("PATCH", "/api/v1/namespaces/default/pods/mine/status", running.clone())
        .await
        .ok();
    assert_eq!(
        call("PATCH", "/api/v1/namespaces/default/pods/other/status", running)
            .await
            .code,
        403
    );
    assert_eq!(
        call(
            "DELETE",
            "/api/v1/namespaces/default/pods/other",
            json!({"gracePeriodSeconds": 0})
        )
        .await
        .code,
        403
    );
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other"}});
    assert_eq!(
        call("POST", "/api/v1/namespaces/default/pods/other/eviction", eviction)
            .await
            .code,
        403
    );
    assert_eq!(
        call("POST", "/api/v1/namespaces/default/pods", pod("new")).await.code,
        403
    );
    call(
        "DELETE",
        "/api/v1/namespaces/default/pods/mine",
        json!({"gracePeriodSeconds": 0}),
    )
    .await
    .ok();
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_have() {
    let api = Api::bootstrapped().await;
    let bob = User::new("bob", vec![]);
    let subjects = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]);
    let bind = |name: &str, role: &str| {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
        json!({"metadata": {"name": name}, "roleRef": role, "subjects": subjects})
    };
    let (roles, bindings) = (
        format!("{RBAC}/namespaces/default/roles"),
        format!("{RBAC}/namespaces/default/rolebindings"),
    );
    api.post(&bindings, bind("bob", "admin")).await.ok();
    let role = |resource: &str| json!({"metadata": {"name": resource}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]});
    api.call_as(&bob, "POST", &roles, role("pods")).await.ok();
    let refused = api.call_as(&bob, "POST", &roles, role("nodes")).await;
    let message = "roles.rbac.authorization.k8s.io \"nodes\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) \
                   is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}";
    assert_eq!(refused.status(), (403, "Forbidden", message));
    api.call_as(&bob, "POST", &bindings, bind("view", "view")).await.ok();
    assert_eq!(
        api.call_as(&bob, "POST", &bindings, bind("root", "cluster-admin"))
            .await
            .code,
        403
    );
    assert_eq!(
        api.call_as(&bob, "POST", &bindings, bind("none", "none")).await.code,
        404
    );
}
