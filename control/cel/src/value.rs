//! Values: what expressions are made of while they are evaluated.

use std::cell::Cell;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map as JsonMap, Value as Json};

use crate::decl::{self, Kind, Order};
use crate::error::EvalError;
use crate::functions::Opaque;
use crate::{Decl, Type};

/// A value. Data stays where it is until it is looked at.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without a sign.
    Uint(u64),
    /// A number.
    Double(f64),
    /// A text.
    String(Rc<str>),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A length of time, in nanoseconds.
    Duration(i128),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A type, by its name.
    Type(Rc<str>),
    /// A value that may be absent.
    Optional(Option<Rc<Value<'a>>>),
    /// A value of a library.
    Opaque(Rc<Opaque>),
}

/// The items of a list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Data, with what is known of it: of the list, not of its items.
    Data(&'a [Json], &'a Arc<Decl>),
    /// What an expression made.
    Made(Rc<Vec<Value<'a>>>),
}

/// The entries of a map.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// Data, with what is known of it.
    Data(&'a JsonMap<String, Json>, &'a Arc<Decl>),
    /// What an expression made.
    Made(Rc<Vec<(Value<'a>, Value<'a>)>>),
    /// What the program around gives when it is asked.
    Given(Given<'a>),
}

/// Entries that are made when they are asked for.
#[derive(Clone)]
pub struct Given<'a>(pub Rc<dyn Fields<'a> + 'a>);

impl std::fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given")
    }
}

/// Values by name, each made when it is first asked for.
pub trait Fields<'a> {
    /// The value; `None` if there is no such name.
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;
}

thread_local! {
    /// How much an evaluation may still look at inside of values, which is not in its cost: what an expression makes can
    /// hold the same list many times.
    static FUEL: Cell<u64> = const { Cell::new(0) };
}

/// Before an evaluation.
pub(crate) fn refuel() {
    FUEL.set(4_000_000);
}

/// Whether an evaluation looked at too much.
pub(crate) fn is_spent() -> bool {
    FUEL.get() == 0
}

/// Counts what is looked at; false if it was too much.
pub(crate) fn burn(items: u64) -> bool {
    FUEL.set(FUEL.get().saturating_sub(items + 1));
    !is_spent()
}

static ANY: std::sync::LazyLock<Arc<Decl>> = std::sync::LazyLock::new(Decl::unknown);

/// What is known of data of which nothing is known.
pub(crate) fn any() -> &'static Arc<Decl> {
    &ANY
}

