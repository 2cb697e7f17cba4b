//! Macros: calls that become something else while they are read.

use super::{Parsed, Parser};
use crate::ast::{Expr, Fold, Literal, Node, RESULT};
use crate::error::Issue;

impl Parser {
    /// A call without a target.
    pub(super) fn function(&mut self, at: usize, name: String, mut args: Vec<Expr>) -> Parsed {
        if name == "has" && args.len() == 1 {
            let place = args[0].at;
            return match args.pop().map(|arg| arg.node) {
                Some(Node::Select {
                    operand,
                    field,
                    test: false,
                }) => {
                    let test = true;
                    self.make(at, Node::Select { operand, field, test })
                }
                _ => Err(self.issue(place, "invalid argument to has() macro")),
            };
        }
        let (function, target) = (name, None);
        self.make(at, Node::Call { function, target, args })
    }

    /// A call with a target.
    pub(super) fn method(&mut self, at: usize, target: Expr, name: String, mut args: Vec<Expr>) -> Parsed {
        let is_cel = matches!(&target.node, Node::Ident(name) if name == "cel");
        match (name.as_str(), args.len()) {
            ("bind", 3) if is_cel => {
                let names = self.names(&args[..1], "cel.bind")?;
                let body = Box::new(args.pop().ok_or_else(|| self.unexpected())?);
                let value = Box::new(args.pop().ok_or_else(|| self.unexpected())?);
                let name = names.into_iter().next().unwrap_or_default();
                self.make(at, Node::Bind { name, value, body })
            }
            ("all" | "exists" | "exists_one" | "existsOne" | "filter", 2) | ("map", 2 | 3) => {
                let names = self.names(&args[..1], &name)?;
                args.remove(0);
                self.fold(at, target, &name, names, args)
            }
            ("all" | "exists" | "existsOne" | "exists_one", 3)
            | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
                let names = self.names(&args[..2], &name)?;
                args.drain(..2);
                self.fold(at, target, &name, names, args)
            }
            ("optMap" | "optFlatMap", 2) => {
                let names = self.names(&args[..1], &name)?;
                let body = args.pop().ok_or_else(|| self.unexpected())?;
                let variable = names.into_iter().next().unwrap_or_default();
                self.opt_map(at, target, variable, body, name == "optFlatMap")
            }
            _ => {
                let (function, target) = (name, Some(Box::new(target)));
                self.make(at, Node::Call { function, target, args })
            }
        }
    }

    /// The variables of a macro.
    fn names(&self, args: &[Expr], macro_name: &str) -> Result<Vec<String>, Issue> {
        let mut names: Vec<String> = Vec::new();
        for arg in args {
            match &arg.node {
                Node::Ident(name) if names.contains(name) => {
                    return Err(self.issue(arg.at, format!("duplicate variable name: {name}")));
                }
                Node::Ident(name) => names.push(name.clone()),
                _ => {
                    let message = format!("argument must be a simple name in {macro_name}()");
                    return Err(self.issue(arg.at, message));
                }
            }
        }
        Ok(names)
    }

    fn fold(&mut self, at: usize, range: Expr, name: &str, names: Vec<String>, mut args: Vec<Expr>) -> Parsed {
        let last = args.pop().ok_or_else(|| self.unexpected())?;
        // map(x, filter, transform) and its like.
        let filter = args.pop();
        let truth = |parser: &mut Self, value| parser.literal(at, Literal::Bool(value));
        let result = self.ident(at, RESULT)?;
        let (init, condition, step, result) = match name {
            "all" => {
                let so_far = self.ident(at, RESULT)?;
                let condition = self.call(at, "@not_strictly_false", vec![so_far])?;
                let so_far = self.ident(at, RESULT)?;
                let step = self.call(at, "_&&_", vec![so_far, last])?;
                (truth(self, true)?, condition, step, result)
            }
            "exists" => {
                let so_far = self.ident(at, RESULT)?;
                let not = self.call(at, "!_", vec![so_far])?;
                let condition = self.call(at, "@not_strictly_false", vec![not])?;
                let so_far = self.ident(at, RESULT)?;
                let step = self.call(at, "_||_", vec![so_far, last])?;
                (truth(self, false)?, condition, step, result)
            }
            "exists_one" | "existsOne" => {
                let so_far = self.ident(at, RESULT)?;
                let one = self.literal(at, Literal::Int(1))?;
                let more = self.call(at, "_+_", vec![so_far, one])?;
                let same = self.ident(at, RESULT)?;
                let step = self.call(at, "_?_:_", vec![last, more, same])?;
                let one = self.literal(at, Literal::Int(1))?;
                let result = self.call(at, "_==_", vec![result, one])?;
                (self.literal(at, Literal::Int(0))?, truth(self, true)?, step, result)
            }
            _ => {
                let so_far = self.ident(at, RESULT)?;
                let (init, more) = match name {
                    "transformMap" => {
                        let key = self.ident(at, &names[0])?;
                        let more = self.call(at, "cel.@mapInsert", vec![so_far, key, last])?;
                        (Node::Map(Vec::new()), more)
                    }
                    "transformMapEntry" => {
                        let more = self.call(at, "cel.@mapInsert", vec![so_far, last])?;
                        (Node::Map(Vec::new()), more)
                    }
                    _ => {
                        let (item, filter) = match name {
                            "filter" => (self.ident(at, &names[0])?, Some(last)),
                            _ => (last, None),
                        };
                        let item = self.make(at, Node::List(vec![(item, false)]))?;
                        let more = self.call(at, "_+_", vec![so_far, item])?;
                        let more = match filter {
                            Some(filter) => self.only_if(at, filter, more)?,
                            None => more,
                        };
                        (Node::List(Vec::new()), more)
                    }
                };
                let step = match filter {
                    Some(filter) => self.only_if(at, filter, more)?,
                    None => more,
                };
                (self.make(at, init)?, truth(self, true)?, step, result)
            }
        };
        let mut names = names.into_iter();
        let fold = Fold {
            range,
            first: names.next().unwrap_or_default(),
            second: names.next(),
            init,
            condition,
            step,
            result,
        };
        self.make(at, Node::Fold(Box::new(fold)))
    }

    fn only_if(&mut self, at: usize, filter: Expr, more: Expr) -> Parsed {
        let same = self.ident(at, RESULT)?;
        self.call(at, "_?_:_", vec![filter, more, same])
    }

    /// The value inside an optional, if there is one, made another one. The target is bound so that it is there once.
    fn opt_map(&mut self, at: usize, target: Expr, variable: String, body: Expr, flat: bool) -> Parsed {
        const TARGET: &str = "@target";
        let method = |parser: &mut Self, name: &str| {
            let target = Some(Box::new(parser.ident(at, TARGET)?));
            let (function, args) = (name.to_owned(), Vec::new());
            parser.make(at, Node::Call { function, target, args })
        };
        let condition = method(self, "hasValue")?;
        let value = Box::new(method(self, "value")?);
        let name = variable;
        let body = Box::new(body);
        let inside = self.make(at, Node::Bind { name, value, body })?;
        let some = match flat {
            true => inside,
            false => self.call(at, "optional.of", vec![inside])?,
        };
        let none = self.call(at, "optional.none", Vec::new())?;
        let choice = self.call(at, "_?_:_", vec![condition, some, none])?;
        let node = Node::Bind {
            name: TARGET.to_owned(),
            value: Box::new(target),
            body: Box::new(choice),
        };
        self.make(at, node)
    }
}
