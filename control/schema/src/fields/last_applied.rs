//! The way between kubectl's two kinds of apply: what it applied from the client's side, it may apply from the server's
//! without conflicts, and the annotation that the former keeps follows the latter.

use serde_json::{Map, Value};

use super::ApplyOptions;
use super::compare::{compare, members};
use super::node::Node;
use super::set::{self, Set};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Who else applies asks for its own manager's name.
const MANAGER: &str = "kubectl";
/// All annotations of an object together.
const MOST_BYTES: usize = 256 * 1024;

/// Fields that kubectl applied from the client's side and that still are as it applied them: whoever is booked for
/// them, it is kubectl that takes them over.
pub(super) fn given_up(root: Node<'_>, live: &Value, options: &ApplyOptions<'_>) -> Set {
    let text = annotations(live)
        .and_then(|map| map.get(ANNOTATION))
        .and_then(Value::as_str);
    let applied = text
        .filter(|_| options.manager == MANAGER)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .filter(|applied| applied["apiVersion"] == options.api_version);
    let Some(applied) = applied else { return Set::default() };
    let mut fields = members(root, &applied);
    set::subtract(&mut fields, &compare(root, live, &applied).changed);
    fields
}

/// Keeps the annotation of an object that has one as if the configuration had been applied from the client's side.
pub(super) fn follow(object: &mut Value, config: &Value, options: &ApplyOptions<'_>) {
    let kept = |map: &Map<String, Value>| map.get(ANNOTATION).is_some_and(|text| text.as_str() != Some(""));
    if options.manager != MANAGER || !annotations(object).is_some_and(kept) {
        return;
    }
    let mut applied = config.clone();
    if let Some(map) = annotations_mut(&mut applied) {
        map.remove(ANNOTATION);
    }
    let Some(map) = annotations_mut(object) else { return };
    map.insert(ANNOTATION.into(), format!("{applied}\n").into());
    let bytes: usize = map
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > MOST_BYTES {
        map.remove(ANNOTATION);
    }
}

fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/annotations").and_then(Value::as_object)
}

fn annotations_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
}
