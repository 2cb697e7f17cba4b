//! The small controllers of the API server.

use std::time::Duration;

use crate::support::{Answer, Api, PODS, pod};
use barepod_control::keepers;
use serde_json::{Value, json};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

async fn api() -> Api {
    let api = Api::new().await;
    tokio::spawn(keepers::run(api.engine.clone(), api.store.clone()));
    api
}

/// Asks until the answer is as wanted.
async fn until(api: &Api, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let answer = api.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it comes to be so")
}

#[tokio::test]
async fn aggregated_roles_follow_their_parts() {
    let api = api().await;
    let selector = json!([{"matchLabels": {"to": "sum"}}]);
    let sum = json!({"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": selector}});
    api.post(ROLES, sum).await.ok();
    let rule = |resource: &str| json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]});
    let part = |name: &str| json!({"metadata": {"name": name, "labels": {"to": "sum"}}, "rules": [rule(name)]});
    for name in ["pods", "secrets"] {
        api.post(ROLES, part(name)).await.ok();
    }
    let path = format!("{ROLES}/sum");
    let rules = |answer: &Answer| answer.value["rules"].clone();
    until(&api, &path, |answer| {
        rules(answer) == json!([rule("pods"), rule("secrets")])
    })
    .await;
    api.delete(&format!("{ROLES}/pods"), Value::Null).await.ok();
    until(&api, &path, |answer| rules(answer) == json!([rule("secrets")])).await;
}

#[tokio::test]
async fn tokens_in_secrets_are_good_until_they_go() {
    let api = api().await;
    let annotations = json!({"kubernetes.io/service-account.name": "robot"});
    let secret =
        json!({"metadata": {"name": "t", "annotations": annotations}, "type": "kubernetes.io/service-account-token"});
    api.post(
        "/api/v1/namespaces/default/serviceaccounts",
        json!({"metadata": {"name": "robot"}}),
    )
    .await
    .ok();
    api.post(SECRETS, secret).await.ok();
    let path = format!("{SECRETS}/t");
    let filled = until(&api, &path, |answer| answer.value["data"]["token"].is_string())
        .await
        .value;
    use base64::Engine;
    let token = base64::engine::general_purpose::STANDARD
        .decode(filled["data"]["token"].as_str().unwrap())
        .unwrap();
    let header = format!("Bearer {}", String::from_utf8(token).unwrap());
    let headers = [("authorization", header.as_str())];
    let asked = api.call_with(None, &headers, "GET", "/api", Value::Null).await;
    assert!(
        asked.value["message"]
            .as_str()
            .unwrap()
            .contains("system:serviceaccount:default:robot"),
        "{}",
        asked.value
    );
    api.delete("/api/v1/namespaces/default/serviceaccounts/robot", Value::Null)
        .await
        .ok();
    until(&api, &path, |answer| answer.code == 404).await;
    assert_eq!(
        api.call_with(None, &headers, "GET", "/api", Value::Null).await.code,
        401
    );
}

#[tokio::test]
async fn claims_go_when_nobody_uses_them() {
    let api = api().await;
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    api.post(CLAIMS, claim.clone()).await.ok();
    let mut user = pod("p");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    api.post(PODS, user).await.ok();
    let path = format!("{CLAIMS}/c");
    let marked = api.delete(&path, Value::Null).await.ok();
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["kubernetes.io/pvc-protection"])
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(api.get(&path).await.code, 200);
    api.delete(&format!("{PODS}/p"), json!({"gracePeriodSeconds": 0}))
        .await
        .ok();
    until(&api, &path, |answer| answer.code == 404).await;
}

