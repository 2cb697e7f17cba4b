//! Who may do what: roles, bindings, nodes.

use crate::support::{Api, MAPS, PODS, map, pod};
use barepod_control::engine::identity::User;
use serde_json::json;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn bob() -> User {
    User::new("bob", vec!["dev".into()])
}

fn node(name: &str) -> User {
    User::new(format!("system:node:{name}"), vec!["system:nodes".into()])
}

#[tokio::test]
async fn a_role_counts_as_soon_as_it_is_bound() {
    let api = Api::bootstrapped().await;
    let (bob, list) = (bob(), "/api/v1/namespaces/default/configmaps");
    let refused = api.call_as(&bob, "GET", list, json!(null)).await;
    let message = r#"configmaps is forbidden: User "bob" cannot list resource "configmaps" in API group "" in the namespace "default""#;
    assert_eq!(refused.status(), (403, "Forbidden", message));
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let subjects = json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "dev"}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    api.post(
        &bindings,
        json!({"metadata": {"name": "b"}, "roleRef": role, "subjects": subjects}),
    )
    .await
    .ok();
    api.call_as(&bob, "GET", list, json!(null)).await.ok();
    assert_eq!(api.call_as(&bob, "POST", list, map("a")).await.code, 403);
    assert_eq!(
        api.call_as(&bob, "GET", "/api/v1/configmaps", json!(null)).await.code,
        403
    );
    api.delete(&format!("{bindings}/b"), json!(null)).await.ok();
    assert_eq!(api.call_as(&bob, "GET", list, json!(null)).await.code, 403);
}

#[tokio::test]
async fn defaults_are_made_once_and_mended() {
    let api = Api::bootstrapped().await;
    let path = format!("{RBAC}/clusterroles/view");
    let view = api.get(&path).await.ok();
    assert_eq!(
        view["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"],
        "true"
    );
    assert!(view["rules"].as_array().unwrap().len() > 5, "{view}");
    let proxier = format!("{RBAC}/clusterroles/system:node-proxier");
    api.patch(&proxier, "merge-patch+json", json!({"rules": []})).await.ok();
    api.bootstrap().await;
    assert!(!api.get(&proxier).await.ok()["rules"].as_array().unwrap().is_empty());
    let addresses = api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await.ok();
    assert_eq!(addresses["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(addresses["status"]["conditions"][0]["status"], "True");
    assert_eq!(api.get(&path).await.ok(), view);
}

#[tokio::test]
async fn a_node_reads_what_its_pods_name() {
    let api = Api::bootstrapped().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["mine", "other"] {
        api.post(secrets, json!({"metadata": {"name": name}})).await.ok();
    }
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("n1");
    bound["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "mine"}}]);
    let (n1, n2) = (node("n1"), node("n2"));
    let mine = format!("{secrets}/mine");
    assert_eq!(api.call_as(&n1, "GET", &mine, json!(null)).await.code, 403);
    api.post(PODS, bound).await.ok();
    api.call_as(&n1, "GET", &mine, json!(null)).await.ok();
    let by_field = format!("{secrets}?fieldSelector=metadata.name%3Dmine");
    api.call_as(&n1, "GET", &by_field, json!(null)).await.ok();
    let refused = api.call_as(&n2, "GET", &mine, json!(null)).await;
    assert_eq!(refused.code, 403);
    let message = refused.value["message"].as_str().unwrap();
    assert!(
        message.ends_with("no relationship found between node 'n2' and this object"),
        "{message}"
    );
    assert_eq!(
        api.call_as(&n1, "GET", &format!("{secrets}/other"), json!(null))
            .await
            .code,
        403
    );
    assert_eq!(api.call_as(&n1, "GET", secrets, json!(null)).await.code, 403);
    let pods = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1";
    assert_eq!(
        api.call_as(&n1, "GET", pods, json!(null)).await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(api.call_as(&n1, "GET", MAPS, json!(null)).await.code, 403);
    // What the agent does for Services.
    for path in [
        "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices",
        "/api/v1/nodes",
    ] {
        api.call_as(&n1, "GET", path, json!(null)).await.ok();
    }
    api.delete(&format!("{PODS}/p"), json!({"gracePeriodSeconds": 0}))
        .await
        .ok();
    assert_eq!(api.call_as(&n1, "GET", &mine, json!(null)).await.code, 403);
}
