//! Rules of custom resources: expressions that objects have to fulfil.

use crate::support::Api;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition(spec: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec,
                "status": {"type": "object", "properties": {"ready": {"type": "integer"}},
                    "x-kubernetes-validations": [{"rule": "self.ready >= 0", "message": "ready counts"}]}}}}}]}})
}

fn spec() -> Value {
    json!({"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self % 2 == 0", "messageExpression": "'%d is odd'.format([self])"}]},
        "least": {"type": "integer"},
        "color": {"type": "string", "maxLength": 20, "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": "color is immutable", "reason": "FieldValueForbidden"}]},
        "names": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 20},
            "x-kubernetes-validations": [{"rule": "self.all(n, n.startsWith('a'))"}]},
        "parts": {"type": "array", "maxItems": 10, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "weight": {"type": "integer", "x-kubernetes-validations": [
                    {"rule": "self >= oldSelf", "message": "weights only grow"}]}}}},
        "labels": {"type": "object", "maxProperties": 5, "additionalProperties": {"type": "string", "maxLength": 10,
            "x-kubernetes-validations": [{"rule": "self != 'bad'"}]}},
        "grown": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "oldSelf.hasValue() ? self >= oldSelf.value() : self == 1", "optionalOldSelf": true}]}},
        "x-kubernetes-validations": [
            {"rule": "!has(self.least) || self.least <= self.size", "message": "least is more than size", "fieldPath": ".least"}]})
}

fn widget(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec})
}

async fn api(spec: Value) -> Api {
    let api = Api::new().await;
    api.post(DEFINITIONS, definition(spec)).await.ok();
    api
}

fn causes(answer: &Value) -> Vec<(String, String, String)> {
    let causes = answer["details"]["causes"].as_array().cloned().unwrap_or_default();
    let text = |cause: &Value, key: &str| cause[key].as_str().unwrap_or("").to_owned();
    causes
        .iter()
        .map(|cause| (text(cause, "reason"), text(cause, "field"), text(cause, "message")))
        .collect()
}

fn cause(reason: &str, field: &str, message: &str) -> (String, String, String) {
    (reason.to_owned(), field.to_owned(), message.to_owned())
}

#[tokio::test]
async fn objects_keep_the_rules() {
    let api = api(spec()).await;
    let wrong = json!({"size": 3, "least": 4, "color": "red", "names": ["b"], "labels": {"x": "bad"}, "grown": 2});
    let answer = api.post(WIDGETS, widget(wrong)).await;
    assert_eq!(answer.code, 422);
    assert_eq!(
        causes(&answer.value),
        [
            cause(
                "FieldValueInvalid",
                "spec.least",
                "Invalid value: \"object\": least is more than size"
            ),
            cause(
                "FieldValueInvalid",
                "spec.grown",
                "Invalid value: \"integer\": failed rule: oldSelf.hasValue() ? self >= oldSelf.value() : self == 1"
            ),
            cause(
                "FieldValueInvalid",
                "spec.labels[x]",
                "Invalid value: \"string\": failed rule: self != 'bad'"
            ),
            cause(
                "FieldValueInvalid",
                "spec.names",
                "Invalid value: \"array\": failed rule: self.all(n, n.startsWith('a'))"
            ),
            cause("FieldValueInvalid", "spec.size", "Invalid value: \"integer\": 3 is odd"),
        ]
    );
    // What the schema refuses is said first, and rules that rely on it are not asked.
    let answer = api.post(WIDGETS, widget(json!({"least": 4}))).await;
    let messages: Vec<String> = causes(&answer.value).into_iter().map(|(_, field, _)| field).collect();
    assert_eq!(messages, ["spec.size", "<nil>"]);
    api.post(
        WIDGETS,
        widget(json!({"size": 2, "least": 1, "color": "red", "names": ["a1"], "grown": 1})),
    )
    .await
    .ok();
}

