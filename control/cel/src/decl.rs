//! Declared data: the structure of an object with the bounds of its parts, from which types, values and worst cases
//! follow.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::parse::is_reserved;

/// The largest request that is taken, in bytes, by which unbounded data is bounded.
pub const LARGEST_REQUEST: u64 = 3 * 1024 * 1024;

/// A declared value.
#[derive(Debug)]
pub struct Decl {
    /// What it is.
    pub(crate) kind: Kind,
    /// How many characters, items or entries it has at most; 0 for anything else.
    pub(crate) most: u64,
    /// How short it is at least as JSON, in bytes.
    pub(crate) shortest: u64,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Dyn,
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Timestamp,
    /// A timestamp without a time.
    Date,
    Duration,
    List {
        items: Arc<Decl>,
        order: Order,
    },
    Map(Arc<Decl>),
    /// Fields by the names that expressions know them by.
    Object(BTreeMap<String, Field>),
}

/// By what the items of a list are told apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Order {
    /// By where they are.
    Index,
    /// By themselves; their order does not matter.
    Set,
    /// By their keys; their order does not matter.
    Keys(Vec<String>),
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// In JSON.
    pub(crate) name: String,
    pub(crate) decl: Arc<Decl>,
}

/// What data is that no schema states.
#[derive(Debug)]
pub enum Part {
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// A text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A list of items.
    List(Arc<Decl>),
    /// A map from texts.
    Map(Arc<Decl>),
    /// An object, by the names of its fields in JSON.
    Object(Vec<(String, Arc<Decl>)>),
}

static DYN: LazyLock<Arc<Decl>> = LazyLock::new(|| simple(Kind::Dyn, 1));

fn simple(kind: Kind, shortest: u64) -> Arc<Decl> {
    Arc::new(Decl {
        kind,
        most: 0,
        shortest,
    })
}

fn bounded(kind: Kind, most: u64, shortest: u64) -> Option<Arc<Decl>> {
    Some(Arc::new(Decl { kind, most, shortest }))
}

impl Decl {
    /// Data of which nothing is known.
    pub fn unknown() -> Arc<Decl> {
        DYN.clone()
    }

    /// Data without any bounds: its expressions have types, and no worst case that means anything.
    pub fn of(part: Part) -> Arc<Decl> {
        let kind = match part {
            Part::Bool => Kind::Bool,
            Part::Int => Kind::Int,
            Part::Double => Kind::Double,
            Part::String => Kind::String,
            Part::Bytes => Kind::Bytes,
            Part::Timestamp => Kind::Timestamp,
            Part::List(items) => Kind::List {
                items,
                order: Order::Index,
            },
            Part::Map(values) => Kind::Map(values),
            Part::Object(fields) => Kind::Object(by_name(fields)),
        };
        simple(kind, 1)
    }

    /// The same object with other fields, by their names in JSON; what is no object has these alone.
    pub fn with_fields(decl: &Decl, fields: impl IntoIterator<Item = (String, Arc<Decl>)>) -> Arc<Decl> {
        let mut all = match &decl.kind {
            Kind::Object(own) => own.clone(),
            _ => BTreeMap::new(),
        };
        all.extend(by_name(fields));
        simple(Kind::Object(all), decl.shortest)
    }

