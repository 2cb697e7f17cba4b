//! Creating, replacing and patching.

use crate::support::{Api, MAPS, PODS, map, pod};
use serde_json::{Value, json};

#[tokio::test]
async fn create_fills_metadata_and_refuses_twice() {
    let api = Api::new().await;
    let made = api.post(MAPS, map("a")).await;
    assert_eq!(made.code, 201);
    let metadata = &made.value["metadata"];
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert!(metadata["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["managedFields"][0]["manager"], "tester");
    assert!(metadata["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 1);
    assert_eq!(api.get(&format!("{MAPS}/a")).await.value, made.value);
    let again = api.post(MAPS, map("a")).await;
    assert_eq!(
        again.status(),
        (409, "AlreadyExists", "configmaps \"a\" already exists")
    );
    assert_eq!(again.value["details"], json!({"name": "a", "kind": "configmaps"}));
    let missing = api.get(&format!("{MAPS}/b")).await;
    assert_eq!(missing.status(), (404, "NotFound", "configmaps \"b\" not found"));
    let grouped = api.get("/apis/apps/v1/namespaces/default/deployments/x").await;
    assert_eq!(grouped.status(), (404, "NotFound", "deployments.apps \"x\" not found"));
    assert_eq!(
        grouped.value["details"],
        json!({"name": "x", "group": "apps", "kind": "deployments"})
    );
}

#[tokio::test]
async fn names_are_generated() {
    let api = Api::new().await;
    let made = api.post(MAPS, json!({"metadata": {"generateName": "job-"}})).await.ok();
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("job-") && name.len() == 9 && made["kind"] == "ConfigMap");
    let none = api.post(MAPS, json!({"metadata": {}})).await;
    let message = "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required";
    assert_eq!(none.status(), (422, "Invalid", message));
}

#[tokio::test]
async fn wrong_bodies_are_refused_in_known_words() {
    let api = Api::new().await;
    let bad = |answer: crate::support::Answer| (answer.code, answer.value["message"].as_str().unwrap().to_owned());
    let (code, message) = bad(api
        .post(
            MAPS,
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}),
        )
        .await);
    assert_eq!(code, 400);
    assert!(
        message.starts_with("Pod in version \"v1\" cannot be handled as a ConfigMap: "),
        "{message}"
    );
    let (code, message) = bad(api
        .post(MAPS, json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {}}))
        .await);
    assert_eq!(
        (code, message.as_str()),
        (
            400,
            "the API version in the data (v2) does not match the expected API version (v1)"
        )
    );
    let mut other = map("a");
    other["metadata"]["namespace"] = "kube-system".into();
    let (code, message) = bad(api.post(MAPS, other).await);
    let expected = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!((code, message.as_str()), (400, expected));
    let (code, message) = bad(api.post(MAPS, json!([1])).await);
    assert_eq!(code, 400, "{message}");
    let broken = api
        .call(
            "POST",
            MAPS,
            &[("content-type", "application/json")],
            b"{\"a\":".to_vec(),
        )
        .await;
    assert_eq!(
        (broken.code, broken.value["reason"].as_str()),
        (400, Some("BadRequest"))
    );
    let strange = api
        .call("POST", MAPS, &[("content-type", "text/html")], b"x".to_vec())
        .await;
    assert_eq!(
        (strange.code, strange.value["reason"].as_str()),
        (415, Some("UnsupportedMediaType"))
    );
    let mut versioned = map("v");
    versioned["metadata"]["resourceVersion"] = "5".into();
    let refused = api.post(MAPS, versioned).await;
    assert_eq!(
        refused.status(),
        (500, "", "resourceVersion should not be set on objects to be created")
    );
    let invalid = api.post(MAPS, map("Not_A_Name")).await;
    assert_eq!((invalid.code, invalid.value["reason"].as_str()), (422, Some("Invalid")));
    assert_eq!(invalid.value["details"]["causes"][0]["field"], "metadata.name");
    assert_eq!(invalid.value["details"]["causes"][0]["reason"], "FieldValueInvalid");
}

