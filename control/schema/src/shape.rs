//! What is known of the structure of an object.

use serde_json::Value;

use crate::TypeRef;
use crate::structural::Schema;

/// The structure of an object.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'s> {
    /// A type of the table.
    Table(TypeRef),
    /// What a CustomResourceDefinition says.
    Custom(&'s Schema),
    /// Nothing: structure is deduced from the value, and lists are one value.
    Unknown,
}

impl From<TypeRef> for Shape<'_> {
    fn from(ty: TypeRef) -> Self {
        Shape::Table(ty)
    }
}

impl From<Option<TypeRef>> for Shape<'_> {
    fn from(ty: Option<TypeRef>) -> Self {
        ty.map_or(Shape::Unknown, Shape::Table)
    }
}

/// Shows an object in another version of its kind: what it looks like there, and the structure it has there. `None` if
/// there is no such version.
pub type Convert<'a> = &'a dyn Fn(&Value, &str) -> Option<(Shape<'a>, Value)>;

/// The structure of an object in the version of a request, and how to see it in others.
#[derive(Clone, Copy)]
pub struct Forms<'a> {
    /// The structure in the version of the request.
    pub shape: Shape<'a>,
    /// Absent where the kind has one version.
    pub convert: Option<Convert<'a>>,
}

impl<'a, S: Into<Shape<'a>>> From<S> for Forms<'a> {
    fn from(shape: S) -> Self {
        Forms {
            shape: shape.into(),
            convert: None,
        }
    }
}