#[tokio::test]
async fn transitions_are_seen() {
    let api = api(spec()).await;
    let first = json!({"size": 2, "color": "red", "grown": 1, "parts": [{"name": "x", "weight": 5}]});
    api.post(WIDGETS, widget(first)).await.ok();
    let path = format!("{WIDGETS}/a");
    let patch = async |patch: Value| api.patch(&path, "merge-patch+json", patch).await;
    let refused = patch(json!({"spec": {"color": "blue"}})).await;
    assert_eq!(
        causes(&refused.value),
        [cause(
            "FieldValueForbidden",
            "spec.color",
            "Forbidden: color is immutable"
        )]
    );
    let refused = patch(json!({"spec": {"parts": [{"name": "y", "weight": 1}, {"name": "x", "weight": 4}]}})).await;
    assert_eq!(
        causes(&refused.value),
        [cause(
            "FieldValueInvalid",
            "spec.parts[1].weight",
            "Invalid value: \"integer\": weights only grow"
        )]
    );
    patch(json!({"spec": {"parts": [{"name": "y", "weight": 1}, {"name": "x", "weight": 6}]}}))
        .await
        .ok();
    assert_eq!(patch(json!({"spec": {"grown": 0}})).await.code, 422);
    patch(json!({"spec": {"grown": 7}})).await.ok();
    let status = format!("{path}/status");
    let refused = api
        .patch(&status, "merge-patch+json", json!({"status": {"ready": -1}}))
        .await;
    assert_eq!(
        causes(&refused.value),
        [cause(
            "FieldValueInvalid",
            "status",
            "Invalid value: \"object\": ready counts"
        )]
    );
}

#[tokio::test]
async fn what_was_there_before_a_rule_may_stay() {
    let mut open = spec();
    open["properties"]["names"]
        .as_object_mut()
        .unwrap()
        .remove("x-kubernetes-validations");
    let api = api(open).await;
    api.post(WIDGETS, widget(json!({"size": 2, "names": ["b"]}))).await.ok();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let stricter = json!({"spec": definition(spec())["spec"]});
    api.patch(&path, "merge-patch+json", stricter).await.ok();
    let path = format!("{WIDGETS}/a");
    let changed = api.patch(&path, "merge-patch+json", json!({"spec": {"size": 4}})).await;
    // But who writes it is told.
    let told = "spec.names: Invalid value: \\\"array\\\": failed rule: self.all(n, n.startsWith('a'))";
    assert_eq!(changed.warnings, [format!("299 - \"{told}\"")]);
    changed.ok();
    let status = api
        .patch(
            &format!("{path}/status"),
            "merge-patch+json",
            json!({"status": {"ready": 1}}),
        )
        .await;
    assert_eq!(status.warnings.len(), 1);
    status.ok();
    let refused = api
        .patch(&path, "merge-patch+json", json!({"spec": {"names": ["b", "c"]}}))
        .await;
    assert_eq!(causes(&refused.value)[0].1, "spec.names");
}

