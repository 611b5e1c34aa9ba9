//! Parses queries.

use super::expression::{Aggregate, Comparison, Expression, Function, Operator};
use super::value::Value;
use super::{Column, Command, Query, QueryError};

/// How deeply expressions may be nested.
const MAX_DEPTH: usize = 32;

/// A token of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    /// A command, a field, a function, an operator in letters, or a number.
    Word(&'a str),
    /// Quoted text, without the quotes.
    Text(&'a str),
    Symbol(&'a str),
    End,
}

/// The first token, and the text after it.
fn token(text: &str) -> Option<(Token<'_>, &str)> {
    let text = text.trim_start();
    let Some(first) = text.chars().next() else { return Some((Token::End, "")) };
    if let '"' | '\'' = first {
        let (inner, rest) = text[1..].split_once(first)?;
        return Some((Token::Text(inner), rest));
    }
    let is_part = |character: char| character.is_ascii_alphanumeric() || ['_', '@', '.'].contains(&character);
    if is_part(first) {
        let (word, rest) = text.split_at(text.find(|character| !is_part(character)).unwrap_or(text.len()));
        return Some((Token::Word(word), rest));
    }
    let symbols = ["!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", "|", "*"];
    symbols.into_iter().find_map(|symbol| Some((Token::Symbol(symbol), text.strip_prefix(symbol)?)))
}

pub(super) fn query(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser { rest: text, depth: 0 };
    if parser.take_word("SOURCE") {
        parser.expected_text()?;
        parser.expect("|")?;
    }
    let mut commands = vec![parser.command()?];
    while !parser.is_at_end() {
        parser.expect("|")?;
        commands.push(parser.command()?);
    }
    Ok(Query { commands })
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn command(&mut self) -> Result<Command, QueryError> {
        let before = self.rest;
        Ok(match self.word() {
            Some("fields") => Command::Fields(self.columns()?),
            Some("filter") => Command::Filter(self.expression()?),
            Some("stats") => {
                let columns = self.columns()?;
                let by = if self.take_word("by") { self.columns()? } else { Vec::new() };
                Command::Stats { columns, by }
            }
            Some("sort") => {
                let by = self.expression()?;
                let is_descending = self.take_word("desc");
                if !is_descending {
                    self.take_word("asc");
                }
                Command::Sort { by, is_descending }
            }
            Some("limit") => match self.word().and_then(|word| word.parse().ok()) {
                Some(rows) => Command::Limit(rows),
                None => return Err(self.error("limit needs a number")),
            },
            _ => {
                self.rest = before;
                return Err(self.error("it needs a command: fields, filter, stats, sort or limit"));
            }
        })
    }

    fn columns(&mut self) -> Result<Vec<Column>, QueryError> {
        let mut columns = Vec::new();
        loop {
            let text = self.rest;
            let expression = self.expression()?;
            let written = text[..text.len() - self.rest.len()].trim().to_owned();
            let name = if self.take_word("as") {
                self.word().ok_or_else(|| self.error("`as` needs a name"))?.to_owned()
            } else {
                written
            };
            columns.push(Column { name, expression });
            if !self.take(",") {
                return Ok(columns);
            }
        }
    }

    fn expression(&mut self) -> Result<Expression, QueryError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("it is too deep"));
        }
        let mut left = self.conjunction()?;
        while self.take_word("or") {
            left = Expression::Binary(Operator::Or, Box::new([left, self.conjunction()?]));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expression, QueryError> {
        let mut left = self.comparison()?;
        while self.take_word("and") {
            left = Expression::Binary(Operator::And, Box::new([left, self.comparison()?]));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, QueryError> {
        let left = self.operand()?;
        if self.take_word("in") {
            self.expect("[")?;
            let others = self.list("]")?;
            return Ok(Expression::In(Box::new(left), others));
        }
        let comparisons = [
            ("=", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<", Comparison::Less),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            (">=", Comparison::GreaterOrEqual),
        ];
        match comparisons.into_iter().find(|(symbol, _)| self.take(symbol)) {
            Some((_, comparison)) => {
                Ok(Expression::Binary(Operator::Compare(comparison), Box::new([left, self.operand()?])))
            }
            None => Ok(left),
        }
    }

    fn operand(&mut self) -> Result<Expression, QueryError> {
        match token(self.rest) {
            Some((Token::Symbol("("), rest)) => {
                self.rest = rest;
                let within = self.expression()?;
                self.expect(")")?;
                Ok(within)
            }
            Some((Token::Text(text), rest)) => {
                self.rest = rest;
                Ok(Expression::Value(Value::Text(text.to_owned())))
            }
            Some((Token::Word(word), rest)) => {
                self.rest = rest;
                if self.take("(") {
                    return self.call(word);
                }
                Ok(match word.parse() {
                    Ok(number) => Expression::Value(Value::Number(number)),
                    Err(_) => Expression::Field(word.to_owned()),
                })
            }
            _ => Err(self.error("it needs a field, a value or a function")),
        }
    }

    /// The arguments of a function, after its parenthesis.
    fn call(&mut self, name: &str) -> Result<Expression, QueryError> {
        let (function, arguments) = match name {
            "bin" => {
                let Some(length) = self.word().and_then(milliseconds) else {
                    return Err(self.error("bin needs a period, such as 5m or 1h"));
                };
                self.expect(")")?;
                return Ok(Expression::Call(Function::Bin(length), Vec::new()));
            }
            "coalesce" => (Function::Coalesce, 1..usize::MAX),
            "fromMillis" => (Function::FromMillis, 1..2),
            "ispresent" => (Function::IsPresent, 1..2),
            "strlen" => (Function::Strlen, 1..2),
            _ => return self.aggregate(name),
        };
        let given = self.list(")")?;
        if !arguments.contains(&given.len()) {
            return Err(self.error(format!("{name} does not take so many arguments")));
        }
        Ok(Expression::Call(function, given))
    }

    fn aggregate(&mut self, name: &str) -> Result<Expression, QueryError> {
        let aggregate = match name {
            "avg" => Aggregate::Average,
            "count" => Aggregate::Count,
            "count_distinct" => Aggregate::CountDistinct,
            "max" => Aggregate::Maximum,
            "min" => Aggregate::Minimum,
            "sum" => Aggregate::Sum,
            _ => return Err(self.error(format!("there is no function {name} here"))),
        };
        // Every row has a message, so all rows are counted.
        let argument = if aggregate == Aggregate::Count && self.take("*") {
            Expression::Field("@message".to_owned())
        } else {
            self.expression()?
        };
        self.expect(")")?;
        Ok(Expression::Aggregate(aggregate, Box::new(argument)))
    }

    /// Expressions up to this symbol.
    fn list(&mut self, end: &'static str) -> Result<Vec<Expression>, QueryError> {
        let mut list = vec![self.expression()?];
        while self.take(",") {
            list.push(self.expression()?);
        }
        self.expect(end)?;
        Ok(list)
    }

    fn is_at_end(&self) -> bool {
        matches!(token(self.rest), Some((Token::End, _)))
    }

    fn take(&mut self, symbol: &str) -> bool {
        match token(self.rest) {
            Some((Token::Symbol(found), rest)) if found == symbol => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), QueryError> {
        if self.take(symbol) { Ok(()) } else { Err(self.error(format!("it needs `{symbol}` here"))) }
    }

    fn expected_text(&mut self) -> Result<(), QueryError> {
        match token(self.rest) {
            Some((Token::Text(_), rest)) => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.error("it needs text in quotes here")),
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        match token(self.rest) {
            Some((Token::Word(word), rest)) => {
                self.rest = rest;
                Some(word)
            }
            _ => None,
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        match token(self.rest) {
            Some((Token::Word(found), rest)) if found == word => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn error(&self, problem: impl Into<String>) -> QueryError {
        QueryError { problem: problem.into(), rest: self.rest.trim_start().to_owned() }
    }
}

/// A period such as `5m`.
fn milliseconds(period: &str) -> Option<i64> {
    let (number, unit) = period.split_at(period.find(|character: char| !character.is_ascii_digit())?);
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit).filter(|length| *length > 0)
}
