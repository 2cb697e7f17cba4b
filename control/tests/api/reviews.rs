//! Questions about permissions, and acting as somebody else.

use crate::support::{Api, MAPS};
use barepod_control::engine::identity::User;
use serde_json::{Value, json};

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";

async fn api() -> Api {
    let api = Api::bootstrapped().await;
    let subjects = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    let binding = json!({"metadata": {"name": "bob"}, "roleRef": role, "subjects": subjects});
    api.post(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
        binding,
    )
    .await
    .ok();
    api
}

fn may(verb: &str, resource: &str, namespace: &str) -> Value {
    json!({"resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace}})
}

#[tokio::test]
async fn questions_about_access_have_no_names() {
    let api = Api::new().await;
    let spec =
        json!({"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}});
    for (path, metadata, why) in [
        ("subjectaccessreviews", json!({"name": "x"}), "must be empty"),
        (
            "namespaces/default/localsubjectaccessreviews",
            json!({"labels": {"a": "b"}}),
            "must be empty except for namespace",
        ),
    ] {
        let asked = api
            .post(
                &format!("{AUTHORIZATION}/{path}"),
                json!({"metadata": metadata, "spec": spec}),
            )
            .await;
        assert!(asked.code == 422 && asked.status().2.ends_with(why), "{}", asked.value);
    }
    let placed = json!({"metadata": {"namespace": "default"}, "spec": spec});
    api.post(
        &format!("{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"),
        placed,
    )
    .await
    .ok();
}

#[tokio::test]
async fn everybody_may_ask_about_themselves() {
    let api = api().await;
    let bob = User::new("bob", vec!["dev".into()]);
    let ask = |spec: Value| {
        let (api, bob) = (&api, &bob);
        async move {
            let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
            api.call_as(bob, "POST", &path, json!({"spec": spec})).await
        }
    };
    let yes = ask(may("list", "pods", "default")).await.ok();
    assert_eq!(yes["status"]["allowed"], true);
    let reason = r#"RBAC: allowed by RoleBinding "bob/default" of ClusterRole "view" to User "bob""#;
    assert_eq!(yes["status"]["reason"], reason);
    assert_eq!(
        ask(may("list", "pods", "other")).await.ok()["status"],
        json!({"allowed": false})
    );
    let path = json!({"nonResourceAttributes": {"verb": "get", "path": "/api/v1"}});
    assert_eq!(ask(path).await.ok()["status"]["allowed"], true);
    assert_eq!(ask(json!({})).await.code, 422);
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    let question = json!({"spec": may("get", "pods", "")}).to_string().into_bytes();
    let rows = api.call("POST", &path, &[table], question).await;
    assert_eq!(rows.status().1, "NotAcceptable");
    let me = api
        .call_as(
            &bob,
            "POST",
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            json!({}),
        )
        .await
        .ok();
    assert_eq!(
        me["status"]["userInfo"],
        json!({"username": "bob", "groups": ["dev", "system:authenticated"]})
    );
    let rules = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
    let rules = api
        .call_as(&bob, "POST", &rules, json!({"spec": {"namespace": "default"}}))
        .await
        .ok();
    let list = rules["status"]["resourceRules"].as_array().unwrap();
    assert!(
        list.iter().any(|rule| rule["resources"] == json!(["namespaces"])),
        "{list:?}"
    );
    assert_eq!(rules["status"]["incomplete"], false);
    let others = format!("{AUTHORIZATION}/subjectaccessreviews");
    assert_eq!(
        api.call_as(&bob, "POST", &others, json!({"spec": {"user": "x"}}))
            .await
            .code,
        403
    );
}

#[tokio::test]
async fn administrators_may_ask_about_others() {
    let api = api().await;
    let ask = |path: String, spec: Value| {
        let api = &api;
        async move { api.post(&path, json!({"spec": spec})).await }
    };
    let mut spec = may("get", "configmaps", "default");
    spec["user"] = json!("bob");
    let path = format!("{AUTHORIZATION}/subjectaccessreviews");
    assert_eq!(ask(path.clone(), spec.clone()).await.ok()["status"]["allowed"], true);
    let local = |namespace: &str| format!("{AUTHORIZATION}/namespaces/{namespace}/localsubjectaccessreviews");
    assert_eq!(
        ask(local("default"), spec.clone()).await.ok()["status"]["allowed"],
        true
    );
    assert_eq!(ask(local("kube-system"), spec.clone()).await.code, 422);
    spec["user"] = json!("");
    assert_eq!(ask(path, spec).await.code, 422);
    assert_eq!(
        api.get(&format!("{AUTHORIZATION}/subjectaccessreviews")).await.code,
        405
    );
}

#[tokio::test]
async fn acting_as_somebody_else_takes_permission() {
    let api = api().await;
    let admin = User::new("admin", vec!["system:masters".into()]);
    let bob = User::new("bob", vec![]);
    let call = |user: User, headers: Vec<(&'static str, &'static str)>, method: &'static str| {
        let api = &api;
        async move { api.call_with(Some(&user), &headers, method, MAPS, json!(null)).await }
    };
    call(admin.clone(), vec![("impersonate-user", "bob")], "GET").await.ok();
    let refused = call(admin.clone(), vec![("impersonate-user", "bob")], "DELETE").await;
    assert!(
        refused.value["message"]
            .as_str()
            .unwrap()
            .contains("User \"bob\" cannot deletecollection"),
        "{}",
        refused.value
    );
    let refused = call(bob.clone(), vec![("impersonate-user", "admin")], "GET").await;
    let message = r#"users "admin" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#;
    assert_eq!(refused.status(), (403, "Forbidden", message));
    let masters = vec![("impersonate-user", "x"), ("impersonate-group", "system:masters")];
    assert_eq!(call(bob, masters.clone(), "GET").await.code, 403);
    call(admin.clone(), masters, "GET").await.ok();
    assert_eq!(call(admin, vec![("impersonate-group", "dev")], "GET").await.code, 400);
}
