//! From tokens to trees.

mod macros;

use crate::ast::{Expr, Literal, Node};
use crate::error::Issue;
use crate::lex::{Token, tokens};

/// How deep expressions may be nested, so that no walk over one exhausts the stack.
const DEEPEST: usize = 160;
/// How long a source may be, in bytes.
const LONGEST: usize = 100_000;
/// Names that the grammar keeps for later.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// Operators by how closely they bind.
const OPERATORS: [(&str, &str, u8); 14] = [
    ("||", "_||_", 1),
    ("&&", "_&&_", 2),
    ("<", "_<_", 3),
    ("<=", "_<=_", 3),
    (">=", "_>=_", 3),
    (">", "_>_", 3),
    ("==", "_==_", 3),
    ("!=", "_!=_", 3),
    ("in", "@in", 3),
    ("+", "_+_", 4),
    ("-", "_-_", 4),
    ("*", "_*_", 5),
    ("/", "_/_", 5),
    ("%", "_%_", 5),
];

/// Whether a name is kept for the grammar.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || matches!(name, "true" | "false" | "null" | "in")
}

/// Reads a source; the second is how many expressions there are.
pub(crate) fn parse(source: &str) -> Result<(Expr, usize), Issue> {
    if source.len() > LONGEST {
        let message = format!(
            "expression code point size exceeds limit: size: {}, limit {LONGEST}",
            source.len()
        );
        return Err(Issue { at: 0, message });
    }
    let mut parser = Parser {
        tokens: tokens(source)?,
        next: 0,
        made: 0,
        level: 0,
    };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => Ok((expr, parser.made)),
        _ => Err(parser.unexpected()),
    }
}

pub(crate) struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    made: usize,
    level: usize,
}

type Parsed = Result<Expr, Issue>;

impl Parser {
    fn peek(&self) -> &Token {
        // The last one is the end, which nobody passes over.
        &self.tokens[self.next.min(self.tokens.len() - 1)].0
    }

