use super::*;

fn documents() -> Documents {
    Documents::new(&|resource| matches!(resource.group, "" | "apps"))
}

fn parse(document: &Document) -> Value {
    serde_json::from_slice(&document.plain()).unwrap()
}

/// Every reference in a document leads somewhere.
fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            map.values().for_each(|value| check_references(value, document));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(value, document)),
        _ => {}
    }
}

#[test]
fn version_3_has_what_kubectl_looks_for() {
    let documents = documents();
    let index: Value = serde_json::from_slice(&documents.v3_index()).unwrap();
    assert_eq!(
        index["paths"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["api/v1", "apis/apps/v1"]
    );
    assert!(documents.v3("apis/batch/v1").is_none());
    let document = documents.v3("apis/apps/v1").unwrap();
    assert!(
        index["paths"]["apis/apps/v1"]["serverRelativeURL"]
            .as_str()
            .unwrap()
            .ends_with(&document.etag)
    );
    let apps = parse(&document);
    check_references(&apps, &apps);
    let item = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(item["patch"]["operationId"], "patchAppsV1NamespacedDeployment");
    assert_eq!(
        item["patch"]["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    let names: Vec<_> = item["patch"]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(
        item["patch"]["requestBody"]["content"]
            .get("application/apply-patch+yaml")
            .is_some()
    );
    assert!(item["delete"].is_object() && item["put"].is_object() && item["get"].is_object());
    let everywhere = &apps["paths"]["/apis/apps/v1/deployments"];
    assert_eq!(everywhere["get"]["operationId"], "listAppsV1DeploymentForAllNamespaces");
    let containers = &apps["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert!(containers["description"].as_str().unwrap().len() > 20);
    let spec = &apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
    assert_eq!(
        spec["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"
    );
}

#[test]
fn every_type_and_field_that_is_shown_is_described() {
    let documents = Documents::new(&|_| true);
    let core = parse(&documents.v3("api/v1").unwrap());
    for (name, schema) in core["components"]["schemas"].as_object().unwrap() {
        for (field, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            assert!(
                property.get("description").is_some() || name.ends_with("List") || name.ends_with("Options"),
                "{name}.{field} has no description"
            );
        }
    }
}

#[test]
fn version_2_is_whole() {
    let document = documents().v2();
    let swagger = parse(&document);
    assert_eq!(swagger["swagger"], "2.0");
    check_references(&swagger, &swagger);
    assert!(swagger["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["$ref"].is_string());
}

#[test]
fn what_is_served_decides_the_etag() {
    assert_ne!(
        documents().etag,
        Documents::new(&|resource| resource.group.is_empty()).etag
    );
    assert_eq!(documents().etag, documents().etag);
}
