//! The API as clients meet it: bodies, lists, subresources, certificates, documents.

use barepod_tests::Ran;
use serde_json::{Value, json};

use crate::{CLUSTER, space};

fn raw(path: &str) -> Value {
    let text = CLUSTER.kubectl(&format!("get --raw {path}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
}

#[test]
fn only_certificates_of_this_cluster_are_let_in() {
    let c = *CLUSTER;
    let pki = c.dir().join("etc/pki");
    let ca = pki.join("ca.crt").display().to_string();
    let curl = |more: &str| {
        let mut command = c.client("curl");
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5"]);
        Ran::of(command.args(barepod_tests::words(&format!(
            "{more} https://127.0.0.1:6443/api/v1/namespaces"
        ))))
    };
    let config = c.kubectl("config view --raw --flatten -o json");
    let config: Value = serde_json::from_str(&config).expect("a kubeconfig");
    let file = |name: &str, data: &Value| {
        use base64::Engine;
        let path = c.dir().join(name);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data.as_str().expect("text"))
            .expect("base64");
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let user = &config["users"][0]["user"];
    let cert = file("curl.crt", &user["client-certificate-data"]);
    let key = file("curl.key", &user["client-key-data"]);
    assert_eq!(curl(&format!("--cacert {ca} --cert {cert} --key {key}")).stdout, "200");
    assert_eq!(curl(&format!("--cacert {ca}")).stdout, "401", "without a certificate");
    // One that somebody else signed.
    let forged = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /O=system:masters/CN=kubernetes-admin";
    c.run(&format!("{forged} -keyout {key} -out {cert}"))
        .ok()
        .expect("openssl");
    let refused = curl(&format!("--cacert {ca} --cert {cert} --key {key}"));
    assert!(refused.code != 0 || refused.stdout == "401", "{refused:?}");
    // And a client does not take just any server for ours.
    assert_ne!(curl("").code, 0);
    for name in [cert, key] {
        std::fs::remove_file(name).expect("removed");
    }
}

#[test]
fn bodies_in_json_and_yaml() {
    let n = space("bodies");
    let path = "/api/v1/namespaces/bodies/configmaps";
    let mut api = n.cluster.api().expect("the API server");
    let json = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-"},"data":{"a":"b"}}"#;
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\ndata: {a: b}\n";
    assert_eq!(
        api.call("POST", path, "application/json", json).expect("an answer").0,
        201
    );
    assert_eq!(
        api.call("POST", path, "application/yaml", yaml).expect("an answer").0,
        201
    );
    let (status, _) = api.call("POST", path, "text/plain", json).expect("an answer");
    assert_eq!(status, 415);
    let names = n.kubectl("get configmaps -o name");
    assert!(
        names.contains("configmap/made-") && names.contains("configmap/yaml"),
        "{names}"
    );
}

#[test]
fn lists_come_in_pages_and_go_as_collections() {
    let n = space("pages");
    for i in 0..7 {
        let which = if i % 2 == 0 { "even" } else { "odd" };
        n.apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: cm-{i}, labels: {{which: {which}}}}}}}"
        ));
    }
    let path = "/api/v1/namespaces/pages/configmaps?labelSelector=which";
    let mut names = Vec::new();
    let mut page = raw(&format!("'{path}&limit=3'"));
    loop {
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 3);
        names.extend(
            items
                .iter()
                .map(|i| i["metadata"]["name"].as_str().expect("a name").to_owned()),
        );
        match page["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => page = raw(&format!("'{path}&limit=3&continue={token}'")),
            _ => break,
        }
    }
    assert_eq!(names, (0..7).map(|i| format!("cm-{i}")).collect::<Vec<_>>());
    assert_eq!(
        n.kubectl("get configmaps -l which --chunk-size=2 -o name")
            .lines()
            .count(),
        7
    );
    n.kubectl("delete configmaps -l which=odd");
    assert_eq!(n.kubectl("get configmaps -l which -o name").lines().count(), 4);
    let mut api = n.cluster.api().expect("the API server");
    let even = "/api/v1/namespaces/pages/configmaps?labelSelector=which%3Deven";
    api.json("DELETE", even, None).expect("deletecollection");
    assert_eq!(n.kubectl("get configmaps -l which -o name"), "");
}

