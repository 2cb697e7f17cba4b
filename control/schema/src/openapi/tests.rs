use super::*;

fn documents() -> Documents {
    Documents::new(&|resource| matches!(&*resource.group, "" | "apps"))
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
    let index = documents.v3_index();
    assert_eq!(index.keys().collect::<Vec<_>>(), ["api/v1", "apis/apps/v1"]);
    assert!(documents.v3("apis/batch/v1").is_none());
    let document = documents.v3("apis/apps/v1").unwrap();
    assert!(
        index["apis/apps/v1"]["serverRelativeURL"]
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

/// The fields of a protobuf message; those of a varint as empty ones.
fn fields(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> usize {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes.split_off_first().unwrap();
            value |= usize::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                varint(&mut bytes);
                0
            }
            1 => 8,
            2 => varint(&mut bytes),
            other => panic!("wire type {other}"),
        };
        found.push((u32::try_from(tag >> 3).unwrap(), bytes.split_off(..length).unwrap()));
    }
    found
}

/// What stands at a path of field numbers, each time that it does.
fn at<'b>(bytes: &'b [u8], path: &[u32]) -> Vec<&'b [u8]> {
    let [number, rest @ ..] = path else { return vec![bytes] };
    let here = fields(bytes).into_iter().filter(|(found, _)| found == number);
    here.flat_map(|(_, bytes)| at(bytes, rest)).collect()
}

/// The value of an entry of a map.
fn named<'b>(entries: &[&'b [u8]], name: &str) -> &'b [u8] {
    let entry = entries.iter().find(|entry| at(entry, &[1]) == [name.as_bytes()]);
    at(entry.unwrap_or_else(|| panic!("no {name}")), &[2])[0]
}

#[test]
fn version_2_in_protobuf_says_the_same() {
    let documents = Documents::new(&|_| true);
    let bytes = documents.v2_protobuf().plain();
    let swagger = parse(&documents.v2());
    assert_eq!(at(&bytes, &[1]), [b"2.0"]);
    assert_eq!(at(&bytes, &[2, 1]), [b"Kubernetes"]);
    let (paths, definitions) = (at(&bytes, &[8, 2]), at(&bytes, &[9, 1]));
    assert_eq!(paths.len(), swagger["paths"].as_object().unwrap().len());
    assert_eq!(definitions.len(), swagger["definitions"].as_object().unwrap().len());

    let pod = named(&definitions, "io.k8s.api.core.v1.Pod");
    assert_eq!(at(pod, &[22, 1]), [b"object"]);
    let spec = named(&at(pod, &[25, 1]), "spec");
    assert_eq!(at(spec, &[1]), [b"#/definitions/io.k8s.api.core.v1.PodSpec"]);
    let kinds = at(named(&at(pod, &[31]), "x-kubernetes-group-version-kind"), &[2])[0];
    assert_eq!(
        serde_json::from_slice::<Value>(kinds).unwrap(),
        swagger["definitions"]["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"]
    );
    let spec = named(&definitions, "io.k8s.api.core.v1.PodSpec");
    assert_eq!(at(spec, &[19]), [b"containers"]);
    let containers = named(&at(spec, &[25, 1]), "containers");
    assert_eq!(
        at(containers, &[23, 1, 1]),
        [b"#/definitions/io.k8s.api.core.v1.Container"]
    );
    let selector = named(&at(spec, &[25, 1]), "nodeSelector");
    assert_eq!(at(selector, &[21, 1, 22, 1]), [b"string"]);

    let item = named(&paths, "/api/v1/namespaces/{namespace}/pods/{name}");
    assert_eq!(at(item, &[8, 5]), [b"patchCoreV1NamespacedPod"]);
    assert_eq!(at(item, &[8, 8, 1, 1, 2]), [b"body"]);
    assert_eq!(at(item, &[8, 8, 1, 2, 3, 4]).len(), 4);
    assert_eq!(at(item, &[9, 1, 2, 4, 4]), [b"name".as_slice(), b"namespace"]);
    let answer = named(&at(item, &[2, 9, 1]), "200");
    assert_eq!(at(answer, &[1, 2, 1, 1]), [b"#/definitions/io.k8s.api.core.v1.Pod"]);
}

#[test]
fn what_is_served_decides_the_etag() {
    assert_ne!(
        documents().etag,
        Documents::new(&|resource| resource.group.is_empty()).etag
    );
    assert_eq!(documents().etag, documents().etag);
}

fn widgets() -> Custom {
    let scale = crate::Subresource {
        name: "scale",
        group: "autoscaling".into(),
        version: "v1".into(),
        kind: "Scale".into(),
        verbs: vec!["get", "patch", "update"],
    };
    let resource = Resource {
        group: "example.com".into(),
        version: "v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
        singular: "widget".into(),
        namespaced: true,
        verbs: vec!["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: vec![scale],
        ..Resource::default()
    };
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 1, "default": 3},
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}}}});
    Custom {
        resource,
        schema,
        revision: "7".to_owned(),
    }
}

