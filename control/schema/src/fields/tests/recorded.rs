//! Random sequences of updates and applies, with what structured-merge-diff (the library of the API server, release
//! 4.1) made of them.

use serde_json::{Map, Value, json};

use super::super::*;
use super::deployment;

const NOW: &str = "2024-01-01T00:00:00Z";

/// The object with its books, in our form. A manager that nothing else touches stands for "books were kept before".
fn with_books(object: &Value, managers: &Value) -> Value {
    let mut object = object.clone();
    let mut entries = vec![
        json!({"manager": "none", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:zzz": {}}}),
    ];
    for (manager, owned) in managers.as_object().unwrap() {
        let operation = if owned["applied"] == true { "Apply" } else { "Update" };
        entries.push(json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": without_metadata(&owned["set"])}));
    }
    object["metadata"]["managedFields"] = Value::Array(entries);
    object
}

/// The API server takes the metadata itself out of the books, the library does not.
fn without_metadata(owned: &Value) -> Value {
    let mut owned = owned.clone();
    if owned
        .get("f:metadata")
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
    {
        owned.as_object_mut().unwrap().remove("f:metadata");
    }
    owned
}

fn books(object: &Value) -> Map<String, Value> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["manager"] != "none")
        .map(|entry| (entry["manager"].as_str().unwrap().to_owned(), entry["fieldsV1"].clone()))
        .collect()
}

/// The order of merged lists changed between releases of the library; it is tested by itself.
fn sort_lists(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(sort_lists),
        Value::Array(items) => {
            items.iter_mut().for_each(sort_lists);
            items.sort_by_key(Value::to_string);
        }
        _ => {}
    }
}

fn replay(line: &str) {
    let case: Value = serde_json::from_str(line).unwrap();
    let live = with_books(&case["live"], &case["managers"]);
    let manager = case["manager"].as_str().unwrap();
    let expected = &case["result"];
    let result = if case["op"] == "apply" {
        let force = case["force"] == true;
        let options = ApplyOptions {
            manager,
            force,
            api_version: "v1",
            subresource: "",
            now: NOW,
            reset_fields: &[],
        };
        apply(Some(deployment()), Some(&live), &case["object"], &options)
    } else {
        let mut object = case["object"].clone();
        let options = UpdateOptions {
            manager,
            api_version: "v1",
            subresource: "",
            now: NOW,
            reset_fields: &[],
        };
        update(Some(deployment()), Some(&live), &mut object, &options);
        Ok(object)
    };
    let mut result = match (result, expected.get("conflicts")) {
        (Ok(result), None) => result,
        (Err(ApplyError::Conflicts { causes, .. }), Some(conflicts)) => {
            // That release overwrites some of the paths it reports, so they are counted.
            assert_eq!(Some(causes.len() as u64), conflicts.as_u64(), "{line}");
            return;
        }
        (result, _) => panic!("{result:?} for {line}"),
    };
    let books = books(&result);
    for (manager, owned) in expected["managers"].as_object().unwrap() {
        let wanted = without_metadata(&owned["set"]);
        if books.get(manager).unwrap_or(&json!({})) != &wanted {
            panic!(
                "books of {manager}\n{:?}\n{wanted}\n{line}",
                books.get(manager).map(Value::to_string)
            );
        }
    }
    assert!(books.len() <= expected["managers"].as_object().unwrap().len(), "{line}");
    result["metadata"].as_object_mut().unwrap().remove("managedFields");
    let mut wanted = expected["object"].clone();
    for object in [&mut result, &mut wanted] {
        sort_lists(object);
        if object["metadata"].as_object().is_none_or(Map::is_empty) {
            object.as_object_mut().unwrap().remove("metadata");
        }
    }
    if result != wanted {
        panic!("object\n{result}\n{wanted}\n{line}");
    }
}

#[test]
fn results_are_those_of_structured_merge_diff() {
    for line in include_str!("recorded.jsonl").lines() {
        replay(line);
    }
}
