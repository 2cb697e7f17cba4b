//! Custom resources, from the definition to its end.

use std::time::Duration;

use crate::support::{Api, names};
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size",
                "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector"}},
            "selectableFields": [{"jsonPath": ".spec.color"}],
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "required": ["color"], "properties": {
                    "size": {"type": "integer", "default": 3, "maximum": 10},
                    "color": {"type": "string", "enum": ["red", "blue"]},
                    "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "weight": {"type": "integer"}}}}}},
                "status": {"type": "object", "properties": {"size": {"type": "integer"}, "selector": {"type": "string"}}}
            }}}}]}})
}

fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"color": "red"}})
}

async fn api() -> Api {
    let api = Api::new().await;
    api.post(DEFINITIONS, definition()).await.ok();
    api
}

#[tokio::test]
async fn a_definition_makes_a_kind_at_once() {
    let api = Api::new().await;
    assert_eq!(names(&api.get(DEFINITIONS).await.ok()), Vec::<&str>::new());
    assert_eq!(api.get(WIDGETS).await.code, 404);
    let created = api.post(DEFINITIONS, definition()).await.ok();
    assert_eq!(created["status"]["conditions"][1]["type"], "Established");
    let made = api.post(WIDGETS, widget("a")).await.ok();
    assert_eq!(made["spec"], json!({"color": "red", "size": 3}));
    assert_eq!(made["metadata"]["generation"], 1);
    let list = api.get("/apis/example.com/v1/widgets").await.ok();
    assert_eq!((&list["kind"], names(&list)), (&json!("WidgetList"), vec!["a"]));
    // Unlike those of built-in kinds, custom objects always say what they are.
    assert_eq!(list["items"][0]["kind"], "Widget");
    let table = api.get_as(WIDGETS, TABLE).await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3]));
    assert_eq!(table["columnDefinitions"][1]["name"], "Size");
}

