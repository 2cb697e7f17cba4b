//! Tokens of service accounts and of joining nodes.

use crate::support::{Answer, Api, PODS, pod};
use barepod_control::engine::identity::User;
use base64::Engine as _;
use serde_json::{Value, json};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const ME: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn request(api: &Api, spec: Value) -> Answer {
    let body = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec});
    api.post(&format!("{ACCOUNTS}/default/token"), body).await
}

async fn token(api: &Api, spec: Value) -> String {
    request(api, spec).await.ok()["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What the API server says of the bearer of a token: a refusal to answer the question counts as an answer.
async fn bearer(api: &Api, token: &str) -> u16 {
    let header = format!("Bearer {token}");
    let answer = api
        .call_with(None, &[("authorization", &header)], "POST", ME, json!({}))
        .await;
    if answer.code == 403 {
        let message = answer.value["message"].as_str().unwrap();
        assert!(message.contains("system:serviceaccount:default:default"), "{message}");
    }
    answer.code
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let api = Api::new().await;
    let free = token(&api, json!({})).await;
    assert_eq!(bearer(&api, &free).await, 403);
    let said = claims(&free);
    assert_eq!(said["sub"], "system:serviceaccount:default:default");
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}}))
        .await
        .ok();
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("n1");
    api.post(PODS, bound).await.ok();
    let to_pod = json!({"kind": "Pod", "apiVersion": "v1", "name": "p"});
    let of_pod = token(&api, json!({"boundObjectRef": to_pod, "expirationSeconds": 3607})).await;
    let said = claims(&of_pod);
    assert_eq!(said["kubernetes.io"]["pod"]["name"], "p");
    assert_eq!(said["kubernetes.io"]["node"]["name"], "n1");
    assert!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() > 300 * 24 * 3600);
    assert_eq!(bearer(&api, &of_pod).await, 403);
    api.delete(&format!("{PODS}/p"), json!({"gracePeriodSeconds": 0}))
        .await
        .ok();
    assert_eq!(bearer(&api, &of_pod).await, 401);
    api.post(PODS, pod("p")).await.ok();
    assert_eq!(bearer(&api, &of_pod).await, 401, "another pod of the same name");
    api.delete(&format!("{ACCOUNTS}/default"), json!(null)).await.ok();
    assert_eq!(bearer(&api, &free).await, 401);
    let answer = api
        .call_with(
            None,
            &[("authorization", "Bearer x.y.z")],
            "GET",
            "/healthz",
            json!(null),
        )
        .await;
    assert_eq!(answer.status(), (401, "Unauthorized", "Unauthorized"));
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let api = Api::new().await;
    let short = request(&api, json!({"expirationSeconds": 60})).await;
    assert_eq!(
        short.status(),
        (
            422,
            "Invalid",
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes"
        )
    );
    let to = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}});
    assert_eq!(request(&api, to("Pod", "none", "")).await.code, 404);
    assert_eq!(
        request(&api, to("ConfigMap", "x", "")).await.status(),
        (
            400,
            "BadRequest",
            "cannot bind token to object of type /v1, Kind=ConfigMap"
        )
    );
    api.post(PODS, pod("p")).await.ok();
    assert_eq!(request(&api, to("Pod", "p", "other")).await.code, 409);
    api.post(ACCOUNTS, json!({"metadata": {"name": "other"}})).await.ok();
    let body = json!({"spec": to("Pod", "p", "")});
    assert_eq!(api.post(&format!("{ACCOUNTS}/other/token"), body).await.code, 400);
    assert_eq!(api.post(&format!("{ACCOUNTS}/none/token"), json!({})).await.code, 404);
    let account = api.get(&format!("{ACCOUNTS}/default")).await.ok();
    let uid = account["metadata"]["uid"].as_str().unwrap();
    let path = format!("{ACCOUNTS}/default/token");
    for (metadata, code, why) in [
        (
            json!({"name": "x"}),
            422,
            "must match the service account name if specified",
        ),
        (
            json!({"namespace": "x"}),
            400,
            "does not match the namespace sent on the request",
        ),
        (
            json!({"uid": "x"}),
            409,
            &*format!("the UID in the token request (x) does not match the UID of the service account ({uid})"),
        ),
    ] {
        let answer = api.post(&path, json!({"metadata": metadata})).await;
        assert_eq!(answer.code, code, "{}", answer.value);
        assert!(answer.status().2.ends_with(why), "{}", answer.value);
    }
    let made = api.post(&path, json!({"metadata": {"uid": uid}})).await.ok();
    assert_eq!(
        (&made["metadata"]["name"], &made["metadata"]["uid"]),
        (&json!("default"), &json!(uid))
    );
}

