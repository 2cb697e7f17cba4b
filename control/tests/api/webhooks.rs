//! Admission webhooks that run in the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::server::Cluster;
use crate::support::hook::{Hook, patch};
use crate::support::{Api, MAPS, PODS, map, pod};
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
    let strict = json!({"timeoutSeconds": 1});
    configure(&api, VALIDATING, "late", silent.client(), rules(), strict).await;
    let message = api.post(MAPS, map("late")).await.status().2.to_owned();
    assert!(
        message.contains("Post \"https://localhost:") && message.ends_with("?timeout=1s\": context deadline exceeded"),
        "{message}"
    );
    api.delete(&format!("{VALIDATING}/late"), Value::Null).await.ok();
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
async fn a_name_is_generated_after_those_that_change() {
    let api = Api::new().await;
    let changes = Hook::start(Box::new(
        |request| match request["object"]["metadata"]["generateName"].as_str() {
            Some("named-") => patch(&json!([{"op": "add", "path": "/metadata/name", "value": "chosen"}])),
            _ => yes(),
        },
    ))
    .await;
    let judges = Hook::start(Box::new(|_| yes())).await;
    let rules = || rule("", "v1", "configmaps");
    configure(&api, MUTATING, "a", changes.client(), rules(), json!({})).await;
    configure(&api, VALIDATING, "b", judges.client(), rules(), json!({})).await;
    let nameless = |base: &str| json!({"metadata": {"generateName": base}});
    let made = api.post(MAPS, nameless("job-")).await.ok();
    let name = &made["metadata"]["name"];
    assert!(name.as_str().unwrap().starts_with("job-"));
    let seen = |asked: Vec<Value>| {
        (
            asked[0].get("name").cloned(),
            asked[0]["object"]["metadata"].get("name").cloned(),
        )
    };
    assert_eq!(seen(changes.asked()), (None, None));
    assert_eq!(seen(judges.asked()), (Some(name.clone()), Some(name.clone())));
    // Who is asked may give one, which is not tried twice.
    assert_eq!(
        api.post(MAPS, nameless("named-")).await.ok()["metadata"]["name"],
        "chosen"
    );
    assert_eq!(api.post(MAPS, nameless("named-")).await.status().1, "AlreadyExists");
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
    api.post(PODS, pod("p")).await.ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    api.post(&format!("{}/p/binding", PODS), binding).await.ok();
    let asked = hook.asked().remove(0);
    assert_eq!(
        (&asked["operation"], &asked["object"]["target"]["name"]),
        (&json!("CREATE"), &json!("n"))
    );
}