#[tokio::test]
async fn unknown_fields_warn_or_fail() {
    let api = Api::new().await;
    let mut odd = map("a");
    odd["spek"] = 1.into();
    let strict = api.post(&format!("{MAPS}?fieldValidation=Strict"), odd.clone()).await;
    let message =
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"spek\"";
    assert_eq!(strict.status(), (400, "BadRequest", message));
    let ignored = api
        .post(&format!("{MAPS}?fieldValidation=Ignore&dryRun=All"), odd.clone())
        .await;
    assert!(ignored.code == 201 && ignored.warnings.is_empty());
    let warned = api.post(MAPS, odd).await;
    assert_eq!(
        (warned.code, warned.warnings),
        (201, vec!["299 - \"unknown field \\\"spek\\\"\"".to_owned()])
    );
    assert_eq!(warned.value.get("spek"), None);
    let twice = br#"{"metadata":{"name":"b"},"data":{"a":"1"},"data":{"a":"2"}}"#.to_vec();
    let twice = api
        .call("POST", MAPS, &[("content-type", "application/json")], twice)
        .await;
    assert_eq!(
        (twice.code, twice.warnings),
        (201, vec!["299 - \"duplicate field \\\"data\\\"\"".to_owned()])
    );
    let wrong = api.post(&format!("{MAPS}?fieldValidation=Maybe"), map("c")).await;
    assert_eq!(wrong.code, 422);
}

#[tokio::test]
async fn replace_needs_the_latest_version() {
    let api = Api::new().await;
    let first = api.post(MAPS, map("a")).await.ok();
    let path = format!("{MAPS}/a");
    let mut second = first.clone();
    second["data"]["a"] = "2".into();
    let second = api.put(&path, second).await.ok();
    assert_ne!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    let mut stale = first.clone();
    stale["data"]["a"] = "3".into();
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your \
                   changes to the latest version and try again";
    assert_eq!(api.put(&path, stale).await.status(), (409, "Conflict", message));
    let unversioned = api.put(&path, map("a")).await.ok();
    assert_eq!(unversioned["data"]["a"], "1");
    let same = api.put(&path, unversioned.clone()).await.ok();
    assert_eq!(same, unversioned, "nothing changes, so nothing is written");
    let mut other = map("a");
    other["metadata"]["uid"] = "x".into();
    assert_eq!(api.put(&path, other).await.code, 409);
    let renamed = api.put(&path, map("b")).await;
    assert_eq!(
        renamed.status().2,
        "the name of the object (b) does not match the name on the URL (a)"
    );
    assert_eq!(api.put(&format!("{MAPS}/none"), map("none")).await.code, 404);
}