#[tokio::test]
async fn a_token_names_a_node_that_is_not_there() {
    let api = Api::new().await;
    let mut placed = pod("p");
    placed["spec"]["nodeName"] = json!("gone");
    api.post(PODS, placed).await.ok();
    let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p"});
    let spec = json!({"boundObjectRef": reference, "audiences": ["vault"], "expirationSeconds": 3607});
    let token = token(&api, spec).await;
    let said = claims(&token);
    assert_eq!(said["kubernetes.io"]["node"], json!({"name": "gone"}));
    assert_eq!(
        said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(),
        3607,
        "only tokens for the API server are good for longer than asked"
    );
    let body = json!({"spec": {"token": token, "audiences": ["vault"]}});
    let review = api.post("/apis/authentication.k8s.io/v1/tokenreviews", body).await.ok();
    let extra = review["status"]["user"]["extra"].as_object().unwrap();
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["gone"]));
    assert!(!extra.contains_key("authentication.kubernetes.io/node-uid"));
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_pods_only() {
    let api = Api::new().await;
    let mut mine = pod("mine");
    mine["spec"]["nodeName"] = json!("n1");
    mine["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}}, {"serviceAccountToken": {"path": "v", "audience": "vault"}}]}}]);
    mine["spec"]["volumes"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "d", "csi": {"driver": "d.example.com"}}));
    let driver = json!({"metadata": {"name": "d.example.com"}, "spec": {"tokenRequests": [{"audience": "driver"}],
        "volumeLifecycleModes": ["Ephemeral"]}});
    api.post("/apis/storage.k8s.io/v1/csidrivers", driver).await.ok();
    let made = api.post(PODS, mine).await.ok();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let path = format!("{ACCOUNTS}/default/token");
    let ask = |node: &str, uid: &str, audiences: Value| {
        let user = User::new(format!("system:node:{node}"), vec!["system:nodes".into()]);
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "mine", "uid": uid});
        let body = json!({"spec": {"boundObjectRef": reference, "audiences": audiences}});
        let (api, path) = (&api, &path);
        async move { api.call_as(&user, "POST", path, body).await.code }
    };
    assert_eq!(ask("n1", uid, json!([])).await, 201);
    assert_eq!(ask("n1", "", json!([])).await, 403, "which pod of the name");
    assert_eq!(ask("n1", uid, json!(["vault"])).await, 201);
    assert_eq!(ask("n1", uid, json!(["driver"])).await, 201);
    assert_eq!(ask("n1", uid, json!(["vault", "driver"])).await, 403, "one at a time");
    assert_eq!(ask("n1", uid, json!(["other"])).await, 403);
    assert_eq!(ask("n2", uid, json!([])).await, 403);
    let user = User::new("system:node:n1", vec!["system:nodes".into()]);
    assert_eq!(
        api.call_as(&user, "POST", &path, json!({})).await.code,
        403,
        "not bound to a pod"
    );
    let rules =
        json!([{"verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["other"]}]);
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    api.post(
        &format!("{roles}/clusterroles"),
        json!({"metadata": {"name": "other"}, "rules": rules}),
    )
    .await
    .ok();
    let subject = json!({"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"});
    let role = json!({"kind": "ClusterRole", "name": "other", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "other"}, "roleRef": role, "subjects": [subject]});
    api.post(&format!("{roles}/clusterrolebindings"), binding).await.ok();
    assert_eq!(ask("n1", uid, json!(["other"])).await, 201, "it may ask for it itself");
}

#[tokio::test]
async fn audiences_are_kept_apart() {
    let api = Api::new().await;
    let vault = token(&api, json!({"audiences": ["vault"]})).await;
    assert_eq!(bearer(&api, &vault).await, 401);
    let review = |token: &str, audiences: Value| {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        let api = &api;
        async move { api.post("/apis/authentication.k8s.io/v1/tokenreviews", body).await.ok()["status"].clone() }
    };
    let good = review(&vault, json!(["x", "vault"])).await;
    assert_eq!(
        (&good["authenticated"], &good["audiences"]),
        (&json!(true), &json!(["vault"]))
    );
    assert_eq!(good["user"]["username"], "system:serviceaccount:default:default");
    assert!(
        good["user"]["groups"]
            .as_array()
            .unwrap()
            .contains(&json!("system:serviceaccounts:default"))
    );
    let bad = review(&vault, json!([])).await;
    assert!(
        bad["authenticated"].is_null() && bad["error"].as_str().unwrap().contains("audiences"),
        "{bad}"
    );
}

#[tokio::test]
async fn joining_nodes_have_tokens_in_secrets() {
    let api = Api::new().await;
    let data =
        json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"});
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": data});
    let header = [("authorization", "Bearer abcdef.0123456789abcdef")];
    assert_eq!(api.call_with(None, &header, "GET", "/api", json!(null)).await.code, 401);
    api.post("/api/v1/namespaces/kube-system/secrets", secret).await.ok();
    let answer = api.call_with(None, &header, "GET", "/api", json!(null)).await;
    assert!(
        answer.value["message"]
            .as_str()
            .unwrap()
            .contains("system:bootstrap:abcdef"),
        "{}",
        answer.value
    );
}

#[tokio::test]
async fn the_keys_are_published() {
    let api = Api::new().await;
    let configuration = api.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(configuration["issuer"], "https://kubernetes.default.svc.cluster.local");
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let keys = api.get("/openid/v1/jwks").await.ok();
    let head = token(&api, json!({})).await;
    let head = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(head.split('.').next().unwrap())
        .unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    assert_eq!(keys["keys"][0]["kid"], head["kid"]);
    let bob = User::new("bob", vec![]);
    assert_eq!(api.call_as(&bob, "GET", "/openid/v1/jwks", json!(null)).await.code, 403);
}