#[test]
fn subresources_change_only_what_is_theirs() {
    let n = space("subresources");
    n.kubectl("create deployment d --image=absent:1 --replicas=2");
    let scale = n.get("deployment d --subresource=scale");
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&"Scale".into(), &json!(2))
    );
    n.apply("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeSelector: {no: where}, containers: [{name: main, image: 'tools:1'}]}}");
    let told = || n.field("pod/p", "{.status.message} {.spec.activeDeadlineSeconds}");
    let both =
        |message: &str| format!(r#"{{"status":{{"message":"{message}"}},"spec":{{"activeDeadlineSeconds":600}}}}"#);
    n.kubectl(&format!(
        "patch pod p --subresource=status --type=merge -p '{}'",
        both("one")
    ));
    assert_eq!(told(), "one ");
    n.kubectl(&format!("patch pod p --type=merge -p '{}'", both("two")));
    assert_eq!(told(), "one 600");
    let refused = n
        .try_kubectl(r#"patch pod p -p '{"spec":{"hostNetwork":true}}'"#)
        .refused();
    assert!(
        refused.contains("pod updates may not change fields other than"),
        "{refused}"
    );
}

#[test]
fn writes_can_be_tried_out_and_are_checked_strictly() {
    let n = space("strict");
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: b}, dato: {a: b}}";
    let refused = n.try_with("create --validate=strict -f -", text).refused();
    assert!(refused.contains("unknown field \"dato\""), "{refused}");
    let warned = n.try_with("create --validate=warn -f -", text);
    assert!(
        warned.code == 0 && warned.stderr.contains("unknown field \"dato\""),
        "{warned:?}"
    );
    n.kubectl("delete configmap x");
    assert_eq!(
        n.try_with("create --validate=ignore -f -", text).ok().expect("ignored"),
        "configmap/x created\n"
    );
    let dry = n.kubectl("create configmap y --from-literal=a=b --dry-run=server -o json");
    assert!(dry.contains("\"uid\""), "the server has completed it: {dry}");
    n.try_kubectl("get configmap y").refused();
    // Two that write at once: the one with the older version is told so.
    let old = n.kubectl("get configmap x -o json");
    n.kubectl("label configmap x newer=yes");
    let conflict = n.try_with("replace -f -", &old).refused();
    assert!(conflict.contains("the object has been modified"), "{conflict}");
}

#[test]
fn documents_describe_the_api() {
    let two = raw("/openapi/v2");
    assert!(two["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"].is_object());
    let three = raw("/openapi/v3");
    let path = three["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("a link")
        .to_owned();
    let apps = raw(&format!("'{path}'"));
    assert!(apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    assert_eq!(raw("/version")["major"], "1");
    assert_eq!(CLUSTER.kubectl("get --raw /readyz"), "ok");
}

#[test]
fn watches_start_where_they_are_told_and_send_bookmarks() {
    let n = space("watches");
    n.kubectl("create configmap one");
    let version = n.get("configmap one")["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version")
        .to_owned();
    n.kubectl("create configmap two");
    n.kubectl("delete configmap two");
    let path = "/api/v1/namespaces/watches/configmaps?watch=true";
    let from = |more: &str| {
        n.cluster
            .api()
            .expect("the API server")
            .watch(&format!("{path}{more}"))
            .expect("a watch")
    };
    let mut events = from(&format!("&resourceVersion={version}"));
    let mut next = || {
        let event = events.next().expect("an event");
        format!(
            "{} {}",
            event["type"].as_str().unwrap_or_default(),
            event["object"]["metadata"]["name"].as_str().unwrap_or_default()
        )
    };
    // The root certificates are put into every namespace at some moment.
    let mut seen: Vec<String> = Vec::new();
    while !seen.iter().any(|e| e == "DELETED two") {
        seen.push(next());
    }
    assert!(
        seen.iter().any(|e| e == "ADDED two") && !seen.iter().any(|e| e == "ADDED one"),
        "{seen:?}"
    );
    let mut events = from("&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    loop {
        let event = events.next().expect("an event");
        if event["type"] == "BOOKMARK" {
            assert_eq!(
                event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
                "true"
            );
            break;
        }
        assert_eq!(event["type"], "ADDED");
    }
}
