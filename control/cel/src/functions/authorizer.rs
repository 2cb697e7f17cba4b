//! Questions to whoever decides what is allowed.

use std::rc::Rc;
use std::sync::Arc;

use super::{Cost, EvalError, ONE, Opaque, Result, Row, text};
use crate::value::Value;

/// Who decides.
pub trait Authorize: Send + Sync {
    /// The answer to a question.
    fn decide(&self, attributes: &Attributes) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who would do it, if it is not who the request is from: a service account's namespace and name.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// The group of a resource.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// A field selector.
    pub field_selector: String,
    /// A label selector.
    pub label_selector: String,
    /// What would be done.
    pub verb: String,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, for people.
    pub reason: String,
    /// What went wrong when the question was answered.
    pub error: Option<String>,
}

/// Someone to ask.
#[derive(Clone)]
pub struct Authorizer {
    ask: Arc<dyn Authorize>,
    service_account: Option<(String, String)>,
}

/// A question that may still be made more precise.
#[derive(Clone)]
pub struct Check {
    ask: Arc<dyn Authorize>,
    attributes: Attributes,
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorizer")
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.attributes.fmt(f)
    }
}

/// The value of the variable `authorizer`.
pub fn authorizer<'a>(ask: Arc<dyn Authorize>) -> Value<'a> {
    Value::Opaque(Rc::new(Opaque::Authorizer(Authorizer {
        ask,
        service_account: None,
    })))
}

/// The value of the variable `authorizer.requestResource`, and questions about one resource in general.
pub fn resource<'a>(ask: Arc<dyn Authorize>, attributes: Attributes) -> Value<'a> {
    Value::Opaque(Rc::new(Opaque::Check(Check { ask, attributes })))
}

pub(super) const ROWS: &[Row] = &[
    (".Authorizer.serviceAccount(string, string) Authorizer", ONE, |args| {
        let mut authorizer = asked(args)?.clone();
        authorizer.service_account = Some((text(args, 1)?.to_owned(), text(args, 2)?.to_owned()));
        Ok(Value::Opaque(Rc::new(Opaque::Authorizer(authorizer))))
    }),
    (".Authorizer.path(string) Check", ONE, |args| {
        let path = text(args, 1)?;
        if path.is_empty() {
            return Err(EvalError::Other("path must not be empty".into()));
        }
        let path = Some(path.to_owned());
        begin(args, |attributes| attributes.path = path)
    }),
    (".Authorizer.group(string) Check", ONE, |args| {
        let group = text(args, 1)?.to_owned();
        begin(args, |attributes| attributes.group = group)
    }),
    (".Check.resource(string) Check", ONE, |args| {
        more(args, |attributes, text| attributes.resource = text)
    }),
    (".Check.subresource(string) Check", ONE, |args| {
        more(args, |attributes, text| attributes.subresource = text)
    }),
    (".Check.namespace(string) Check", ONE, |args| {
        more(args, |attributes, text| attributes.namespace = text)
    }),
    (".Check.name(string) Check", ONE, |args| {
        more(args, |attributes, text| attributes.name = text)
    }),
    (".Check.fieldSelector(string) Check", ONE, |args| {
        more(args, |attributes, text| attributes.field_selector = text)
    }),
    (".Check.labelSelector(string) Check", ONE, |args| {
        more(args, |attributes, text| attributes.label_selector = text)
    }),
    (".Check.check(string) Decision", Cost::Fixed(350_000), |args| {
        let Check { ask, mut attributes } = check(args)?.clone();
        attributes.verb = text(args, 1)?.to_owned();
        Ok(Value::Opaque(Rc::new(Opaque::Decision(ask.decide(&attributes)))))
    }),
    (".Decision.allowed() bool", ONE, |args| {
        Ok(Value::Bool(decision(args)?.allowed))
    }),
    (".Decision.reason() string", ONE, |args| {
        Ok(Value::string(&decision(args)?.reason))
    }),
    (".Decision.errored() bool", ONE, |args| {
        Ok(Value::Bool(decision(args)?.error.is_some()))
    }),
    (".Decision.error() string", ONE, |args| {
        Ok(Value::string(decision(args)?.error.as_deref().unwrap_or("")))
    }),
];

fn opaque<'v>(args: &'v [Value<'_>]) -> Result<&'v Opaque> {
    match args.first() {
        Some(Value::Opaque(opaque)) => Ok(opaque),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn asked<'v>(args: &'v [Value<'_>]) -> Result<&'v Authorizer> {
    match opaque(args)? {
        Opaque::Authorizer(authorizer) => Ok(authorizer),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn check<'v>(args: &'v [Value<'_>]) -> Result<&'v Check> {
    match opaque(args)? {
        Opaque::Check(check) => Ok(check),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn decision<'v>(args: &'v [Value<'_>]) -> Result<&'v Decision> {
    match opaque(args)? {
        Opaque::Decision(decision) => Ok(decision),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn begin<'a>(args: &[Value<'a>], set: impl FnOnce(&mut Attributes)) -> Result<Value<'a>> {
    let Authorizer { ask, service_account } = asked(args)?.clone();
    let mut attributes = Attributes {
        service_account,
        ..Attributes::default()
    };
    set(&mut attributes);
    Ok(resource(ask, attributes))
}

fn more<'a>(args: &[Value<'a>], set: fn(&mut Attributes, String)) -> Result<Value<'a>> {
    let Check { ask, mut attributes } = check(args)?.clone();
    set(&mut attributes, text(args, 1)?.to_owned());
    Ok(resource(ask, attributes))
}