#[tokio::test]
async fn it_is_published() {
    let api = api().await;
    let resources = api.get("/apis/example.com/v1").await.ok();
    let listed: Vec<&str> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["name"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    assert_eq!(
        api.get("/apis/example.com").await.ok()["preferredVersion"]["version"],
        "v1"
    );
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = api.get_as("/apis", aggregated).await.ok();
    let last = groups["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["metadata"]["name"], "example.com");
    assert_eq!(last["versions"][0]["resources"][0]["categories"], json!(["all"]));
    let index = api.get("/openapi/v3").await.ok();
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = api.get(url).await.ok();
    assert!(document["components"]["schemas"]["com.example.v1.Widget"].is_object());
    let whole = api.get("/openapi/v2").await.ok();
    assert!(whole["definitions"]["com.example.v1.WidgetList"].is_object());
}

#[tokio::test]
async fn objects_fit_their_schema() {
    let api = api().await;
    let mut wrong = widget("a");
    wrong["spec"] = json!({"color": "green", "size": 11, "odd": 1});
    let answer = api.post(WIDGETS, wrong.clone()).await;
    assert_eq!(
        answer.status(),
        (
            422,
            "Invalid",
            "Widget.example.com \"a\" is invalid: [spec.color: Unsupported value: \"green\": supported values: \"red\", \
             \"blue\", spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10]"
        )
    );
    wrong["spec"] = json!({"color": "red", "odd": 1});
    let strict = api
        .post(&format!("{WIDGETS}?fieldValidation=Strict"), wrong.clone())
        .await;
    assert_eq!(strict.code, 400);
    assert!(
        strict
            .status()
            .2
            .ends_with("strict decoding error: unknown field \"spec.odd\"")
    );
    let warned = api.post(&format!("{WIDGETS}?fieldValidation=Warn"), wrong).await;
    assert_eq!(warned.warnings, ["299 - \"unknown field \\\"spec.odd\\\"\""]);
    assert_eq!(warned.value["spec"].get("odd"), None);
    let path = format!("{WIDGETS}/a");
    let strategic = api.patch(&path, "strategic-merge-patch+json", json!({})).await;
    assert_eq!(strategic.code, 415);
    let merged = api
        .patch(&path, "merge-patch+json", json!({"spec": {"size": 5}}))
        .await
        .ok();
    assert_eq!(
        (&merged["spec"]["size"], &merged["metadata"]["generation"]),
        (&json!(5), &json!(2))
    );
    let text = api
        .patch(&path, "merge-patch+json", json!({"spec": {"size": "x"}}))
        .await;
    assert_eq!(
        text.value["details"]["causes"][0],
        json!({"reason": "FieldValueTypeInvalid", "field": "spec.size",
            "message": "Invalid value: \"string\": spec.size in body must be of type integer: \"string\""})
    );
}

#[tokio::test]
async fn status_and_scale_are_written_apart() {
    let api = api().await;
    let mut made = widget("a");
    made["status"] = json!({"size": 9});
    let made = api.post(WIDGETS, made).await.ok();
    assert_eq!(made.get("status"), None);
    let path = format!("{WIDGETS}/a");
    let written =
        json!({"metadata": {"labels": {"x": "y"}}, "spec": {"size": 7}, "status": {"size": 2, "selector": "a=b"}});
    let status = api
        .patch(&format!("{path}/status"), "merge-patch+json", written)
        .await
        .ok();
    assert_eq!(
        (&status["spec"]["size"], &status["status"]["size"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(status["metadata"].get("labels"), None);
    let scale = api.get(&format!("{path}/scale")).await.ok();
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 3}), &json!({"replicas": 2, "selector": "a=b"}))
    );
    let wanted = json!({"spec": {"replicas": 4}});
    api.patch(&format!("{path}/scale"), "merge-patch+json", wanted)
        .await
        .ok();
    assert_eq!(api.get(&path).await.ok()["spec"]["size"], 4);
    let mut replaced = api.get(&path).await.ok();
    replaced["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    for path in [path.clone(), format!("{path}/status")] {
        let refused = api.put(&path, replaced.clone()).await;
        let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
        assert!(
            refused.code == 422 && refused.status().2.ends_with(why),
            "{}",
            refused.value
        );
    }
}

#[tokio::test]
async fn a_scale_is_a_number_that_is_there() {
    let api = Api::new().await;
    let mut free = definition();
    let version = &mut free["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    version["selectableFields"] = json!(null);
    api.post(DEFINITIONS, free).await.ok();
    api.post(WIDGETS, widget("a")).await.ok();
    let none = api.get(&format!("{WIDGETS}/a/scale")).await;
    let why = "Internal error occurred: the spec replicas field \".spec.size\" does not exist";
    assert_eq!(none.status(), (500, "InternalError", why));
    let many = json!({"spec": {"size": i64::from(i32::MAX) + 1}});
    let refused = api.patch(&format!("{WIDGETS}/a"), "merge-patch+json", many).await;
    let why = ".spec.size: Invalid value: 2147483648: should be less than or equal to 2147483647";
    assert!(
        refused.code == 422 && refused.status().2.ends_with(why),
        "{}",
        refused.value
    );
}

#[tokio::test]
async fn objects_say_what_they_are() {
    let api = api().await;
    for (missing, why) in [
        ("kind", "Object 'Kind' is missing"),
        (
            "apiVersion",
            "the API version in the data () does not match the expected API version (example.com/v1)",
        ),
    ] {
        let mut object = widget("a");
        object.as_object_mut().unwrap().remove(missing);
        let refused = api.post(WIDGETS, object).await;
        assert!(
            refused.code == 400 && refused.status().2.ends_with(why),
            "{}",
            refused.value
        );
    }
    let mut held = widget("a");
    held["metadata"]["finalizers"] = json!(["mine"]);
    let made = api.post(WIDGETS, held).await;
    assert!(made.code == 201 && made.warnings[0].contains("prefer a domain-qualified finalizer name"));
}

#[tokio::test]
async fn fields_are_owned_and_selected() {
    let api = api().await;
    let apply = |manager: &'static str, parts: Value| {
        let mut config = widget("a");
        config["spec"]["parts"] = parts;
        let path = format!("{WIDGETS}/a?fieldManager={manager}");
        (path, config)
    };
    for (manager, parts) in [
        ("one", json!([{"name": "x", "weight": 1}])),
        ("two", json!([{"name": "y"}])),
    ] {
        let (path, config) = apply(manager, parts);
        api.patch(&path, "apply-patch+yaml", config).await.ok();
    }
    let both = api.get(&format!("{WIDGETS}/a")).await.ok();
    assert_eq!(both["spec"]["parts"].as_array().unwrap().len(), 2);
    let (path, config) = apply("two", json!([{"name": "x", "weight": 2}]));
    assert_eq!(api.patch(&path, "apply-patch+yaml", config).await.code, 409);
    let mut blue = widget("b");
    blue["spec"]["color"] = json!("blue");
    api.post(WIDGETS, blue).await.ok();
    let selected = api
        .get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue"))
        .await
        .ok();
    assert_eq!(names(&selected), ["b"]);
    assert_eq!(
        api.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D3")).await.code,
        400
    );
}

#[tokio::test]
async fn versions_are_shown_by_their_schemas() {
    let api = api().await;
    api.post(WIDGETS, widget("a")).await.ok();
    let mut second = definition()["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["finish"] =
        json!({"type": "string", "default": "matt"});
    let more = json!([{"op": "add", "path": "/spec/versions/-", "value": second}]);
    api.patch(&format!("{DEFINITIONS}/widgets.example.com"), "json-patch+json", more)
        .await
        .ok();
    let newer = "/apis/example.com/v2/namespaces/default/widgets";
    let shown = api.get(&format!("{newer}/a")).await.ok();
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]["finish"]),
        (&json!("example.com/v2"), &json!("matt"))
    );
    assert_eq!(api.get(&format!("{WIDGETS}/a")).await.ok()["spec"].get("finish"), None);
    let mut made = widget("b");
    made["apiVersion"] = json!("example.com/v2");
    api.post(newer, made).await.ok();
    assert_eq!(
        api.get(&format!("{WIDGETS}/b")).await.ok()["apiVersion"],
        "example.com/v1"
    );
    let list = api.get(newer).await.ok();
    assert_eq!(names(&list), ["a", "b"]);
    assert_eq!(
        api.get("/apis/example.com").await.ok()["preferredVersion"]["version"],
        "v2"
    );
    let drop = json!([{"op": "replace", "path": "/spec/versions/0/name", "value": "v3"}]);
    let refused = api
        .patch(&format!("{DEFINITIONS}/widgets.example.com"), "json-patch+json", drop)
        .await;
    assert_eq!(refused.code, 422);
}