#[tokio::test]
async fn addresses_of_services_are_shown_and_hold_their_range() {
    let api = api().await;
    let (networking, services) = ("/apis/networking.k8s.io/v1", "/api/v1/namespaces/default/services");
    let range = |name: &str, cidr: &str| json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}});
    let ranges = format!("{networking}/servicecidrs");
    let is_ready = |answer: &Answer| answer.value["status"]["conditions"][0]["status"] == "True";
    api.post(&ranges, range("small", "10.7.0.0/24")).await.ok();
    let small = format!("{ranges}/small");
    let ready = until(&api, &small, is_ready).await.value;
    assert_eq!(
        ready["metadata"]["finalizers"],
        json!(["networking.k8s.io/service-cidr-finalizer"])
    );
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let made = api.post(services, service("web")).await.ok();
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    assert!(ip.starts_with("10.7.0."), "{ip}");
    let address = format!("{networking}/ipaddresses/{ip}");
    let shown = until(&api, &address, |answer| answer.code == 200).await.value;
    let labels = json!({"ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
    assert_eq!(shown["metadata"]["labels"], labels);
    assert_eq!(
        shown["spec"]["parentRef"],
        json!({"resource": "services", "namespace": "default", "name": "web"})
    );
    // A range stays while somebody has an address of it, and gives none away meanwhile.
    api.delete(&small, Value::Null).await.ok();
    let leaving = until(&api, &small, |answer| !is_ready(answer)).await.value;
    assert_eq!(leaving["status"]["conditions"][0]["reason"], "Terminating");
    assert_eq!(api.post(services, service("late")).await.code, 422);
    assert_eq!(api.get(&small).await.code, 200);
    // What is removed by hand comes back, what nobody has goes.
    api.delete(&address, Value::Null).await.ok();
    until(&api, &address, |answer| {
        answer.value["metadata"]["uid"] != shown["metadata"]["uid"] && answer.code == 200
    })
    .await;
    api.delete(&format!("{services}/web"), Value::Null).await.ok();
    until(&api, &address, |answer| answer.code == 404).await;
    until(&api, &small, |answer| answer.code == 404).await;
}

#[tokio::test]
async fn classes_of_attributes_go_when_nothing_names_them() {
    let api = api().await;
    let path = "/apis/storage.k8s.io/v1/volumeattributesclasses";
    let class = json!({"metadata": {"name": "fast"}, "driverName": "d.example.com", "parameters": {"a": "b"}});
    api.post(path, class).await.ok();
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "volumeAttributesClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}});
    api.post(CLAIMS, claim).await.ok();
    let path = format!("{path}/fast");
    let marked = api.delete(&path, Value::Null).await.ok();
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["kubernetes.io/vac-protection"])
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(api.get(&path).await.code, 200);
    api.delete(&format!("{CLAIMS}/c"), Value::Null).await.ok();
    until(&api, &path, |answer| answer.code == 404).await;
}

#[tokio::test]
async fn flow_schemas_without_a_level_dangle() {
    let api = api().await;
    let group = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let schema = json!({"metadata": {"name": "loud"}, "spec": {"priorityLevelConfiguration": {"name": "quiet"}, "matchingPrecedence": 900}});
    api.post(&format!("{group}/flowschemas"), schema).await.ok();
    let path = format!("{group}/flowschemas/loud");
    let is = |status: &'static str| move |answer: &Answer| answer.value["status"]["conditions"][0]["status"] == status;
    until(&api, &path, is("True")).await;
    let limited = json!({"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}});
    let level = json!({"metadata": {"name": "quiet"}, "spec": {"type": "Limited", "limited": limited}});
    api.post(&format!("{group}/prioritylevelconfigurations"), level)
        .await
        .ok();
    until(&api, &path, is("False")).await;
}

#[tokio::test]
async fn policies_are_told_what_does_not_fit_the_kinds_they_name() {
    let api = api().await;
    let definition = json!({"metadata": {"name": "boxes.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "boxes", "kind": "Box"}, "versions": [{"name": "v1", "served": true,
        "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"size": {"type": "integer"}}}}}}}]}});
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        .await
        .ok();
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let rule = |group: &str, resource: &str| json!({"operations": ["*"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]});
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [rule("apps", "deployments"), rule("example.com", "boxes")]},
        "validations": [{"expression": "object.spec.size < 3"}, {"expression": "object.metadata.name != ''"}]}});
    api.post(policies, policy).await.ok();
    let path = format!("{policies}/p");
    let generation = |number: i64| move |answer: &Answer| answer.value["status"]["observedGeneration"] == number;
    let told = until(&api, &path, generation(1)).await.ok();
    let warning = "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'size'\n | object.spec.size < 3\n | ...........^\n";
    let expected = json!([{"fieldRef": "spec.validations[0].expression", "warning": warning}]);
    assert_eq!(told["status"]["typeChecking"]["expressionWarnings"], expected);
    // What is told is of the policy as it is now.
    let fixed = json!({"spec": {"validations": [{"expression": "object.metadata.name != 'x'"}]}});
    api.patch(&path, "merge-patch+json", fixed).await.ok();
    let told = until(&api, &path, generation(2)).await.ok();
    assert_eq!(told["status"]["typeChecking"]["expressionWarnings"], Value::Null);
}
