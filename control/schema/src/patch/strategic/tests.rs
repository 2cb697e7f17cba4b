use serde_json::json;

use super::*;
use crate::type_of;

/// The same patches, applied by `kubectl patch --local`.
#[test]
fn results_are_those_of_kubectl() {
    let cases: Value = serde_json::from_str(include_str!("kubectl.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let object = &case["object"];
        let api_version = object["apiVersion"].as_str().unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let ty = type_of(group, version, object["kind"].as_str().unwrap()).unwrap();
        match (apply(ty, object, &case["patch"]), case.get("result")) {
            (Ok(result), Some(expected)) => {
                let mut expected = expected.clone();
                // kubectl prints the namespace it assumes.
                if object["metadata"].get("namespace").is_none() {
                    expected["metadata"].as_object_mut().unwrap().remove("namespace");
                }
                assert_eq!(result, expected, "{}", case["patch"]);
            }
            (Err(error), None) => {
                let wanted = case["error"].as_str().unwrap();
                // Go prints maps in its own way; what is said before one is compared.
                let start = error
                    .to_string()
                    .split(['{', '['])
                    .next()
                    .unwrap_or_default()
                    .replace("map: ", "");
                assert!(wanted.contains(&start), "{error} instead of {wanted}");
            }
            (result, _) => panic!("{result:?} for {}", case["patch"]),
        }
    }
}

#[test]
fn fields_the_table_does_not_know_are_merged_plainly() {
    let ty = type_of("", "v1", "Pod").unwrap();
    let patched = apply(
        ty,
        &json!({"x": {"a": [1], "b": 1}}),
        &json!({"x": {"a": [2], "b": null, "c": {"d": null, "e": 1}}}),
    )
    .unwrap();
    assert_eq!(patched, json!({"x": {"a": [2], "c": {"e": 1}}}));
    assert!(apply(ty, &json!({}), &json!([])).is_err());
}
