//! Clients other than the machine's kubectl, unchanged: the Python client, the kubectl of Debian's release, curl as the
//! documentation of Kubernetes has it. The Rust client is in control/tests/kube.rs.

use std::path::{Path, PathBuf};

use barepod_tests::{Background, Ran, Space, eventually, words};
use serde_json::{Value, json};

use crate::space;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn the_python_client() {
    let n = space("python");
    let python = file("target/python/bin/python");
    assert!(
        python.exists(),
        "python3 -m venv target/python && target/python/bin/pip install 'kubernetes==36.*' (tests/run does it)"
    );
    let mut command = n.cluster.client(python);
    let ran = Ran::of(command.arg(file("tests/clients/python.py")).arg(n.name()));
    let said = ran.ok().unwrap_or_else(|error| panic!("{error}\n{}", n.cluster.logs()));
    assert!(said.contains("all is well"), "{said}");
}

#[test]
fn the_kubectl_of_debian() {
    let n = space("trixie");
    let kubectl = file("target/kubectl/usr/bin/kubectl");
    assert!(kubectl.exists(), "tests/run gets it: {}", kubectl.display());
    let run = |line: &str| {
        let mut command = n.cluster.client(&kubectl);
        let ran = Ran::of(command.args(["-n", n.name()]).args(words(line)));
        ran.ok()
            .unwrap_or_else(|error| panic!("{line}: {error}\n{}", n.cluster.logs()))
    };
    let version: Value = serde_json::from_str(&run("version -o json")).expect("JSON");
    assert!(
        version["serverVersion"]["gitVersion"]
            .as_str()
            .is_some_and(|v| v.starts_with("v1.")),
        "{version}"
    );
    run("create deployment web --image=nginx:1 --replicas=2 --port=80");
    run("expose deployment web --port=80");
    run("rollout status deployment/web --timeout=60s");
    assert_eq!(run("get pods -l app=web --no-headers").lines().count(), 2);
    run("scale deployment/web --replicas=1");
    run("set image deployment/web nginx=nginx:2");
    run("rollout status deployment/web --timeout=60s");
    run("create configmap conf --from-literal=a=1");
    run("label configmap conf x=y");
    run("patch configmap conf --type=json -p '[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":\"2\"}]'");
    assert_eq!(run("get configmap conf -o jsonpath={.data.a}"), "2");
    run("run box --image=tools:1 --command -- sh -c 'echo hello; exec sleep 1000'");
    run("wait --for=condition=Ready pod/box --timeout=60s");
    assert_eq!(run("exec box -- echo inside").trim(), "inside");
    assert_eq!(run("logs box").trim(), "hello");
    for (line, told) in [
        ("describe pod box", "Started"),
        ("explain deployment.spec.strategy", "RollingUpdate"),
        ("api-resources", "deployments"),
        ("auth can-i create pods", "yes"),
        ("get events", "Scheduled"),
        ("get all", "service/web"),
        ("create token default", "ey"),
        ("top --help", "Display"),
    ] {
        let said = run(line);
        assert!(said.contains(told), "{line}: {said}");
    }
    run("delete deployment,service,pod,configmap --all --ignore-not-found --grace-period=1");
}

/// `kubectl proxy` of a namespace's node, on a port that the documentation's examples have.
fn proxy(n: &Space<'_>) -> Background {
    let background = n.cluster.kubectl_beside("proxy --port=8080");
    eventually("kubectl proxy answers", || {
        n.cluster.curl("http://localhost:8080/version")
    });
    background
}