#[tokio::test]
async fn wrong_defaults_and_patterns_are_refused() {
    let api = Api::new().await;
    let mut wrong = definition();
    let schema = &mut wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["size"]["default"] = json!("x");
    schema["properties"]["spec"]["properties"]["color"]["pattern"] = json!("[");
    let answer = api.post(DEFINITIONS, wrong).await;
    let causes = answer.value["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    let base = "spec.validation.openAPIV3Schema.properties[spec].properties";
    assert_eq!(
        fields,
        [format!("{base}[color].pattern"), format!("{base}[size].default")]
    );
}

/// Definitions that kube-apiserver refuses, and all that it has to say of one at once.
#[tokio::test]
async fn everything_wrong_with_a_definition_is_told_together() {
    let api = Api::new().await;
    let refused = async |wrong: Value| {
        let answer = api.post(DEFINITIONS, wrong).await;
        assert_eq!(answer.code, 422, "{}", answer.value);
        let causes = answer.value["details"]["causes"].as_array().unwrap().clone();
        causes
            .into_iter()
            .map(|cause| {
                (
                    cause["field"].as_str().unwrap().to_owned(),
                    cause["message"].as_str().unwrap().to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    let fields = |found: &[(String, String)]| found.iter().map(|(field, _)| field.clone()).collect::<Vec<_>>();
    let mut unsaid = definition();
    unsaid["spec"]["conversion"] = json!({});
    let found = refused(unsaid).await;
    assert_eq!(
        found,
        [("spec.conversion.strategy".to_owned(), "Required value".to_owned())]
    );

    let base = "spec.validation.openAPIV3Schema.properties[spec]";
    let with = |name: &str, schema: Value| {
        let mut changed = definition();
        changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][name] = schema;
        changed
    };
    let mut several = with(
        "more",
        json!({"type": "string", "uniqueItems": true, "x-kubernetes-validations": [{"rule": "self.x"}]}),
    );
    several["spec"]["names"]["shortNames"] = json!(["A"]);
    let found = refused(several).await;
    assert_eq!(
        fields(&found),
        [
            "spec.names.shortNames[0]".to_owned(),
            format!("{base}.properties[more].uniqueItems"),
            format!("{base}.properties[more].x-kubernetes-validations[0].rule"),
        ]
    );
    // Rules are compiled only where the schema is one that says what values are.
    let formless = with("more", json!({"x-kubernetes-validations": [{"rule": "self.x"}]}));
    assert_eq!(
        fields(&refused(formless).await),
        [format!("{base}.properties[more].type")]
    );

    let embedded = |default: Value| json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "default": default});
    let default = format!("{base}.properties[more].default");
    let found = refused(with(
        "more",
        embedded(json!({"kind": "A", "metadata": {"labels": {"a b": "c"}}})),
    ))
    .await;
    assert_eq!(
        fields(&found),
        [format!("{default}.metadata.labels"), format!("{default}.apiVersion")]
    );
    let found = refused(with(
        "more",
        embedded(json!({"apiVersion": "v1", "kind": "A", "metadata": {"labels": 1}})),
    ))
    .await;
    assert_eq!(fields(&found), [format!("{default}.metadata")]);
    let good = with(
        "more",
        embedded(json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}})),
    );
    api.post(DEFINITIONS, good).await.ok();
    let mut object = widget("w");
    object["spec"]["more"] = json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a/b"}});
    let answer = api
        .post("/apis/example.com/v1/namespaces/default/widgets", object)
        .await;
    assert_eq!(answer.code, 422, "{}", answer.value);
    assert_eq!(answer.value["details"]["causes"][0]["field"], "spec.more.metadata.name");
}

