//! Types of expressions, and what their calls mean.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ast::{Expr, Fold, Literal, Node, RESULT};
use crate::env::Env;
use crate::error::Issue;
use crate::functions::{self, Overload, is_function, overloads};
use crate::{Decl, Type};

/// Names of types that are values.
const TYPES: [(&str, &str); 13] = [
    ("bool", "bool"),
    ("int", "int"),
    ("uint", "uint"),
    ("double", "double"),
    ("string", "string"),
    ("bytes", "bytes"),
    ("list", "list"),
    ("map", "map"),
    ("null_type", "null_type"),
    ("type", "type"),
    ("optional_type", "optional_type"),
    ("google.protobuf.Timestamp", "google.protobuf.Timestamp"),
    ("google.protobuf.Duration", "google.protobuf.Duration"),
];

/// A type that has a name as a value.
pub(crate) fn type_value(name: &str) -> Option<&'static str> {
    let known = TYPES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    known.or_else(|| match name {
        "net.IP" | "net.CIDR" => Some(crate::types::named(name)),
        _ => None,
    })
}

pub(crate) struct Checked {
    pub(crate) types: Vec<Type>,
    pub(crate) overloads: Vec<Vec<&'static Overload>>,
    pub(crate) uses: BTreeSet<String>,
}

/// Checks a tree, in which names with dots may become one.
pub(crate) fn check(env: &Env, root: &mut Expr, count: usize) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker {
        env,
        locals: Vec::new(),
        vars: Vec::new(),
        trail: Vec::new(),
        issues: Vec::new(),
        found: Checked {
            types: vec![Type::Dyn; count],
            overloads: vec![Vec::new(); count],
            uses: BTreeSet::new(),
        },
    };
    checker.check(root);
    if !checker.issues.is_empty() {
        checker.issues.sort_by_key(|issue| issue.at);
        return Err(checker.issues);
    }
    let types = std::mem::take(&mut checker.found.types);
    checker.found.types = types.iter().map(|ty| checker.resolve(ty)).collect();
    Ok(checker.found)
}

struct Checker<'e> {
    env: &'e Env,
    locals: Vec<(String, Type)>,
    /// What is known of types that stand for any.
    vars: Vec<Option<Type>>,
    /// In which order that became known.
    trail: Vec<usize>,
    issues: Vec<Issue>,
    found: Checked,
}

