use std::sync::Arc;

use super::*;
use crate::context::{Cluster, Settings};
use crate::strategy::Strategy;

struct Others(Vec<Value>);

impl Cluster for Others {
    fn get(&self, _: &str, _: &str, _: Option<&str>, _: &str) -> Option<Arc<Value>> {
        None
    }

    fn list(&self, _: &str, _: &str, _: Option<&str>) -> Vec<Arc<Value>> {
        self.0.iter().cloned().map(Arc::new).collect()
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn written() -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}})
}

fn created(others: Vec<Value>, change: impl FnOnce(&mut Value)) -> (Value, Vec<String>) {
    let mut definition = written();
    change(&mut definition);
    let others = Others(others);
    let settings = Settings::default();
    let cx = Context {
        now: now(),
        user: "u",
        groups: &[],
        namespace: "",
        cluster: &others,
        settings: &settings,
    };
    DEFINITION.default(&mut definition);
    DEFINITION.prepare_create(&cx, &mut definition).unwrap();
    let errors = DEFINITION.validate(&definition, None);
    (definition, errors.iter().map(ToString::to_string).collect())
}

fn refused(change: impl FnOnce(&mut Value)) -> Vec<String> {
    created(Vec::new(), change).1
}

/// The schema of the one version.
fn schema(definition: &mut Value) -> &mut Value {
    &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

#[test]
fn names_are_accepted_at_once() {
    let (definition, errors) = created(Vec::new(), |_| {});
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        definition["spec"]["names"],
        json!({"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "singular": "widget", "listKind": "WidgetList"})
    );
    assert_eq!(definition["spec"]["conversion"], json!({"strategy": "None"}));
    let status = &definition["status"];
    assert_eq!(status["acceptedNames"], definition["spec"]["names"]);
    assert_eq!(status["storedVersions"], json!(["v1"]));
    let conditions: Vec<_> = list_at(status, &["conditions"])
        .iter()
        .map(|c| (text(c, "type"), text(c, "status"), text(c, "reason")))
        .collect();
    assert_eq!(
        conditions,
        [
            ("NamesAccepted", "True", "NoConflicts"),
            ("Established", "True", "InitialNamesAccepted")
        ]
    );
}

#[test]
fn names_that_are_in_use_are_not() {
    let other = created(Vec::new(), |_| {}).0;
    let (definition, errors) = created(vec![other], |definition| {
        definition["metadata"]["name"] = json!("things.example.com");
        definition["spec"]["names"]["plural"] = json!("things");
        definition["spec"]["names"]["singular"] = json!("thing");
    });
    assert_eq!(errors, Vec::<String>::new());
    let accepted = &definition["status"]["acceptedNames"];
    assert_eq!((&accepted["plural"], &accepted["kind"]), (&json!("things"), &json!("")));
    let names = conditions::find(&definition, "NamesAccepted").unwrap();
    assert_eq!(
        (text(names, "reason"), text(names, "message")),
        ("ListKindConflict", "\"WidgetList\" is already in use")
    );
    assert!(!conditions::is_true(&definition, "Established"));
}

#[test]
fn wrong_definitions_are_refused() {
    assert_eq!(
        refused(|d| d["metadata"]["name"] = json!("x")),
        ["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"]
    );
    assert_eq!(
        refused(|d| d["spec"]["scope"] = json!("World")),
        ["spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\""]
    );
    assert_eq!(
        refused(|d| d["spec"]["versions"][0]["storage"] = json!(false))[0]
            .split(": ")
            .last(),
        Some("must have exactly one version marked as storage version")
    );
    assert_eq!(
        refused(|d| d["spec"]["versions"][0]["schema"] = json!(null)),
        ["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"]
    );
    let scale = json!({"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": "x"}});
    assert_eq!(
        refused(|d| d["spec"]["versions"][0]["subresources"] = scale),
        [
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
            "spec.subresources.scale.statusReplicasPath: Invalid value: \"x\": must be a simple json path starting with ."
        ]
    );
    let columns = json!([{"name": "a", "type": "text", "jsonPath": ".a"}]);
    assert_eq!(
        refused(|d| d["spec"]["versions"][0]["additionalPrinterColumns"] = columns),
        [
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string"
        ]
    );
    let fields = json!([{"jsonPath": ".spec.size"}, {"jsonPath": ".spec"}, {"jsonPath": ".spec.x"}]);
    assert_eq!(
        refused(|d| d["spec"]["versions"][0]["selectableFields"] = fields).len(),
        2
    );
    let protected = refused(|d| {
        d["metadata"]["name"] = json!("widgets.x.k8s.io");
        d["spec"]["group"] = json!("x.k8s.io");
    });
    assert!(
        protected[0].starts_with("metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups"),
        "{protected:?}"
    );
}

#[test]
fn schemas_have_to_be_structural() {
    let base = "spec.validation.openAPIV3Schema.properties[spec]";
    assert_eq!(
        refused(|d| schema(d)["properties"]["spec"] = json!({"properties": {"a": {}}})),
        [
            format!("{base}.properties[a].type: Required value: must not be empty for specified object fields"),
            format!("{base}.type: Required value: must not be empty for specified object fields"),
        ]
    );
    assert_eq!(
        refused(|d| schema(d)["properties"]["spec"]["anyOf"] =
            json!([{"properties": {"other": {"type": "string"}}}, {"required": ["size"]}])),
        [
            format!("{base}.anyOf[0].properties[other].type: Forbidden: must be empty to be structural"),
            format!(
                "{base}.properties[other]: Required value: because it is defined in {base}.anyOf[0].properties[other]"
            ),
        ]
    );
    let port = json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true});
    assert_eq!(
        refused(|d| schema(d)["properties"]["spec"]["properties"]["port"] = port),
        Vec::<String>::new()
    );
    assert_eq!(
        refused(|d| schema(d)["properties"]["metadata"] =
            json!({"type": "object", "properties": {"labels": {"type": "object"}}})),
        [
            "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and \
          generateName, but metadata is implicitly specified"
        ]
    );
    let list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {"name": {"type": "string"}}}});
    assert_eq!(
        refused(|d| schema(d)["properties"]["spec"]["properties"]["list"] = list),
        [format!(
            "{base}.properties[list].items.properties[name].default: Required value: this property is in \
             x-kubernetes-list-map-keys, so it must have a default or be a required property"
        )]
    );
}