#[tokio::test]
async fn users_of_old_versions_are_warned() {
    let api = Api::new().await;
    let mut old = definition();
    let stored = old["spec"]["versions"][0].clone();
    for (name, warning) in [
        ("v1alpha1", None),
        ("v1alpha2", Some("use the new one")),
        ("v1beta1", None),
    ] {
        let mut version = stored.clone();
        version["name"] = json!(name);
        version["storage"] = json!(false);
        version["deprecated"] = json!(name.starts_with("v1alpha"));
        if let Some(warning) = warning {
            version["deprecationWarning"] = json!(warning);
        }
        old["spec"]["versions"].as_array_mut().unwrap().push(version);
    }
    old["spec"]["versions"][0]["served"] = json!(false);
    api.post(DEFINITIONS, old).await.ok();
    for (version, warnings) in [
        (
            "v1alpha1",
            vec!["299 - \"example.com/v1alpha1 Widget is deprecated; use example.com/v1beta1 Widget\""],
        ),
        ("v1alpha2", vec!["299 - \"use the new one\""]),
        ("v1beta1", vec![]),
    ] {
        let listed = api.get(&format!("/apis/example.com/{version}/widgets")).await;
        assert_eq!(
            (listed.code, listed.warnings),
            (200, warnings.into_iter().map(str::to_owned).collect())
        );
    }
}