#[tokio::test]
async fn patches() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    let path = format!("{MAPS}/a");
    let merged = api
        .patch(&path, "merge-patch+json", json!({"data": {"b": "2", "a": null}}))
        .await
        .ok();
    assert_eq!(merged["data"], json!({"b": "2"}));
    let jsoned = api
        .patch(
            &path,
            "json-patch+json",
            json!([{"op": "add", "path": "/data/c", "value": "3"}]),
        )
        .await
        .ok();
    assert_eq!(jsoned["data"], json!({"b": "2", "c": "3"}));
    let test = json!([{"op": "test", "path": "/data/c", "value": "4"}]);
    assert_eq!(api.patch(&path, "json-patch+json", test).await.code, 422);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"c": "5"}});
    assert_eq!(api.patch(&path, "merge-patch+json", stale).await.status().1, "Conflict");
    assert_eq!(api.patch(&path, "json", json!({})).await.code, 415);
    let unchanged = api
        .patch(&path, "merge-patch+json", json!({"data": {"b": "2"}}))
        .await
        .ok();
    assert_eq!(
        unchanged["metadata"]["resourceVersion"],
        jsoned["metadata"]["resourceVersion"]
    );
    let forced = api
        .patch(&format!("{path}?force=true"), "merge-patch+json", json!({}))
        .await;
    assert_eq!(forced.code, 422);
    api.post(PODS, pod("p")).await.ok();
    let image = json!({"spec": {"containers": [{"name": "c", "image": "busybox:2"}]}});
    let pod = api
        .patch(&format!("{PODS}/p"), "strategic-merge-patch+json", image)
        .await
        .ok();
    assert_eq!(pod["spec"]["containers"][0]["image"], "busybox:2");
    assert_eq!(pod["spec"]["containers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn server_side_apply() {
    let api = Api::new().await;
    let path = format!("{MAPS}/a");
    let apply = |manager: &str, force: bool, data: Value| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let path = format!("{path}?fieldManager={manager}&force={force}");
        let api = &api;
        async move { api.patch(&path, "apply-patch+yaml", body).await }
    };
    let anonymous = api.patch(&path, "apply-patch+yaml", map("a")).await;
    let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    assert_eq!(anonymous.status(), (422, "Invalid", message));
    let made = apply("one", false, json!({"x": "1", "y": "1"})).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.value["metadata"]["managedFields"][0]["operation"], "Apply");
    let same = apply("one", false, json!({"x": "1", "y": "1"})).await;
    assert_eq!((same.code, &same.value), (200, &made.value));
    let conflict = apply("two", false, json!({"x": "2"})).await;
    assert_eq!(
        (conflict.code, conflict.value["reason"].as_str()),
        (409, Some("Conflict"))
    );
    assert_eq!(conflict.value["details"]["causes"][0]["field"], ".data.x");
    assert_eq!(conflict.value["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let taken = apply("two", true, json!({"x": "2"})).await.ok();
    assert_eq!(taken["data"], json!({"x": "2", "y": "1"}));
    let dropped = apply("one", false, json!({})).await.ok();
    assert_eq!(dropped["data"], json!({"x": "2"}));
}

#[tokio::test]
async fn an_apply_may_insist_on_the_object_as_it_was() {
    let api = Api::new().await;
    let made = api.post(MAPS, map("a")).await.ok();
    let apply = async |metadata: Value| {
        let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"b": "2"}});
        config["metadata"]["name"] = json!("a");
        api.patch(&format!("{MAPS}/a?fieldManager=m"), "apply-patch+yaml", config)
            .await
    };
    let (uid, version) = (&made["metadata"]["uid"], &made["metadata"]["resourceVersion"]);
    assert_eq!(apply(json!({"resourceVersion": "1"})).await.code, 409);
    assert_eq!(apply(json!({"uid": "other"})).await.code, 409);
    apply(json!({"uid": uid, "resourceVersion": version})).await.ok();
    assert_eq!(
        apply(json!({"resourceVersion": version})).await.code,
        409,
        "it is another version now"
    );
    apply(json!({"uid": uid})).await.ok();
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let api = Api::new().await;
    let made = api.post(&format!("{MAPS}?dryRun=All"), map("a")).await;
    assert_eq!((made.code, made.value["metadata"]["name"].as_str()), (201, Some("a")));
    assert_eq!(api.get(&format!("{MAPS}/a")).await.code, 404);
    api.post(MAPS, map("a")).await.ok();
    let path = format!("{MAPS}/a");
    let patched = api
        .patch(
            &format!("{path}?dryRun=All"),
            "merge-patch+json",
            json!({"data": {"a": "9"}}),
        )
        .await
        .ok();
    assert_eq!(patched["data"]["a"], "9");
    api.delete(&format!("{path}?dryRun=All"), Value::Null).await.ok();
    assert_eq!(api.get(&path).await.ok()["data"]["a"], "1");
    assert_eq!(api.post(&format!("{MAPS}?dryRun=x"), map("b")).await.code, 422);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let api = Api::new().await;
    let pod = api.post(PODS, pod("p")).await.ok();
    assert_eq!(pod["status"]["phase"], "Pending");
    let path = format!("{PODS}/p");
    let status = json!({"status": {"phase": "Running"}, "spec": {"nodeName": "sneaky"}});
    let updated = api
        .patch(&format!("{path}/status"), "strategic-merge-patch+json", status)
        .await
        .ok();
    assert_eq!(
        (updated["status"]["phase"].as_str(), updated["spec"].get("nodeName")),
        (Some("Running"), None)
    );
    let spec = json!({"status": {"phase": "Failed"}, "metadata": {"labels": {"x": "y"}}});
    let updated = api.patch(&path, "merge-patch+json", spec).await.ok();
    assert_eq!(
        (&updated["status"]["phase"], &updated["metadata"]["labels"]["x"]),
        (&json!("Running"), &json!("y"))
    );
    assert_eq!(api.get(&format!("{path}/status")).await.ok(), updated);
}

