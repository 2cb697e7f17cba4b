//! Types of expressions.

use std::fmt;
use std::sync::Arc;

use crate::Decl;

/// The type of an expression.
#[derive(Debug, Clone)]
pub enum Type {
    /// Known only when the expression is evaluated.
    Dyn,
    /// Null.
    Null,
    /// Truth values.
    Bool,
    /// Whole numbers.
    Int,
    /// Whole numbers without a sign.
    Uint,
    /// Numbers.
    Double,
    /// Texts.
    String,
    /// Bytes.
    Bytes,
    /// Points in time.
    Timestamp,
    /// Lengths of time.
    Duration,
    /// Types themselves.
    #[expect(clippy::enum_variant_names, reason = "the language calls it so")]
    Type,
    /// Lists of items of a type.
    List(Arc<Type>),
    /// Maps from keys of a type to values of another.
    Map(Arc<Type>, Arc<Type>),
    /// Values that may be absent.
    Optional(Arc<Type>),
    /// Objects whose fields are declared.
    Object(Arc<Decl>),
    /// Types of libraries: `net.IP`.
    Named(&'static str),
    /// Not known yet.
    Var(usize),
}

impl Type {
    /// Data whose structure is declared.
    pub fn of(decl: &Arc<Decl>) -> Type {
        use crate::decl::Kind;
        match &decl.kind {
            Kind::Dyn => Type::Dyn,
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Double => Type::Double,
            Kind::String => Type::String,
            Kind::Bytes => Type::Bytes,
            Kind::Timestamp | Kind::Date => Type::Timestamp,
            Kind::Duration => Type::Duration,
            Kind::List { items, .. } => Type::List(Arc::new(Type::of(items))),
            Kind::Map(values) => Type::Map(Arc::new(Type::String), Arc::new(Type::of(values))),
            Kind::Object(_) => Type::Object(decl.clone()),
        }
    }

    /// The type of the variable `authorizer`.
    pub fn authorizer() -> Type {
        Type::Named(named("Authorizer"))
    }

    /// The type of the variable `authorizer.requestResource`.
    pub fn check() -> Type {
        Type::Named(named("Check"))
    }

    /// An optional of a declared type.
    pub fn optional(self) -> Type {
        Type::Optional(Arc::new(self))
    }

    /// Whether its values have one size.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
            Type::Optional(inside) => inside.is_scalar(),
            _ => false,
        }
    }

    /// Reads a type as signatures write it: `list<A>`, `map<string,dyn>`. Upper-case letters stand for any type.
    pub(crate) fn read(text: &str) -> Type {
        let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('<')?.strip_suffix('>');
        if let Some(inside) = inside("list") {
            return Type::List(Arc::new(Type::read(inside)));
        }
        if let Some(inside) = inside("optional") {
            return Type::Optional(Arc::new(Type::read(inside)));
        }
        if let Some((key, value)) = inside("map").and_then(|inside| inside.split_once(',')) {
            return Type::Map(Arc::new(Type::read(key)), Arc::new(Type::read(value)));
        }
        match text {
            "dyn" => Type::Dyn,
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "type" => Type::Type,
            "A" => Type::Var(0),
            "B" => Type::Var(1),
            name => Type::Named(named(name)),
        }
    }
}

/// The types of libraries.
const NAMED: [&str; 10] = [
    "net.IP",
    "net.CIDR",
    "kubernetes.URL",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.Check",
    "kubernetes.authorization.Decision",
    "Object",
];

/// A library's type by its name, or by the end of it.
pub(crate) fn named(name: &str) -> &'static str {
    let known = NAMED
        .iter()
        .find(|known| known.rsplit('.').next() == Some(name) || **known == name);
    known.copied().unwrap_or("error")
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Dyn => "dyn",
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Timestamp => "timestamp",
            Type::Duration => "duration",
            Type::Type => "type",
            Type::Object(_) => "object",
            Type::Named(name) => name,
            Type::Var(_) => "dyn",
            Type::List(items) => return write!(f, "list({items})"),
            Type::Map(key, value) => return write!(f, "map({key}, {value})"),
            Type::Optional(inside) => return write!(f, "optional_type({inside})"),
        })
    }
}
