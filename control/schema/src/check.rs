//! Checking an object against its type, and bringing it into the form a Go API server would store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::quantity::Quantity;
use crate::{Container, Field, Item, TypeKind, TypeRef, time};

/// A field whose value does not fit its type.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct TypeMismatch {
    /// Worded as kube words it: `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of
    /// type int32`.
    pub message: String,
    /// As kube words it where the object is not read from text, as after a strategic merge: `cannot restore map from
    /// string`.
    pub restored: String,
}

impl TypeMismatch {
    /// One that has the same words everywhere.
    pub fn plain(message: impl Into<String>) -> Self {
        let message = message.into();
        TypeMismatch {
            restored: message.clone(),
            message,
        }
    }
}

/// What cannot be restored from what, by the types' names in Go.
fn restored(found: &str, wanted: &str) -> String {
    let (kind, name) = match found {
        "object" => ("map", "map[string]interface {}"),
        "array" => ("slice", "[]interface {}"),
        "number" => ("int64", "int64"),
        other => (other, other),
    };
    if wanted.starts_with("map[") {
        format!("cannot restore map from {kind}")
    } else if wanted.starts_with("[]") {
        format!("cannot restore slice from {kind}")
    } else if wanted.contains('.') {
        format!("cannot restore struct from: {kind}")
    } else {
        format!("cannot convert {name} to {wanted}")
    }
}

/// Removes fields the type does not know and returns their paths (`spec.template.spec.containers[0].foo`; kube words
/// them `unknown field "…"`), drops nulls and what is optional and empty, as Go does when it writes (encoding/json,
/// `omitempty`), and writes quantities and times in canonical form.
pub fn check(ty: TypeRef, value: &mut Value) -> Result<Vec<String>, TypeMismatch> {
    let mut checker = Checker { unknown: Vec::new() };
    let root = Path {
        parent: None,
        step: Step::Root,
    };
    match value {
        Value::Object(map) => checker.fields(ty, map, &root)?,
        other => {
            return Err(TypeMismatch::plain(format!(
                "json: cannot unmarshal {} into Go value of type {}",
                kind_name(other),
                go_name(ty)
            )));
        }
    }
    Ok(checker.unknown)
}

/// Where in the object the walk is: a list on the stack, from the inside out.
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    /// A field of a structure, with the type it belongs to.
    Field(TypeRef, &'static Field),
    Index(usize),
    Key(&'p str),
}

impl Path<'_> {
    /// `spec.containers[0].name`, as unknown fields are reported.
    fn write(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(out);
        }
        match self.step {
            Step::Root => {}
            Step::Index(at) => out.push_str(&format!("[{at}]")),
            Step::Field(_, field) => push_name(out, field.name),
            Step::Key(key) => push_name(out, key),
        }
    }

    /// `spec.containers.name`, as Go reports a mismatch: fields of structures only.
    fn write_fields(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_fields(out);
        }
        if let Step::Field(_, field) = self.step {
            push_name(out, field.name);
        }
    }

    fn owner(&self) -> Option<TypeRef> {
        match self.step {
            Step::Field(owner, _) => Some(owner),
            _ => self.parent.and_then(Path::owner),
        }
    }

    fn mismatch(&self, found: &str, wanted: &str) -> TypeMismatch {
        let mut field = self.owner().map_or("", TypeRef::short_name).to_owned();
        field.push('.');
        let mut path = String::new();
        self.write_fields(&mut path);
        TypeMismatch {
            message: format!("json: cannot unmarshal {found} into Go struct field {field}{path} of type {wanted}"),
            restored: restored(found, wanted),
        }
    }

    fn invalid(&self, detail: impl std::fmt::Display) -> TypeMismatch {
        let mut path = String::new();
        self.write(&mut path);
        TypeMismatch::plain(format!("{path}: {detail}"))
    }
}

fn push_name(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(name);
}

/// The name of a type in Go: its package's last part and its own name.
fn go_name(ty: TypeRef) -> String {
    let mut parts = ty.name().rsplit('.');
    let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{package}.{name}")
}

fn item_name(item: Item) -> String {
    match item {
        Item::String => "string".to_owned(),
        Item::Bytes => "[]uint8".to_owned(),
        Item::Bool => "bool".to_owned(),
        Item::Int32 => "int32".to_owned(),
        Item::Int64 => "int64".to_owned(),
        Item::Double => "float64".to_owned(),
        Item::Type(ty) => go_name(ty),
    }
}

fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Checker {
    unknown: Vec<String>,
}