#[tokio::test]
async fn some_statuses_are_written_alone() {
    let api = Api::new().await;
    let attachment = json!({"metadata": {"name": "a"}, "spec": {"attacher": "d", "nodeName": "n",
        "source": {"persistentVolumeName": "p"}}});
    let service = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}});
    let written = json!({"metadata": {"labels": {"x": "y"}, "finalizers": ["example.com/x"]}});
    for (path, object, along) in [
        ("/apis/storage.k8s.io/v1/volumeattachments", attachment, false),
        ("/api/v1/namespaces/default/services", service, true),
    ] {
        api.post(path, object).await.ok();
        let path = format!("{path}/a/status");
        let status = api.patch(&path, "merge-patch+json", written.clone()).await.ok();
        assert_eq!(status["metadata"]["labels"]["x"] == "y", along, "{status}");
        assert_eq!(status["metadata"]["finalizers"].is_array(), along, "{status}");
    }
}

#[tokio::test]
async fn a_scale_is_applied_like_its_object() {
    let api = Api::new().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "a"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let path = "/apis/apps/v1/namespaces/default/replicasets/a";
    let apply = async |path: &str, manager: &str, more: &str, config: &Value| {
        let path = format!("{path}?fieldManager={manager}{more}");
        api.patch(&path, "apply-patch+yaml", config.clone()).await
    };
    apply(path, "whole", "", &set).await.ok();
    let scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": replicas}});
    let scales = format!("{path}/scale");
    let owners = async || {
        let set = api.get(path).await.ok();
        let entries = set["metadata"]["managedFields"].as_array().unwrap().clone();
        let owns = |entry: &&Value| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null();
        let names = entries.iter().filter(owns).map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or("").to_owned();
            format!("{} {} {}", text("manager"), text("operation"), text("subresource"))
        });
        names.collect::<Vec<_>>()
    };
    let refused = apply(&scales, "scaler", "", &scale(7)).await;
    let why = "Apply failed with 1 conflict: conflict with \"whole\": .spec.replicas";
    assert_eq!(refused.status(), (409, "Conflict", why));
    assert_eq!(apply(&scales, "scaler", "&force=true", &scale(-1)).await.code, 422);
    let forced = apply(&scales, "scaler", "&force=true", &scale(7)).await.ok();
    assert_eq!(
        (&forced["kind"], &forced["spec"]["replicas"]),
        (&json!("Scale"), &json!(7))
    );
    assert_eq!(owners().await, ["scaler Apply scale"]);
    apply(&scales, "other", "", &scale(7)).await.ok();
    assert_eq!(owners().await, ["other Apply scale", "scaler Apply scale"]);
    assert_eq!(apply(path, "whole", "", &set).await.code, 409);
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec() {
    let api = Api::new().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let made = api.post(deployments, deployment).await.ok();
    assert_eq!(
        (&made["metadata"]["generation"], &made["spec"]["replicas"]),
        (&json!(1), &json!(1))
    );
    let path = format!("{deployments}/d");
    let labelled = json!({"metadata": {"labels": {"x": "y"}}});
    let labelled = api.patch(&path, "merge-patch+json", labelled).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scaled = api
        .patch(
            &format!("{path}/scale"),
            "merge-patch+json",
            json!({"spec": {"replicas": 4}}),
        )
        .await
        .ok();
    assert_eq!(
        (&scaled["kind"], &scaled["spec"]["replicas"]),
        (&json!("Scale"), &json!(4))
    );
    let after = api.get(&path).await.ok();
    assert_eq!(
        (&after["metadata"]["generation"], &after["spec"]["replicas"]),
        (&json!(2), &json!(4))
    );
    let mut scale = api.get(&format!("{path}/scale")).await.ok();
    assert_eq!(scale["status"]["selector"], "a=b");
    scale["spec"]["replicas"] = 0.into();
    assert_eq!(
        api.put(&format!("{path}/scale"), scale.clone()).await.ok()["spec"].get("replicas"),
        None
    );
    assert_eq!(api.put(&format!("{path}/scale"), scale).await.code, 409);
}

