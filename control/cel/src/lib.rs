//! The Common Expression Language as Kubernetes has it: lexer, parser with macros, type check, worst-case cost, and
//! evaluation that counts what it costs, with Kubernetes' function libraries (v1.36).
//!
//! An [`Env`] says what variables there are; [`Env::compile`] makes a [`Program`] of a source, or says in kube-apiserver's
//! words what is wrong with it; [`Program::evaluate`] takes the variables' values and a limit.
//!
//! ```
//! use barepod_cel::{Env, Type, Value};
//! use serde_json::json;
//!
//! let env = Env::new().variable("object", Type::Dyn).variable("request", Type::Dyn);
//! let program = env.compile("object.metadata.name.startsWith('a') && request.operation == 'CREATE'").unwrap();
//! let (object, request) = (json!({"metadata": {"name": "abc"}}), json!({"operation": "CREATE"}));
//! let variables = [("object", Value::data(&object)), ("request", Value::data(&request))];
//! let outcome = program.evaluate(&variables, barepod_cel::PER_CALL_LIMIT);
//! assert_eq!(outcome.value.unwrap().as_bool(), Some(true));
//! ```
//!
//! - Data that is declared ([`Decl`], from a structural schema) has types, escaped field names and bounds for the worst case.
//!   Data of which nothing is known is [`Type::Dyn`].
//! - Values that are made when they are asked for (`variables.x` of admission policies) are [`Fields`] in [`Value::given`].
//! - The variable `authorizer` is [`authorizer`], with whoever implements [`Authorize`] behind it; `authorizer.requestResource`
//!   is a variable of that name, of [`resource`].
//! - [`rules`] are the `x-kubernetes-validations` of custom resources.
//!
//! Invariants:
//! - No source and no data makes this crate panic, exhaust the stack or run much longer than its limit.
//! - Costs, before and while evaluating, are those of kube-apiserver: a definition that it takes is taken here.
//! - Nothing here does I/O.

mod ast;
mod check;
mod cost;
mod decl;
mod env;
mod error;
mod eval;
mod functions;
mod lex;
mod parse;
pub mod rules;
mod types;
mod value;

pub use cost::Estimate;
pub use decl::{Decl, LARGEST_REQUEST, Part, escape};
pub use env::{Env, Outcome, Program};
pub use error::{EvalError, Issue, Issues};
pub use functions::{Attributes, Authorize, Decision, authorizer, parse_duration, resource};
pub use types::Type;
pub use value::{Fields, Given, List, Map, Value};

/// What one evaluation may cost.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all evaluations for one object, or for one binding of a policy, may cost.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// What all match conditions of one webhook or policy may cost.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;

#[cfg(test)]
mod tests;
