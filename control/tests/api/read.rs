//! Lists, pages, selectors and representations.

use crate::support::{Api, MAPS, PODS, map, names, pod};
use http_body_util::BodyExt;
use serde_json::{Value, json};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn pages_show_one_state() {
    let api = Api::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        api.post(MAPS, map(name)).await.ok();
    }
    let first = api.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a", "b"], &json!(3))
    );
    api.delete(&format!("{MAPS}/c"), Value::Null).await.ok();
    api.post(MAPS, map("dd")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{MAPS}?limit=10&continue={token}")).await.ok();
    assert_eq!(
        (names(&rest), rest["metadata"].get("continue")),
        (vec!["c", "d", "e"], None)
    );
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let exact = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = api
        .get(&format!("{MAPS}?resourceVersion={exact}&resourceVersionMatch=Exact"))
        .await
        .ok();
    assert_eq!(names(&exact), ["a", "b", "c", "d", "e"]);
    assert_eq!(names(&api.get(MAPS).await.ok()), ["a", "b", "d", "dd", "e"]);
}

#[tokio::test]
async fn an_expired_page_tells_how_to_go_on() {
    let api = Api::new().await;
    for name in ["a", "b", "c"] {
        api.post(MAPS, map(name)).await.ok();
    }
    let first = api.get(&format!("{MAPS}?limit=1")).await.ok();
    api.post(MAPS, map("d")).await.ok();
    barepod_store::Store::compact(&*api.store, barepod_store::Store::revision(&*api.store));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = api.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((expired.code, expired.value["reason"].as_str()), (410, Some("Expired")));
    let token = expired.value["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{MAPS}?continue={token}")).await.ok();
    assert_eq!(names(&rest), ["b", "c", "d"]);
    assert_eq!(api.get(&format!("{MAPS}?continue=nonsense")).await.code, 400);
}

#[tokio::test]
async fn numbers_are_numbers() {
    let api = Api::new().await;
    for query in [
        "timeoutSeconds=x",
        "limit=x",
        "watch=1&timeoutSeconds=x",
        "watch=1&limit=x",
    ] {
        let refused = api.get(&format!("{PODS}?{query}")).await;
        let why = r#"strconv.ParseInt: parsing "x": invalid syntax"#;
        assert_eq!(refused.status(), (400, "BadRequest", why), "{query}");
    }
    assert_eq!(api.delete(&format!("{PODS}?limit="), Value::Null).await.code, 400);
    api.post(PODS, pod("a")).await.ok();
    // A field without a value.
    let selected = async |selector: &str| {
        api.get(&format!("{PODS}?fieldSelector=status.podIPs{selector}"))
            .await
            .ok()
    };
    assert_eq!(names(&selected("=").await), ["a"]);
    assert!(names(&selected("%3D10.0.0.1").await).is_empty());
}

