//! What the table says about a point of an object: whether its value is owned as a whole, and how its parts are told
//! apart.

use std::borrow::Cow;

use serde_json::Value;

use crate::structural::{Schema, Type};
use crate::{Container, Field, Item, ListType, Shape, TypeKind, TypeRef, type_named};

/// A point of an object.
#[derive(Clone, Copy)]
pub(super) enum Node<'s> {
    /// Owned as a whole.
    Leaf,
    /// An object with known fields.
    Struct(TypeRef),
    /// A map whose entries are owned one by one.
    Map(Container, Item),
    /// A list of objects told apart by keys, or a set of scalars.
    List(List<'s>),
    /// An object of a kind that a definition describes (or nothing does), at its root.
    CustomRoot(Option<&'s Schema>),
    /// An object that a definition describes.
    Custom(&'s Schema),
    /// Nothing is known: objects are maps, all else is owned as a whole.
    Deduced,
}

/// What tells the items of a list apart.
#[derive(Clone, Copy)]
pub(super) enum List<'s> {
    /// A field of the table.
    Stated(&'static Field),
    /// A schema of a definition.
    Custom(&'s Schema),
}

impl<'s> List<'s> {
    /// Whether the items are scalars that differ themselves.
    pub(super) fn is_set(self) -> bool {
        let list_type = match self {
            List::Stated(field) => Some(field.list_type),
            List::Custom(schema) => schema.list_type,
        };
        list_type == Some(ListType::Set)
    }

    /// The fields in which the items differ, sorted.
    pub(super) fn keys(self) -> impl Iterator<Item = &'s str> {
        let (stated, custom) = match self {
            List::Stated(field) => (field.keys, &[][..]),
            List::Custom(schema) => (&[][..], schema.list_keys.as_slice()),
        };
        stated.iter().copied().chain(custom.iter().map(String::as_str))
    }

    /// What an item has that lacks a key.
    pub(super) fn default(self, key: &str) -> Option<Cow<'s, Value>> {
        match self {
            List::Stated(field) => {
                let default = field.item_type()?.field(key)?.default;
                if matches!(default, "" | "\"\"" | "0" | "false" | "{}") {
                    return None;
                }
                serde_json::from_str(default).ok().map(Cow::Owned)
            }
            List::Custom(schema) => schema.items.as_deref()?.field(key)?.default.as_ref().map(Cow::Borrowed),
        }
    }

    fn items(self) -> Node<'s> {
        match self {
            List::Stated(field) => Node::of_item(field.item),
            List::Custom(schema) => schema.items.as_deref().map_or(Node::Leaf, Node::of_schema),
        }
    }
}

/// A field of an object, seen from its [`Node`].
#[derive(Clone, Copy)]
pub(super) struct Child<'s> {
    pub(super) node: Node<'s>,
    /// A field of a structure; otherwise an entry of a map, which is owned itself beside its parts.
    pub(super) named: bool,
    /// A Go server always has it: an absent one equals an empty one.
    pub(super) always: Option<Always>,
}

/// What an absent field equals.
#[derive(Clone, Copy)]
pub(super) enum Always {
    Object,
    List,
}

impl<'s> Node<'s> {
    /// The root of an object.
    pub(super) fn root(shape: Shape<'s>) -> Self {
        match shape {
            Shape::Table(ty) => Self::Struct(ty),
            Shape::Custom(schema) => Self::CustomRoot(Some(schema)),
            Shape::Unknown => Self::CustomRoot(None),
        }
    }

    fn of_schema(schema: &'s Schema) -> Self {
        match schema.kind {
            Type::Object if schema.atomic_map => Self::Leaf,
            Type::Object => Self::Custom(schema),
            Type::Array if matches!(schema.list_type, Some(ListType::Map | ListType::Set)) => {
                Self::List(List::Custom(schema))
            }
            Type::Any if schema.preserves_unknown => Self::Deduced,
            _ => Self::Leaf,
        }
    }

    fn of_item(item: Item) -> Self {
        match item {
            Item::Type(ty) => match ty.kind() {
                TypeKind::Struct if !ty.is_atomic() => Self::Struct(ty),
                TypeKind::Raw | TypeKind::Any => Self::Deduced,
                _ => Self::Leaf,
            },
            _ => Self::Leaf,
        }
    }

    fn of_field(field: &'static Field) -> Self {
        match (field.container, field.list_type) {
            (_, ListType::Atomic) => Self::Leaf,
            (Container::One, _) => Self::of_item(field.item),
            (Container::List, ListType::Map | ListType::Set) => Self::List(List::Stated(field)),
            (Container::List, _) => Self::Leaf,
            (container, _) => Self::Map(container, field.item),
        }
    }

    /// The field or entry with this name.
    pub(super) fn child(self, name: &str) -> Child<'s> {
        let entry = |node| Child {
            node,
            named: false,
            always: None,
        };
        match self {
            Self::Struct(ty) => match ty.field(name) {
                Some(field) => Child {
                    node: Self::of_field(field),
                    named: true,
                    always: match field.container {
                        Container::One if field.always => Some(Always::Object),
                        Container::List if field.required => Some(Always::List),
                        _ => None,
                    },
                },
                None => entry(Self::Deduced),
            },
            Self::Map(Container::Map, item) => entry(Self::of_item(item)),
            Self::CustomRoot(_) if name == "metadata" => {
                let meta = type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
                    .expect("the table has object metadata");
                Child {
                    node: Self::Struct(meta),
                    named: true,
                    always: Some(Always::Object),
                }
            }
            Self::CustomRoot(Some(schema)) => Self::Custom(schema).child(name),
            Self::CustomRoot(None) => Child {
                node: Self::Deduced,
                named: true,
                always: None,
            },
            Self::Custom(schema) => match schema.properties.get(name) {
                Some(below) => Child {
                    node: Self::of_schema(below),
                    named: true,
                    always: None,
                },
                None => entry(schema.additional.as_deref().map_or(Self::Deduced, Self::of_schema)),
            },
            Self::Deduced => entry(Self::Deduced),
            Self::Leaf | Self::Map(..) | Self::List(_) => entry(Self::Leaf),
        }
    }

    /// The items of a list of objects.
    pub(super) fn item(self) -> Self {
        match self {
            Self::List(list) => list.items(),
            _ => Self::Leaf,
        }
    }

    /// Whether this value has parts that are owned by themselves.
    pub(super) fn has_parts(self, value: &Value) -> bool {
        match self {
            Self::Leaf => false,
            Self::List(_) => value.is_array(),
            Self::Struct(_) | Self::Map(..) | Self::CustomRoot(_) | Self::Custom(_) | Self::Deduced => {
                value.is_object()
            }
        }
    }
}