#[tokio::test]
async fn an_eviction_is_asked_about_once() {
    let api = Api::new().await;
    let hook = Hook::start(Box::new(|_| yes())).await;
    let rules =
        json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/*"]}]);
    api.post(PODS, pod("p")).await.ok();
    configure(&api, VALIDATING, "a", hook.client(), rules, json!({})).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    api.post(&format!("{PODS}/p/eviction"), eviction).await.ok();
    let asked = hook.asked();
    let seen: Vec<_> = asked
        .iter()
        .map(|asked| (&asked["operation"], &asked["subResource"]))
        .collect();
    assert_eq!(seen, [(&json!("CREATE"), &json!("eviction"))]);
    assert_eq!(
        asked[0]["kind"],
        json!({"group": "policy", "version": "v1", "kind": "Eviction"})
    );
    assert_eq!(asked[0]["object"]["metadata"]["name"], "p");
    assert_eq!(api.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn a_token_is_asked_about() {
    let api = Api::new().await;
    let hook = Hook::start(Box::new(|request| {
        assert_eq!(request["object"]["kind"], "TokenRequest");
        patch(&json!([{"op": "replace", "path": "/spec/audiences", "value": ["theirs"]}]))
    }))
    .await;
    configure(
        &api,
        MUTATING,
        "a",
        hook.client(),
        rule("", "v1", "serviceaccounts/token"),
        json!({}),
    )
    .await;
    let request = json!({"spec": {"audiences": ["ours"]}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = api.post(path, request).await.ok();
    assert_eq!(made["spec"]["audiences"], json!(["theirs"]));
    let asked = hook.asked().remove(0);
    assert_eq!(
        (&asked["operation"], &asked["subResource"], &asked["name"]),
        (&json!("CREATE"), &json!("token"), &json!("default"))
    );
    assert_eq!(asked["resource"]["resource"], "serviceaccounts");
}

#[tokio::test]
async fn custom_resources_are_asked_about_in_their_version() {
    let api = Api::new().await;
    let version = |name: &str, storage: bool| {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema}})
    };
    let definition = json!({"metadata": {"name": "boxes.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "boxes", "kind": "Box"},
        "versions": [version("v1", true), version("v2", false)]}});
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        .await
        .ok();
    let changes = Hook::start(Box::new(|request| match &*request["operation"].to_string() {
        "\"CREATE\"" => patch(&json!([{"op": "add", "path": "/spec/by", "value": request["kind"]["version"]}])),
        _ => yes(),
    }))
    .await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["boxes", "boxes/status"]}]);
    configure(&api, MUTATING, "a", changes.client(), rules, json!({})).await;
    let all = "/apis/example.com/v1/namespaces/default/boxes";
    let made = api.post(
        all,
        json!({"apiVersion": "example.com/v1", "kind": "Box", "metadata": {"name": "b"}, "spec": {}}),
    );
    let made = made.await.ok();
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["by"]),
        (&json!("example.com/v1"), &json!("v2"))
    );
    let asked = changes.asked().remove(0);
    assert_eq!(
        (&asked["object"]["apiVersion"], &asked["requestKind"]["version"]),
        (&json!("example.com/v2"), &json!("v1"))
    );
    let status = json!({"status": {"full": true}});
    api.patch(&format!("{all}/b/status"), "merge-patch+json", status)
        .await
        .ok();
    let asked = changes.asked().remove(0);
    assert_eq!(
        (
            &asked["operation"],
            &asked["subResource"],
            &asked["object"]["status"]["full"]
        ),
        (&json!("UPDATE"), &json!("status"), &json!(true))
    );
    api.delete(&format!("{all}/b"), Value::Null).await.ok();
    assert_eq!(changes.asked().remove(0)["operation"], "DELETE");
}

#[tokio::test]
async fn a_stream_is_asked_about_before_it_is_opened() {
    let cluster = Cluster::start().await;
    let hook = Hook::start(Box::new(
        |_| json!({"allowed": false, "status": {"code": 403, "message": "no commands here"}}),
    ))
    .await;
    let pods = "/api/v1/namespaces/default/pods";
    cluster
        .admin(
            "POST",
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "default"}}),
        )
        .await;
    cluster.admin("POST", pods, pod("p")).await;
    let rules =
        json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}]);
    let hooks = json!({"metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "sideEffects": "None",
        "rules": rules, "admissionReviewVersions": ["v1"], "clientConfig": hook.client()}]});
    cluster.admin("POST", VALIDATING, hooks).await;
    let path = format!("{pods}/p/exec?command=sh&command=-c&container=c&stdout=true");
    let (code, refused) = cluster.call(Some("admin"), "POST", &path, Value::Null).await;
    let message = "admission webhook \"h.example.com\" denied the request: no commands here";
    assert_eq!((code, &refused["message"]), (403, &json!(message)));
    let asked = hook.asked().remove(0);
    assert_eq!(
        (&asked["operation"], &asked["subResource"], &asked["name"]),
        (&json!("CONNECT"), &json!("exec"), &json!("p"))
    );
    assert_eq!(
        asked["kind"],
        json!({"group": "", "version": "v1", "kind": "PodExecOptions"})
    );
    let options = &asked["object"];
    assert_eq!(
        (&options["command"], &options["container"]),
        (&json!(["sh", "-c"]), &json!("c"))
    );
    // Others are not its business.
    let path = format!("{pods}/p/attach?container=c&stdout=true");
    let (_, other) = cluster.call(Some("admin"), "POST", &path, Value::Null).await;
    assert_ne!(other["message"], json!(message));
    assert_eq!(hook.asked(), [] as [Value; 0]);
}

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}})
}

async fn until(happened: &AtomicBool) {
    let waiting = async {
        while !happened.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the webhook is asked");
}

#[tokio::test]
async fn a_slow_webhook_keeps_nobody_else_waiting() {
    let api = Arc::new(Api::new().await);
    let asked = Arc::new(AtomicBool::new(false));
    let told = asked.clone();
    let silent = Hook::start(Box::new(move |request| match request["name"].as_str() {
        Some("slow") => {
            told.store(true, Ordering::Release);
            Value::Null
        }
        _ => yes(),
    }))
    .await;
    let more = json!({"timeoutSeconds": 30});
    configure(&api, VALIDATING, "a", silent.client(), rule("", "v1", "services"), more).await;
    api.post(SERVICES, service("first")).await.ok();
    let there = api.clone();
    let slow = tokio::spawn(async move { there.post(SERVICES, service("slow")).await });
    until(&asked).await;
    api.post(SERVICES, service("second")).await.ok();
    let patch = json!({"spec": {"ports": [{"port": 81}]}});
    api.patch(&format!("{SERVICES}/first"), "merge-patch+json", patch)
        .await
        .ok();
    assert!(!slow.is_finished());
    slow.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_unique_stays_so_while_webhooks_are_asked() {
    let api = Arc::new(Api::new().await);
    const MANY: usize = 24;
    let (asked, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, gate) = (asked.clone(), open.clone());
    let hook = Hook::start(Box::new(move |request| {
        if request["name"] == "early" {
            told.store(true, Ordering::Release);
            tokio::task::block_in_place(|| {
                while !gate.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        yes()
    }))
    .await;
    configure(
        &api,
        VALIDATING,
        "a",
        hook.client(),
        rule("", "v1", "services"),
        json!({}),
    )
    .await;
    let fixed = |name: &str| {
        let mut service = service(name);
        service["spec"]["clusterIP"] = json!("10.96.7.7");
        service["spec"]["ports"][0]["nodePort"] = json!(30777);
        service
    };
    let there = api.clone();
    let early = fixed("early");
    let early = tokio::spawn(async move { there.post(SERVICES, early).await });
    until(&asked).await;
    // Somebody else takes address and port while the webhook thinks about the first.
    api.post(SERVICES, fixed("late")).await.ok();
    open.store(true, Ordering::Release);
    let refused = early.await.unwrap();
    assert_eq!(refused.code, 422, "{}", refused.value);
    let message = refused.status().2;
    assert!(message.contains("provided IP is already allocated"), "{message}");
    let tasks: Vec<_> = (0..MANY)
        .map(|number| {
            let api = api.clone();
            tokio::spawn(async move { api.post(SERVICES, service(&format!("s{number}"))).await.ok() })
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for task in tasks {
        let made = task.await.unwrap();
        assert!(seen.insert(made["spec"]["clusterIP"].to_string()), "{made}");
        assert!(seen.insert(made["spec"]["ports"][0]["nodePort"].to_string()), "{made}");
    }
}