    /// What a structural schema says; `None` where expressions cannot see the value. The root of an object of the API has
    /// a kind, a version and a name, whether the schema says so or not.
    pub fn of_schema(schema: &Value, root: bool) -> Option<Arc<Decl>> {
        let count = |key: &str| schema.get(key).and_then(Value::as_i64).map(|n| n.max(0).unsigned_abs());
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or("");
        let characters = count("maxLength").map(|most| most.saturating_mul(4));
        if flag(schema, "x-kubernetes-int-or-string") {
            return bounded(Kind::Dyn, characters.unwrap_or(LARGEST_REQUEST - 2), 1);
        }
        match text("type") {
            "array" => {
                let below = schema.get("items").filter(|below| below.is_object())?;
                let items = Decl::of_schema(below, flag(below, "x-kubernetes-embedded-resource"))?;
                let most = count("maxItems").unwrap_or((LARGEST_REQUEST - 2) / (items.shortest + 1));
                let order = match text("x-kubernetes-list-type") {
                    "set" => Order::Set,
                    "map" => Order::Keys(strings(schema, "x-kubernetes-list-map-keys")),
                    _ => Order::Index,
                };
                bounded(Kind::List { items, order }, most, 2)
            }
            "object" => {
                if let Some(below) = schema.get("additionalProperties").filter(|below| below.is_object()) {
                    let values = Decl::of_schema(below, flag(below, "x-kubernetes-embedded-resource"))?;
                    let most = count("maxProperties").unwrap_or((LARGEST_REQUEST - 2) / (values.shortest + 6));
                    return bounded(Kind::Map(values), most, 2);
                }
                Some(object(schema, root))
            }
            "string" => {
                let unbounded = LARGEST_REQUEST - 2;
                match text("format") {
                    "byte" => bounded(Kind::Bytes, count("maxLength").unwrap_or(unbounded), 2),
                    "duration" => bounded(Kind::Duration, 32, 3),
                    "date" => bounded(Kind::Date, 12, 12),
                    "date-time" => bounded(Kind::Timestamp, 32, 21),
                    _ => {
                        let listed = schema
                            .get("enum")
                            .and_then(Value::as_array)
                            .filter(|list| !list.is_empty());
                        let longest = listed.map(|list| {
                            let lengths = list.iter().filter_map(Value::as_str).map(str::len);
                            lengths.max().unwrap_or(0) as u64
                        });
                        bounded(Kind::String, characters.or(longest).unwrap_or(unbounded), 2)
                    }
                }
            }
            "boolean" => Some(simple(Kind::Bool, 4)),
            "number" => Some(simple(Kind::Double, 1)),
            "integer" => Some(simple(Kind::Int, 1)),
            _ => None,
        }
    }

    /// How often such a value can be in one request.
    pub(crate) fn times(&self) -> u64 {
        LARGEST_REQUEST / (self.shortest + 1)
    }

    /// A field by the name in expressions.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        match &self.kind {
            Kind::Object(fields) => field(fields, name),
            _ => None,
        }
    }
}

/// A field by the name in expressions: one that a keyword names is known by the keyword as well, where the grammar lets
/// it stand, since Kubernetes 1.30.
pub(crate) fn field<'f>(fields: &'f BTreeMap<String, Field>, name: &str) -> Option<&'f Field> {
    let keyword = || is_reserved(name).then(|| fields.get(&format!("__{name}__"))).flatten();
    fields.get(name).or_else(keyword)
}

/// Fields by the names that expressions know them by; those that cannot be named are left out.
fn by_name(fields: impl IntoIterator<Item = (String, Arc<Decl>)>) -> BTreeMap<String, Field> {
    let named = fields
        .into_iter()
        .filter_map(|(name, decl)| Some((escape(&name)?, Field { name, decl })));
    named.collect()
}

fn object(schema: &Value, root: bool) -> Arc<Decl> {
    let mut fields = BTreeMap::new();
    let mut shortest = 2;
    let required = strings(schema, "required");
    let mut add = |name: &str, decl: Arc<Decl>| {
        if let Some(escaped) = escape(name) {
            let name = name.to_owned();
            fields.insert(escaped, Field { name, decl });
        }
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, below) in properties.into_iter().flatten() {
        if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let Some(decl) = Decl::of_schema(below, flag(below, "x-kubernetes-embedded-resource")) else {
            continue;
        };
        if required.contains(name) && below.get("default").is_none() {
            shortest += name.len() as u64 + decl.shortest + 4;
        }
        add(name, decl);
    }
    if root {
        let string = || {
            Arc::new(Decl {
                kind: Kind::String,
                most: LARGEST_REQUEST - 2,
                shortest: 2,
            })
        };
        add("apiVersion", string());
        add("kind", string());
        let names = ["name", "generateName"].map(|name| {
            let field = Field {
                name: name.to_owned(),
                decl: string(),
            };
            (name.to_owned(), field)
        });
        add("metadata", simple(Kind::Object(names.into()), 2));
    }
    Arc::new(Decl {
        kind: Kind::Object(fields),
        most: 0,
        shortest,
    })
}

/// The name that expressions know a field by; `None` if they cannot name it.
pub fn escape(name: &str) -> Option<String> {
    if is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let (text, length) = match c {
            '_' if rest.starts_with("__") => ("__underscores__", 2),
            '.' => ("__dot__", 1),
            '-' => ("__dash__", 1),
            '/' => ("__slash__", 1),
            c if c.is_ascii_alphanumeric() || c == '_' => (&rest[..1], 1),
            _ => return None,
        };
        escaped.push_str(text);
        rest = &rest[length..];
    }
    Some(escaped)
}

pub(crate) fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(crate) fn strings(schema: &Value, key: &str) -> Vec<String> {
    let list = schema.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