#[tokio::test]
async fn a_definition_whose_converter_cannot_be_trusted_waits() {
    let api = Api::new().await;
    let mut broken = definition();
    let client = json!({"service": {"namespace": "default", "name": "x"}, "caBundle": "Cg=="});
    broken["spec"]["conversion"] =
        json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}});
    let made = api.post(DEFINITIONS, broken).await.ok();
    let established = &made["status"]["conditions"][1];
    assert_eq!(
        (&established["status"], &established["reason"]),
        (&json!("False"), &json!("InvalidCABundle"))
    );
    assert_eq!(api.get(WIDGETS).await.code, 404);
    let mend = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": null}}}}});
    api.patch(&format!("{DEFINITIONS}/widgets.example.com"), "merge-patch+json", mend)
        .await
        .ok();
    assert_eq!(api.get(WIDGETS).await.code, 200);
}

#[tokio::test]
async fn quotas_limit_their_number() {
    let api = api().await;
    let engine = api.engine.clone();
    let keeper = tokio::spawn(async move { engine.keep_quotas().await });
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    api.post(WIDGETS, widget("a")).await.ok();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/widgets.example.com": "2"}}});
    api.post(quotas, quota).await.ok();
    let used = async || {
        let quota = api.get(&format!("{quotas}/q")).await.ok();
        quota["status"]["used"]["count/widgets.example.com"].clone()
    };
    wait(async || used().await == "1").await;
    api.post(WIDGETS, widget("b")).await.ok();
    assert_eq!(used().await, "2");
    let refused = api.post(WIDGETS, widget("c")).await;
    assert_eq!(
        refused.status(),
        (
            403,
            "Forbidden",
            "widgets.example.com \"c\" is forbidden: exceeded quota: q, requested: count/widgets.example.com=1, used: \
             count/widgets.example.com=2, limited: count/widgets.example.com=2"
        )
    );
    api.delete(&format!("{WIDGETS}/a"), Value::Null).await.ok();
    wait(async || used().await == "1").await;
    api.post(WIDGETS, widget("c")).await.ok();
    keeper.abort();
}

#[tokio::test]
async fn a_definition_goes_after_its_objects() {
    let api = api().await;
    let engine = api.engine.clone();
    let cleaning = tokio::spawn(async move { engine.clean_definitions().await });
    let mut held = widget("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(WIDGETS, held).await.ok();
    api.post(WIDGETS, widget("free")).await.ok();
    let mut waiting = definition();
    waiting["metadata"]["name"] = json!("gadgets.example.com");
    waiting["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
    let waiting = api.post(DEFINITIONS, waiting).await.ok();
    assert_eq!(waiting["status"]["conditions"][0]["reason"], "ListKindConflict");
    let gone = api.get("/apis/example.com/v1/gadgets").await;
    assert_eq!((gone.code, gone.value), (404, json!("404 page not found\n")));
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let going = api.delete(&path, json!(null)).await.ok();
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(api.post(WIDGETS, widget("late")).await.code, 405);
    wait(async || names(&api.get(WIDGETS).await.ok()) == ["held"]).await;
    let late = api
        .patch(
            &format!("{WIDGETS}/late?fieldManager=m"),
            "apply-patch+yaml",
            widget("late"),
        )
        .await;
    assert_eq!(late.code, 405);
    let release = json!({"metadata": {"finalizers": null}});
    api.patch(&format!("{WIDGETS}/held"), "merge-patch+json", release)
        .await
        .ok();
    wait(async || api.get(&path).await.code == 404).await;
    assert_eq!(api.get(WIDGETS).await.code, 404);
    wait(async || api.get("/apis/example.com/v1/gadgets").await.code == 200).await;
    cleaning.abort();
}

async fn wait(done: impl AsyncFn() -> bool) {
    for _ in 0..200 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not happen");
}