#[test]
fn what_objects_are_stored_by_does_not_change() {
    let old = created(Vec::new(), |_| {}).0;
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    new["spec"]["names"]["kind"] = json!("Other");
    new["spec"]["versions"][0]["name"] = json!("v2");
    let errors: Vec<String> = DEFINITION
        .validate(&new, Some(&old))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert_eq!(errors[0], "spec.scope: Invalid value: \"Cluster\": field is immutable");
    assert!(
        errors[3].starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was")
    );
}

#[test]
fn a_definition_outlives_its_objects() {
    let definition = created(Vec::new(), |_| {}).0;
    let DeleteMode::Keep(held) = DEFINITION.delete(&definition, &DeleteOptions::default(), now()) else {
        panic!("kept")
    };
    assert_eq!(held["metadata"]["finalizers"], json!([FINALIZER]));
    assert!(conditions::is_true(&held, "Terminating"));
    assert_eq!(
        DEFINITION.delete(&held, &DeleteOptions::default(), now()),
        DeleteMode::Unchanged
    );
}

#[test]
fn a_conversions_webhook_is_checked_as_any_other() {
    let conversion = |value: Value| refused(|d| d["spec"]["conversion"] = value);
    let webhook = |client: Value, versions: Value| json!({"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": versions}});
    assert_eq!(
        conversion(webhook(json!({"url": ""}), json!(["v1", "v1"]))),
        [
            "spec.conversion.webhookClientConfig.url: Invalid value: \"\": 'https' is the only allowed URL scheme; desired \
             format: https://host[/path]",
            "spec.conversion.webhookClientConfig.url: Invalid value: \"\": host must be specified; desired format: \
             https://host[/path]",
            "spec.conversion.conversionReviewVersions[1]: Invalid value: \"v1\": duplicate version",
        ]
    );
    let service = json!({"service": {"name": "s", "namespace": "n", "port": 65536}});
    assert_eq!(
        conversion(webhook(service, json!(["v1"]))),
        [
            "spec.conversion.webhookClientConfig.service.port: Invalid value: 65536: port is not valid: must be between 1 and \
             65535, inclusive"
        ]
    );
    assert_eq!(
        conversion(json!({"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}})),
        ["spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook"]
    );
}
