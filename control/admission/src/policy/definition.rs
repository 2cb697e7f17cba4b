//! Policies and bindings as they are configured.

use barepod_cel::{Env, Program, Type};
use barepod_kinds::value::{at, list_at, str_at, strings, text};
use serde_json::Value;

use crate::matching::Matching;

/// An expression: its source, and the program or what is wrong with it.
#[derive(Debug)]
pub struct Text {
    /// The source.
    pub source: String,
    /// The program.
    pub program: Result<Program, String>,
}

impl Text {
    pub(super) fn compile(env: &Env, source: &str) -> Self {
        Text {
            source: source.to_owned(),
            program: env.compile(source).map_err(|issues| issues.to_string()),
        }
    }
}

/// Which variables an expression may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// The request and the objects: conditions.
    Request,
    /// Also parameters, the namespace and other variables.
    Everything,
    /// The same without the authorizer, for messages.
    Words,
    /// As `Everything`, with literals of objects.
    Objects,
}

pub(super) fn env(sees: Sees) -> Env {
    let mut env = Env::new();
    for name in ["object", "oldObject", "request"] {
        env = env.variable(name, Type::Dyn);
    }
    if sees != Sees::Words {
        env = env
            .variable("authorizer", Type::authorizer())
            .variable("authorizer.requestResource", Type::check());
    }
    if sees != Sees::Request {
        for name in ["params", "namespaceObject", "variables"] {
            env = env.variable(name, Type::Dyn);
        }
    }
    match sees {
        Sees::Objects => env.with_objects(),
        _ => env,
    }
}

/// Conditions of a webhook or a policy: their names and expressions.
pub fn conditions(holder: &Value) -> Vec<(String, Text)> {
    let env = env(Sees::Request);
    let list = list_at(holder, &["matchConditions"]).iter();
    list.map(|it| (text(it, "name").to_owned(), Text::compile(&env, text(it, "expression"))))
        .collect()
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It says yes or no.
    Validating,
    /// It changes objects.
    Mutating,
}

/// One rule of a validating policy.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: Text,
    pub(super) message: String,
    pub(super) message_expression: Option<Text>,
    pub(super) reason: String,
}

/// One change of a mutating policy.
#[derive(Debug)]
pub(super) struct Mutation {
    pub(super) expression: Text,
    /// Whether it makes a JSON patch, or else a configuration to apply.
    pub(super) is_patch: bool,
}

/// A policy.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub matching: Matching,
    /// Whether a request passes when something goes wrong.
    pub passes_on_failure: bool,
    /// Whether it wants to see what others changed after it.
    pub again: bool,
    /// `apiVersion` and `kind` of its parameters.
    pub param_kind: Option<(String, String)>,
    /// Conditions that narrow what it is for.
    pub conditions: Vec<(String, Text)>,
    pub(super) variables: Vec<(String, Text)>,
    pub(super) validations: Vec<Validation>,
    pub(super) audit: Vec<(String, Text)>,
    pub(super) mutations: Vec<Mutation>,
}

impl Policy {
    /// Reads and compiles a policy.
    pub fn from_value(kind: Kind, policy: &Value) -> Self {
        let empty = Value::Null;
        let spec = at(policy, &["spec"]).unwrap_or(&empty);
        let (all, words) = (env(Sees::Everything), env(Sees::Words));
        let objects = env(Sees::Objects);
        let own = match kind {
            Kind::Validating => &all,
            Kind::Mutating => &objects,
        };
        let named = |key: &str, name: &str, source: &str| -> Vec<(String, Text)> {
            let list = list_at(spec, &[key]).iter();
            list.map(|it| (text(it, name).to_owned(), Text::compile(own, text(it, source))))
                .collect()
        };
        let validation = |rule: &Value| Validation {
            expression: Text::compile(&all, text(rule, "expression")),
            message: text(rule, "message").trim().to_owned(),
            message_expression: str_at(rule, &["messageExpression"])
                .filter(|source| !source.is_empty())
                .map(|source| Text::compile(&words, source)),
            reason: match text(rule, "reason") {
                "" => "Invalid".to_owned(),
                reason => reason.to_owned(),
            },
        };
        let mutation = |change: &Value| {
            let is_patch = text(change, "patchType") == "JSONPatch";
            let key = if is_patch { "jsonPatch" } else { "applyConfiguration" };
            Mutation {
                expression: Text::compile(&objects, str_at(change, &[key, "expression"]).unwrap_or("")),
                is_patch,
            }
        };
        let param_kind = at(spec, &["paramKind"]).filter(|kind| kind.is_object());
        Policy {
            name: str_at(policy, &["metadata", "name"]).unwrap_or("").to_owned(),
            matching: Matching::of_policy(at(spec, &["matchConstraints"]).unwrap_or(&empty)),
            passes_on_failure: text(spec, "failurePolicy") == "Ignore",
            again: text(spec, "reinvocationPolicy") == "IfNeeded",
            param_kind: param_kind.map(|kind| (text(kind, "apiVersion").to_owned(), text(kind, "kind").to_owned())),
            conditions: conditions(spec),
            variables: named("variables", "name", "expression"),
            validations: list_at(spec, &["validations"]).iter().map(validation).collect(),
            audit: named("auditAnnotations", "key", "valueExpression"),
            mutations: list_at(spec, &["mutations"]).iter().map(mutation).collect(),
        }
    }
}

/// What is done about a broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The request is refused.
    Deny,
    /// The client is warned.
    Warn,
    /// The audit log tells of it.
    Audit,
}

impl Action {
    /// As bindings name it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Deny => "Deny",
            Action::Warn => "Warn",
            Action::Audit => "Audit",
        }
    }
}

/// A binding.
#[derive(Debug)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// The policy's name.
    pub policy: String,
    /// What the policy is narrowed to.
    pub matching: Option<Matching>,
    /// What is done about broken rules.
    pub actions: Vec<Action>,
    /// Where the parameters are.
    pub param_ref: Option<Value>,
}

impl Binding {
    /// Reads a binding.
    pub fn from_value(binding: &Value) -> Self {
        let empty = Value::Null;
        let spec = at(binding, &["spec"]).unwrap_or(&empty);
        let all = [Action::Deny, Action::Warn, Action::Audit];
        let known = |name: &str| all.into_iter().find(|action| action.name() == name);
        Binding {
            name: str_at(binding, &["metadata", "name"]).unwrap_or("").to_owned(),
            policy: text(spec, "policyName").to_owned(),
            matching: at(spec, &["matchResources"])
                .filter(|resources| resources.is_object())
                .map(Matching::of_policy),
            actions: strings(spec, &["validationActions"]).filter_map(known).collect(),
            param_ref: at(spec, &["paramRef"]).filter(|it| it.is_object()).cloned(),
        }
    }
}