#[tokio::test]
async fn versions_of_lists() {
    let api = Api::new().await;
    let made = api.post(MAPS, map("a")).await.ok();
    let version: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert_eq!(names(&api.get(&format!("{MAPS}?resourceVersion=0")).await.ok()), ["a"]);
    assert_eq!(
        names(&api.get(&format!("{MAPS}?resourceVersion={version}")).await.ok()),
        ["a"]
    );
    let future = api.get(&format!("{MAPS}?resourceVersion={}", version + 9)).await;
    assert_eq!((future.code, future.value["reason"].as_str()), (504, Some("Timeout")));
    assert_eq!(
        future.value["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    api.post(MAPS, map("b")).await.ok();
    let then = format!("{MAPS}?resourceVersion={version}");
    assert_eq!(names(&api.get(&then).await.ok()), ["a", "b"], "not older");
    for query in ["limit=5", "resourceVersionMatch=Exact"] {
        assert_eq!(names(&api.get(&format!("{then}&{query}")).await.ok()), ["a"], "{query}");
    }
    barepod_store::Store::compact(&*api.store, barepod_store::Store::revision(&*api.store));
    for query in ["limit=5", "resourceVersionMatch=Exact"] {
        let message = "The resourceVersion for the provided list is too old.";
        let expired = api.get(&format!("{then}&{query}")).await;
        assert_eq!(expired.status(), (410, "Expired", message), "{query}");
    }
    assert_eq!(api.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.code, 422);
    assert_eq!(api.get(&format!("{MAPS}?resourceVersion=x")).await.code, 400);
    assert_eq!(api.get(&format!("{MAPS}?sendInitialEvents=true")).await.code, 422);
}

#[tokio::test]
async fn discovery_is_sent_once() {
    let api = Api::new().await;
    for path in ["/api", "/apis"] {
        let form = (
            "accept",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        );
        let first = api.raw("GET", path, &[form], vec![]).await;
        assert_eq!(first.status(), 200);
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        let again = api.raw("GET", path, &[form, ("if-none-match", &etag)], vec![]).await;
        assert_eq!(
            (again.status().as_u16(), again.headers()["etag"].to_str().unwrap()),
            (304, etag.as_str())
        );
        let other = api
            .raw("GET", path, &[form, ("if-none-match", "\"other\"")], vec![])
            .await;
        assert_eq!(other.status(), 200);
    }
}

#[tokio::test]
async fn selectors() {
    let api = Api::new().await;
    for name in ["a", "b", "c"] {
        api.post(PODS, pod(name)).await.ok();
    }
    let api = &api;
    let list = |query: &'static str| async move { api.get(&format!("/api/v1/pods?{query}")).await.ok() };
    assert_eq!(names(&list("labelSelector=app%3Da").await), ["a"]);
    assert_eq!(names(&list("labelSelector=app+in+(a,c)").await), ["a", "c"]);
    assert_eq!(names(&list("labelSelector=app,app!%3Db").await), ["a", "c"]);
    assert_eq!(names(&list("fieldSelector=metadata.name%3Db").await), ["b"]);
    assert_eq!(names(&list("fieldSelector=spec.nodeName%3D").await), ["a", "b", "c"]);
    assert_eq!(
        names(&list("fieldSelector=status.phase!%3DPending").await),
        Vec::<&str>::new()
    );
    assert_eq!(
        names(&list("fieldSelector=metadata.namespace%3Dkube-system").await),
        Vec::<&str>::new()
    );
    let paged = list("labelSelector=app+in+(a,c)&limit=1").await;
    assert_eq!(
        (names(&paged), paged["metadata"].get("remainingItemCount")),
        (vec!["a"], None)
    );
    let token = paged["metadata"]["continue"].as_str().unwrap();
    let rest = api
        .get(&format!(
            "/api/v1/pods?labelSelector=app+in+(a,c)&limit=1&continue={token}"
        ))
        .await
        .ok();
    assert_eq!((names(&rest), rest["metadata"].get("continue")), (vec!["c"], None));
    let unknown = api.get(&format!("{PODS}?fieldSelector=spec.color%3Dred")).await;
    assert_eq!(
        unknown.status(),
        (400, "BadRequest", "field label not supported: spec.color")
    );
    assert_eq!(api.get(&format!("{PODS}?labelSelector=a%3D%3D%3Db")).await.code, 400);
}

#[tokio::test]
async fn representations() {
    let api = Api::new().await;
    api.post(PODS, pod("a")).await.ok();
    let table = api.get_as(PODS, TABLE).await.ok();
    assert_eq!(
        (&table["kind"], &table["columnDefinitions"][0]["name"]),
        (&json!("Table"), &json!("Name"))
    );
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "a");
    let bare = api.get_as(&format!("{PODS}/a?includeObject=None"), TABLE).await.ok();
    assert_eq!(bare["rows"][0].get("object"), None);
    let full = api.get_as(&format!("{PODS}/a?includeObject=Object"), TABLE).await.ok();
    assert_eq!(full["rows"][0]["object"]["kind"], "Pod");
    let plain = api.get(PODS).await.ok();
    let item = plain["items"][0].as_object().unwrap();
    assert_eq!(item.keys().collect::<Vec<_>>(), ["metadata", "spec", "status"]);
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = api.get_as(PODS, partial).await.ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(
        (list["items"][0].get("spec"), &list["items"][0]["kind"]),
        (None, &json!("PartialObjectMetadata"))
    );
    let one = partial.replace("MetadataList", "Metadata");
    let object = api.get_as(&format!("{PODS}/a"), &one).await.ok();
    assert_eq!(
        (&object["kind"], object.get("spec")),
        (&json!("PartialObjectMetadata"), None)
    );
    let unfit = api.get_as(PODS, &format!("{one},application/json")).await;
    let why = "you requested PartialObjectMetadata, but the requested object is a list (*core.PodList)";
    assert_eq!(unfit.status(), (406, "NotAcceptable", why));
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    api.post(roles, json!({"metadata": {"name": "r"}, "rules": []}))
        .await
        .ok();
    let unfit = api.get_as(&format!("{roles}/r"), partial).await;
    let why = "you requested PartialObjectMetadataList, but the requested object is not a list (*rbac.ClusterRole)";
    assert_eq!(unfit.status(), (406, "NotAcceptable", why));
    let protobuf = api.get_as(PODS, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(
        (protobuf.code, protobuf.value["reason"].as_str()),
        (406, Some("NotAcceptable"))
    );
    let empty = api.get_as(MAPS, TABLE).await.ok();
    assert_eq!(empty["rows"], json!([]));
    let pretty = api.raw("GET", &format!("{PODS}?pretty=true"), &[], Vec::new()).await;
    let text = BodyExt::collect(pretty.into_body()).await.unwrap().to_bytes();
    assert!(text.starts_with(b"{\n  \""));
}

#[tokio::test]
async fn objects_are_shown_in_yaml() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    for (path, code, line) in [
        (format!("{MAPS}/a"), 200, "kind: ConfigMap"),
        (MAPS.to_owned(), 200, "kind: ConfigMapList"),
        (format!("{MAPS}/b"), 404, "reason: NotFound"),
        ("/apis/apps".to_owned(), 200, "kind: APIGroup"),
        (format!("{MAPS}?watch=true"), 406, "reason: NotAcceptable"),
    ] {
        let headers = [("accept", "application/yaml")];
        let response = api.raw("GET", &path, &headers, Vec::new()).await;
        assert_eq!(response.headers()["content-type"], "application/yaml", "{path}");
        let answer = api.call("GET", &path, &headers, Vec::new()).await;
        assert_eq!(answer.code, code, "{path}");
        let text = answer.value.as_str().unwrap();
        assert!(text.lines().any(|it| it == line), "{text}");
    }
    let both = [("accept", "application/json, application/yaml")];
    assert_eq!(
        api.call("GET", MAPS, &both, Vec::new()).await.value["kind"],
        "ConfigMapList"
    );
}

#[tokio::test]
async fn users_of_what_is_to_go_are_warned() {
    let api = Api::new().await;
    let listed = api.get("/api/v1/namespaces/default/endpoints").await;
    let warning = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    assert_eq!(listed.warnings, [warning]);
    assert_eq!(api.get(MAPS).await.warnings, [""; 0]);
}

#[tokio::test]
async fn paths_that_are_not_served() {
    let api = Api::new().await;
    for path in [
        "/api/v1/nothings",
        "/api/v2",
        "/apis/apps/v9",
        "/apis/apps/v9/x",
        "/version/x",
        "/api/v1/namespaces/default/nodes",
    ] {
        let answer = api.get(path).await;
        assert_eq!(
            (answer.code, answer.value["reason"].as_str()),
            (404, Some("NotFound")),
            "{path}"
        );
    }
    for path in ["/apis/metrics.k8s.io", "/apis/none/v1/x", "/x", "/openapi/v3/apis/none"] {
        let answer = api.get(path).await;
        assert_eq!(
            (answer.code, &answer.value),
            (404, &json!("404 page not found\n")),
            "{path}"
        );
    }
    let page = api.raw("GET", "/x", &[], Vec::new()).await;
    assert_eq!(page.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(api.post("/api/v1/pods", pod("a")).await.code, 405);
    assert_eq!(api.put(PODS, pod("a")).await.code, 405);
    assert_eq!(api.delete("/api/v1/namespaces", Value::Null).await.code, 405);
    assert_eq!(api.get(&format!("{MAPS}/a/status")).await.code, 404);
}

#[tokio::test]
async fn discovery_and_health() {
    let api = Api::new().await;
    assert_eq!(api.get("/api").await.ok()["versions"], json!(["v1"]));
    let groups = api.get("/apis").await.ok();
    let named = |list: &Value, name: &str| {
        let all = list.as_array().unwrap().iter();
        all.clone()
            .find(|item| item["name"] == name || item["metadata"]["name"] == name)
            .cloned()
    };
    let batch = named(&groups["groups"], "batch").unwrap();
    assert_eq!(batch["preferredVersion"]["groupVersion"], "batch/v1");
    assert_eq!(
        named(&groups["groups"], "internal.apiserver.k8s.io"),
        None,
        "alpha groups are off"
    );
    let core = api.get("/api/v1").await.ok();
    let find = |name: &str| {
        core["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == name)
            .cloned()
    };
    assert_eq!(find("pods").unwrap()["shortNames"], json!(["po"]));
    assert_eq!(find("pods").unwrap()["storageVersionHash"], "xPOwRZ+Yhw8=");
    assert_eq!(find("bindings").unwrap().get("storageVersionHash"), None);
    let events = api.get("/apis/events.k8s.io/v1").await.ok();
    assert_eq!(
        events["resources"][0]["storageVersionHash"],
        find("events").unwrap()["storageVersionHash"]
    );
    assert_eq!(find("replicationcontrollers/scale").unwrap()["group"], "autoscaling");
    assert_eq!(find("persistentvolumes").unwrap()["namespaced"], false);
    assert_eq!(find("serviceaccounts/token").unwrap()["kind"], "TokenRequest");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = api.get_as("/apis", accept).await.ok();
    let apps = named(&aggregated["items"], "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap().iter();
    let plurals: Vec<&str> = resources.map(|row| row["resource"].as_str().unwrap()).collect();
    let all = [
        "controllerrevisions",
        "daemonsets",
        "deployments",
        "replicasets",
        "statefulsets",
    ];
    assert_eq!(plurals, all);
    assert_eq!(api.get("/version").await.ok()["gitVersion"], "v1.36.0+barepod");
}

#[tokio::test]
async fn a_clients_timeout_is_a_length_of_time() {
    let api = Api::new().await;
    for path in ["/version", "/api/v1/namespaces"] {
        let answer = api.get(&format!("{path}?timeout=invalid")).await;
        let message = "invalid timeout specified in the request URL - time: invalid duration \"invalid\"";
        assert_eq!(answer.status(), (400, "BadRequest", message));
        for timeout in ["0s", "3m", "1.5h"] {
            api.get(&format!("{path}?timeout={timeout}")).await.ok();
        }
    }
}

#[tokio::test]
async fn health_is_told_check_by_check() {
    let api = Api::new().await;
    let text = async |path: &str| {
        let answer = api.get(path).await;
        (answer.code, answer.value.as_str().unwrap_or("").to_owned())
    };
    let ok = || (200, "ok".to_owned());
    let roles = "poststarthook/rbac/bootstrap-roles";
    // Nothing has set the cluster up here.
    let (code, lines) = text("/livez").await;
    assert_eq!((code, lines.lines().last()), (500, Some("livez check failed")));
    assert!(
        lines.contains(&format!("[-]{roles} failed: reason withheld\n")),
        "{lines}"
    );
    let reason = (500, "internal server error: not finished\n".to_owned());
    assert_eq!(text(&format!("/livez/{roles}")).await, reason);
    assert_eq!(text("/livez/ping").await, ok());
    api.engine.set_ready();
    for path in [
        "/healthz",
        "/livez",
        "/readyz",
        "/livez/etcd",
        "/readyz/informer-sync",
        "/readyz/etcd-readiness",
    ] {
        assert_eq!(text(path).await, ok(), "{path}");
    }
    assert_eq!(text(&format!("/readyz/{roles}")).await, ok());
    for path in ["/livez/informer-sync", "/readyz/none", "/livez/poststarthook"] {
        assert_eq!(text(path).await.0, 404, "{path}");
    }
    let (code, lines) = text("/readyz?verbose&exclude=etcd&exclude=none").await;
    assert!(
        lines.starts_with("[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n"),
        "{lines}"
    );
    // What the tests of Kubernetes ask for.
    for check in [
        "start-apiserver-admission-initializer",
        "generic-apiserver-start-informers",
        "start-apiextensions-informers",
        "start-apiextensions-controllers",
        "crd-informer-synced",
        "start-kube-aggregator-informers",
        "apiservice-registration-controller",
        "apiservice-status-local-available-controller",
        "apiservice-status-remote-available-controller",
        "kube-apiserver-autoregistration",
        "apiservice-openapi-controller",
    ] {
        assert!(
            lines.contains(&format!("\n[+]poststarthook/{check} ok\n")),
            "{check}: {lines}"
        );
    }
    assert!(lines.contains("\n[+]autoregister-completion ok\n"), "{lines}");
    let end =
        "[+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for \"none\"\nreadyz check passed\n";
    assert!(code == 200 && lines.ends_with(end), "{lines}");
    api.engine.set_stopping();
    assert_eq!(text("/livez").await, ok());
    assert_eq!(text("/readyz").await.0, 500);
    let reason = (500, "internal server error: process is shutting down\n".to_owned());
    assert_eq!(text("/readyz/shutdown").await, reason);
    assert_eq!(text("/readyz?exclude=shutdown").await, ok());
}

#[tokio::test]
async fn openapi_of_version_2_is_there_in_json_and_in_protobuf() {
    let api = Api::new().await;
    let asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = api.raw("GET", "/openapi/v2", &[("accept", asked)], Vec::new()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    let json = api
        .raw("GET", "/openapi/v2", &[("accept", "application/json")], Vec::new())
        .await;
    assert_eq!(json.headers()["content-type"], "application/json");
    assert_ne!(answer.headers()["etag"], json.headers()["etag"]);
    let neither = api
        .raw("GET", "/openapi/v2", &[("accept", "text/html")], Vec::new())
        .await;
    assert_eq!(neither.status(), 406);
}

/// Clients older than Kubernetes 1.15 ask for the forms in their first version.
#[tokio::test]
async fn forms_are_had_in_their_first_version_as_well() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    let old = |form: &str| format!("application/json;as={form};v=v1beta1;g=meta.k8s.io");
    let one = format!("{MAPS}/a");
    for (path, form) in [
        (one.as_str(), "Table"),
        (MAPS, "Table"),
        (&one, "PartialObjectMetadata"),
        (MAPS, "PartialObjectMetadataList"),
    ] {
        let answer = api.get_as(path, &old(form)).await.ok();
        assert_eq!(
            (&answer["kind"], &answer["apiVersion"]),
            (&json!(form), &json!("meta.k8s.io/v1beta1"))
        );
        let inner = answer
            .pointer("/rows/0/object")
            .or_else(|| answer.pointer("/items/0"))
            .unwrap_or(&answer);
        assert_eq!(inner["apiVersion"], "meta.k8s.io/v1beta1", "{path} {form}");
    }
    let unknown = "application/json;as=Table;v=v2;g=meta.k8s.io";
    assert_eq!(api.get_as(MAPS, unknown).await.code, 406);
}

#[tokio::test]
async fn every_kind_is_listed_and_shown() {
    let api = Api::new().await;
    let mut shown = 0;
    for kind in api.engine.registry().kinds() {
        let facts = &*kind.resource;
        if !facts.verbs.contains(&"list") {
            continue;
        }
        let path = format!("/{}/{}", facts.group_path(), facts.plural);
        let list = api.get(&path).await.ok();
        assert_eq!(list["kind"], *facts.list_kind(), "{path}");
        let table = api
            .get_as(&path, "application/json;as=Table;v=v1;g=meta.k8s.io")
            .await
            .ok();
        assert_eq!(table["kind"], "Table", "{path}");
        assert!(
            table["columnDefinitions"]
                .as_array()
                .is_some_and(|columns| columns.len() > 1),
            "{path}"
        );
        shown += 1;
    }
    assert!(shown > 50, "{shown}");
}

#[tokio::test]
async fn discovery_is_written_in_the_usual_order() {
    let api = Api::new().await;
    let response = api.raw("GET", "/api/v1", &[], Vec::new()).await;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(
        text.starts_with(r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"#)
    );
    let row = r#"{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["cm"],"storageVersionHash":"#;
    assert!(text.contains(row), "{text}");
    assert!(text.contains(r#"{"name":"replicationcontrollers/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale""#));
}
