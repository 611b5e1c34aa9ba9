//! `CloudFormation` templates: YAML, and the intrinsic functions that alarms and dashboards need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use saphyr_parser::{Event, Parser};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// More levels than any template needs.
const MAX_DEPTH: usize = 100;

/// A template that is not valid, or uses something that is not supported here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", resource.as_ref().map(|id| format!(", {id}")).unwrap_or_default())]
pub struct TemplateError {
    /// The file, as the caller named it.
    pub file: String,
    /// The logical id of the resource, if the problem is in one.
    pub resource: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// A file's name and its text.
pub type File<'a> = (&'a str, &'a str);

/// Gives the value of a name: `Name` for a `Ref`, `Name.Attribute` for a `Fn::GetAtt`, or a pseudo parameter such as
/// `AWS::Region`.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value that a template may also give as a string.
#[derive(Clone, Copy)]
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map(Self).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}

/// What the files of a template declare.
#[derive(Default)]
pub(crate) struct Declared {
    /// The logical ids of the resources.
    pub(crate) resources: BTreeSet<String>,
    /// The names of the alarms, by logical id.
    pub(crate) alarms: BTreeMap<String, String>,
}

/// The values of the names in a template.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) declared: &'a Declared,
    pub(crate) resolve: Resolve<'a>,
}

impl Scope<'_> {
    /// The value with all its intrinsic functions evaluated.
    pub(crate) fn resolve(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::Object(members) => {
                if let Some((function, argument)) = intrinsic(members) {
                    return self.call(function, argument).map(Value::String);
                }
                let resolved = members.iter().map(|(name, value)| Ok((name.clone(), self.resolve(value)?)));
                Value::Object(resolved.collect::<Result<_, String>>()?)
            }
            Value::Array(values) => {
                Value::Array(values.iter().map(|value| self.resolve(value)).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    fn call(&self, function: &str, argument: &Value) -> Result<String, String> {
        let wrong = || format!("{function} does not take {argument}");
        match (function, argument) {
            ("Ref" | "Fn::GetAtt", Value::String(name)) => self.named(name),
            ("Fn::GetAtt", Value::Array(parts)) => self.named(&texts(parts).ok_or_else(wrong)?.join(".")),
            ("Fn::Sub", Value::String(text)) => substitute(text, &|name| self.named(name).ok()),
            ("Ref" | "Fn::GetAtt" | "Fn::Sub", _) => Err(wrong()),
            _ => Err(format!("{function} is not supported; Ref, GetAtt and Sub of a string are")),
        }
    }

    fn named(&self, name: &str) -> Result<String, String> {
        let alarm = |name: &str| self.declared.alarms.get(name).cloned();
        let arn = || Some(format!("arn:aws:cloudwatch:::alarm:{}", alarm(name.strip_suffix(".Arn")?)?));
        let known = alarm(name).or_else(arn).or_else(|| (self.resolve)(name));
        known.ok_or_else(|| format!("{name} is not defined"))
    }
}

/// Replaces each `${name}` with its value, as `Fn::Sub` does.
pub(crate) fn substitute(mut rest: &str, resolve: Resolve) -> Result<String, String> {
    let mut whole = String::new();
    while let Some((before, (name, after))) =
        rest.split_once("${").and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
    {
        whole.push_str(before);
        match name.strip_prefix('!') {
            Some(literal) => whole.extend(["${", literal, "}"]),
            None => whole.push_str(&resolve(name).ok_or_else(|| format!("{name} is not defined"))?),
        }
        rest = after;
    }
    Ok(whole + rest)
}

/// The function that an object calls, and its argument.
fn intrinsic(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    let is_function = name == "Ref" || name.starts_with("Fn::");
    is_function.then_some((name, argument))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn texts(values: &[Value]) -> Option<Vec<String>> {
    values.iter().map(text).collect()
}

/// Reads YAML, or JSON, which is YAML. Short forms of intrinsic functions become long ones.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    check_nesting(text)?;
    let documents = Yaml::load_from_str(text).map_err(|error| format!("not valid YAML: {error}"))?;
    documents.into_iter().next().map_or(Ok(Value::Null), plain)
}

/// The depth is limited because the YAML library reads nested values recursively, aliases because a few can expand to
/// gigabytes.
fn check_nesting(text: &str) -> Result<(), String> {
    let mut depth = 0;
    for event in Parser::new_from_str(text) {
        match event.map_err(|error| format!("not valid YAML: {error}"))?.0 {
            Event::Alias(_) => return Err("it has a YAML alias, which CloudFormation does not support".to_owned()),
            Event::SequenceStart(..) | Event::MappingStart(..) if depth == MAX_DEPTH => {
                return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

fn plain(yaml: Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(truth)) => truth.into(),
        Yaml::Value(Scalar::Integer(number)) => number.into(),
        Yaml::Value(Scalar::FloatingPoint(number)) => number.into_inner().into(),
        Yaml::Value(Scalar::String(string)) => string.into(),
        Yaml::Sequence(values) => Value::Array(values.into_iter().map(plain).collect::<Result<_, _>>()?),
        Yaml::Mapping(members) => {
            let member = |(name, value)| {
                let name = plain(name)?;
                let name = text(&name).ok_or("a key is not a string")?;
                Ok::<_, String>((name, plain(value)?))
            };
            Value::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
        }
        Yaml::Tagged(tag, value) if tag.handle == "!" => {
            let prefix = if tag.suffix == "Ref" { "" } else { "Fn::" };
            Value::Object(Map::from_iter([(format!("{prefix}{}", tag.suffix), plain(*value)?)]))
        }
        other => return Err(format!("not supported in a template: {other:?}")),
    })
}

/// The members of a section of a template, such as `Resources`.
pub(crate) fn members<'a>(template: &'a Value, section: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    template.get(section).and_then(Value::as_object).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_and_escaped_ones_are_kept() {
        let resolve = |name: &str| (name == "Stage").then(|| "dev".to_owned());
        assert_eq!(substitute("${!x} of ${Stage}", &resolve), Ok("${x} of dev".to_owned()));
        assert_eq!(substitute("${Other}", &resolve), Err("Other is not defined".to_owned()));
    }
}