    fn at(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].1
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.peek(), Token::Mark(found) if *found == mark)
    }

    fn accept(&mut self, mark: &str) -> bool {
        let found = self.is(mark);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &str) -> Result<(), Issue> {
        match self.accept(mark) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> Issue {
        let shown = match self.peek() {
            Token::End => "<EOF>".to_owned(),
            Token::Ident(name) => name.clone(),
            Token::Mark(mark) => (*mark).to_owned(),
            Token::Number(number) => number.to_string(),
            Token::Literal(_) => "literal".to_owned(),
        };
        self.issue(self.at(), format!("Syntax error: mismatched input '{shown}'"))
    }

    fn issue(&self, at: usize, message: impl Into<String>) -> Issue {
        Issue {
            at,
            message: message.into(),
        }
    }

    /// Makes an expression, unless there are too many levels below it.
    fn make(&mut self, at: usize, node: Node) -> Parsed {
        let depth = 1 + below(&node);
        if depth > DEEPEST {
            return Err(self.issue(at, format!("expression recursion limit exceeded: {DEEPEST}")));
        }
        let id = self.made;
        self.made += 1;
        Ok(Expr { id, at, depth, node })
    }

    fn call(&mut self, at: usize, function: &str, args: Vec<Expr>) -> Parsed {
        let function = function.to_owned();
        let target = None;
        self.make(at, Node::Call { function, target, args })
    }

    fn ident(&mut self, at: usize, name: &str) -> Parsed {
        self.make(at, Node::Ident(name.to_owned()))
    }

    fn literal(&mut self, at: usize, literal: Literal) -> Parsed {
        self.make(at, Node::Literal(literal))
    }

    fn expr(&mut self) -> Parsed {
        self.level += 1;
        if self.level > DEEPEST {
            return Err(self.issue(self.at(), format!("expression recursion limit exceeded: {DEEPEST}")));
        }
        let condition = self.binary(1)?;
        let at = self.at();
        let result = if self.accept("?") {
            let yes = self.binary(1)?;
            self.expect(":")?;
            let no = self.expr()?;
            self.call(at, "_?_:_", vec![condition, yes, no])
        } else {
            Ok(condition)
        };
        self.level -= 1;
        result
    }

    /// Operators that bind at least so closely.
    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Token::Mark(mark) => OPERATORS
                    .iter()
                    .find(|(text, _, binds)| text == mark && *binds >= least),
                _ => None,
            };
            let Some((mark, function, binds)) = operator else {
                return Ok(left);
            };
            if matches!(*mark, "&&" | "||") {
                left = self.chain(left, mark, function, *binds)?;
                continue;
            }
            let at = self.at();
            self.next += 1;
            let right = self.binary(binds + 1)?;
            left = self.call(at, function, vec![left, right])?;
        }
    }

    /// Many terms that hold all or one of which holds, as a tree that is not deeper than it must be.
    fn chain(&mut self, first: Expr, mark: &str, function: &str, binds: u8) -> Parsed {
        let mut terms = vec![first];
        let mut places = Vec::new();
        while self.is(mark) {
            places.push(self.at());
            self.next += 1;
            terms.push(self.binary(binds + 1)?);
        }
        self.balance(terms, &places, function)
    }

    fn balance(&mut self, mut terms: Vec<Expr>, places: &[usize], function: &str) -> Parsed {
        if terms.len() == 1 {
            // There was one to begin with.
            return terms.pop().ok_or_else(|| self.unexpected());
        }
        let middle = terms.len().div_ceil(2);
        let right = terms.split_off(middle);
        let left = self.balance(terms, &places[..middle - 1], function)?;
        let right = self.balance(right, &places[middle..], function)?;
        self.call(places[middle - 1], function, vec![left, right])
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at();
        let mark = match self.peek() {
            Token::Mark(mark @ ("!" | "-")) => *mark,
            _ => return self.member(),
        };
        let mut count = 0;
        while self.accept(mark) {
            count += 1;
        }
        if mark == "!" {
            let operand = self.member()?;
            return match count % 2 {
                0 => Ok(operand),
                _ => self.call(at, "!_", vec![operand]),
            };
        }
        if count == 1 {
            match self.peek().clone() {
                Token::Number(number) => {
                    self.next += 1;
                    let value = 0i64.checked_sub_unsigned(number);
                    let value = value.ok_or_else(|| self.issue(at, "Syntax error: invalid int literal"))?;
                    let literal = self.literal(at, Literal::Int(value))?;
                    return self.selectors(literal);
                }
                Token::Literal(Literal::Double(number)) => {
                    self.next += 1;
                    let literal = self.literal(at, Literal::Double(-number))?;
                    return self.selectors(literal);
                }
                _ => {}
            }
        }
        let operand = self.member()?;
        match count % 2 {
            0 => Ok(operand),
            _ => self.call(at, "-_", vec![operand]),
        }
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.selectors(primary)
    }

    fn selectors(&mut self, mut expr: Expr) -> Parsed {
        loop {
            let at = self.at();
            if self.accept(".") {
                let optional = self.accept("?");
                let name_at = self.at();
                let Token::Ident(name) = self.advance() else {
                    self.next -= 1;
                    return Err(self.unexpected());
                };
                expr = if optional {
                    let field = self.literal(name_at, Literal::String(name))?;
                    self.call(at, "_?._", vec![expr, field])?
                } else if self.is("(") {
                    let open = self.at();
                    self.next += 1;
                    let args = self.list(")")?;
                    self.method(open, expr, name, args)?
                } else {
                    let operand = Box::new(expr);
                    let (field, test) = (name, false);
                    self.make(at, Node::Select { operand, field, test })?
                };
            } else if self.accept("[") {
                let optional = self.accept("?");
                let index = self.expr()?;
                self.expect("]")?;
                expr = self.call(at, if optional { "_[?_]" } else { "_[_]" }, vec![expr, index])?;
            } else if self.is("{")
                && let Some(name) = expr.path()
            {
                self.next += 1;
                let fields = self.fields()?;
                expr = self.make(at, Node::Struct(name, fields))?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        match self.advance() {
            Token::Literal(literal) => self.literal(at, literal),
            Token::Number(number) => {
                let value = i64::try_from(number).map_err(|_| self.issue(at, "Syntax error: invalid int literal"))?;
                self.literal(at, Literal::Int(value))
            }
            Token::Mark("(") => {
                let inside = self.expr()?;
                self.expect(")")?;
                Ok(inside)
            }
            Token::Mark("[") => {
                let mut items = Vec::new();
                while !self.accept("]") {
                    let optional = self.accept("?");
                    items.push((self.expr()?, optional));
                    if !self.accept(",") && !self.is("]") {
                        return Err(self.unexpected());
                    }
                }
                self.make(at, Node::List(items))
            }
            Token::Mark("{") => {
                let mut entries = Vec::new();
                while !self.accept("}") {
                    let optional = self.accept("?");
                    let key = self.expr()?;
                    self.expect(":")?;
                    entries.push((key, self.expr()?, optional));
                    if !self.accept(",") && !self.is("}") {
                        return Err(self.unexpected());
                    }
                }
                self.make(at, Node::Map(entries))
            }
            Token::Mark(".") => match self.advance() {
                Token::Ident(name) => self.named(at, name),
                _ => {
                    self.next -= 1;
                    Err(self.unexpected())
                }
            },
            Token::Ident(name) => self.named(at, name),
            _ => {
                self.next -= 1;
                Err(self.unexpected())
            }
        }
    }

    fn named(&mut self, at: usize, name: String) -> Parsed {
        if RESERVED.contains(&name.as_str()) {
            return Err(self.issue(at, format!("reserved identifier: {name}")));
        }
        if self.is("(") {
            let open = self.at();
            self.next += 1;
            let args = self.list(")")?;
            return self.function(open, name, args);
        }
        self.make(at, Node::Ident(name))
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>, Issue> {
        let mut list = Vec::new();
        if self.accept(end) {
            return Ok(list);
        }
        loop {
            list.push(self.expr()?);
            if !self.accept(",") {
                self.expect(end)?;
                return Ok(list);
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<(String, Expr, bool)>, Issue> {
        let mut fields = Vec::new();
        while !self.accept("}") {
            let optional = self.accept("?");
            let Token::Ident(name) = self.advance() else {
                self.next -= 1;
                return Err(self.unexpected());
            };
            self.expect(":")?;
            fields.push((name, self.expr()?, optional));
            if !self.accept(",") && !self.is("}") {
                return Err(self.unexpected());
            }
        }
        Ok(fields)
    }
}

/// The greatest depth of the parts of a node.
fn below(node: &Node) -> usize {
    match node {
        Node::Literal(_) | Node::Ident(_) => 0,
        Node::Select { operand, .. } => operand.depth,
        Node::Call { target, args, .. } => {
            let target = target.as_ref().map_or(0, |target| target.depth);
            args.iter().map(|arg| arg.depth).fold(target, usize::max)
        }
        Node::List(items) => items.iter().map(|(item, _)| item.depth).max().unwrap_or(0),
        Node::Map(entries) => {
            let depths = entries.iter().map(|(key, value, _)| key.depth.max(value.depth));
            depths.max().unwrap_or(0)
        }
        Node::Struct(_, fields) => fields.iter().map(|(_, value, _)| value.depth).max().unwrap_or(0),
        Node::Fold(fold) => {
            let parts = [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result];
            parts.into_iter().map(|part| part.depth).max().unwrap_or(0)
        }
        Node::Bind { value, body, .. } => value.depth.max(body.depth),
    }
}