#[tokio::test]
async fn wrong_and_expensive_rules_are_refused() {
    let api = Api::new().await;
    let base = "spec.validation.openAPIV3Schema.properties[spec]";
    let refused = async |spec: Value| {
        let answer = api.post(DEFINITIONS, definition(spec)).await;
        assert_eq!(answer.code, 422, "{}", answer.value);
        causes(&answer.value)
    };
    let with = |rule: Value| json!({"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]});
    let found = refused(with(json!({"rule": "self.b > 1"}))).await;
    assert_eq!(found[0].1, format!("{base}.x-kubernetes-validations[0].rule"));
    let shown = "compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b > 1\n | ....^";
    assert!(found[0].2.ends_with(shown), "{}", found[0].2);
    let found = refused(with(json!({"rule": "self.a"}))).await;
    assert!(found[0].2.ends_with("cel expression must evaluate to a bool"));
    let found = refused(with(json!({"rule": "self.a > 1", "messageExpression": "1"}))).await;
    assert_eq!(
        found[0].1,
        format!("{base}.x-kubernetes-validations[0].messageExpression")
    );
    let found = refused(with(json!({"rule": "self.a > 1", "fieldPath": ".b"}))).await;
    assert_eq!(found[0].1, format!("{base}.x-kubernetes-validations[0].fieldPath"));
    let found = refused(with(json!({"rule": "self.a > 1", "optionalOldSelf": true}))).await;
    assert_eq!(
        found[0].1,
        format!("{base}.x-kubernetes-validations[0].optionalOldSelf")
    );
    let default = json!({"type": "object", "properties": {"a": {"type": "integer", "default": 3,
        "x-kubernetes-validations": [{"rule": "self < 3"}]}}});
    assert_eq!(refused(default).await[0].1, format!("{base}.properties[a].default"));
    let tags = |more: Value| {
        let mut tags = json!({"type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": "self.all(x, x.contains('gpu'))"}]});
        tags.as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap_or_default());
        json!({"type": "object", "properties": {"tags": tags}})
    };
    let found = refused(tags(json!({}))).await;
    let rule = format!("{base}.properties[tags].x-kubernetes-validations[0].rule");
    let advice = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings \
                  are declared)";
    assert_eq!(
        found,
        [
            cause(
                "FieldValueForbidden",
                &rule,
                &format!("Forbidden: estimated rule cost exceeds budget by factor of more than 100x {advice}")
            ),
            cause(
                "FieldValueForbidden",
                &rule,
                "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            cause(
                "FieldValueForbidden",
                "spec.validation.openAPIV3Schema.properties[status].x-kubernetes-validations[0].rule",
                "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            cause(
                "FieldValueForbidden",
                "spec.validation.openAPIV3Schema",
                &format!(
                    "Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget \
                     by factor of more than 100x {advice}"
                )
            ),
        ]
    );
    let unequal = json!({"type": "object", "properties": {"l": {"type": "array", "maxItems": 3, "items": {"type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}});
    let found = refused(unequal).await;
    let detail =
        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {base}.properties[l]");
    assert!(found[0].2.ends_with(&detail), "{}", found[0].2);
    api.post(
        DEFINITIONS,
        definition(tags(
            json!({"maxItems": 25, "items": {"type": "string", "maxLength": 10}}),
        )),
    )
    .await
    .ok();
}

#[tokio::test]
async fn a_rule_may_not_take_too_long() {
    let numbers = json!({"type": "array", "maxItems": 400, "items": {"type": "integer"}});
    let rule = |rule: &str| json!({"type": "object", "properties": {"n": numbers.clone()}, "x-kubernetes-validations": [{"rule": rule}]});
    // The estimate is of the worst case; sizes that only the object tells are counted when it runs.
    let api = api(rule("self.n.all(a, self.n.all(b, a + b >= 0))")).await;
    let many: Vec<u32> = (0..400).collect();
    let answer = api.post(WIDGETS, widget(json!({ "n": many }))).await;
    let found = causes(&answer.value);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].2,
        "Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run \
         due to call cost exceeds limit for rule: self.n.all(a, self.n.all(b, a + b >= 0))"
    );
    api.post(WIDGETS, widget(json!({ "n": [1, 2, 3] }))).await.ok();
}

#[tokio::test]
async fn parts_that_cannot_be_named_and_atomic_objects_have_rules() {
    let api = api(
        json!({"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
        "f@2": {"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": "self != 'bad'"}]},
        "fixed": {"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}),
    )
    .await;
    let answer = api.post(WIDGETS, widget(json!({"f@2": "bad"}))).await;
    assert_eq!(
        causes(&answer.value),
        [cause(
            "FieldValueInvalid",
            "spec.f@2",
            "Invalid value: \"string\": failed rule: self != 'bad'"
        )]
    );
    api.post(WIDGETS, widget(json!({"f@2": "good", "fixed": "a"})))
        .await
        .ok();
    let path = format!("{WIDGETS}/a");
    let change = json!({"spec": {"fixed": "b"}});
    let answer = api.patch(&path, "merge-patch+json", change).await;
    let found = causes(&answer.value);
    assert!(found.len() == 1 && found[0].1 == "spec.fixed", "{found:?}");
}
