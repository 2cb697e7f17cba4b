//! What a program costs at least and at most, before it runs.

use std::sync::Arc;

use crate::ast::{Expr, Fold, Literal, Node, RESULT};
use crate::decl::Kind;
use crate::env::Program;
use crate::functions::Cost;
use crate::{Decl, Type};

/// The least and the greatest of something: a cost, or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// The least.
    pub least: u64,
    /// The greatest.
    pub most: u64,
}

const UNKNOWN: Estimate = Estimate {
    least: 0,
    most: u64::MAX,
};

impl Estimate {
    const fn fixed(cost: u64) -> Self {
        Estimate {
            least: cost,
            most: cost,
        }
    }

    fn plus(self, other: Self) -> Self {
        Estimate {
            least: self.least.saturating_add(other.least),
            most: self.most.saturating_add(other.most),
        }
    }

    fn times(self, other: Self) -> Self {
        Estimate {
            least: self.least.saturating_mul(other.least),
            most: self.most.saturating_mul(other.most),
        }
    }

    fn union(self, other: Self) -> Self {
        Estimate {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }

    /// A part of it, rounded up.
    fn share(self, factor: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is too large saturates"
        )]
        let share = |size: u64| (size as f64 * factor).ceil() as u64;
        Estimate {
            least: share(self.least),
            most: share(self.most),
        }
    }
}

/// The sizes of the keys and of the values of a map, or of the items of a list.
type Entries = (Estimate, Estimate);

struct Local {
    name: String,
    place: Option<Arc<Decl>>,
    size: Option<Estimate>,
    entries: Option<Entries>,
}

struct Coster<'p> {
    program: &'p Program,
    declared: &'p std::collections::BTreeMap<String, Arc<Decl>>,
    sizes: Vec<Option<Estimate>>,
    entries: Vec<Option<Entries>>,
    /// What of the declared data an expression is.
    places: Vec<Option<Arc<Decl>>>,
    locals: Vec<Local>,
}

pub(crate) fn estimate(program: &Program, declared: &std::collections::BTreeMap<String, Arc<Decl>>) -> Estimate {
    let count = program.types.len();
    let mut coster = Coster {
        program,
        declared,
        sizes: vec![None; count],
        entries: vec![None; count],
        places: vec![None; count],
        locals: Vec::new(),
    };
    coster.cost(&program.root)
}

/// A key of a map, of whose length nothing is known, and which counts for nothing.
fn key_place() -> Option<Arc<Decl>> {
    static KEY: std::sync::LazyLock<Arc<Decl>> = std::sync::LazyLock::new(|| {
        Arc::new(Decl {
            kind: Kind::String,
            most: 0,
            shortest: 2,
        })
    });
    Some(KEY.clone())
}

/// An item of a list, or a value of a map.
fn inside(place: Option<&Arc<Decl>>) -> Option<Arc<Decl>> {
    match &place?.kind {
        Kind::List { items, .. } => Some(items.clone()),
        Kind::Map(values) => Some(values.clone()),
        _ => None,
    }
}

