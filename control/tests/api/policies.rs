//! Admission policies in CEL, and conditions of webhooks.

use crate::support::hook::Hook;
use crate::support::{Api, MAPS, map};
use serde_json::{Value, json};

const ALL: &str = "/apis/admissionregistration.k8s.io/v1";

fn on_maps() -> Value {
    json!({"resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]})
}

async fn policy(api: &Api, kind: &str, name: &str, mut spec: Value) {
    spec["matchConstraints"] = on_maps();
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    api.post(&format!("{ALL}/{kind}admissionpolicies"), policy).await.ok();
}

async fn bind(api: &Api, kind: &str, name: &str, mut spec: Value) {
    spec["policyName"] = json!(name);
    let binding = json!({"metadata": {"name": format!("{name}-binding")}, "spec": spec});
    api.post(&format!("{ALL}/{kind}admissionpolicybindings"), binding)
        .await
        .ok();
}

fn with_data(name: &str, data: Value) -> Value {
    let mut map = map(name);
    map["data"] = data;
    map
}

#[tokio::test]
async fn a_policy_refuses_what_breaks_its_rules() {
    let api = Api::new().await;
    let limits = with_data("limits", json!({"most": "2"}));
    api.post(MAPS, limits).await.ok();
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "not-mine", "expression": "!object.metadata.name.startsWith('free')"}],
        "variables": [{"name": "count", "expression": "size(object.data)"}, {"name": "most", "expression": "int(params.data.most)"}],
        "validations": [
            {"expression": "variables.count <= variables.most",
             "messageExpression": "'has ' + string(variables.count) + ', may have ' + params.data.most"},
            {"expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()", "reason": "Forbidden"}]});
    policy(&api, "validating", "few", spec).await;
    let large = with_data("large", json!({"a": "1", "b": "2", "c": "3"}));
    assert_eq!(
        api.post(MAPS, large.clone()).await.code,
        201,
        "without a binding nothing is asked"
    );
    api.delete(&format!("{MAPS}/large"), Value::Null).await.ok();
    let params = json!({"name": "limits", "parameterNotFoundAction": "Deny"});
    bind(
        &api,
        "validating",
        "few",
        json!({"validationActions": ["Deny"], "paramRef": params}),
    )
    .await;
    assert_eq!(api.post(MAPS, with_data("small", json!({"a": "1"}))).await.code, 201);
    let refused = api.post(MAPS, large.clone()).await;
    let message = "configmaps \"large\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few-binding' denied \
                   request: has 3, may have 2";
    assert_eq!(refused.status(), (422, "Invalid", message));
    assert_eq!(
        api.post(MAPS, with_data("free", json!({"a": "1", "b": "2", "c": "3"})))
            .await
            .code,
        201
    );
    // The second rule asks about who asks.
    let bob = barepod_control::engine::identity::User::new("bob", vec![]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrole";
    let role =
        json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]});
    api.post(&format!("{rbac}s"), role).await.ok();
    let binding = json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}],
        "roleRef": {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "r"}});
    api.post(&format!("{rbac}bindings"), binding).await.ok();
    let refused = api
        .call_as(&bob, "POST", MAPS, with_data("bobs", json!({"a": "1"})))
        .await;
    assert_eq!(
        (refused.code, refused.status().1),
        (403, "Forbidden"),
        "{}",
        refused.value
    );
    assert!(
        refused.status().2.contains("failed expression: authorizer.group('')"),
        "{}",
        refused.value
    );
    // Parameters that are gone.
    api.patch(
        &format!("{MAPS}/limits"),
        "merge-patch+json",
        json!({"metadata": {"name": "limits"}}),
    )
    .await
    .ok();
    api.delete(&format!("{MAPS}/limits"), Value::Null).await.ok();
    let refused = api.post(MAPS, with_data("none", json!({}))).await;
    assert!(
        refused.status().2.contains("no params found for policy binding"),
        "{}",
        refused.value
    );
}

