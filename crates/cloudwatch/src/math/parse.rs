//! Parses expressions.

use std::collections::BTreeMap;
use std::fmt;

use super::node::{Filler, Node, OPERATORS, Operator};
use super::{MAX_DEPTH, MAX_OPERANDS, MathError, Problem, Query};

/// A token of an expression.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Number(f64),
    /// An Id, a function, AND or OR.
    Name(&'a str),
    Symbol(&'a str),
    /// A character that no expression contains.
    Other(char),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(text) | Self::Symbol(text) => write!(f, "`{text}`"),
            Self::Other(other) => write!(f, "`{other}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The first token, and the text after it.
fn token(text: &str) -> (Token<'_>, &str) {
    let text = text.trim_start();
    let split = |is_part: fn(char) -> bool| text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    let Some(first) = text.chars().next() else { return (Token::End, "") };
    if first.is_ascii_alphabetic() || first == '_' {
        let (name, rest) = split(|c| c.is_ascii_alphanumeric() || c == '_');
        return (Token::Name(name), rest);
    }
    if first.is_ascii_digit() || first == '.' {
        let (number, rest) = split(|c| c.is_ascii_digit() || c == '.');
        return number.parse().map_or((Token::Other(first), rest), |number| (Token::Number(number), rest));
    }
    let symbols = ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "(", ")", ","];
    let symbol = symbols.into_iter().find_map(|symbol| Some((Token::Symbol(symbol), text.strip_prefix(symbol)?)));
    symbol.unwrap_or((Token::Other(first), &text[first.len_utf8()..]))
}

/// The parser's state, including all expressions that are referred to.
#[derive(Default)]
pub(super) struct Reading {
    /// The Ids whose expressions are being parsed.
    within: Vec<String>,
    depth: usize,
    operands: usize,
}

pub(super) struct Parser<'a> {
    queries: &'a BTreeMap<&'a str, Query<'a>>,
    reading: &'a mut Reading,
    expression: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// Parses the metric or expression with this Id; `None` if it does not exist.
    pub(super) fn query(
        id: &str,
        queries: &'a BTreeMap<&'a str, Query<'a>>,
        reading: &'a mut Reading,
    ) -> Option<Result<Node, MathError>> {
        Some(match queries.get(id)? {
            Query::Metric(metric) => Ok(Node::Metric(*metric)),
            Query::Expression(expression) => {
                reading.within.push(id.to_owned());
                let mut parser = Parser { queries, reading: &mut *reading, expression, rest: expression };
                let node = parser.binary(&OPERATORS).and_then(|node| match parser.take() {
                    Token::End => Ok(node),
                    found => Err(parser.syntax("an operator or the end", found)),
                });
                reading.within.pop();
                node
            }
        })
    }

    fn binary(&mut self, operators: &[&[(&str, Operator)]]) -> Result<Node, MathError> {
        let Some((level, tighter)) = operators.split_first() else { return self.unary() };
        let mut node = self.binary(tighter)?;
        loop {
            let (next, rest) = token(self.rest);
            let is_next = |text: &str| next == Token::Symbol(text) || next == Token::Name(text);
            let Some((_, operator)) = level.iter().find(|(text, _)| is_next(text)) else { return Ok(node) };
            self.rest = rest;
            node = Node::Binary(*operator, Box::new([node, self.binary(tighter)?]));
        }
    }

    fn unary(&mut self) -> Result<Node, MathError> {
        self.reading.depth += 1;
        self.reading.operands += 1;
        if self.reading.depth > MAX_DEPTH || self.reading.operands > MAX_OPERANDS {
            return Err(self.error(Problem::Large));
        }
        let node = self.operand();
        self.reading.depth -= 1;
        node
    }

    fn operand(&mut self) -> Result<Node, MathError> {
        match self.take() {
            Token::Symbol("-") => Ok(Node::Unary(|value| -value, Box::new(self.unary()?))),
            Token::Symbol("(") => {
                let node = self.binary(&OPERATORS)?;
                self.expect(")")?;
                Ok(node)
            }
            Token::Number(number) => Ok(Node::Number(number)),
            Token::Name(name) if self.is_next("(") => self.function(name),
            Token::Name(name) => {
                let id = name.to_owned();
                if self.reading.within.contains(&id) {
                    return Err(self.error(Problem::Cycle(id)));
                }
                Parser::query(&id, self.queries, self.reading).unwrap_or_else(|| Err(self.error(Problem::Id(id))))
            }
            found => Err(self.syntax("a number, an Id, a function or (", found)),
        }
    }

    fn function(&mut self, name: &str) -> Result<Node, MathError> {
        if !["ABS", "EPOCH", "FILL", "FLOOR", "IF"].contains(&name) {
            return Err(self.error(Problem::Function(name.to_owned())));
        }
        self.expect("(")?;
        let node = match name {
            "ABS" => Node::Unary(f64::abs, Box::new(self.series()?)),
            "FLOOR" => Node::Unary(f64::floor, Box::new(self.series()?)),
            // Only the periods of its series matter, and those are the same for all.
            "EPOCH" => self.series().map(|_| Node::Epoch)?,
            "IF" => {
                let condition = self.binary(&OPERATORS)?;
                self.expect(",")?;
                let then = self.binary(&OPERATORS)?;
                let otherwise = if self.is_next(",") {
                    self.expect(",")?;
                    Some(Box::new(self.binary(&OPERATORS)?))
                } else {
                    None
                };
                Node::If(Box::new([condition, then]), otherwise)
            }
            _ => {
                let of = self.series()?;
                self.expect(",")?;
                Node::Fill(Box::new(of), self.filler()?)
            }
        };
        self.expect(")")?;
        Ok(node)
    }

    fn filler(&mut self) -> Result<Filler, MathError> {
        let (filler, rest) = match token(self.rest) {
            (Token::Name("REPEAT"), rest) => (Filler::Repeat, rest),
            (Token::Name("LINEAR"), rest) => (Filler::Linear, rest),
            _ => return Ok(Filler::Value(Box::new(self.binary(&OPERATORS)?))),
        };
        self.rest = rest;
        Ok(filler)
    }

    fn series(&mut self) -> Result<Node, MathError> {
        let node = self.binary(&OPERATORS)?;
        if node.is_series() { Ok(node) } else { Err(self.error(Problem::Scalar("a function's argument"))) }
    }

    fn take(&mut self) -> Token<'a> {
        let (token, rest) = token(self.rest);
        self.rest = rest;
        token
    }

    fn is_next(&self, symbol: &str) -> bool {
        token(self.rest).0 == Token::Symbol(symbol)
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), MathError> {
        let (found, rest) = token(self.rest);
        if found != Token::Symbol(symbol) {
            return Err(self.syntax(&format!("`{symbol}`"), found));
        }
        self.rest = rest;
        Ok(())
    }

    fn syntax(&self, expected: &str, found: Token) -> MathError {
        self.error(Problem::Syntax { expected: expected.to_owned(), found: found.to_string() })
    }

    fn error(&self, problem: Problem) -> MathError {
        MathError { expression: self.expression.to_owned(), problem }
    }
}
