//! What expressions see of a request, and what they may cost together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use barepod_cel::{Attributes, Authorize, EvalError, Fields, PER_CALL_LIMIT, Value, authorizer, resource};
use serde_json::Value as Json;

use super::definition::{Policy, Text};

/// What a request brings; null where there is nothing.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The object as it would be stored.
    pub object: &'a Json,
    /// The object as it is stored.
    pub old: &'a Json,
    /// What is asked for, without objects.
    pub request: &'a Json,
    /// The parameters.
    pub params: &'a Json,
    /// The Namespace.
    pub namespace: &'a Json,
    /// Who decides about permissions.
    pub authorize: &'a Arc<dyn Authorize>,
    /// The resource of the request, for questions about it.
    pub resource: &'a Attributes,
}

/// An evaluation of expressions about one request.
pub struct Scope<'a>(Rc<Inner<'a>>);

struct Inner<'a> {
    base: Vec<(&'static str, Value<'a>)>,
    variables: &'a [(String, Text)],
    /// Of variables that were asked for.
    known: RefCell<BTreeMap<usize, Result<Value<'a>, EvalError>>>,
    left: Cell<u64>,
}

impl<'a> Scope<'a> {
    /// For the expressions of a policy, or of conditions only, with a limit for all of them.
    pub fn new(inputs: Inputs<'a>, policy: Option<&'a Policy>, budget: u64) -> Self {
        let base = vec![
            ("object", Value::data(inputs.object)),
            ("oldObject", Value::data(inputs.old)),
            ("request", Value::data(inputs.request)),
            ("params", Value::data(inputs.params)),
            ("namespaceObject", Value::data(inputs.namespace)),
            ("authorizer", authorizer(inputs.authorize.clone())),
            (
                "authorizer.requestResource",
                resource(inputs.authorize.clone(), inputs.resource.clone()),
            ),
        ];
        Scope(Rc::new(Inner {
            base,
            variables: policy.map_or(&[], |policy| &policy.variables),
            known: RefCell::default(),
            left: Cell::new(budget),
        }))
    }

    /// The value of an expression.
    pub fn evaluate(&self, text: &Text) -> Result<Value<'a>, String> {
        let found = evaluate(&self.0, text, self.0.variables.len());
        found.map_err(|error| format!("expression '{}' resulted in error: {error}", text.source))
    }

    /// The truth of an expression.
    pub fn truth(&self, text: &Text) -> Result<bool, String> {
        let value = self.evaluate(text)?;
        value.as_bool().ok_or_else(|| {
            format!(
                "expression '{}' resulted in error: it is of type {} and not bool",
                text.source,
                value.type_name()
            )
        })
    }
}

/// Evaluates with the variables before `upto`.
fn evaluate<'a>(inner: &Rc<Inner<'a>>, text: &Text, upto: usize) -> Result<Value<'a>, EvalError> {
    let program = text.program.as_ref();
    let program = program.map_err(|wrong| EvalError::Other(format!("compilation failed: {wrong}")))?;
    let mut variables = inner.base.clone();
    if program.uses("variables") {
        let inner = inner.clone();
        variables.push(("variables", Value::given(Rc::new(Variables { inner, upto }))));
    }
    let outcome = program.evaluate(&variables, PER_CALL_LIMIT.min(inner.left.get()));
    inner.left.set(inner.left.get().saturating_sub(outcome.cost));
    outcome.value
}

/// The variables of a policy up to one of them, which may name only those before it.
struct Variables<'a> {
    inner: Rc<Inner<'a>>,
    upto: usize,
}

impl<'a> Fields<'a> for Variables<'a> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let variables = self.inner.variables;
        let at = variables[..self.upto].iter().position(|(own, _)| own == name)?;
        if let Some(known) = self.inner.known.borrow().get(&at) {
            return Some(known.clone());
        }
        let found = evaluate(&self.inner, &variables[at].1, at);
        self.inner.known.borrow_mut().insert(at, found.clone());
        Some(found)
    }
}