impl Checker {
    fn fields(&mut self, ty: TypeRef, map: &mut Map<String, Value>, path: &Path<'_>) -> Result<(), TypeMismatch> {
        let mut result = Ok(());
        map.retain(|name, value| {
            if result.is_err() {
                return true;
            }
            let Some(field) = ty.field(name) else {
                let mut unknown = String::new();
                Path {
                    parent: Some(path),
                    step: Step::Key(name),
                }
                .write(&mut unknown);
                self.unknown.push(unknown);
                return false;
            };
            if value.is_null() {
                return false;
            }
            result = self.field(
                field,
                value,
                &Path {
                    parent: Some(path),
                    step: Step::Field(ty, field),
                },
            );
            field.required || field.container == Container::One || !is_empty(value)
        });
        result
    }

    fn field(&mut self, field: &Field, value: &mut Value, path: &Path<'_>) -> Result<(), TypeMismatch> {
        match field.container {
            Container::One => self.item(field.item, value, path),
            Container::List => self.list(field.item, value, path),
            Container::Map | Container::MapOfLists => {
                let lists = field.container == Container::MapOfLists;
                let Value::Object(map) = value else {
                    let lists = if lists { "[]" } else { "" };
                    return Err(path.mismatch(
                        kind_name(value),
                        &format!("map[string]{lists}{}", item_name(field.item)),
                    ));
                };
                for (key, value) in map {
                    let path = Path {
                        parent: Some(path),
                        step: Step::Key(key),
                    };
                    if lists && value.is_null() {
                        *value = Value::Array(Vec::new());
                    } else if lists {
                        self.list(field.item, value, &path)?;
                    } else {
                        self.item(field.item, value, &path)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn list(&mut self, item: Item, value: &mut Value, path: &Path<'_>) -> Result<(), TypeMismatch> {
        let Value::Array(items) = value else {
            return Err(path.mismatch(kind_name(value), &format!("[]{}", item_name(item))));
        };
        for (at, value) in items.iter_mut().enumerate() {
            self.item(
                item,
                value,
                &Path {
                    parent: Some(path),
                    step: Step::Index(at),
                },
            )?;
        }
        Ok(())
    }

    fn item(&mut self, item: Item, value: &mut Value, path: &Path<'_>) -> Result<(), TypeMismatch> {
        // Only inside lists and maps can a null come here; Go reads it as the zero value.
        if value.is_null() {
            *value = zero(item);
            return Ok(());
        }
        let fits = match item {
            Item::String => value.is_string(),
            Item::Bool => value.is_boolean(),
            Item::Double => value.is_number(),
            Item::Int64 => value.is_i64(),
            Item::Int32 => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            Item::Bytes => return bytes(value, path),
            Item::Type(ty) => return self.typed(ty, value, path),
        };
        match (fits, &*value) {
            (true, _) => Ok(()),
            (false, Value::Number(number)) if !matches!(item, Item::String | Item::Bool) => {
                Err(path.mismatch(&format!("number {number}"), &item_name(item)))
            }
            (false, value) => Err(path.mismatch(kind_name(value), &item_name(item))),
        }
    }

    fn typed(&mut self, ty: TypeRef, value: &mut Value, path: &Path<'_>) -> Result<(), TypeMismatch> {
        match ty.kind() {
            TypeKind::Struct => match value {
                Value::Object(map) => self.fields(ty, map, path),
                other => Err(path.mismatch(kind_name(other), &go_name(ty))),
            },
            TypeKind::Quantity => quantity(value, path),
            TypeKind::IntOrString => match value {
                Value::String(_) => Ok(()),
                Value::Number(number) if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => Ok(()),
                Value::Number(number) => Err(path.mismatch(&format!("number {number}"), "int32")),
                other => Err(path.mismatch(kind_name(other), "int32")),
            },
            TypeKind::Time => times(value, path, false),
            TypeKind::MicroTime => times(value, path, true),
            TypeKind::Raw | TypeKind::Any | TypeKind::Inline => Ok(()),
            TypeKind::SchemaOrArray | TypeKind::SchemaOrBool | TypeKind::SchemaOrStrings => Ok(()),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn zero(item: Item) -> Value {
    match item {
        Item::String | Item::Bytes => Value::String(String::new()),
        Item::Bool => Value::Bool(false),
        Item::Int32 | Item::Int64 | Item::Double => Value::from(0),
        Item::Type(ty) => match ty.kind() {
            TypeKind::Quantity => Value::String("0".to_owned()),
            TypeKind::IntOrString => Value::from(0),
            TypeKind::Struct | TypeKind::Inline => Value::Object(Map::new()),
            _ => Value::Null,
        },
    }
}

fn bytes(value: &mut Value, path: &Path<'_>) -> Result<(), TypeMismatch> {
    let Value::String(text) = value else {
        return Err(path.mismatch(kind_name(value), "[]uint8"));
    };
    // Go's decoder skips line ends inside base64.
    if text.contains(['\n', '\r']) {
        text.retain(|c| c != '\n' && c != '\r');
    }
    match STANDARD.decode(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(length) => length,
                base64::DecodeError::InvalidPadding => text.len(),
            };
            Err(TypeMismatch::plain(format!("illegal base64 data at input byte {at}")))
        }
    }
}

fn quantity(value: &mut Value, path: &Path<'_>) -> Result<(), TypeMismatch> {
    let parsed = match &*value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        other => return Err(path.mismatch(kind_name(other), "resource.Quantity")),
    };
    let canonical = parsed.map_err(|error| path.invalid(error))?.to_string();
    if value.as_str() != Some(&canonical) {
        *value = Value::String(canonical);
    }
    Ok(())
}

fn times(value: &mut Value, path: &Path<'_>, micros: bool) -> Result<(), TypeMismatch> {
    let Value::String(text) = value else {
        return Err(path.mismatch(kind_name(value), if micros { "v1.MicroTime" } else { "v1.Time" }));
    };
    if !micros && time::is_canonical(text) {
        return Ok(());
    }
    match time::canonical(text, micros) {
        Some(canonical) => *text = canonical,
        None => {
            let layout = if micros {
                "2006-01-02T15:04:05.000000Z07:00"
            } else {
                "2006-01-02T15:04:05Z07:00"
            };
            return Err(TypeMismatch::plain(format!(
                "parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::type_of;

    fn run(group: &str, kind: &str, mut value: Value) -> (Value, Result<Vec<String>, String>) {
        let result = check(type_of(group, "v1", kind).unwrap(), &mut value).map_err(|error| error.message);
        (value, result)
    }

    #[test]
    fn unknown_fields_are_named_and_removed() {
        let (value, unknown) = run(
            "apps",
            "Deployment",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": {"any": "thing"}, "creationTimestamp": null},
                   "spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "bar": null}]}}}}),
        );
        assert_eq!(unknown.unwrap(), ["spec.foo", "spec.template.spec.containers[1].bar"]);
        assert_eq!(
            value,
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": {"any": "thing"}},
                   "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}}})
        );
    }

    #[test]
    fn what_is_optional_and_empty_is_left_out() {
        let (value, unknown) = run(
            "",
            "Pod",
            json!({"metadata": {"name": "a", "labels": {}, "finalizers": []}, "spec": {"volumes": [], "nodeSelector": {},
                   "securityContext": {}, "containers": [], "initContainers": [{"name": "i", "env": [], "securityContext": {}}]}}),
        );
        assert_eq!(unknown, Ok(Vec::new()));
        assert_eq!(
            value,
            json!({"metadata": {"name": "a"}, "spec": {"securityContext": {}, "containers": [],
                   "initContainers": [{"name": "i", "securityContext": {}}]}})
        );
    }

    #[test]
    fn mismatches_are_worded_as_go_words_them() {
        let message = |kind: &str, value: Value| {
            run(if kind == "Deployment" { "apps" } else { "" }, kind, value)
                .1
                .unwrap_err()
        };
        assert_eq!(
            message("Deployment", json!({"spec": {"replicas": "three"}})),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            message("Deployment", json!({"spec": {"replicas": 1.5}})),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            message("Pod", json!({"metadata": {"labels": {"a": 1}}})),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
        );
        assert_eq!(
            message("Pod", json!({"spec": {"containers": {"name": "a"}}})),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
        );
        assert_eq!(
            message(
                "Pod",
                json!({"spec": {"containers": [{"ports": [{"containerPort": 3_000_000_000_u64}]}]}})
            ),
            "json: cannot unmarshal number 3000000000 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"
        );
        assert_eq!(
            message("Pod", json!({"spec": []})),
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"
        );
        assert_eq!(
            message("Pod", json!([])),
            "json: cannot unmarshal array into Go value of type v1.Pod"
        );
        assert_eq!(
            message("Secret", json!({"data": {"a": "%%"}})),
            "illegal base64 data at input byte 0"
        );
        assert!(message("Pod", json!({"metadata": {"creationTimestamp": "now"}})).starts_with("parsing time \"now\""));
        assert!(
            message(
                "Pod",
                json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}})
            )
            .contains("quantities must match")
        );
    }

    #[test]
    fn values_take_their_canonical_form() {
        let (value, unknown) = run(
            "",
            "Pod",
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1024Mi", "x/y": 2}}, "command": [null, "a"],
                   "livenessProbe": {"httpGet": {"port": "web"}}}]}, "status": {"startTime": "2024-01-02T03:04:05+01:00"}}),
        );
        assert!(unknown.unwrap().is_empty());
        assert_eq!(
            value,
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "500m", "memory": "1Gi", "x/y": "2"}}, "command": ["", "a"],
                   "livenessProbe": {"httpGet": {"port": "web"}}}]}, "status": {"startTime": "2024-01-02T02:04:05Z"}})
        );
    }
}
