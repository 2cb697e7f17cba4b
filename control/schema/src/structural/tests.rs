use serde_json::{Value, json};

use super::*;

fn lines(schema: &Value, object: &Value) -> Vec<String> {
    let problems = Schema::parse(schema).validate(object, None);
    let line = |problem: &Problem| {
        format!(
            "{} {:?} {} {}",
            problem.field, problem.fault, problem.value, problem.detail
        )
    };
    problems
        .iter()
        .map(|problem| line(problem).trim_end().to_owned())
        .collect()
}

fn shape() -> Value {
    json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
        "share": {"type": "number", "exclusiveMinimum": true, "minimum": 0, "multipleOf": 0.5},
        "mode": {"type": "string", "enum": ["Fast", "Slow"]},
        "when": {"type": "string", "format": "date-time", "nullable": true},
        "port": {"x-kubernetes-int-or-string": true},
        "tags": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 1}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "object"}}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }}}})
}

#[test]
fn values_are_checked_in_known_words() {
    let found = |spec: Value| lines(&shape(), &json!({"spec": spec}));
    assert_eq!(
        found(json!({"name": "abc", "replicas": 3, "port": "http", "share": 1.5, "when": null})),
        Vec::<String>::new()
    );
    assert_eq!(lines(&shape(), &json!({})), ["spec Required null"]);
    assert_eq!(found(json!({})), ["spec.name Required null"]);
    assert_eq!(
        found(json!({"name": "A", "replicas": "x"})),
        [
            "spec.name Invalid \"A\" spec.name in body should be at least 2 chars long",
            "spec.name Invalid \"A\" spec.name in body should match '^[a-z]+$'",
            "spec.replicas Type \"string\" spec.replicas in body must be of type integer: \"string\"",
        ]
    );
    assert_eq!(
        found(json!({"name": "abcdef", "replicas": 11, "share": 0.3})),
        [
            "spec.name TooLong \"abcdef\" may not be more than 5 bytes",
            "spec.replicas Invalid 11 spec.replicas in body should be less than or equal to 10",
            "spec.share Invalid 0.3 spec.share in body should be a multiple of 0.5",
        ]
    );
    assert_eq!(
        found(json!({"name": "abc", "mode": "x", "when": "yesterday", "port": true, "share": 0})),
        [
            "spec.mode NotSupported \"x\" supported values: \"Fast\", \"Slow\"",
            "spec.port Type \"boolean\" spec.port in body must be of type integer,string: \"boolean\"",
            "spec.share Invalid 0 spec.share in body should be greater than 0",
            "spec.when Type \"yesterday\" spec.when in body must be of type date-time: \"yesterday\"",
        ]
    );
    assert_eq!(
        found(
            json!({"name": "abc", "tags": ["a", "b", "a"], "labels": {}, "parts": [{"name": "a"}, {"name": "a", "size": 2}],
            "template": {"kind": "Pod"}})
        ),
        [
            "spec.labels Invalid {} spec.labels in body should have at least 1 properties",
            "spec.tags TooMany 3 must have at most 2 items",
            "spec.template.apiVersion Required null must not be empty",
            "spec.parts[1] Duplicate {\"name\":\"a\"}",
            "spec.tags[2] Duplicate \"a\"",
        ]
    );
}

#[test]
fn schemas_are_combined() {
    let schema = json!({"type": "object", "properties": {"a": {
        "anyOf": [{"type": "integer"}, {"type": "string"}], "not": {"enum": ["no"]},
        "oneOf": [{"minimum": 5}, {"maximum": 3}], "allOf": [{"maximum": 100}]}}});
    let found = |a: Value| lines(&schema, &json!({"a": a}));
    assert_eq!(found(json!(7)), Vec::<String>::new());
    assert_eq!(
        found(json!(4)),
        [
            "<nil> Invalid \"\" \"a\" must validate one and only one schema (oneOf). Found none valid",
            "a Invalid 4 a in body should be greater than or equal to 5"
        ]
    );
    assert_eq!(
        found(json!("no")),
        [
            "<nil> Invalid \"\" \"a\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            "<nil> Invalid \"\" \"a\" must not validate the schema (not)"
        ]
    );
    assert_eq!(found(json!(true)).len(), 3);
    assert_eq!(
        found(json!(101)),
        [
            "<nil> Invalid \"\" \"a\" must validate all the schemas (allOf)",
            "a Invalid 101 a in body should be less than or equal to 100"
        ]
    );
}

#[test]
fn what_is_not_known_goes() {
    let mut object = json!({"apiVersion": "v", "kind": "K", "metadata": {"x": 1}, "other": 1, "spec": {
        "unknown": 1, "parts": [{"name": "a", "odd": 1}], "free": {"more": 1, "known": {"less": 1}}, "labels": {"any": "x"},
        "template": {"metadata": {"name": "a"}, "spec": {}}}});
    let schema = Schema::parse(&shape());
    assert_eq!(
        schema.prune(&mut object),
        ["other", "spec.free.known.less", "spec.parts[0].odd", "spec.unknown"]
    );
    assert_eq!(
        object,
        json!({"apiVersion": "v", "kind": "K", "metadata": {"x": 1}, "spec": {
            "parts": [{"name": "a"}], "free": {"more": 1, "known": {}}, "labels": {"any": "x"},
            "template": {"metadata": {"name": "a"}, "spec": {}}}})
    );
    let mut places = Vec::new();
    schema.each_embedded(&mut object, &mut |path, metadata| {
        places.push(format!("{path} {metadata}"))
    });
    assert_eq!(places, ["spec.template.metadata {\"name\":\"a\"}"]);
}

#[test]
fn what_is_absent_is_filled_in() {
    let mut object =
        json!({"spec": {"replicas": null, "mode": null, "when": null, "parts": [{"name": "a"}, {"size": 2}]}});
    let schema = Schema::parse(&shape());
    assert!(schema.has_defaults());
    schema.fill(&mut object);
    assert_eq!(
        object,
        json!({"spec": {"replicas": 3, "when": null, "parts": [{"name": "a", "size": 1}, {"size": 2}]}})
    );
}

#[test]
fn formats_of_texts() {
    for (format, good, bad) in [
        ("date", "2026-01-31", "2026-02-31"),
        ("date-time", "2026-01-31T00:00:00Z", "2026-01-31"),
        ("duration", "1h30m", "1x"),
        ("byte", "YQ==", "?"),
        ("ipv4", "10.0.0.1", "10.0.0"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
        ("mac", "01:23:45:67:89:ab", "01:23"),
        (
            "uuid4",
            "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ),
        ("hostname", "a.example", "-a"),
        ("email", "a@b.c", "a"),
        ("uri", "https://a/b", "a b"),
    ] {
        assert!(formats::fits(format, good), "{good} as {format}");
        assert!(!formats::fits(format, bad), "{bad} as {format}");
    }
    assert!(formats::fits("unheard-of", "x"));
}

#[test]
fn what_did_not_change_is_not_judged_again() {
    let schema = Schema::parse(&shape());
    let old = json!({"spec": {"name": "WRONG", "mode": "x", "parts": [{"name": "a", "size": "big"}, {"name": "b"}]}});
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(2);
    new["spec"]["parts"][1]["size"] = json!(3);
    assert_eq!(schema.validate(&new, Some(&old)), []);
    new["spec"]["mode"] = json!("y");
    new["spec"]["parts"][0]["size"] = json!("bigger");
    let fields: Vec<String> = schema.validate(&new, Some(&old)).into_iter().map(|p| p.field).collect();
    assert_eq!(fields, ["spec.mode", "spec.parts[0].size"]);
}