impl<'a> Value<'a> {
    /// Data of which nothing is known.
    pub fn data(json: &'a Json) -> Value<'a> {
        Value::declared(json, any())
    }

    /// Data that is declared. What does not fit its declaration is taken for what it is.
    pub fn declared(json: &'a Json, decl: &'a Arc<Decl>) -> Value<'a> {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match decl.kind {
                Kind::Double => Value::Double(number.as_f64().unwrap_or(0.0)),
                _ => match number.as_i64() {
                    Some(whole) => Value::Int(whole),
                    None => {
                        let double = number.as_f64().unwrap_or(0.0);
                        match decl.kind {
                            Kind::Int if double.fract() == 0.0 => Value::Int(truncated(double)),
                            _ => Value::Double(double),
                        }
                    }
                },
            },
            Json::String(text) => {
                let special = match decl.kind {
                    Kind::Bytes => STANDARD.decode(text).ok().map(|bytes| Value::Bytes(bytes.into())),
                    Kind::Timestamp => text.parse().ok().map(Value::Timestamp),
                    Kind::Date => format!("{text}T00:00:00Z").parse().ok().map(Value::Timestamp),
                    Kind::Duration => crate::functions::parse_duration(text).map(Value::Duration),
                    _ => None,
                };
                special.unwrap_or_else(|| Value::string(text))
            }
            Json::Array(list) => match decl.kind {
                Kind::List { .. } => Value::List(List::Data(list, decl)),
                _ => Value::List(List::Data(list, any())),
            },
            Json::Object(map) => match decl.kind {
                Kind::Map(_) | Kind::Object(_) => Value::Map(Map::Data(map, decl)),
                _ => Value::Map(Map::Data(map, any())),
            },
        }
    }

    /// A text.
    pub fn string(text: impl AsRef<str>) -> Value<'a> {
        Value::String(text.as_ref().into())
    }

    /// A list of made items.
    pub fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Made(Rc::new(items)))
    }

    /// An optional with a value.
    pub fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Rc::new(value)))
    }

    /// An optional without one.
    pub fn none() -> Value<'a> {
        Value::Optional(None)
    }

    /// Values by name, made when they are asked for.
    pub fn given(fields: Rc<dyn Fields<'a> + 'a>) -> Value<'a> {
        Value::Map(Map::Given(Given(fields)))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Type(_) => "type",
            Value::Optional(_) => "optional_type",
            Value::Opaque(opaque) => opaque.type_name(),
        }
    }

    /// Whether it can be where a type is wanted, looking no deeper than its surface.
    pub(crate) fn fits(&self, wanted: &Type) -> bool {
        match (wanted, self) {
            (Type::Dyn | Type::Var(_), _)
            | (Type::Null, Value::Null)
            | (Type::Bool, Value::Bool(_))
            | (Type::Int, Value::Int(_))
            | (Type::Uint, Value::Uint(_))
            | (Type::Double, Value::Double(_))
            | (Type::String, Value::String(_))
            | (Type::Bytes, Value::Bytes(_))
            | (Type::Timestamp, Value::Timestamp(_))
            | (Type::Duration, Value::Duration(_))
            | (Type::Type, Value::Type(_))
            | (Type::List(_), Value::List(_))
            | (Type::Map(..) | Type::Object(_), Value::Map(_))
            | (Type::Optional(_), Value::Optional(_)) => true,
            (Type::Named(name), Value::Opaque(opaque)) => opaque.type_name() == *name,
            _ => false,
        }
    }

    /// How many characters, bytes, items or entries it has; 1 for anything else.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Value::String(text) => text.chars().count() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            Value::Opaque(opaque) => opaque.size(),
            _ => 1,
        }
    }

    /// What it costs to look at all of it.
    pub(crate) fn traversal(&self) -> u64 {
        match self {
            Value::String(text) => text.len() as u64 / 10,
            Value::Bytes(bytes) => bytes.len() as u64 / 10,
            Value::List(list) if burn(list.len() as u64) => list.iter().map(|item| item.traversal()).sum(),
            Value::Map(map) if burn(map.len() as u64) => map
                .entries()
                .iter()
                .map(|(key, value)| key.traversal() + value.traversal())
                .sum(),
            _ => 1,
        }
    }

    /// Whether two values are the same, numbers of all kinds by their amount.
    pub(crate) fn same(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.same(b),
                (a, b) => a.is_none() && b.is_none(),
            },
            (Value::Opaque(a), Value::Opaque(b)) => a.same(b),
            (Value::List(a), Value::List(b)) => a.same(b),
            (Value::Map(a), Value::Map(b)) => a.same(b),
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// Which of two values comes first; `None` if there is no order between them.
    pub(crate) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
            (Value::Double(a), b) => compare_whole(b.whole()?, *a).map(Ordering::reverse),
            (a, Value::Double(b)) => compare_whole(a.whole()?, *b),
            (Value::Opaque(a), Value::Opaque(b)) => a.compare(b),
            (a, b) => Some(a.whole()?.cmp(&b.whole()?)),
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Value::Int(number) => Some((*number).into()),
            Value::Uint(number) => Some((*number).into()),
            _ => None,
        }
    }

    /// The value as JSON, where there is such a thing.
    pub fn to_json(&self) -> Option<Json> {
        refuel();
        self.json()
    }

    fn json(&self) -> Option<Json> {
        Some(match self {
            Value::Null => Json::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Int(number) => (*number).into(),
            Value::Uint(number) => (*number).into(),
            Value::Double(number) => (*number).into(),
            Value::String(text) => (&**text).into(),
            Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Value::Timestamp(time) => time.to_string().into(),
            Value::Duration(nanos) => crate::functions::show_duration(*nanos).into(),
            Value::List(list) if burn(list.len() as u64) => {
                Json::Array(list.iter().map(|item| item.json()).collect::<Option<_>>()?)
            }
            Value::Map(map) if burn(map.len() as u64) => {
                let entries = map.entries();
                let entries = entries
                    .iter()
                    .map(|(key, value)| Some((key.as_str()?.to_owned(), value.json()?)));
                Json::Object(entries.collect::<Option<_>>()?)
            }
            Value::Optional(Some(value)) => value.json()?,
            Value::List(_) | Value::Map(_) | Value::Type(_) | Value::Optional(None) | Value::Opaque(_) => return None,
        })
    }
}

/// A whole number beside one that need not be.
fn compare_whole(whole: i128, number: f64) -> Option<Ordering> {
    if number.is_nan() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is out of range saturates, which keeps the order"
    )]
    let floor = number.floor() as i128;
    Some(whole.cmp(&floor).then(match number.fract() == 0.0 {
        true => Ordering::Equal,
        false => Ordering::Less,
    }))
}

