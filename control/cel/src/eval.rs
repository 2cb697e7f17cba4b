//! Evaluation, which counts what it costs.

use std::rc::Rc;

use crate::ast::{Expr, Fold, Literal, Node, RESULT};
use crate::check::type_value;
use crate::env::Program;
use crate::error::EvalError;
use crate::functions::{Cost, Overload, index, optional_index, pattern_length};
use crate::value::{self, List, Map, Value};

type Result<T> = std::result::Result<T, EvalError>;

/// How many items a list may have that an expression makes.
const LONGEST_LIST: usize = 1 << 20;

/// One evaluation.
pub(crate) struct Machine<'p, 'a, 'v> {
    program: &'p Program,
    variables: &'v [(&'v str, Value<'a>)],
    /// An error is one only for who asks.
    locals: Vec<(&'p str, Result<Value<'a>>)>,
    cost: u64,
    limit: u64,
}

impl<'p, 'a, 'v> Machine<'p, 'a, 'v> {
    pub(crate) fn new(program: &'p Program, variables: &'v [(&'v str, Value<'a>)], limit: u64) -> Self {
        Machine {
            program,
            variables,
            locals: Vec::new(),
            cost: 0,
            limit,
        }
    }

    pub(crate) fn run(&mut self) -> Result<Value<'a>> {
        value::refuel();
        self.eval(&self.program.root)
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    fn charge(&mut self, cost: u64) -> Result<()> {
        self.cost = self.cost.saturating_add(cost);
        match self.cost > self.limit || value::is_spent() {
            true => Err(EvalError::CostLimit),
            false => Ok(()),
        }
    }