impl Checker<'_> {
    fn issue(&mut self, at: usize, message: impl Into<String>) {
        self.issues.push(Issue {
            at,
            message: message.into(),
        });
    }

    fn fresh(&mut self) -> Type {
        self.vars.push(None);
        Type::Var(self.vars.len() - 1)
    }

    /// The variable of a name.
    fn lookup(&mut self, name: &str) -> Option<Type> {
        if let Some((_, ty)) = self.locals.iter().rev().find(|(known, _)| known == name) {
            return Some(ty.clone());
        }
        let ty = self.env.variables.get(name)?.clone();
        self.found.uses.insert(name.to_owned());
        Some(ty)
    }

    fn is_variable(&self, name: &str) -> bool {
        self.locals.iter().any(|(known, _)| known == name) || self.env.variables.contains_key(name)
    }

    fn check(&mut self, expr: &mut Expr) -> Type {
        self.qualify(expr);
        let (at, id) = (expr.at, expr.id);
        let ty = match &mut expr.node {
            Node::Literal(literal) => literal_type(literal),
            Node::Ident(name) => match self.lookup(name) {
                Some(ty) => ty,
                None if type_value(name).is_some() => Type::Type,
                None => {
                    self.issue(at, format!("undeclared reference to '{name}' (in container '')"));
                    Type::Dyn
                }
            },
            Node::Select { operand, field, test } => {
                let operand = self.check(operand);
                let ty = self.select(at, &operand, field);
                if *test { Type::Bool } else { ty }
            }
            Node::Call { function, target, args } => {
                let mut types: Vec<Type> = Vec::new();
                let target = target.as_deref_mut().map(|target| self.check(target));
                let member = target.is_some();
                types.extend(target);
                let mixed = function == "format" && member;
                for arg in args.iter_mut() {
                    types.push(match &mut arg.node {
                        Node::List(items) if mixed => self.mixed(arg.id, items),
                        _ => self.check(arg),
                    });
                }
                if function == "_?._" {
                    self.optional_select(at, &types, args)
                } else {
                    self.literals(function, member, args);
                    self.call(at, id, function, member, &types)
                }
            }
            Node::List(items) => {
                let ty = self.fresh();
                for (item, optional) in items {
                    let found = self.check(item);
                    let found = if *optional { self.inside(item.at, &found) } else { found };
                    self.same_type(item.at, &ty, &found);
                }
                Type::List(Arc::new(ty))
            }
            Node::Map(entries) => {
                let (key, value) = (self.fresh(), self.fresh());
                for (own_key, own_value, optional) in entries {
                    let found = self.check(own_key);
                    self.same_type(own_key.at, &key, &found);
                    let found = self.check(own_value);
                    let found = if *optional {
                        self.inside(own_value.at, &found)
                    } else {
                        found
                    };
                    self.same_type(own_value.at, &value, &found);
                }
                Type::Map(Arc::new(key), Arc::new(value))
            }
            Node::Struct(name, fields) => {
                let root = name.split('.').next().unwrap_or("");
                if !self.env.structs || !matches!(root, "Object" | "JSONPatch") {
                    let message = format!("undeclared reference to '{name}' (in container '')");
                    self.issue(at, message);
                }
                for (_, value, _) in fields {
                    self.check(value);
                }
                Type::Dyn
            }
            Node::Fold(fold) => self.fold(fold),
            Node::Bind { name, value, body } => {
                let value = self.check(value);
                self.locals.push((name.clone(), value));
                let ty = self.check(body);
                self.locals.pop();
                ty
            }
        };
        self.found.types[id] = ty.clone();
        ty
    }

    /// A list of values to be shown, which need not be of one type.
    fn mixed(&mut self, id: usize, items: &mut [(Expr, bool)]) -> Type {
        for (item, _) in items {
            self.check(item);
        }
        let ty = Type::List(Arc::new(Type::Dyn));
        self.found.types[id] = ty.clone();
        ty
    }

    /// Names with dots that are one name: variables, types and functions.
    fn qualify(&self, expr: &mut Expr) {
        match &mut expr.node {
            Node::Select { test: false, .. } => {
                let Some(path) = expr.path() else { return };
                let known = self.env.variables.contains_key(&path) || type_value(&path).is_some();
                let root = path.split('.').next().unwrap_or("");
                let hidden = self.locals.iter().any(|(name, _)| name == root);
                if known && !hidden {
                    expr.node = Node::Ident(path);
                }
            }
            Node::Call { function, target, .. } => {
                let Some(path) = target.as_ref().and_then(|target| target.path()) else {
                    return;
                };
                let root = path.split('.').next().unwrap_or("");
                let name = format!("{path}.{function}");
                if !self.is_variable(root) && is_function(&name) {
                    *function = name;
                    *target = None;
                }
            }
            _ => {}
        }
    }

    fn select(&mut self, at: usize, operand: &Type, field: &str) -> Type {
        match self.resolve(operand) {
            Type::Dyn | Type::Var(_) => Type::Dyn,
            Type::Map(_, value) => (*value).clone(),
            Type::Optional(inside) => self.select(at, &inside, field).optional(),
            Type::Object(decl) => match decl.field(field) {
                Some(found) => Type::of(&found.decl),
                None => {
                    self.issue(at, format!("undefined field '{field}'"));
                    Type::Dyn
                }
            },
            other => {
                self.issue(at, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        }
    }

    fn optional_select(&mut self, at: usize, types: &[Type], args: &[Expr]) -> Type {
        let Some(Node::Literal(Literal::String(field))) = args.get(1).map(|arg| &arg.node) else {
            return Type::Dyn;
        };
        match self.select(at, &types[0], field) {
            Type::Optional(inside) => Type::Optional(inside),
            ty => ty.optional(),
        }
    }

    /// What is inside an optional.
    fn inside(&mut self, at: usize, ty: &Type) -> Type {
        match self.resolve(ty) {
            Type::Optional(inside) => (*inside).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                self.issue(at, format!("expected type 'optional_type(dyn)' but found '{other}'"));
                Type::Dyn
            }
        }
    }

    /// All items of a literal are of one type.
    fn same_type(&mut self, at: usize, wanted: &Type, found: &Type) {
        if !self.unify(wanted, found) {
            let (wanted, found) = (self.resolve(wanted), self.resolve(found));
            self.issue(at, format!("expected type '{wanted}' but found '{found}'"));
        }
    }

    /// Literals that are read when the program runs, and could be found wrong now.
    fn literals(&mut self, function: &str, member: bool, args: &[Expr]) {
        let pattern = match (function, member) {
            ("matches" | "find" | "findAll", true) => args.first(),
            ("matches", false) => args.get(1),
            _ => None,
        };
        if let Some(Expr {
            at,
            node: Node::Literal(Literal::String(text)),
            ..
        }) = pattern
            && let Err(error) = functions::regex(text)
        {
            self.issue(*at, format!("invalid matches argument: {error}"));
        }
        if let ("duration" | "timestamp", false) = (function, member)
            && let Some(Expr {
                at,
                node: Node::Literal(Literal::String(text)),
                ..
            }) = args.first()
        {
            let fits = match function {
                "duration" => functions::parse_duration(text).is_some(),
                _ => text.parse::<jiff::Timestamp>().is_ok(),
            };
            if !fits {
                self.issue(*at, format!("invalid {function} argument"));
            }
        }
    }

    fn call(&mut self, at: usize, id: usize, function: &str, member: bool, args: &[Type]) -> Type {
        let candidates = overloads(function, member);
        if candidates.is_empty() {
            self.issue(at, format!("undeclared reference to '{function}' (in container '')"));
            return Type::Dyn;
        }
        let mut result: Option<Type> = None;
        let mut kept: Vec<(usize, Type)> = Vec::new();
        let mut matching = Vec::new();
        for overload in candidates.iter().filter(|overload| overload.args.len() == args.len()) {
            let (made, mark) = (self.vars.len(), self.trail.len());
            let own = [self.fresh(), self.fresh()];
            let instance = |ty: &Type| instantiate(ty, &own);
            let fits = overload
                .args
                .iter()
                .zip(args)
                .all(|(wanted, found)| self.unify(&instance(wanted), found));
            let first = fits && result.is_none();
            if fits {
                matching.push(overload);
                let ty = self.resolve(&instance(&overload.result));
                result = Some(match result {
                    None => instance(&overload.result),
                    Some(known) if equal(&self.resolve(&known), &ty) => known,
                    Some(_) => Type::Dyn,
                });
            }
            // What one meaning supposes does not hold for the next; in the end what the first one does is kept.
            for at in self.trail.drain(mark..) {
                let bound = self.vars[at].take();
                kept.extend(bound.filter(|_| first).map(|ty| (at, ty)));
            }
            if !first {
                self.vars.truncate(made);
            }
        }
        for (at, ty) in kept {
            self.vars[at] = Some(ty);
            self.trail.push(at);
        }
        let Some(result) = result else {
            let shown: Vec<String> = args.iter().map(|ty| self.resolve(ty).to_string()).collect();
            let shown = match member {
                true => format!("{}.({})", shown[0], shown[1..].join(", ")),
                false => format!("({})", shown.join(", ")),
            };
            self.issue(
                at,
                format!("found no matching overload for '{function}' applied to '{shown}'"),
            );
            return Type::Dyn;
        };
        self.found.overloads[id] = matching;
        result
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        let range = self.check(&mut fold.range);
        let (first, second) = match (self.resolve(&range), &fold.second) {
            (Type::List(items), None) => ((*items).clone(), Type::Dyn),
            (Type::List(items), Some(_)) => (Type::Int, (*items).clone()),
            (Type::Map(key, value), _) => ((*key).clone(), (*value).clone()),
            (Type::Dyn | Type::Var(_), _) => (Type::Dyn, Type::Dyn),
            (other, _) => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(fold.range.at, message);
                (Type::Dyn, Type::Dyn)
            }
        };
        let so_far = self.check(&mut fold.init);
        let outside = self.locals.len();
        self.locals.push((RESULT.to_owned(), so_far.clone()));
        self.locals.push((fold.first.clone(), first));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), second));
        }
        self.check(&mut fold.condition);
        let step = self.check(&mut fold.step);
        if !self.unify(&so_far, &step) {
            let (wanted, found) = (self.resolve(&so_far), self.resolve(&step));
            self.issue(fold.step.at, format!("expected type '{wanted}' but found '{found}'"));
        }
        self.locals.truncate(outside + 1);
        let result = self.check(&mut fold.result);
        self.locals.truncate(outside);
        result
    }

    /// A type with everything in it that is known by now.
    fn resolve(&self, ty: &Type) -> Type {
        match ty {
            Type::Var(at) => match self.vars.get(*at) {
                Some(Some(known)) => self.resolve(known),
                _ => ty.clone(),
            },
            Type::List(items) => Type::List(Arc::new(self.resolve(items))),
            Type::Map(key, value) => Type::Map(Arc::new(self.resolve(key)), Arc::new(self.resolve(value))),
            Type::Optional(inside) => Type::Optional(Arc::new(self.resolve(inside))),
            other => other.clone(),
        }
    }

    /// Whether a value of one type can be where another is wanted, and what follows from that for types not known yet.
    fn unify(&mut self, wanted: &Type, found: &Type) -> bool {
        let (wanted, found) = (self.resolve(wanted), self.resolve(found));
        match (&wanted, &found) {
            (Type::Var(a), Type::Var(b)) if a == b => true,
            (Type::Var(at), other) | (other, Type::Var(at)) => {
                let at = *at;
                if mentions(other, at) {
                    return false;
                }
                self.vars[at] = Some(other.clone());
                self.trail.push(at);
                true
            }
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null | Type::Object(_) | Type::Timestamp | Type::Duration | Type::Named(_)
            ),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.unify(a, b),
            (Type::Map(a, x), Type::Map(b, y)) => self.unify(a, b) && self.unify(x, y),
            (a, b) => equal(a, b),
        }
    }
}

fn mentions(ty: &Type, var: usize) -> bool {
    match ty {
        Type::Var(at) => *at == var,
        Type::List(inside) | Type::Optional(inside) => mentions(inside, var),
        Type::Map(key, value) => mentions(key, var) || mentions(value, var),
        _ => false,
    }
}

fn instantiate(ty: &Type, own: &[Type; 2]) -> Type {
    match ty {
        Type::Var(at) => own[(*at).min(1)].clone(),
        Type::List(inside) => Type::List(Arc::new(instantiate(inside, own))),
        Type::Optional(inside) => Type::Optional(Arc::new(instantiate(inside, own))),
        Type::Map(key, value) => Type::Map(Arc::new(instantiate(key, own)), Arc::new(instantiate(value, own))),
        other => other.clone(),
    }
}

fn equal(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => equal(a, b),
        (Type::Map(a, x), Type::Map(b, y)) => equal(a, b) && equal(x, y),
        (Type::Object(a), Type::Object(b)) => Arc::<Decl>::ptr_eq(a, b),
        (Type::Named(a), Type::Named(b)) => a == b,
        (Type::Var(a), Type::Var(b)) => a == b,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
