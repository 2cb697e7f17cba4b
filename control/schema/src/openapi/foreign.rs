//! What other servers' documents of version 2 say of the paths that are theirs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Fnv;

const REFERENCE: &str = "#/definitions/";

/// Part of another server's document of version 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    paths: Map<String, Value>,
    /// What the paths refer to, and what that refers to.
    definitions: Map<String, Value>,
    /// Changes when any of this does.
    pub(super) revision: String,
}

impl Foreign {
    /// What a document says of the paths below a prefix, which ends in a slash, and of the prefix itself.
    pub fn of(document: &Value, prefix: &str) -> Self {
        let all = |key: &str| document[key].as_object().into_iter().flatten();
        let below = |path: &str| path.starts_with(prefix) || path == prefix.trim_end_matches('/');
        let paths: Map<String, Value> = all("paths")
            .filter(|(path, _)| below(path))
            .map(|(path, item)| (path.clone(), item.clone()))
            .collect();
        let mut definitions = Map::new();
        let mut wanted = BTreeSet::new();
        paths.values().for_each(|item| references(item, &mut wanted));
        while let Some(name) = wanted.pop_first() {
            if definitions.contains_key(&name) {
                continue;
            }
            let Some(definition) = document["definitions"].get(&name) else {
                continue;
            };
            references(definition, &mut wanted);
            definitions.insert(name, definition.clone());
        }
        let mut hash = Fnv::default();
        for (name, value) in paths.iter().chain(&definitions) {
            hash.add(name.as_bytes());
            hash.add(value.to_string().as_bytes());
        }
        Foreign {
            paths,
            definitions,
            revision: hash.text(),
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// Paths and definitions to be added to a document that has definitions already. Those of the table stand for others of
/// the same name; of others that say something else under one name, the later one gets another name.
pub(super) fn merged(
    foreign: &[&Foreign],
    has: &dyn Fn(&str) -> bool,
) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let (mut paths, mut definitions) = (BTreeMap::new(), BTreeMap::<String, Value>::new());
    for part in foreign {
        let mut names = BTreeMap::new();
        for (name, definition) in part.definitions.iter().filter(|(name, _)| !has(name)) {
            let taken = |other: &String| definitions.get(other).is_some_and(|known| known != definition);
            let numbered = (2..).map(|number| format!("{name}_v{number}"));
            let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name));
            names.extend(free.map(|free| (name.clone(), free)));
        }
        let renamed = |value: &Value| {
            let mut value = value.clone();
            rename(&mut value, &names);
            value
        };
        for (name, free) in &names {
            definitions.insert(free.clone(), renamed(&part.definitions[name]));
        }
        for (path, item) in &part.paths {
            paths.entry(path.clone()).or_insert_with(|| renamed(item));
        }
    }
    (paths, definitions)
}

fn references(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let name = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|text| text.strip_prefix(REFERENCE));
            names.extend(name.map(str::to_owned));
            map.values().for_each(|below| references(below, names));
        }
        Value::Array(list) => list.iter().for_each(|below| references(below, names)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("$ref")
                && let Some(name) = text.strip_prefix(REFERENCE).and_then(|name| names.get(name))
            {
                *text = format!("{REFERENCE}{name}");
            }
            map.values_mut().for_each(|below| rename(below, names));
        }
        Value::Array(list) => list.iter_mut().for_each(|below| rename(below, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(group: &str, field: &str) -> Value {
        let reference = json!({"$ref": "#/definitions/Thing"});
        json!({
            "paths": {
                (format!("/apis/{group}/v1/")): {"get": {}},
                (format!("/apis/{group}/v1/things")): {"get": {"schema": reference}},
                "/apis/other/v1/": {"get": {"schema": {"$ref": "#/definitions/Other"}}},
            },
            "definitions": {
                "Thing": {"properties": {field: {"$ref": "#/definitions/Part"}, "meta": {"$ref": "#/definitions/Known"}}},
                "Part": {"type": "string"}, "Known": {}, "Other": {},
            },
        })
    }

    #[test]
    fn names_that_are_taken_are_changed() {
        let a = Foreign::of(&document("a", "x"), "/apis/a/v1/");
        let b = Foreign::of(&document("b", "y"), "/apis/b/v1/");
        assert_eq!(a.definitions.keys().collect::<Vec<_>>(), ["Known", "Part", "Thing"]);
        assert_ne!(a.revision, b.revision);
        let (paths, definitions) = merged(&[&a, &b], &|name| name == "Known");
        let expected = ["/apis/a/v1/", "/apis/a/v1/things", "/apis/b/v1/", "/apis/b/v1/things"];
        assert_eq!(paths.keys().collect::<Vec<_>>(), expected);
        assert_eq!(definitions.keys().collect::<Vec<_>>(), ["Part", "Thing", "Thing_v2"]);
        assert_eq!(
            paths["/apis/b/v1/things"]["get"]["schema"]["$ref"],
            "#/definitions/Thing_v2"
        );
        assert_eq!(definitions["Thing_v2"]["properties"]["y"]["$ref"], "#/definitions/Part");
        assert_eq!(
            definitions["Thing_v2"]["properties"]["meta"]["$ref"],
            "#/definitions/Known"
        );
        assert!(Foreign::of(&json!({}), "/apis/a/v1/").is_empty());
    }
}