#[test]
fn custom_resources_are_in_documents_of_both_versions() {
    let plain = documents();
    let documents = plain.with(vec![widgets()], Vec::new());
    let index = documents.v3_index();
    assert!(index["apis/example.com/v1"].is_object());
    assert_eq!(
        documents.v3("apis/apps/v1").unwrap().etag,
        plain.v3("apis/apps/v1").unwrap().etag
    );
    let document = documents.v3("apis/example.com/v1").unwrap();
    let mut newer = widgets();
    newer.revision = "8".to_owned();
    assert_ne!(
        documents
            .with(vec![newer], Vec::new())
            .v3("apis/example.com/v1")
            .unwrap()
            .etag,
        document.etag
    );
    let widgets = parse(&document);
    check_references(&widgets, &widgets);
    let schema = &widgets["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        schema["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "kind": "Widget", "version": "v1"}])
    );
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["minimum"], 1);
    let item = &widgets["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"];
    assert_eq!(
        item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/com.example.v1.Widget"
    );
    let content = item["patch"]["requestBody"]["content"].as_object().unwrap();
    assert!(!content.contains_key("application/strategic-merge-patch+json"));
    assert!(widgets["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/scale"].is_object());
    let second = parse(&documents.v2());
    check_references(&second, &second);
    let spec = &second["definitions"]["com.example.v1.Widget"]["properties"]["spec"];
    assert_eq!(
        spec["properties"]["size"],
        json!({"type": "integer", "minimum": 1, "default": 3})
    );
    assert_eq!(spec["properties"]["port"], json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(spec["required"], json!(["size"]));
    let bytes = documents.v2_protobuf().plain();
    let widget = named(&at(&bytes, &[9, 1]), "com.example.v1.Widget");
    let size = named(&at(named(&at(widget, &[25, 1]), "spec"), &[25, 1]), "size");
    assert_eq!(at(size, &[9]), [1_f64.to_le_bytes()]);
    assert_eq!(
        (at(size, &[5, 2]), at(size, &[22, 1])),
        (vec![&b"3"[..]], vec![&b"integer"[..]])
    );
    assert!(parse(&plain.v2())["definitions"].get("com.example.v1.Widget").is_none());
}

#[test]
fn version_2_says_of_custom_resources_what_it_can() {
    let second = |schema: Value| {
        let custom = Custom { schema, ..widgets() };
        parse(&documents().with(vec![custom], Vec::new()).v2())["definitions"]["com.example.v1.Widget"].take()
    };
    let of = |spec: Value| {
        let schema = json!({"type": "object", "description": "Text.", "properties": {"spec": spec}});
        second(schema)["properties"]["spec"].take()
    };
    let kept = json!({"type": "object", "title": "T", "required": ["a"], "minProperties": 1, "properties": {
        "a": {"type": "string", "pattern": "a|b", "maxLength": 3, "enum": ["a", "b"], "default": "a"},
        "b": {"type": "object", "additionalProperties": true}}});
    assert_eq!(of(kept.clone()), kept);
    let junctions = json!({"type": "object", "allOf": [{}], "anyOf": [{}], "oneOf": [{}], "not": {}});
    assert_eq!(of(junctions), json!({"type": "object"}));
    let nullable = json!({"type": "object", "required": ["a", "b"], "properties": {
        "a": {"type": "object", "nullable": true, "properties": {"c": {"type": "string"}}}, "b": {"type": "string"}}});
    let expected = json!({"type": "object", "required": ["b"], "properties": {"a": {}, "b": {"type": "string"}}});
    assert_eq!(of(nullable), expected);
    let mark = "x-kubernetes-preserve-unknown-fields";
    let free = json!({"type": "object", "description": "D", mark: true, "properties": {"a": {"type": "string"}}});
    assert_eq!(of(free), json!({"description": "D", mark: true}));
    let whole = second(json!({"type": "object", "description": "D", mark: true, "properties": {"a": {}}}));
    let marks = json!([{"group": "example.com", "kind": "Widget", "version": "v1"}]);
    assert_eq!(
        whole,
        json!({"type": "object", "x-kubernetes-group-version-kind": marks})
    );
    let embedded =
        of(json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"a": {"type": "string"}}}));
    assert_eq!(embedded["required"], json!(["kind", "apiVersion"]));
    assert!(
        ["a", "apiVersion", "kind", "metadata"]
            .iter()
            .all(|key| embedded["properties"][key].is_object())
    );
}
