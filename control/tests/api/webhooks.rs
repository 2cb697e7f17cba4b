//! Admission webhooks that run in the test.

use crate::support::hook::{Hook, patch};
use crate::support::{Api, MAPS, map};
use serde_json::{Value, json};

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

fn rule(group: &str, version: &str, resource: &str) -> Value {
    json!([{"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]}])
}

/// Configures a webhook; `more` are further fields of it.
async fn configure(api: &Api, path: &str, name: &str, client: Value, rules: Value, more: Value) {
    let mut hook = json!({"name": format!("{name}.example.com"), "sideEffects": "None", "rules": rules,
        "admissionReviewVersions": ["v1"], "clientConfig": client});
    for (key, value) in more.as_object().unwrap() {
        hook[key] = value.clone();
    }
    let configuration = json!({"metadata": {"name": name}, "webhooks": [hook]});
    api.post(path, configuration).await.ok();
}

fn yes() -> Value {
    json!({"allowed": true})
}

#[tokio::test]
async fn first_those_that_change_then_the_schema_then_those_that_judge() {
    let api = Api::new().await;
    let changes = Hook::start(Box::new(|request| match request["object"]["data"]["bad"].as_str() {
        _ if request["operation"] == "DELETE" => yes(),
        Some(_) => patch(&json!([{"op": "add", "path": "/data/no key", "value": "x"}])),
        None => patch(&json!([{"op": "add", "path": "/data/by", "value": "hook"}])),
    }))
    .await;
    let judges = Hook::start(Box::new(|request| match request["object"]["data"]["by"].as_str() {
        Some("hook") => json!({"allowed": true, "warnings": ["seen"]}),
        _ => json!({"allowed": false, "status": {"code": 409, "reason": "Conflict", "message": "not changed"}}),
    }))
    .await;
    // The one is named by a Service, the other by a URL.
    let service = json!({"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    api.post("/api/v1/namespaces/default/services", service).await.ok();
    let service = json!({"name": "hook", "namespace": "default", "path": "/p", "port": changes.address.port()});
    let client = json!({"service": service, "caBundle": changes.bundle});
    let rules = rule("", "v1", "configmaps");
    configure(&api, MUTATING, "a", client, rules.clone(), json!({})).await;
    configure(&api, VALIDATING, "b", judges.client(), rules, json!({})).await;

    let made = api.post(MAPS, map("one")).await;
    assert_eq!(made.warnings, ["299 - \"seen\""]);
    assert_eq!(made.ok()["data"]["by"], "hook");
    let asked = judges.asked().remove(0);
    assert_eq!(
        (&asked["operation"], &asked["name"], &asked["namespace"]),
        (&json!("CREATE"), &json!("one"), &json!("default"))
    );
    assert_eq!(
        asked["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(
        asked["resource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(asked["requestKind"], asked["kind"]);
    assert_eq!((&asked["dryRun"], &asked["oldObject"]), (&json!(false), &Value::Null));
    assert_eq!(asked["userInfo"]["username"], "admin");
    assert_eq!(asked["options"]["kind"], "CreateOptions");

    let mut bad = map("two");
    bad["data"]["bad"] = json!("x");
    assert_eq!(api.post(MAPS, bad).await.status().0, 422);
    assert!(judges.asked().is_empty(), "what is invalid is not judged");

    let path = format!("{MAPS}/one?dryRun=All");
    api.patch(&path, "merge-patch+json", json!({"data": {"k": "v"}}))
        .await
        .ok();
    let asked = judges.asked().remove(0);
    assert_eq!(
        (&asked["operation"], &asked["dryRun"]),
        (&json!("UPDATE"), &json!(true))
    );
    assert_eq!(
        (&asked["object"]["data"]["k"], &asked["oldObject"]["data"]["k"]),
        (&json!("v"), &Value::Null)
    );

    let refused = api.delete(&format!("{MAPS}/one"), Value::Null).await;
    let message = "admission webhook \"b.example.com\" denied the request: not changed";
    assert_eq!(refused.status(), (409, "Conflict", message));
    let asked = judges.asked().remove(0);
    assert_eq!(
        (&asked["operation"], &asked["object"]),
        (&json!("DELETE"), &Value::Null)
    );
    assert_eq!(asked["oldObject"]["data"]["by"], "hook");
    assert_eq!(api.get(&format!("{MAPS}/one")).await.code, 200);

    // Nobody is locked out: configurations themselves are not asked about.
    assert_eq!(api.delete(&format!("{VALIDATING}/b"), Value::Null).await.code, 200);
    assert_eq!(api.delete(&format!("{MUTATING}/a"), Value::Null).await.code, 200);
    assert_eq!(api.delete(&format!("{MAPS}/one"), Value::Null).await.code, 200);
}

#[tokio::test]
async fn a_failure_counts_or_does_not() {
    let api = Api::new().await;
    let silent = Hook::start(Box::new(|_| Value::Null)).await;
    let fine = Hook::start(Box::new(|_| yes())).await;
    let rules = || rule("", "v1", "configmaps");
    let slow = json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"});
    configure(&api, VALIDATING, "slow", silent.client(), rules(), slow).await;
    assert_eq!(api.post(MAPS, map("passes")).await.code, 201);
    let untrusted = json!({"url": fine.client()["url"], "caBundle": silent.bundle});
    configure(&api, VALIDATING, "untrusted", untrusted, rules(), json!({})).await;
    let refused = api.post(MAPS, map("fails")).await;
    assert_eq!((refused.code, refused.status().1), (500, "InternalError"));
    let message = refused.status().2;
    assert!(
        message.starts_with(
            "Internal error occurred: failed calling webhook \"untrusted.example.com\": failed to call webhook: \
             Post \"https://localhost:"
        ) && message.contains("certificate"),
        "{message}"
    );
    assert!(fine.asked().is_empty());
    api.delete(&format!("{VALIDATING}/untrusted"), Value::Null).await.ok();
    let wrong = Hook::start(Box::new(
        |_| json!({"allowed": true, "patch": "W10=", "patchType": "JSONPatch"}),
    ))
    .await;
    configure(&api, VALIDATING, "wrong", wrong.client(), rules(), json!({})).await;
    let refused = api.post(MAPS, map("fails")).await;
    assert!(
        refused.status().2.contains("may not return response.patch"),
        "{}",
        refused.value
    );
}

#[tokio::test]
async fn selectors_and_versions_say_who_is_asked() {
    let api = Api::new().await;
    let hook = Hook::start(Box::new(|_| yes())).await;
    let other = json!({"metadata": {"name": "other", "labels": {"asks": "yes"}}});
    api.post("/api/v1/namespaces", other).await.ok();
    let selectors = json!({"namespaceSelector": {"matchLabels": {"asks": "yes"}},
        "objectSelector": {"matchExpressions": [{"key": "quiet", "operator": "DoesNotExist"}]}});
    configure(
        &api,
        VALIDATING,
        "a",
        hook.client(),
        rule("", "v1", "configmaps"),
        selectors,
    )
    .await;
    let there = "/api/v1/namespaces/other/configmaps";
    api.post(MAPS, map("a")).await.ok();
    let mut quiet = map("quiet");
    quiet["metadata"]["labels"] = json!({"quiet": "1"});
    api.post(there, quiet).await.ok();
    assert_eq!(hook.asked(), [] as [Value; 0]);
    api.post(there, map("a")).await.ok();
    assert_eq!(hook.asked().len(), 1);

    let rules = || rule("autoscaling", "v2", "horizontalpodautoscalers");
    let scalers = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let scaler = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}})
    };
    configure(
        &api,
        VALIDATING,
        "exact",
        hook.client(),
        rules(),
        json!({"matchPolicy": "Exact"}),
    )
    .await;
    api.post(scalers, scaler("a")).await.ok();
    assert_eq!(hook.asked(), [] as [Value; 0]);
    let changes = Hook::start(Box::new(|request| {
        assert_eq!(request["object"]["apiVersion"], "autoscaling/v2");
        patch(&json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 5}]))
    }))
    .await;
    configure(&api, MUTATING, "equivalent", changes.client(), rules(), json!({})).await;
    let made = api.post(scalers, scaler("b")).await.ok();
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["maxReplicas"]),
        (&json!("autoscaling/v1"), &json!(5))
    );
    let asked = changes.asked().remove(0);
    assert_eq!(
        (&asked["kind"]["version"], &asked["requestKind"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(asked["object"]["spec"]["metrics"][0]["resource"]["name"], "cpu");
}

#[tokio::test]
async fn who_wants_to_sees_what_came_after_it() {
    let api = Api::new().await;
    let first = Hook::start(Box::new(|_| yes())).await;
    let never = Hook::start(Box::new(|_| yes())).await;
    let last = Hook::start(Box::new(|request| match request["object"]["data"]["last"].as_str() {
        None => patch(&json!([{"op": "add", "path": "/data/last", "value": "x"}])),
        Some(_) => yes(),
    }))
    .await;
    let rules = || rule("", "v1", "configmaps");
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(&api, MUTATING, "a", first.client(), rules(), again.clone()).await;
    configure(&api, MUTATING, "b", never.client(), rules(), json!({})).await;
    configure(&api, MUTATING, "c", last.client(), rules(), again).await;
    api.post(MAPS, map("a")).await.ok();
    let seen: Vec<Value> = first
        .asked()
        .iter()
        .map(|asked| asked["object"]["data"]["last"].clone())
        .collect();
    assert_eq!(seen, [Value::Null, json!("x")]);
    assert_eq!((never.asked().len(), last.asked().len()), (1, 1));
}

#[tokio::test]
async fn what_is_sent_to_a_subresource_is_shown_as_it_is() {
    let api = Api::new().await;
    let hook = Hook::start(Box::new(|request| {
        match request["object"]["spec"]["replicas"].as_i64() {
            Some(4) => patch(&json!([{"op": "replace", "path": "/spec/replicas", "value": 3}])),
            _ => yes(),
        }
    }))
    .await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["apps", ""], "apiVersions": ["v1"],
        "resources": ["deployments/scale", "pods/binding"]}]);
    configure(&api, MUTATING, "a", hook.client(), rules, json!({})).await;
    let all = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}});
    api.post(all, deployment).await.ok();
    let scale = json!({"spec": {"replicas": 4}});
    let scaled = api
        .patch(&format!("{all}/d/scale"), "merge-patch+json", scale)
        .await
        .ok();
    assert_eq!(scaled["spec"]["replicas"], 3);
    let asked = hook.asked().remove(0);
    assert_eq!(
        (
            &asked["kind"]["kind"],
            &asked["subResource"],
            &asked["oldObject"]["spec"]["replicas"]
        ),
        (&json!("Scale"), &json!("scale"), &json!(1))
    );
    api.post(crate::support::PODS, crate::support::pod("p")).await.ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    api.post(&format!("{}/p/binding", crate::support::PODS), binding)
        .await
        .ok();
    let asked = hook.asked().remove(0);
    assert_eq!(
        (&asked["operation"], &asked["object"]["target"]["name"]),
        (&json!("CREATE"), &json!("n"))
    );
}