#[expect(clippy::cast_possible_truncation, reason = "what is out of range saturates")]
pub(crate) fn truncated(number: f64) -> i64 {
    number as i64
}

impl<'a> List<'a> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        match self {
            List::Data(items, _) => items.len(),
            List::Made(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An item.
    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match self {
            List::Data(items, decl) => items.get(at).map(|item| Value::declared(item, items_of(decl))),
            List::Made(items) => items.get(at).cloned(),
        }
    }

    /// The items.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    fn order(&self) -> &Order {
        match self {
            List::Data(_, decl) => match &decl.kind {
                Kind::List { order, .. } => order,
                _ => &Order::Index,
            },
            List::Made(_) => &Order::Index,
        }
    }

    fn same(&self, other: &List<'_>) -> bool {
        if self.len() != other.len() || !burn(self.len() as u64) {
            return false;
        }
        match self.order() {
            Order::Index => self.iter().zip(other.iter()).all(|(a, b)| a.same(&b)),
            // What tells items apart tells them apart in both lists, so that each has one like it.
            _ => self
                .iter()
                .all(|item| other.iter().any(|candidate| item.same(&candidate))),
        }
    }

    /// The items of both; of what is told apart by itself or by keys there is one each, the later one.
    pub(crate) fn joined(&self, other: &List<'a>) -> Vec<Value<'a>> {
        let mut items: Vec<Value<'a>> = self.iter().collect();
        let order = self.order();
        for item in other.iter() {
            let known = match order {
                Order::Index => None,
                Order::Set => items.iter().position(|known| known.same(&item)),
                Order::Keys(keys) => items.iter().position(|known| same_keys(known, &item, keys)),
            };
            match known {
                Some(at) => items[at] = item,
                None => items.push(item),
            }
        }
        items
    }
}

fn same_keys(one: &Value<'_>, other: &Value<'_>, keys: &[String]) -> bool {
    let (Value::Map(one), Value::Map(other)) = (one, other) else {
        return false;
    };
    keys.iter().all(|key| match (one.json(key), other.json(key)) {
        (Some(one), Some(other)) => one.same(&other),
        (one, other) => one.is_none() && other.is_none(),
    })
}

fn items_of(decl: &Arc<Decl>) -> &Arc<Decl> {
    match &decl.kind {
        Kind::List { items, .. } => items,
        _ => any(),
    }
}

impl<'a> Map<'a> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Map::Data(map, _) => map.len(),
            Map::Made(entries) => entries.len(),
            Map::Given(_) => 0,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value by the name that it has in JSON.
    fn json(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Map::Data(map, decl) => map.get(name).map(|value| match &decl.kind {
                Kind::Map(values) => Value::declared(value, values),
                Kind::Object(fields) => match fields.values().find(|field| field.name == name) {
                    Some(field) => Value::declared(value, &field.decl),
                    None => Value::data(value),
                },
                _ => Value::data(value),
            }),
            _ => self.get(&Value::string(name))?.ok(),
        }
    }

    /// A value by its key; objects know their fields by escaped names.
    pub(crate) fn get(&self, key: &Value<'_>) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Map::Data(map, decl) => {
                let name = key.as_str()?;
                match &decl.kind {
                    Kind::Object(fields) => {
                        let field = decl::field(fields, name)?;
                        map.get(&field.name)
                            .map(|value| Ok(Value::declared(value, &field.decl)))
                    }
                    _ => self.json(name).map(Ok),
                }
            }
            Map::Made(entries) => entries
                .iter()
                .find(|(known, _)| known.same(key))
                .map(|(_, value)| Ok(value.clone())),
            Map::Given(given) => given.0.get(key.as_str()?),
        }
    }

    /// Keys and values.
    pub(crate) fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Map::Data(map, _) => map
                .keys()
                .filter_map(|key| Some((Value::string(key), self.json(key)?)))
                .collect(),
            Map::Made(entries) => entries.to_vec(),
            Map::Given(_) => Vec::new(),
        }
    }

    fn same(&self, other: &Map<'_>) -> bool {
        self.len() == other.len()
            && burn(self.len() as u64)
            && self.entries().iter().all(|(key, value)| {
                let found = match key.as_str() {
                    Some(name) => other.json(name),
                    None => other.get(key).and_then(Result::ok),
                };
                found.is_some_and(|found| value.same(&found))
            })
    }
}