#[tokio::test]
async fn patches_that_do_not_fit_are_told_as_patches() {
    let api = Api::new().await;
    api.post(PODS, pod("a")).await.ok();
    let path = format!("{PODS}/a");
    let labels = json!({"metadata": {"labels": "x"}});
    let strategic = api.patch(&path, "strategic-merge-patch+json", labels.clone()).await;
    assert_eq!(
        strategic.status(),
        (
            422,
            "Invalid",
            " \"\" is invalid: patch: Invalid value: \"map[metadata:map[labels:x]]\": cannot restore map from string"
        )
    );
    assert_eq!(strategic.value["details"]["causes"][0]["field"], "patch");
    let merged = api.patch(&path, "merge-patch+json", labels).await;
    let (code, _, message) = merged.status();
    assert_eq!(code, 422);
    assert!(
        message.starts_with(" \"\" is invalid: patch: Invalid value: \"{"),
        "{message}"
    );
    assert!(
        message.ends_with(
            "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string"
        ),
        "{message}"
    );
    let strict = format!("{path}?fieldValidation=Strict");
    let odd = api
        .patch(&strict, "merge-patch+json", json!({"spec": {"odd": 1}}))
        .await;
    let (code, _, message) = odd.status();
    assert_eq!(code, 422);
    assert!(
        message.ends_with("strict decoding error: unknown field \"spec.odd\""),
        "{message}"
    );
}

#[tokio::test]
async fn the_single_network_of_a_node_counts_and_stays() {
    let api = Api::new().await;
    let nodes = "/api/v1/nodes";
    let node = json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.1.0.0/24"}});
    let made = api.post(nodes, node).await.ok();
    assert_eq!(made["spec"]["podCIDRs"], json!(["10.1.0.0/24"]));
    let other = json!({"spec": {"podCIDR": "10.2.0.0/24"}});
    let refused = api
        .patch(&format!("{nodes}/n"), "strategic-merge-patch+json", other)
        .await;
    assert_eq!(
        (refused.code, refused.value["details"]["causes"][0]["field"].as_str()),
        (422, Some("spec.podCIDRs"))
    );
}

#[tokio::test]
async fn kubectl_moves_from_the_client_to_the_server() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let api = Api::new().await;
    let path = format!("{MAPS}/m");
    let config = |value: &str| {
        let mut config = map("m");
        config["data"]["a"] = value.into();
        config
    };
    let mut first = config("1");
    first["metadata"]["annotations"] = json!({ANNOTATION: config("1").to_string()});
    let client = format!("{MAPS}?fieldManager=kubectl-client-side-apply");
    api.post(&client, first).await.ok();
    let apply = async |manager: &str, value: &str| {
        let path = format!("{path}?fieldManager={manager}");
        api.json("PATCH", &path, "application/apply-patch+yaml", config(value))
            .await
    };
    assert_eq!(apply("other", "2").await.code, 409);
    let applied = apply("kubectl", "2").await.ok();
    assert_eq!(applied["data"]["a"], "2");
    let kept = applied["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
    let kept: Value = serde_json::from_str(kept).unwrap();
    assert_eq!(kept["data"]["a"], "2");
}

