//! What expressions may name, and programs made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ast::Expr;
use crate::check;
use crate::cost::{self, Estimate};
use crate::error::{EvalError, Issues};
use crate::eval::Machine;
use crate::functions::Overload;
use crate::parse::parse;
use crate::value::Value;
use crate::{Decl, Type};

/// The variables that sources may name.
#[derive(Debug, Default, Clone)]
pub struct Env {
    pub(crate) variables: BTreeMap<String, Type>,
    pub(crate) declared: BTreeMap<String, Arc<Decl>>,
    pub(crate) structs: bool,
}

/// An expression that was checked.
#[derive(Debug)]
pub struct Program {
    pub(crate) root: Expr,
    /// By the expressions' ids.
    pub(crate) types: Vec<Type>,
    /// What calls may mean, by the expressions' ids.
    pub(crate) overloads: Vec<Vec<&'static Overload>>,
    result: Type,
    uses: BTreeSet<String>,
    declared: BTreeMap<String, Arc<Decl>>,
}

/// What came of an evaluation.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The value, or why there is none.
    pub value: Result<Value<'a>, EvalError>,
    /// What it cost.
    pub cost: u64,
}

impl Env {
    /// No variables yet.
    pub fn new() -> Self {
        Env::default()
    }

    /// With a variable of a type. A name with dots in it is one variable.
    pub fn variable(mut self, name: &str, ty: Type) -> Self {
        self.variables.insert(name.to_owned(), ty);
        self
    }

    /// With a variable of declared data.
    pub fn declare(mut self, name: &str, decl: &Arc<Decl>) -> Self {
        self.declared.insert(name.to_owned(), decl.clone());
        self.variable(name, Type::of(decl))
    }

    /// With the literals of mutating policies: `Object{spec: Object.spec{…}}` and `JSONPatch{op: …}`, which become maps.
    pub fn with_objects(mut self) -> Self {
        self.structs = true;
        self
    }

    /// Makes a program of a source.
    pub fn compile(&self, source: &str) -> Result<Program, Issues> {
        let issues = |list| Issues {
            source: source.to_owned(),
            list,
        };
        let (mut root, count) = parse(source).map_err(|issue| issues(vec![issue]))?;
        let checked = check::check(self, &mut root, count).map_err(issues)?;
        Ok(Program {
            result: checked.types[root.id].clone(),
            root,
            types: checked.types,
            overloads: checked.overloads,
            uses: checked.uses,
            declared: self.declared.clone(),
        })
    }
}

impl Program {
    /// What it will be.
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// Whether it names a variable.
    pub fn uses(&self, name: &str) -> bool {
        self.uses.contains(name)
    }

    /// What it costs at least and at most.
    pub fn estimate(&self) -> Estimate {
        cost::estimate(self, &self.declared)
    }

    /// What is known of a variable that was declared.
    pub(crate) fn declared(&self, name: &str) -> Option<&Arc<Decl>> {
        self.declared.get(name)
    }

    /// Its value for certain values of the variables.
    pub fn evaluate<'a>(&self, variables: &[(&str, Value<'a>)], limit: u64) -> Outcome<'a> {
        let mut machine = Machine::new(self, variables, limit);
        let value = machine.run();
        Outcome {
            value,
            cost: machine.cost(),
        }
    }
}