#[tokio::test]
async fn a_policy_warns_and_passes_what_it_cannot_tell() {
    let api = Api::new().await;
    let rule = json!([{"expression": "object.data.a == 'x'", "message": "a is x"}]);
    policy(
        &api,
        "validating",
        "warns",
        json!({"failurePolicy": "Ignore", "validations": rule}),
    )
    .await;
    bind(
        &api,
        "validating",
        "warns",
        json!({"validationActions": ["Warn", "Audit"]}),
    )
    .await;
    let made = api.post(MAPS, with_data("one", json!({"a": "y"}))).await;
    let warning =
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns-binding': a is x\"";
    assert_eq!((made.code, made.warnings), (201, vec![warning.to_owned()]));
    let made = api.post(MAPS, with_data("two", json!({"b": "y"}))).await;
    assert_eq!((made.code, made.warnings), (201, vec![]), "an error is no refusal here");
    let rule = json!([{"expression": "object.data.a == 'x'"}]);
    policy(&api, "validating", "strict", json!({"validations": rule})).await;
    let only = json!({"objectSelector": {"matchLabels": {"strict": "yes"}}});
    bind(
        &api,
        "validating",
        "strict",
        json!({"validationActions": ["Deny"], "matchResources": only}),
    )
    .await;
    assert_eq!(api.post(MAPS, with_data("three", json!({"b": "y"}))).await.code, 201);
    let mut strict = with_data("four", json!({"b": "y"}));
    strict["metadata"]["labels"] = json!({"strict": "yes"});
    let refused = api.post(MAPS, strict).await;
    assert!(
        refused.status().2.ends_with("resulted in error: no such key: a"),
        "{}",
        refused.value
    );
    let broken = json!({"metadata": {"name": "broken"}, "spec": {"matchConstraints": on_maps(), "validations": [{"expression": "object."}]}});
    let refused = api.post(&format!("{ALL}/validatingadmissionpolicies"), broken).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.value["details"]["causes"][0]["field"],
        "spec.validations[0].expression"
    );
}

#[tokio::test]
async fn a_policy_changes_objects() {
    let api = Api::new().await;
    let apply = "Object{metadata: Object.metadata{labels: {'made-by': request.userInfo.username}}}";
    let patch = "[JSONPatch{op: 'add', path: '/data/labels', value: string(size(object.metadata.labels))}]";
    let mutations = json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}]);
    policy(
        &api,
        "mutating",
        "labels",
        json!({"reinvocationPolicy": "Never", "mutations": mutations}),
    )
    .await;
    bind(&api, "mutating", "labels", json!({})).await;
    let mut one = map("one");
    one["metadata"]["labels"] = json!({"own": "1"});
    let made = api.post(MAPS, one).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"own": "1", "made-by": "admin"}));
    assert_eq!(made["data"], json!({"a": "1", "labels": "2"}));
    let managers = made["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 1, "a policy owns nothing");
}

#[tokio::test]
async fn conditions_say_whether_a_webhook_is_asked() {
    let api = Api::new().await;
    let hook = Hook::start(Box::new(|_| json!({"allowed": false}))).await;
    let configuration = json!({"metadata": {"name": "a"}, "webhooks": [{"name": "a.example.com", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "clientConfig": hook.client(),
        "rules": on_maps()["resourceRules"],
        "matchConditions": [{"name": "key", "expression": "object.data.ask == 'yes'"}]}]});
    api.post(&format!("{ALL}/validatingwebhookconfigurations"), configuration)
        .await
        .ok();
    assert_eq!(api.post(MAPS, with_data("no", json!({"ask": "no"}))).await.code, 201);
    assert!(hook.asked().is_empty());
    assert_eq!(api.post(MAPS, with_data("yes", json!({"ask": "yes"}))).await.code, 400);
    assert_eq!(hook.asked().len(), 1);
    let refused = api.post(MAPS, map("unknown")).await;
    assert_eq!(refused.code, 403, "{}", refused.value);
    assert!(refused.status().2.contains("no such key: ask"), "{}", refused.value);
}
