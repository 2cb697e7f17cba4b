//! What clients are told beside the answer.

use crate::support::{Api, PODS, pod};
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn warning(text: &str) -> String {
    format!("299 - \"{}\"", text.replace('"', "\\\""))
}

fn deployment(name: &str) -> Value {
    let spec = json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": [{"name": "c", "image": "i"}]});
    json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}})
}

#[tokio::test]
async fn accepted_objects_are_warned_about() {
    let api = Api::new().await;
    let mut twice = pod("a.b");
    twice["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let told = [
        warning(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [must not contain dots]",
        ),
        warning("spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"),
    ];
    assert_eq!(
        api.post(&format!("{PODS}?dryRun=All"), twice.clone()).await.warnings,
        told
    );
    assert_eq!(api.post(PODS, twice.clone()).await.warnings, told);
    let again = api.post(PODS, twice.clone()).await;
    assert_eq!(again.code, 409);
    twice["spec"]["containers"][0]["image"] = json!("");
    let refused = api.post(PODS, twice).await;
    assert_eq!((refused.code, refused.warnings), (422, vec![]), "only what is accepted");
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let labelled = api.patch(&format!("{PODS}/a.b"), "merge-patch+json", labelled).await;
    assert_eq!((labelled.code, labelled.warnings), (200, vec![]), "only new pods");
}

#[tokio::test]
async fn templates_are_warned_about_when_they_change() {
    let api = Api::new().await;
    let old = warning(
        "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
    );
    assert_eq!(
        api.post(DEPLOYMENTS, deployment("d")).await.warnings,
        std::slice::from_ref(&old)
    );
    let path = format!("{DEPLOYMENTS}/d");
    let labels = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(
        api.patch(&path, "merge-patch+json", labels).await.warnings,
        Vec::<String>::new()
    );
    let replicas = json!({"spec": {"replicas": 2}});
    assert_eq!(
        api.patch(&path, "merge-patch+json", replicas).await.warnings,
        std::slice::from_ref(&old)
    );
    let scaled = api
        .patch(
            &format!("{path}/scale"),
            "merge-patch+json",
            json!({"spec": {"replicas": 3}}),
        )
        .await;
    assert_eq!(scaled.warnings, [old]);
    let status = json!({"status": {"replicas": 3}});
    let status = api.patch(&format!("{path}/status"), "merge-patch+json", status).await;
    assert_eq!((status.code, status.warnings), (200, vec![]));
}

#[tokio::test]
async fn services_say_what_has_no_effect() {
    let api = Api::new().await;
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalName": "a.example"}});
    let told = [warning(
        "spec.externalName is ignored when spec.type is not \"ExternalName\"",
    )];
    assert_eq!(api.post(SERVICES, service).await.warnings, told);
    // An update that changes nothing says so as well.
    let stored = api.get(&format!("{SERVICES}/s")).await.ok();
    assert_eq!(api.put(&format!("{SERVICES}/s"), stored).await.warnings, told);
}
