//! What the table says about a point of an object: whether its value is owned as a whole, and how its parts are told
//! apart.

use serde_json::Value;

use crate::{Container, Field, Item, ListType, TypeKind, TypeRef, type_named};

/// A point of an object.
#[derive(Clone, Copy)]
pub(super) enum Node {
    /// Owned as a whole.
    Leaf,
    /// An object with known fields.
    Struct(TypeRef),
    /// A map whose entries are owned one by one.
    Map(Container, Item),
    /// A list of objects told apart by keys, or a set of scalars.
    List(&'static Field),
    /// An object of a kind without known fields, at its root.
    UnknownRoot,
    /// Nothing is known: objects are maps, all else is owned as a whole.
    Deduced,
}

/// A field of an object, seen from its [`Node`].
#[derive(Clone, Copy)]
pub(super) struct Child {
    pub(super) node: Node,
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

impl Node {
    /// The root of an object of this type.
    pub(super) fn root(ty: Option<TypeRef>) -> Self {
        ty.map_or(Self::UnknownRoot, Self::Struct)
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
            (Container::List, ListType::Map | ListType::Set) => Self::List(field),
            (Container::List, _) => Self::Leaf,
            (container, _) => Self::Map(container, field.item),
        }
    }

    /// The field or entry with this name.
    pub(super) fn child(self, name: &str) -> Child {
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
            Self::UnknownRoot if name == "metadata" => {
                let meta = type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
                    .expect("the table has object metadata");
                Child {
                    node: Self::Struct(meta),
                    named: true,
                    always: Some(Always::Object),
                }
            }
            Self::UnknownRoot => Child {
                node: Self::Deduced,
                named: true,
                always: None,
            },
            Self::Deduced => entry(Self::Deduced),
            Self::Leaf | Self::Map(..) | Self::List(_) => entry(Self::Leaf),
        }
    }

    /// The items of a list of objects.
    pub(super) fn item(self) -> Self {
        match self {
            Self::List(field) => Self::of_item(field.item),
            _ => Self::Leaf,
        }
    }

    /// Whether this value has parts that are owned by themselves.
    pub(super) fn has_parts(self, value: &Value) -> bool {
        match self {
            Self::Leaf => false,
            Self::List(_) => value.is_array(),
            Self::Struct(_) | Self::Map(..) | Self::UnknownRoot | Self::Deduced => value.is_object(),
        }
    }
}