    fn eval(&mut self, expr: &'p Expr) -> Result<Value<'a>> {
        match &expr.node {
            Node::Literal(literal) => Ok(constant(literal)),
            Node::Ident(name) => {
                self.charge(1)?;
                self.variable(name)
            }
            Node::Select { operand, field, test } => {
                let operand = self.eval(operand)?;
                if *test {
                    return has(&operand, field).map(Value::Bool);
                }
                self.charge(1)?;
                select(&operand, field)
            }
            Node::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (item, optional) in items {
                    let item = self.eval(item)?;
                    match optional {
                        true => list.extend(unwrap(item)?),
                        false => list.push(item),
                    }
                }
                self.charge(10)?;
                Ok(Value::list(list))
            }
            Node::Map(entries) => {
                let mut map: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
                for (key, value, optional) in entries {
                    let (key, value) = (self.eval(key)?, self.eval(value)?);
                    let value = match optional {
                        true => unwrap(value)?,
                        false => Some(value),
                    };
                    if map.iter().any(|(known, _)| known.same(&key)) {
                        return Err(EvalError::Other(format!(
                            "Failed with repeated key: {}",
                            crate::functions::shown(&key)
                        )));
                    }
                    map.extend(value.map(|value| (key, value)));
                }
                self.charge(30)?;
                Ok(Value::Map(Map::Made(map.into())))
            }
            Node::Struct(_, fields) => {
                let mut map = Vec::with_capacity(fields.len());
                for (name, value, optional) in fields {
                    let value = self.eval(value)?;
                    let value = match optional {
                        true => unwrap(value)?,
                        false => Some(value),
                    };
                    map.extend(value.map(|value| (Value::string(name), value)));
                }
                self.charge(40)?;
                Ok(Value::Map(Map::Made(map.into())))
            }
            Node::Fold(fold) => self.fold(fold),
            Node::Bind { name, value, body } => {
                self.charge(10)?;
                let value = lasting(self.eval(value))?;
                self.locals.push((name, value));
                let result = self.eval(body);
                self.locals.pop();
                result
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Value<'a>> {
        let local = self.locals.iter().rev().find(|(known, _)| *known == name);
        if let Some((_, value)) = local {
            return value.clone();
        }
        let given = self.variables.iter().find(|(known, _)| *known == name);
        match (given, type_value(name)) {
            (Some((_, value)), _) => Ok(value.clone()),
            (None, Some(ty)) => Ok(Value::Type(ty.into())),
            (None, None) => Err(EvalError::Other(format!("no such attribute(s): {name}"))),
        }
    }

    fn call(
        &mut self,
        expr: &'p Expr,
        function: &str,
        target: Option<&'p Expr>,
        args: &'p [Expr],
    ) -> Result<Value<'a>> {
        match (function, args) {
            ("_&&_", [left, right]) => return self.either(left, right, false),
            ("_||_", [left, right]) => return self.either(left, right, true),
            ("_?_:_", [condition, yes, no]) => {
                return match self.eval(condition)? {
                    Value::Bool(true) => self.eval(yes),
                    Value::Bool(false) => self.eval(no),
                    _ => Err(EvalError::NoSuchOverload),
                };
            }
            ("@not_strictly_false", [inside]) => {
                let value = self.eval(inside);
                self.charge(1)?;
                return match value {
                    Ok(Value::Bool(flag)) => Ok(Value::Bool(flag)),
                    Err(EvalError::CostLimit) => Err(EvalError::CostLimit),
                    _ => Ok(Value::Bool(true)),
                };
            }
            ("_?._", [operand, field]) => {
                let operand = self.eval(operand)?;
                let Node::Literal(Literal::String(field)) = &field.node else {
                    return Err(EvalError::NoSuchOverload);
                };
                self.charge(1)?;
                return optional_select(&operand, field);
            }
            ("or" | "orValue", [other]) => {
                if let Some(target) = target {
                    let value = self.eval(target)?;
                    self.charge(1)?;
                    return match (value, function) {
                        (Value::Optional(None), _) => self.eval(other),
                        (Value::Optional(Some(value)), "orValue") => Ok((*value).clone()),
                        (value @ Value::Optional(_), _) => Ok(value),
                        _ => Err(EvalError::NoSuchOverload),
                    };
                }
            }
            _ => {}
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in target.into_iter().chain(args) {
            values.push(self.eval(arg)?);
        }
        self.apply(expr, &values)
    }

    /// Calls what fits the values.
    fn apply(&mut self, expr: &Expr, values: &[Value<'a>]) -> Result<Value<'a>> {
        let program: &'p Program = self.program;
        let candidates = &program.overloads[expr.id];
        let fits = |overload: &&&Overload| {
            overload.args.len() == values.len() && overload.args.iter().zip(values).all(|(ty, value)| value.fits(ty))
        };
        let overload = candidates.iter().find(fits).ok_or(EvalError::NoSuchOverload)?;
        self.charge(before(overload.cost, values))?;
        if let (Cost::ConcatList, [Value::List(a), Value::List(b)]) = (overload.cost, values) {
            self.charge((a.len() + b.len()) as u64 / 64)?;
            if a.len() + b.len() > LONGEST_LIST {
                return Err(EvalError::CostLimit);
            }
        }
        let result = (overload.run)(values);
        let made = match (overload.cost, &result) {
            (Cost::Join, Ok(joined)) => share(joined.size(), 0.2),
            _ => 0,
        };
        self.charge(made)?;
        result
    }

    /// `&&` and `||`: either side decides, also if there is an error on the other.
    fn either(&mut self, left: &'p Expr, right: &'p Expr, decides: bool) -> Result<Value<'a>> {
        let left = self.eval(left);
        match &left {
            Ok(Value::Bool(flag)) if *flag == decides => return left,
            Err(EvalError::CostLimit) => return left,
            _ => {}
        }
        let right = self.eval(right);
        match (&left, &right) {
            (_, Ok(Value::Bool(flag))) if *flag == decides => right,
            (_, Err(EvalError::CostLimit)) => right,
            (Err(_), _) => left,
            (Ok(Value::Bool(_)), Ok(Value::Bool(_)) | Err(_)) => right,
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn fold(&mut self, fold: &'p Fold) -> Result<Value<'a>> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init)?;
        let base = self.locals.len();
        self.locals.push((RESULT, Ok(init)));
        let result = self.iterate(fold, &range, base).and_then(|()| self.eval(&fold.result));
        self.locals.truncate(base);
        result
    }

    fn iterate(&mut self, fold: &'p Fold, range: &Value<'a>, base: usize) -> Result<()> {
        match range {
            Value::List(list) => {
                for at in 0..list.len() {
                    let item = list.get(at).ok_or(EvalError::NoSuchOverload)?;
                    let position = || i64::try_from(at).map(Value::Int).map_err(|_| EvalError::Overflow);
                    match &fold.second {
                        Some(second) => {
                            self.locals.push((&fold.first, position()));
                            self.locals.push((second, Ok(item)));
                        }
                        None => self.locals.push((&fold.first, Ok(item))),
                    }
                    if !self.step(fold, base)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, value) in map.entries() {
                    self.locals.push((&fold.first, Ok(key)));
                    if let Some(second) = &fold.second {
                        self.locals.push((second, Ok(value)));
                    }
                    if !self.step(fold, base)? {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::NoSuchOverload),
        }
        Ok(())
    }

    /// One round; false if no other is wanted.
    fn step(&mut self, fold: &'p Fold, base: usize) -> Result<bool> {
        let wanted = matches!(self.eval(&fold.condition)?, Value::Bool(true));
        if wanted {
            self.advance(&fold.step, base)?;
        }
        self.locals.truncate(base + 1);
        Ok(wanted)
    }

    /// Makes the next result. Lists and maps are added to in place, so that a long one is not copied again and again.
    fn advance(&mut self, step: &'p Expr, base: usize) -> Result<()> {
        let Node::Call { function, args, .. } = &step.node else {
            return self.replace(step, base);
        };
        match (function.as_str(), args.as_slice()) {
            ("_?_:_", [condition, yes, no]) => match self.eval(condition)? {
                Value::Bool(true) => self.advance(yes, base),
                Value::Bool(false) => self.advance(no, base),
                _ => Err(EvalError::NoSuchOverload),
            },
            ("_+_", [so_far, more]) if is_result(so_far) && matches!(more.node, Node::List(_)) => {
                let more = self.eval(more)?;
                // The name of what there is so far, and the sum.
                self.charge(2)?;
                let (Value::List(more), Ok(Value::List(List::Made(items)))) = (more, &mut self.locals[base].1) else {
                    return Err(EvalError::NoSuchOverload);
                };
                Rc::make_mut(items).extend(more.iter());
                match items.len() > LONGEST_LIST {
                    true => Err(EvalError::CostLimit),
                    false => Ok(()),
                }
            }
            _ => self.replace(step, base),
        }
    }

    fn replace(&mut self, step: &'p Expr, base: usize) -> Result<()> {
        let next = lasting(self.eval(step))?;
        // Of `all` and `exists` a later item may decide all the same.
        let decidable =
            matches!(&step.node, Node::Call { function, .. } if matches!(function.as_str(), "_&&_" | "_||_"));
        self.locals[base].1 = if decidable { next } else { Ok(next?) };
        Ok(())
    }
}

/// Only the limit ends everything.
fn lasting<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(EvalError::CostLimit) => Err(EvalError::CostLimit),
        other => Ok(other),
    }
}

fn is_result(expr: &Expr) -> bool {
    matches!(&expr.node, Node::Ident(name) if name == RESULT)
}

fn constant<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(flag) => Value::Bool(*flag),
        Literal::Int(number) => Value::Int(*number),
        Literal::Uint(number) => Value::Uint(*number),
        Literal::Double(number) => Value::Double(*number),
        Literal::String(text) => Value::string(text),
        Literal::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
    }
}

/// What is inside an optional, of which there may be nothing.
fn unwrap(value: Value<'_>) -> Result<Option<Value<'_>>> {
    match value {
        Value::Optional(inside) => Ok(inside.map(|inside| (*inside).clone())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn select<'a>(operand: &Value<'a>, field: &str) -> Result<Value<'a>> {
    match operand {
        Value::Optional(_) => optional_select(operand, field),
        Value::Map(_) => index(&[operand.clone(), Value::string(field)]),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn optional_select<'a>(operand: &Value<'a>, field: &str) -> Result<Value<'a>> {
    optional_index(&[operand.clone(), Value::string(field)])
}

fn has(operand: &Value<'_>, field: &str) -> Result<bool> {
    match operand {
        Value::Map(map) => Ok(map.get(&Value::string(field)).is_some()),
        Value::Optional(Some(inside)) => has(inside, field),
        Value::Optional(None) => Ok(false),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// A part of a size, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are those of data in memory"
)]
fn share(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// What a call costs, as far as that is known before it.
fn before(cost: Cost, values: &[Value<'_>]) -> u64 {
    let size = |at: usize| values.get(at).map_or(1, Value::size);
    match cost {
        Cost::Fixed(cost) => cost,
        Cost::Logic | Cost::Choice | Cost::Join => 0,
        Cost::ConcatList => 1,
        Cost::Prefix
        | Cost::ToBytes
        | Cost::FromBytes
        | Cost::Scan
        | Cost::Parse
        | Cost::Url
        | Cost::Formatting
        | Cost::Quote => share(size(0), 0.1),
        Cost::ParseTwice | Cost::Replace | Cost::Split => share(size(0), 0.2),
        Cost::In => size(1),
        Cost::Compare => share(size(0).min(size(1)), 0.1),
        Cost::Concat => share(size(0) + size(1), 0.1),
        Cost::Matches | Cost::Find => share(size(0) + 1, 0.1).saturating_mul(share(size(1), 0.25)),
        Cost::Contains => share(size(0), 0.1).saturating_mul(share(size(1), 0.1)),
        Cost::Fold | Cost::IndexOf => values.first().map_or(0, Value::traversal),
        Cost::Block { text, blocks } => {
            let bits = share(size(0) * 2, 0.1);
            let text = if text { share(size(1), 0.1) } else { 0 };
            let blocks = if blocks { share(size(0), 0.1) + 1 } else { 0 };
            bits + text + blocks
        }
        Cost::Validate => {
            let pattern = values.first().map_or(1, pattern_length);
            share(size(1) + 1, 0.1).saturating_mul(share(pattern, 0.25))
        }
    }
}