impl Coster<'_> {
    fn cost(&mut self, expr: &Expr) -> Estimate {
        match &expr.node {
            Node::Literal(_) => Estimate::fixed(0),
            Node::Ident(name) => {
                let local = self.locals.iter().rev().find(|local| local.name == *name);
                self.places[expr.id] = match local {
                    Some(local) => local.place.clone(),
                    None => self.declared.get(name).cloned(),
                };
                Estimate::fixed(1)
            }
            Node::Select { operand, field, test } => {
                let cost = self.cost(operand);
                if *test {
                    return cost;
                }
                let place = self.places[operand.id].as_ref();
                self.places[expr.id] = place
                    .and_then(|place| place.field(field))
                    .map(|field| field.decl.clone());
                match self.program.types[operand.id] {
                    Type::Map(..) | Type::Object(_) | Type::Var(_) => cost.plus(Estimate::fixed(1)),
                    _ => cost,
                }
            }
            Node::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Node::List(items) => {
                let mut sum = Estimate::fixed(10);
                let mut size = Estimate {
                    least: if items.is_empty() { 0 } else { u64::MAX },
                    most: 0,
                };
                for (item, _) in items {
                    sum = sum.plus(self.cost(item));
                    size = size.union(self.size_or_unknown(item));
                }
                self.entries[expr.id] = Some((Estimate::fixed(1), size));
                sum
            }
            Node::Map(entries) => {
                let mut sum = Estimate::fixed(30);
                let least = if entries.is_empty() { 0 } else { u64::MAX };
                let (mut keys, mut values) = (Estimate { least, most: 0 }, Estimate { least, most: 0 });
                for (key, value, _) in entries {
                    sum = sum.plus(self.cost(key)).plus(self.cost(value));
                    keys = keys.union(self.size_or_unknown(key));
                    values = values.union(self.size_or_unknown(value));
                }
                self.entries[expr.id] = Some((keys, values));
                sum
            }
            Node::Struct(_, fields) => fields
                .iter()
                .fold(Estimate::fixed(40), |sum, (_, value, _)| sum.plus(self.cost(value))),
            Node::Fold(fold) => self.fold(expr, fold),
            Node::Bind { name, value, body } => {
                let sum = Estimate::fixed(10).plus(self.cost(value));
                self.push(
                    name,
                    self.places[value.id].clone(),
                    self.size(value),
                    self.entries_of(value),
                );
                let sum = sum.plus(self.cost(body));
                self.locals.pop();
                self.sizes[expr.id] = self.size(body);
                self.entries[expr.id] = self.entries_of(body);
                sum
            }
        }
    }

    fn push(&mut self, name: &str, place: Option<Arc<Decl>>, size: Option<Estimate>, entries: Option<Entries>) {
        self.locals.push(Local {
            name: name.to_owned(),
            place,
            size,
            entries,
        });
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Estimate {
        let sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        let base = self.locals.len();
        self.push(RESULT, None, self.size(&fold.init), self.entries_of(&fold.init));
        let place = self.places[fold.range.id].clone();
        let entries = self.entries_of(&fold.range);
        let is_list = matches!(self.program.types[fold.range.id], Type::List(_));
        let (keys, values) = (entries.map(|(keys, _)| keys), entries.map(|(_, values)| values));
        let item = inside(place.as_ref());
        let key = place.as_ref().and_then(|_| if is_list { None } else { key_place() });
        match &fold.second {
            Some(second) => {
                self.push(&fold.first, key, keys, None);
                self.push(second, item, values, None);
            }
            None if is_list => self.push(&fold.first, item, values, None),
            None => self.push(&fold.first, key, keys, None),
        }
        let round = self.cost(&fold.condition).plus(self.cost(&fold.step));
        let step_entries = self.entries_of(&fold.step);
        self.locals.truncate(base + 1);
        let sum = sum.plus(self.cost(&fold.result));
        self.locals.truncate(base);
        let rounds = self.size_or_unknown(&fold.range);
        match &fold.init.node {
            Node::Literal(_) => self.sizes[expr.id] = self.size(&fold.init),
            Node::List(_) | Node::Map(_) => {
                self.sizes[expr.id] = Some(rounds);
                self.entries[expr.id] = step_entries;
            }
            _ => {}
        }
        sum.plus(rounds.times(round))
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Estimate {
        if function == "dyn"
            && let [arg] = args
        {
            let cost = self.cost(arg);
            self.sizes[expr.id] = self.size(arg);
            self.entries[expr.id] = self.entries_of(arg);
            return cost.plus(Estimate::fixed(1));
        }
        let costs: Vec<Estimate> = args.iter().map(|arg| self.cost(arg)).collect();
        let own = target.map(|target| self.cost(target)).unwrap_or_default();
        let all = costs.iter().fold(Estimate::default(), |sum, cost| sum.plus(*cost));
        if function == "_?._" {
            return own.plus(all).plus(Estimate::fixed(1));
        }
        let program = self.program;
        let overloads = &program.overloads[expr.id];
        if overloads.is_empty() {
            return Estimate::default();
        }
        let mut cost = Estimate {
            least: u64::MAX,
            most: 0,
        };
        let mut size: Option<Estimate> = None;
        for overload in overloads {
            let (one, made) = match overload.cost {
                Cost::Logic => {
                    let least = costs[0].least;
                    (Estimate { least, most: all.most }, None)
                }
                Cost::Choice => {
                    let made = self.size_or_unknown(&args[1]).union(self.size_or_unknown(&args[2]));
                    let (yes, no) = (self.entries_of(&args[1]), self.entries_of(&args[2]));
                    self.entries[expr.id] = yes.zip(no).map(|(yes, no)| (yes.0.union(no.0), yes.1.union(no.1)));
                    (costs[0].plus(costs[1].union(costs[2])), Some(made))
                }
                other => {
                    let (one, made) = self.function(expr, other, target, args);
                    (one.plus(all), made)
                }
            };
            cost = cost.union(one);
            size = match (size, made) {
                (Some(size), Some(made)) => Some(size.union(made)),
                (size, made) => size.or(made),
            };
            if function == "_[_]"
                && let Some(range) = args.first()
            {
                size = self.entries_of(range).map(|(_, values)| values);
                self.places[expr.id] = inside(self.places[range.id].as_ref());
            }
        }
        let size = size.or_else(|| self.size(expr));
        if size.is_some() {
            self.sizes[expr.id] = size;
        }
        own.plus(cost)
    }

    /// A call by itself, without its arguments; and the size of what it makes.
    fn function(
        &mut self,
        expr: &Expr,
        cost: Cost,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> (Estimate, Option<Estimate>) {
        let one = Estimate::fixed(1);
        let size = |coster: &Self, expr: Option<&Expr>| expr.map_or(UNKNOWN, |expr| coster.size_or_unknown(expr));
        let own = size(self, target);
        let first = size(self, args.first());
        let second = size(self, args.get(1));
        match cost {
            Cost::Fixed(cost) => (Estimate::fixed(cost), None),
            // Neither is worse than its arguments; they are done before.
            Cost::Logic | Cost::Choice => (Estimate::default(), None),
            Cost::Prefix => (first.share(0.1), None),
            Cost::ToBytes => {
                let made = Estimate {
                    most: first.most.saturating_mul(4),
                    ..first
                };
                (first.share(0.1), Some(made))
            }
            Cost::FromBytes => {
                let made = Estimate {
                    least: first.least / 4,
                    ..first
                };
                (first.share(0.1), Some(made))
            }
            Cost::Quote => (
                first.share(0.1),
                Some(first.times(Estimate { least: 1, most: 2 }).plus(Estimate::fixed(2))),
            ),
            Cost::In => (second, None),
            Cost::Compare => {
                let most = first.most.min(second.most);
                let least = u64::from(most > 0);
                (Estimate { least, most }.share(0.1), None)
            }
            Cost::Concat | Cost::ConcatList => {
                let made = first.plus(second);
                if let (Some(a), Some(b)) = (self.entries_of(&args[0]), self.entries_of(&args[1])) {
                    self.entries[expr.id] = Some((a.0.union(b.0), a.1.union(b.1)));
                }
                match cost {
                    Cost::ConcatList => (one, Some(made)),
                    _ => (made.share(0.1), Some(made)),
                }
            }
            Cost::Matches => {
                let (text, pattern) = if target.is_some() {
                    (own, first)
                } else {
                    (first, second)
                };
                (text.plus(one).share(0.1).times(pattern.share(0.25)), None)
            }
            Cost::Find => {
                let made = Estimate {
                    least: 0,
                    most: own.most,
                };
                (own.plus(one).share(0.1).times(first.share(0.25)), Some(made))
            }
            Cost::Contains => (own.share(0.1).times(first.share(0.1)), None),
            Cost::Scan => (own.share(0.1), Some(own)),
            Cost::Url => (first.share(0.1), None),
            // Of functions that are called on nothing the worst case was never counted, and may not be from now on.
            Cost::Parse | Cost::ParseTwice => (one, None),
            Cost::Replace => (own.share(0.2), Some(replaced(own, first, second))),
            Cost::Split => (
                own.share(0.2),
                Some(Estimate {
                    least: 0,
                    most: own.most,
                }),
            ),
            Cost::Join => {
                let items = target.and_then(|target| self.element_size(target)).unwrap_or(UNKNOWN);
                let mut made = own.times(items);
                if !args.is_empty() {
                    let gaps = Estimate {
                        least: own.least.saturating_sub(1),
                        most: own.most.saturating_sub(1),
                    };
                    made = made.plus(first.times(gaps));
                }
                (made.share(0.1), Some(made))
            }
            Cost::Fold | Cost::IndexOf => {
                let is_list = target.is_some_and(|target| matches!(self.program.types[target.id], Type::List(_)));
                if !is_list {
                    return (own.share(0.1), None);
                }
                let item = target.and_then(|target| self.element_size(target));
                let each = item.map_or(one, |size| one.plus(size.share(0.1)));
                (own.times(each), None)
            }
            Cost::Block { text, blocks } => {
                let bytes = Estimate { least: 4, most: 16 };
                let mut cost = bytes.plus(bytes).share(0.1);
                if blocks {
                    cost = cost.plus(bytes.share(0.1)).plus(one);
                }
                if text {
                    cost = cost.plus(first.share(0.1));
                }
                (cost, None)
            }
            Cost::Formatting => (own.share(0.1), Some(own.plus(first))),
            Cost::Validate => {
                // The longest pattern that a format has.
                let pattern = Estimate { least: 30, most: 1500 };
                (first.plus(one).share(0.1).times(pattern.share(0.25)), None)
            }
        }
    }

    /// The size of the items of a list of texts or bytes; of others it does not matter.
    fn element_size(&self, list: &Expr) -> Option<Estimate> {
        let Type::List(items) = &self.program.types[list.id] else {
            return None;
        };
        if !matches!(**items, Type::String | Type::Bytes) {
            return None;
        }
        let place = inside(self.places[list.id].as_ref());
        Some(place.map_or(UNKNOWN, |decl| Estimate {
            least: 0,
            most: decl.most,
        }))
    }

    fn size_or_unknown(&self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(UNKNOWN)
    }

    fn size(&self, expr: &Expr) -> Option<Estimate> {
        if let Some(size) = self.sizes[expr.id] {
            return Some(size);
        }
        let count = match &expr.node {
            Node::Literal(Literal::String(text)) => Some(text.chars().count()),
            Node::Literal(Literal::Bytes(bytes)) => Some(bytes.len()),
            Node::Literal(_) => Some(1),
            Node::List(items) => Some(items.len()),
            Node::Map(entries) => Some(entries.len()),
            _ => None,
        };
        if let Some(count) = count {
            return Some(Estimate::fixed(count as u64));
        }
        if let Some(place) = &self.places[expr.id] {
            return Some(Estimate {
                least: 0,
                most: place.most,
            });
        }
        if self.program.types[expr.id].is_scalar() {
            return Some(Estimate::fixed(1));
        }
        self.local(expr)?.size
    }

    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        self.entries[expr.id].or_else(|| self.local(expr)?.entries)
    }

    fn local(&self, expr: &Expr) -> Option<&Local> {
        let Node::Ident(name) = &expr.node else { return None };
        self.locals.iter().rev().find(|local| local.name == *name)
    }
}

/// How long a text is after a replacement.
fn replaced(text: Estimate, old: Estimate, new: Estimate) -> Estimate {
    let quotient = |a: u64, b: u64| a.div_ceil(b);
    let (most_times, most_kept) = if old.least == 0 {
        (text.most.saturating_add(1), text.most)
    } else if new.most <= old.least {
        (0, text.most)
    } else {
        (quotient(text.most, old.least), 0)
    };
    let (least_times, least_kept) = if old.most == 0 {
        (text.least.saturating_add(1), text.least)
    } else if old.most <= new.least {
        (0, text.least)
    } else {
        (quotient(text.least, old.most), 0)
    };
    Estimate {
        least: least_times.saturating_mul(new.least).saturating_add(least_kept),
        most: most_times.saturating_mul(new.most).saturating_add(most_kept),
    }
}