#[test]
fn curl_as_it_is_documented() {
    let n = space("curl");
    let _proxy = proxy(&n);
    let base = "http://localhost:8080";
    // What curl prints, with the code of the answer in front.
    let curl = |line: &str, stdin: Option<&str>| -> (u16, String) {
        let mut command = n.cluster.client("curl");
        command
            .args(["-s", "--max-time", "30", "-w", "\n%{http_code}"])
            .args(words(line));
        let ran = match stdin {
            Some(text) => Ran::fed(command.args(["-d", "@-"]), text),
            None => Ran::of(&mut command),
        };
        let said = ran.ok().unwrap_or_else(|error| panic!("curl {line}: {error}"));
        let (body, code) = said.rsplit_once('\n').expect("a line with the code");
        (code.parse().expect("a code"), body.to_owned())
    };
    let json = |line: &str, stdin: Option<&str>| -> Value {
        let (code, body) = curl(line, stdin);
        assert!(code < 300, "{line}: {code}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{line}: {error}: {body}"))
    };

    // "Access clusters using the Kubernetes API", with and without the proxy.
    assert_eq!(json(&format!("{base}/api/"), None)["kind"], "APIVersions");
    let token = eventually("the account is there", || n.try_kubectl("create token default").ok());
    let direct = format!(
        "-X GET https://127.0.0.1:6443/api --header 'Authorization: Bearer {}' --insecure",
        token.trim()
    );
    let versions = json(&direct, None);
    assert_eq!(
        (&versions["kind"], &versions["versions"]),
        (&json!("APIVersions"), &json!(["v1"]))
    );
    // What a person reads is indented.
    assert!(
        curl(&format!("{base}/api/v1/namespaces/curl"), None)
            .1
            .contains("\n  \"metadata\": {")
    );

    // "Kubernetes API concepts": pages, a watch from a list, tables, metadata, a dry run.
    for name in ["one", "two", "three"] {
        let body = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}"#);
        let line = format!("-X POST -H 'Content-Type: application/json' {base}/api/v1/namespaces/curl/configmaps");
        assert_eq!(json(&line, Some(&body))["metadata"]["name"], name);
        let dry = line.replace("configmaps", "configmaps?dryRun=All");
        assert_eq!(curl(&dry, Some(&body)).0, 409);
    }
    let maps = format!("{base}/api/v1/namespaces/curl/configmaps");
    let page = json(&format!("'{maps}?limit=2'"), None);
    let token = page["metadata"]["continue"].as_str().expect("a continue token");
    let rest = json(&format!("'{maps}?limit=2&continue={token}'"), None);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(rest["metadata"]["resourceVersion"], page["metadata"]["resourceVersion"]);
    let version = page["metadata"]["resourceVersion"].as_str().expect("a version");
    json(&format!("-X DELETE {maps}/three"), None);
    let (_, events) = curl(
        &format!("'{maps}?watch=1&resourceVersion={version}&timeoutSeconds=1'"),
        None,
    );
    let event: Value = serde_json::from_str(events.lines().next().expect("an event")).expect("JSON");
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("three"))
    );
    let table = json(
        &format!("-H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1' {maps}"),
        None,
    );
    assert_eq!(
        (&table["kind"], &table["columnDefinitions"][0]["name"]),
        (&json!("Table"), &json!("Name"))
    );
    let partial = json(
        &format!("-H 'Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' {maps}"),
        None,
    );
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    let strict = format!("-X POST -H 'Content-Type: application/json' '{maps}?fieldValidation=Strict'");
    let (code, said) = curl(&strict, Some(r#"{"metadata":{"name":"x"},"dato":{}}"#));
    assert!(
        code == 400 && said.contains("unknown field \\\"dato\\\""),
        "{code}: {said}"
    );

    // Server-side apply in YAML.
    let apply = format!(
        "-X PATCH -H 'Content-Type: application/apply-patch+yaml' --data-binary @- '{maps}/applied?fieldManager=curl'"
    );
    let mut command = n.cluster.client("curl");
    let applied = Ran::fed(
        command.arg("-sSf").args(words(&apply)),
        "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n",
    );
    assert!(applied.ok().is_ok_and(|said| said.contains("\"manager\": \"curl\"")));

    // "Use cascading deletion", with the options in the body.
    n.kubectl("create deployment nginx-deployment --image=nginx:1");
    let options = r#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground"}"#;
    let deployment = format!("{base}/apis/apps/v1/namespaces/curl/deployments/nginx-deployment");
    let line = format!("-X DELETE {deployment} -H 'Content-Type: application/json'");
    let deleted = json(&line, Some(options));
    assert_eq!(deleted["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    eventually("it is gone", || match curl(&deployment, None).0 {
        404 => Ok(()),
        code => Err(code.to_string()),
    });

    // "API-initiated eviction".
    n.sleeper("quux");
    let eviction = r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"quux","namespace":"curl"}}"#;
    let line = format!("-v -H 'Content-type: application/json' {base}/api/v1/namespaces/curl/pods/quux/eviction");
    assert_eq!(json(&line, Some(eviction))["status"], "Success");
    eventually("the pod is gone", || {
        match curl(&format!("{base}/api/v1/namespaces/curl/pods/quux"), None).0 {
            404 => Ok(()),
            code => Err(code.to_string()),
        }
    });

    // "Advertise extended resources for a node", and taking it back.
    let node = format!("{base}/api/v1/nodes/node-1/status");
    let line = format!("--header 'Content-Type: application/json-patch+json' --request PATCH {node}");
    let add = r#"[{"op": "add", "path": "/status/capacity/example.com~1dongle", "value": "4"}]"#;
    assert_eq!(json(&line, Some(add))["status"]["capacity"]["example.com/dongle"], "4");
    let remove = r#"[{"op": "remove", "path": "/status/capacity/example.com~1dongle"}]"#;
    assert_eq!(
        json(&line, Some(remove))["status"]["capacity"]["example.com/dongle"],
        Value::Null
    );
}
