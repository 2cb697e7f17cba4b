//! Expressions as trees.

/// An expression, after macros have been expanded.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    /// What tables know it by.
    pub(crate) id: usize,
    /// Where it begins in the source, in bytes.
    pub(crate) at: usize,
    /// How many levels are below it.
    pub(crate) depth: usize,
    pub(crate) node: Node,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Literal(Literal),
    Ident(String),
    /// `operand.field`, or `has(operand.field)` where it only tests.
    Select {
        operand: Box<Expr>,
        field: String,
        test: bool,
    },
    /// A function, an operator (`_+_`), or a method of a target.
    Call {
        function: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// Items, with those that may be left out: `[?x]`.
    List(Vec<(Expr, bool)>),
    /// Keys and values, with those that may be left out: `{?k: x}`.
    Map(Vec<(Expr, Expr, bool)>),
    /// `Name{field: value}`.
    Struct(String, Vec<(String, Expr, bool)>),
    Fold(Box<Fold>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
}

/// What every macro over lists and maps becomes.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    /// An item of a list or a key of a map; with two variables an index or a key.
    pub(crate) first: String,
    /// With two variables the item or the value.
    pub(crate) second: Option<String>,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

/// The variable that a fold collects in. Sources cannot name it.
pub(crate) const RESULT: &str = "@result";

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

impl Expr {
    /// `a.b.c` as it is written, if it is nothing but names.
    pub(crate) fn path(&self) -> Option<String> {
        match &self.node {
            Node::Ident(name) => Some(name.clone()),
            Node::Select {
                operand,
                field,
                test: false,
            } => Some(format!("{}.{field}", operand.path()?)),
            _ => None,
        }
    }
}