/// As Go has it: `""`, 0 and `false` are left out where a field is no pointer, and are values where it is one.
#[tokio::test]
async fn zeros_say_nothing_unless_they_may() {
    let api = Api::new().await;
    let mut given = pod("p");
    given["spec"]["hostNetwork"] = json!(false);
    given["spec"]["hostname"] = json!("");
    given["spec"]["restartPolicy"] = json!("");
    given["spec"]["containers"][0]["tty"] = json!(false);
    let made = api.post(PODS, given.clone()).await.ok();
    let spec = &made["spec"];
    assert!(
        spec.get("hostNetwork").is_none() && spec.get("hostname").is_none(),
        "{made}"
    );
    assert!(spec["containers"][0].get("tty").is_none(), "{made}");
    assert_eq!(spec["restartPolicy"], "Always");
    // Who applies such a field owns it all the same, and applies it once.
    let path = format!("{PODS}/p?fieldManager=me&force=true");
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"hostNetwork": false}});
    let first = api.patch(&path, "apply-patch+yaml", config.clone()).await.ok();
    assert!(first["spec"].get("hostNetwork").is_none(), "{first}");
    let owned = first["metadata"]["managedFields"].to_string();
    assert!(owned.contains("f:hostNetwork"), "{owned}");
    assert_eq!(api.patch(&path, "apply-patch+yaml", config).await.ok(), first);

    let here = "/api/v1/namespaces/default";
    let claim = |key: &str| json!({"metadata": {"name": "x"}, "spec": {key: "", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}});
    let service = |key: &str| json!({"metadata": {"name": "x"}, "spec": {key: "", "ports": [{"port": 1}]}});
    let hook = |key: &str| {
        let mut hook = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://a.b"}});
        hook[key] = json!("");
        json!({"metadata": {"name": "x"}, "webhooks": [hook]})
    };
    let pod_with = |pointer: &str, value: Value| {
        let mut pod = pod("x");
        pod["spec"]["securityContext"] = json!({});
        pod["spec"]["containers"][0]["securityContext"] = json!({});
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value;
        pod
    };
    let path_type = json!({"metadata": {"name": "x"}, "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "",
        "backend": {"service": {"name": "a", "port": {"number": 1}}}}]}}]}});
    let cases = [
        (
            PODS.to_owned(),
            pod_with("/spec/securityContext/fsGroupChangePolicy", json!("")),
            "spec.securityContext.fsGroupChangePolicy",
        ),
        (
            PODS.to_owned(),
            pod_with("/spec/containers/0/securityContext/procMount", json!("")),
            "spec.containers[0].securityContext.procMount",
        ),
        (
            format!("{here}/persistentvolumeclaims"),
            claim("volumeMode"),
            "spec.volumeMode",
        ),
        (
            format!("{here}/services"),
            service("internalTrafficPolicy"),
            "spec.internalTrafficPolicy",
        ),
        (
            format!("{here}/services"),
            service("ipFamilyPolicy"),
            "spec.ipFamilyPolicy",
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses".into(),
            path_type,
            "spec.rules[0].http.paths[0].pathType",
        ),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses".into(),
            json!({"metadata": {"name": "x"}, "value": 1, "preemptionPolicy": ""}),
            "preemptionPolicy",
        ),
    ];
    let hooks = ["failurePolicy", "matchPolicy", "sideEffects", "reinvocationPolicy"].map(|key| {
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations".to_owned();
        (path, hook(key), format!("webhooks[0].{key}"))
    });
    let answer = api.post(PODS, pod_with("/spec/preemptionPolicy", json!(""))).await;
    assert_eq!(answer.code, 403, "{}", answer.value);
    let cases = cases.map(|(path, object, field)| (path, object, field.to_owned()));
    for (path, object, field) in cases.into_iter().chain(hooks) {
        let answer = api.post(&path, object).await;
        let causes = answer.value["details"]["causes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert_eq!(causes.len(), 1, "{path} {}", answer.value);
        assert_eq!((answer.code, &causes[0]["field"]), (422, &json!(field)));
        let message = causes[0]["message"].as_str().unwrap();
        assert!(
            message.starts_with("Unsupported value: \"\": supported values: "),
            "{message}"
        );
    }
}

#[tokio::test]
async fn empty_lists_and_maps_are_no_change() {
    let api = Api::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let given = json!({"metadata": {"name": "a", "labels": {}, "finalizers": []}, "data": {}, "immutable": false});
    let made = api.post(maps, given).await.ok();
    let metadata = &made["metadata"];
    assert!(
        metadata.get("labels").is_none() && metadata.get("finalizers").is_none(),
        "{made}"
    );
    assert!(made.get("data").is_none() && made["immutable"] == false, "{made}");
    let path = format!("{maps}/a");
    let empty = json!({"metadata": {"annotations": {}}, "binaryData": {}});
    for type_ in ["merge-patch+json", "strategic-merge-patch+json"] {
        let same = api.patch(&path, type_, empty.clone()).await.ok();
        assert_eq!(same, made, "{type_}");
    }
    let mut sent = made.clone();
    sent["data"] = json!({});
    assert_eq!(api.put(&path, sent).await.ok(), made);
}
