//! Reads the alarms out of `CloudFormation` templates, with the intrinsic functions that those need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::alarm::{Comparison, MissingData, Rule};
use super::math::{Expression, Query};
use super::metrics::{Metric, Stat};
use super::{Actions, Alarm, Kind, MetricAlarm, composite};

/// A template that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", resource.as_ref().map(|id| format!(", {id}")).unwrap_or_default())]
pub struct TemplateError {
    /// The file, as the caller named it.
    pub file: String,
    /// The logical id of the resource, where it is about one.
    pub resource: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// A file's name and its text.
pub type File<'a> = (&'a str, &'a str);

/// Gives the text that a name stands for: `Name` for a `Ref`, `Name.Attribute` for a `Fn::GetAtt`, `AWS::Region` and its
/// like, and `self:service`, `sls:stage` or `param:name` for the variables of the Serverless Framework.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Option<String>;

const ALARM: &str = "AWS::CloudWatch::Alarm";
const COMPOSITE_ALARM: &str = "AWS::CloudWatch::CompositeAlarm";
/// So many metrics an alarm's expressions may use.
const MOST_METRICS: usize = 10;
/// Properties that change nothing of an alarm's states.
const WITHOUT_EFFECT: [&str; 5] =
    ["ActionsEnabled", "ActionsSuppressor", "ActionsSuppressorExtensionPeriod", "ActionsSuppressorWaitPeriod", "Tags"];

/// The alarms of these files, which are one template together, in the order of their logical ids. Resources of other
/// kinds are passed over. An alarm stands for its name, and a parameter that `resolve` does not know for its default.
///
/// # Errors
///
/// Says which file and which resource cannot be understood, and why.
pub(super) fn read(files: &[File], resolve: Resolve) -> Result<Vec<Alarm>, TemplateError> {
    let error = |file: &str, id: Option<&str>| {
        let (file, resource) = (file.to_owned(), id.map(ToOwned::to_owned));
        move |problem| TemplateError { file, resource, problem }
    };
    let mut declared = Declared::default();
    let mut alarms = Vec::new();
    for (file, text) in files {
        let template = parse(text).map_err(error(file, None))?;
        for (name, parameter) in members(&template, "Parameters") {
            declared.defaults.extend(parameter.get("Default").map(|default| (name.clone(), default.clone())));
        }
        declared.conditions.extend(members(&template, "Conditions").map(|(name, value)| (name.clone(), value.clone())));
        for (id, resource) in members(&template, "Resources") {
            if !declared.resources.insert(id.clone()) {
                return Err(error(file, Some(id))("the resource is there twice".to_owned()));
            }
            if [ALARM, COMPOSITE_ALARM].map(Some).contains(&resource["Type"].as_str()) {
                alarms.push((id.clone(), *file, resource.clone()));
            }
        }
    }
    alarms.sort_by(|(left, ..), (right, ..)| left.cmp(right));

    let mut names = BTreeMap::new();
    for (id, file, resource) in &alarms {
        let scope = Scope { declared: &declared, resolve };
        let name = scope.resolve(&resource["Properties"]["AlarmName"]).map_err(error(file, Some(id)))?;
        names.insert(id.clone(), name.as_ref().and_then(Value::as_str).unwrap_or(id).to_owned());
    }
    declared.alarms = names;

    let scope = Scope { declared: &declared, resolve };
    let read = alarms.iter().map(|(id, file, resource)| {
        let is_there = resource["Condition"].as_str().map_or(Ok(true), |name| scope.condition(name));
        let read = is_there.and_then(|is_there| is_there.then(|| alarm(&scope, id, resource)).transpose());
        read.map_err(error(file, Some(id))).transpose()
    });
    read.flatten().collect()
}

fn alarm(scope: &Scope, id: &str, resource: &Value) -> Result<Alarm, String> {
    let mut properties = resource["Properties"].as_object().cloned().ok_or("it has no Properties")?;
    properties.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
    let mut actions = |property: &str| {
        let by_id = |name: &str| {
            let id = name.split('.').next().unwrap_or(name);
            if scope.declared.resources.contains(id) { Some(id.to_owned()) } else { (scope.resolve)(name) }
        };
        let actions = properties.remove(property).unwrap_or_default();
        let actions = Scope { resolve: &by_id, ..*scope }.resolve(&actions)?.unwrap_or_default();
        let actions: Option<Vec<String>> = from_value(actions, property)?;
        Ok::<_, String>(actions.unwrap_or_default())
    };
    let actions = Actions {
        alarm: actions("AlarmActions")?,
        ok: actions("OKActions")?,
        insufficient_data: actions("InsufficientDataActions")?,
    };
    properties.remove("AlarmName");
    let name = scope.declared.alarms.get(id).cloned().unwrap_or_default();
    let description = properties.remove("AlarmDescription").unwrap_or_default();
    let description: Option<String> = from_value(scope.resolve(&description)?.unwrap_or_default(), "AlarmDescription")?;
    let metadata = scope.resolve(&resource["Metadata"])?.unwrap_or_default();
    let properties = scope.resolve(&Value::Object(properties))?.unwrap_or_default();
    let kind = if resource["Type"] == COMPOSITE_ALARM {
        let properties: CompositeProperties = from_value(properties, "Properties")?;
        Kind::Composite(composite::Rule::parse(&properties.alarm_rule).map_err(|error| error.to_string())?)
    } else {
        Kind::Metric(Box::new(metric_alarm(from_value(properties, "Properties")?)?))
    };
    Ok(Alarm { id: id.to_owned(), name, description: description.unwrap_or_default(), actions, metadata, kind })
}

fn metric_alarm(mut properties: MetricProperties) -> Result<MetricAlarm, String> {
    let queries = queries(&mut properties)?;
    let returned: Vec<_> =
        queries.iter().filter(|query| query.return_data.is_none_or(|Text(returned)| returned)).collect();
    let [returned] = returned[..] else {
        return Err(format!("ReturnData must be true for one of Metrics, and is for {}", returned.len()));
    };
    let mut ids = BTreeMap::new();
    let (mut metrics, mut periods) = (Vec::new(), BTreeSet::new());
    for query in &queries {
        let source = match (&query.metric_stat, &query.expression) {
            (Some(MetricStat { metric, period: Text(period), stat: Text(stat) }), None) => {
                let dimensions =
                    metric.dimensions.iter().map(|Dimension { name, value }| (name.clone(), value.clone())).collect();
                let (namespace, name) = (metric.namespace.clone(), metric.metric_name.clone());
                metrics.push((Metric { namespace, name, dimensions }, *stat));
                periods.insert(*period);
                Query::Metric(metrics.len() - 1)
            }
            (None, Some(expression)) => Query::Expression(expression),
            _ => return Err(format!("{} must have either MetricStat or Expression", query.id)),
        };
        if ids.insert(query.id.as_str(), source).is_some() {
            return Err(format!("the Id {} is there twice", query.id));
        }
    }
    if metrics.len() > MOST_METRICS {
        return Err(format!("it uses {} metrics, and CloudWatch takes {MOST_METRICS} at most", metrics.len()));
    }
    let seconds = match periods.into_iter().collect::<Vec<_>>()[..] {
        [seconds] => seconds,
        [] => return Err("it uses no metric".to_owned()),
        ref several => return Err(format!("its metrics must have one Period, and have {several:?}")),
    };
    if seconds == 0 || seconds % 60 != 0 {
        return Err(format!("Period is {seconds}; only whole minutes are known here, 60 seconds and its multiples"));
    }
    let Text(evaluation_periods) = properties.evaluation_periods;
    let datapoints_to_alarm = properties.datapoints_to_alarm.map_or(evaluation_periods, |Text(datapoints)| datapoints);
    if !(1..=evaluation_periods).contains(&datapoints_to_alarm) {
        return Err(format!(
            "DatapointsToAlarm must be from 1 to EvaluationPeriods, and is {datapoints_to_alarm} of {evaluation_periods}"
        ));
    }
    // AWS's default: a table without traffic has no metrics. In earlier editions of its documents there is nothing else.
    let of_dynamodb = metrics.iter().any(|(metric, _)| metric.namespace == "AWS/DynamoDB");
    let default = if of_dynamodb { MissingData::Ignore } else { MissingData::Missing };
    let samples_needed = samples_needed(&metrics, properties.evaluate_low_sample_count_percentile.as_deref())?;
    let rule = Rule {
        evaluation_periods,
        datapoints_to_alarm,
        comparison: properties.comparison_operator.0,
        threshold: properties.threshold.0,
        missing_data: properties.treat_missing_data.map_or(default, |Text(missing)| missing),
    };
    let expression = Expression::new(&returned.id, &ids).map_err(|error| error.to_string())?;
    Ok(MetricAlarm { expression, metrics, period_minutes: seconds / 60, samples_needed, rule })
}

/// What the alarm is made of, where it has no `Metrics` too.
fn queries(properties: &mut MetricProperties) -> Result<Vec<QueryProperty>, String> {
    let MetricProperties { metric_name, namespace, dimensions, period, statistic, extended_statistic, .. } = properties;
    let stat = statistic.or(*extended_statistic);
    let queries = std::mem::take(&mut properties.metrics);
    match (metric_name.take(), namespace.take(), *period, stat) {
        (Some(metric_name), Some(namespace), Some(period), Some(stat)) if queries.is_empty() => {
            let metric = MetricProperty { metric_name, namespace, dimensions: std::mem::take(dimensions) };
            let metric_stat = Some(MetricStat { metric, period, stat });
            let id = "m".to_owned();
            Ok(vec![QueryProperty { id, expression: None, metric_stat, return_data: None, _label: None }])
        }
        (None, None, None, None) if !queries.is_empty() => Ok(queries),
        _ => Err("it must have Metrics, or Namespace, MetricName, Period and a statistic, and not both".to_owned()),
    }
}

/// Below so many samples a percentile says little, for AWS; none where the alarm takes it all the same.
fn samples_needed(metrics: &[(Metric, Stat)], low_sample_count: Option<&str>) -> Result<Option<f64>, String> {
    match (low_sample_count, metrics) {
        (None | Some("evaluate"), _) => Ok(None),
        (Some("ignore"), [(_, Stat::Percentile(percent))]) => {
            Ok(Some(1000.0 / if *percent < 50.0 { *percent } else { 100.0 - percent }))
        }
        (Some("ignore"), _) => Err("EvaluateLowSampleCountPercentile ignore is for one percentile".to_owned()),
        (Some(_), _) => Err("EvaluateLowSampleCountPercentile must be evaluate or ignore".to_owned()),
    }
}

fn from_value<T: DeserializeOwned>(value: Value, what: &str) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("{what}: {error}"))
}

/// What a template declares.
#[derive(Default)]
struct Declared {
    /// The parameters' default values.
    defaults: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Value>,
    /// The resources' logical ids.
    resources: BTreeSet<String>,
    /// The alarms' names by their logical ids.
    alarms: BTreeMap<String, String>,
}

/// What the names in a template stand for.
#[derive(Clone, Copy)]
struct Scope<'a> {
    declared: &'a Declared,
    resolve: Resolve<'a>,
}

impl Scope<'_> {
    /// The value with all its intrinsic functions evaluated; none for `AWS::NoValue`.
    fn resolve(&self, value: &Value) -> Result<Option<Value>, String> {
        Ok(Some(match value {
            Value::Object(members) => {
                if let Some((function, argument)) = intrinsic(members) {
                    return self.call(function, argument);
                }
                let mut resolved = Map::new();
                for (name, value) in members {
                    resolved.extend(self.resolve(value)?.map(|value| (name.clone(), value)));
                }
                Value::Object(resolved)
            }
            Value::Array(values) => {
                let values: Result<Vec<_>, _> = values.iter().map(|value| self.resolve(value)).collect();
                Value::Array(values?.into_iter().flatten().collect())
            }
            Value::String(text) => Value::String(self.expand(text, None)?),
            other => other.clone(),
        }))
    }

    fn call(&self, function: &str, argument: &Value) -> Result<Option<Value>, String> {
        let wrong = || format!("{function} cannot be used so: {argument}");
        Ok(Some(match (function, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => return Ok(None),
            ("Ref" | "Fn::GetAtt", Value::String(name)) => self.named(name)?,
            ("Fn::GetAtt", Value::Array(parts)) => self.named(&texts(parts).ok_or_else(wrong)?.join("."))?,
            ("Fn::Sub", Value::String(text)) => Value::String(self.expand(text, Some(&Map::new()))?),
            ("Fn::Sub", Value::Array(parts)) => match &parts[..] {
                [Value::String(text), Value::Object(names)] => Value::String(self.expand(text, Some(names))?),
                _ => return Err(wrong()),
            },
            ("Fn::Join", Value::Array(parts)) => match &parts[..] {
                [Value::String(separator), values] => {
                    let values = self.resolve(values)?.unwrap_or_default();
                    let values = values.as_array().ok_or_else(wrong)?.iter().map(text).collect::<Option<Vec<_>>>();
                    Value::String(values.ok_or_else(wrong)?.join(separator))
                }
                _ => return Err(wrong()),
            },
            ("Fn::If", Value::Array(parts)) => match &parts[..] {
                [Value::String(name), then, otherwise] => {
                    return self.resolve(if self.condition(name)? { then } else { otherwise });
                }
                _ => return Err(wrong()),
            },
            _ => return Err(format!("{function} is not known here; Ref, Sub, GetAtt, Join and If are")),
        }))
    }

    fn named(&self, name: &str) -> Result<Value, String> {
        let alarm = |name: &str| self.declared.alarms.get(name).cloned();
        let arn = || Some(format!("arn:aws:cloudwatch:::alarm:{}", alarm(name.strip_suffix(".Arn")?)?));
        let known = alarm(name).or_else(arn).or_else(|| (self.resolve)(name)).map(Value::String);
        known
            .or_else(|| self.declared.defaults.get(name).cloned())
            .ok_or_else(|| format!("nothing says what {name} is"))
    }

    /// Puts in what stands for each `${name}`: for the Serverless Framework's variables everywhere, for others in a
    /// `Fn::Sub`, whose own names are `names`.
    fn expand(&self, mut rest: &str, names: Option<&Map<String, Value>>) -> Result<String, String> {
        let mut expanded = String::new();
        while let Some((before, (name, after))) =
            rest.split_once("${").and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
        {
            expanded.push_str(before);
            let is_serverless = name
                .split_once(':')
                .is_some_and(|(source, name)| source.chars().all(|c| c.is_ascii_lowercase()) && !name.starts_with(':'));
            let piece = match names {
                _ if is_serverless => {
                    (self.resolve)(name).ok_or_else(|| format!("nothing says what ${{{name}}} is"))?
                }
                None => format!("${{{name}}}"),
                Some(_) if name.starts_with('!') => format!("${{{}}}", &name[1..]),
                Some(names) => {
                    let value = match names.get(name) {
                        Some(value) => self.resolve(value)?.unwrap_or_default(),
                        None => self.named(name)?,
                    };
                    text(&value).ok_or_else(|| format!("{name} is no text"))?
                }
            };
            expanded.push_str(&piece);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn condition(&self, name: &str) -> Result<bool, String> {
        let condition =
            self.declared.conditions.get(name).ok_or_else(|| format!("nothing says what the condition {name} is"))?;
        self.is_true(condition)
    }

    fn is_true(&self, condition: &Value) -> Result<bool, String> {
        let function = condition.as_object().and_then(intrinsic);
        match function {
            Some(("Condition", Value::String(name))) => self.condition(name),
            Some(("Fn::Equals", Value::Array(sides))) if sides.len() == 2 => {
                let text = |side: &Value| Ok::<_, String>(self.resolve(side)?.as_ref().and_then(text));
                Ok(text(&sides[0])? == text(&sides[1])?)
            }
            Some(("Fn::Not", Value::Array(conditions))) => Ok(!self.all_true(conditions)?.contains(&true)),
            Some(("Fn::And", Value::Array(conditions))) => Ok(!self.all_true(conditions)?.contains(&false)),
            Some(("Fn::Or", Value::Array(conditions))) => Ok(self.all_true(conditions)?.contains(&true)),
            _ => Err(format!("a condition must be made of Equals, And, Or, Not and Condition, and not {condition}")),
        }
    }

    fn all_true(&self, conditions: &[Value]) -> Result<Vec<bool>, String> {
        conditions.iter().map(|condition| self.is_true(condition)).collect()
    }
}

/// The function that an object calls, and its argument.
fn intrinsic(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    let is_function = name == "Ref" || name == "Condition" || name.starts_with("Fn::");
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

/// Reads YAML, or JSON, which is YAML. The short form of an intrinsic function becomes the long one.
fn parse(text: &str) -> Result<Value, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| format!("it is no YAML: {error}"))?;
    documents.into_iter().next().map_or(Ok(Value::Null), plain)
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
                let name = text(&name).ok_or("a key is no text")?;
                Ok::<_, String>((name, plain(value)?))
            };
            Value::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
        }
        Yaml::Tagged(tag, value) if tag.handle == "!" => {
            let prefix = if tag.suffix == "Ref" || tag.suffix == "Condition" { "" } else { "Fn::" };
            Value::Object(Map::from_iter([(format!("{prefix}{}", tag.suffix), plain(*value)?)]))
        }
        other => return Err(format!("it has something that is not understood: {other:?}")),
    })
}

/// The members of a section of a template, such as `Resources`.
fn members<'a>(template: &'a Value, section: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    template.get(section).and_then(Value::as_object).into_iter().flatten()
}

/// A value that a template may give as text too.
#[derive(Clone, Copy)]
struct Text<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map(Self).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}

// A property that changes what an alarm does, and is not here, must be an error; so these deny what they do not know.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CompositeProperties {
    alarm_rule: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MetricProperties {
    comparison_operator: Text<Comparison>,
    threshold: Text<f64>,
    evaluation_periods: Text<usize>,
    datapoints_to_alarm: Option<Text<usize>>,
    treat_missing_data: Option<Text<MissingData>>,
    evaluate_low_sample_count_percentile: Option<String>,
    #[serde(default)]
    metrics: Vec<QueryProperty>,
    // Of an alarm without Metrics:
    metric_name: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    period: Option<Text<u32>>,
    statistic: Option<Text<Stat>>,
    extended_statistic: Option<Text<Stat>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct QueryProperty {
    id: String,
    expression: Option<String>,
    metric_stat: Option<MetricStat>,
    return_data: Option<Text<bool>>,
    #[serde(rename = "Label")]
    _label: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MetricStat {
    metric: MetricProperty,
    period: Text<u32>,
    stat: Text<Stat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MetricProperty {
    metric_name: String,
    namespace: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Dimension {
    name: String,
    value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(name: &str) -> Option<String> {
        let text = match name {
            "Audit" => "config-audit-dev-audit",
            "AWS::Region" => "eu-west-1",
            "self:service" => "config-audit",
            "sls:stage" => "dev",
            "param:lagSeconds" => "300",
            "AlarmEmail" => "operator@example.com",
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn one(text: &str) -> Alarm {
        let mut alarms = read(&[("alarms.yml", text)], &resolve).unwrap();
        assert_eq!(alarms.len(), 1);
        alarms.remove(0)
    }

    fn refused(text: &str) -> String {
        read(&[("alarms.yml", text)], &resolve).unwrap_err().to_string()
    }

    fn metric(alarm: &Alarm) -> &MetricAlarm {
        match &alarm.kind {
            Kind::Metric(metric) => metric,
            Kind::Composite(_) => panic!("{} is composite", alarm.id),
        }
    }

    const ONE_METRIC: &str = r#"
Resources:
  Topic: { Type: AWS::SNS::Topic }
  Lag:
    Type: AWS::CloudWatch::Alarm
    Metadata: { Runbook: !Sub "docs/runbook.md#${AWS::Region}" }
    Properties:
      AlarmName: ${self:service}-${sls:stage}-lag
      AlarmDescription: !Sub
        - "Entries come ${How} in ${AWS::Region}. Costs ${!x}."
        - How: !Join [" ", [too, late]]
      AlarmActions: [!Ref Topic]
      OKActions: [!GetAtt Topic.TopicArn]
      Namespace: ConfigAudit
      MetricName: AuditLag
      Dimensions:
        - { Name: Service, Value: "${self:service}" }
        - Name: Function
          Value: !Ref Audit
      ExtendedStatistic: p99
      Period: "300"
      EvaluationPeriods: 3
      DatapointsToAlarm: 2
      Threshold: ${param:lagSeconds}
      ComparisonOperator: GreaterThanThreshold
      EvaluateLowSampleCountPercentile: ignore
      Tags: [{ Key: a, Value: b }]
"#;

    #[test]
    fn an_alarm_on_one_metric_is_read_with_all_it_says() {
        let alarm = one(ONE_METRIC);
        assert_eq!((alarm.id.as_str(), alarm.name.as_str()), ("Lag", "config-audit-dev-lag"));
        assert_eq!(alarm.description, "Entries come too late in eu-west-1. Costs ${x}.");
        assert_eq!(alarm.metadata["Runbook"], "docs/runbook.md#eu-west-1");
        let topic = vec!["Topic".to_owned()];
        assert_eq!(alarm.actions, Actions { alarm: topic.clone(), ok: topic, insufficient_data: Vec::new() });
        let MetricAlarm { metrics, period_minutes, samples_needed, rule, .. } = metric(&alarm);
        let dimensions = [("Service", "config-audit"), ("Function", "config-audit-dev-audit")];
        assert_eq!(*metrics, [(Metric::new("ConfigAudit", "AuditLag", &dimensions), Stat::Percentile(99.0))]);
        assert_eq!((*period_minutes, *samples_needed), (5, Some(1000.0)));
        let expected = Rule {
            evaluation_periods: 3,
            datapoints_to_alarm: 2,
            comparison: Comparison::GreaterThan,
            threshold: 300.0,
            missing_data: MissingData::Missing,
        };
        assert_eq!(*rule, expected);
    }

    #[test]
    fn an_alarm_on_an_expression_is_read() {
        let alarm = one(r#"
Resources:
  Rate:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Metrics:
        - { Id: rate, Expression: 100 * failed / all, ReturnData: true, Label: Failures }
        - { Id: all, Expression: "failed + written", ReturnData: "false" }
        - Id: failed
          ReturnData: false
          MetricStat: { Metric: { Namespace: ConfigAudit, MetricName: Failed }, Period: 60, Stat: Sum }
        - Id: written
          ReturnData: false
          MetricStat: { Metric: { Namespace: ConfigAudit, MetricName: Written }, Period: 60, Stat: Sum }
      EvaluationPeriods: 5
      Threshold: 1
      ComparisonOperator: GreaterThanOrEqualToThreshold
      TreatMissingData: notBreaching
"#);
        let alarm = metric(&alarm);
        let names: Vec<_> = alarm.metrics.iter().map(|(metric, _)| metric.name.as_str()).collect();
        assert_eq!((names, alarm.rule.datapoints_to_alarm), (vec!["Failed", "Written"], 5));
        assert_eq!(alarm.rule.missing_data, MissingData::NotBreaching);
        let value = alarm.expression.value(0, 60.0, &|metric, _| Some([1.0, 3.0][metric]));
        assert_eq!(value, Some(25.0));
    }

    #[test]
    fn a_composite_alarm_names_alarms_of_any_file_by_their_logical_ids() {
        let composite = r#"
Resources:
  Page:
    Type: AWS::CloudWatch::CompositeAlarm
    Properties:
      AlarmRule: !Sub ALARM("${Lag}") OR ALARM(${Lag.Arn})
"#;
        let all = |name: &str| resolve(name).or(Some("what the caller has for all".to_owned()));
        let alarms = read(&[("page.yml", composite), ("lag.yml", ONE_METRIC)], &all).unwrap();
        let Kind::Composite(rule) = &alarms[1].kind else { panic!("{:?}", alarms[1]) };
        assert_eq!((alarms[1].name.as_str(), rule.alarms()), ("Page", vec!["config-audit-dev-lag"; 2]));
    }

    const CONDITIONAL: &str = r#"
Parameters:
  AlarmEmail: { Type: String, Default: "" }
  Stage: { Type: String, Default: dev }
  Threshold: { Type: Number, Default: 7 }
Conditions:
  HasEmail: !Not [!Equals [!Ref AlarmEmail, ""]]
  IsProduction: !Equals [!Ref Stage, prod]
  Tells: !And [!Condition HasEmail, !Or [!Condition IsProduction, !Equals [a, a]]]
Resources:
  Topic: { Type: AWS::SNS::Topic, Condition: HasEmail }
  Depth:
    Type: AWS::CloudWatch::Alarm
    Condition: Tells
    Properties:
      AlarmActions: !If [HasEmail, [!Ref Topic], !Ref AWS::NoValue]
      Namespace: AWS/DynamoDB
      MetricName: ThrottledRequests
      Statistic: Sum
      Period: !If [IsProduction, 60, 120]
      EvaluationPeriods: 1
      Threshold: { Ref: Threshold }
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: !If [IsProduction, breaching, !Ref "AWS::NoValue"]
"#;

    #[test]
    fn conditions_are_evaluated_and_parameters_have_defaults() {
        let alarm = one(CONDITIONAL);
        assert_eq!(alarm.actions.alarm, ["Topic"]);
        let MetricAlarm { period_minutes, rule, .. } = metric(&alarm);
        assert_eq!((*period_minutes, rule.threshold), (2, 7.0));
        assert_eq!(rule.missing_data, MissingData::Ignore, "AWS's default for its DynamoDB metrics");
        let none = read(&[("alarms.yml", CONDITIONAL)], &|name| (name == "Stage").then(|| "dev".to_owned()));
        assert!(none.unwrap().is_empty(), "its condition does not hold");
    }

    #[test]
    fn what_is_not_understood_is_said_with_its_place() {
        let alarm = |change: (&str, &str)| refused(&ONE_METRIC.replace(change.0, change.1));
        let cases = [
            (("Threshold: ${param:lagSeconds}", ""), "Properties: missing field `Threshold`"),
            (
                ("Period: \"300\"", "Period: 30"),
                "Period is 30; only whole minutes are known here, 60 seconds and its multiples",
            ),
            (
                ("DatapointsToAlarm: 2", "DatapointsToAlarm: 4"),
                "DatapointsToAlarm must be from 1 to EvaluationPeriods, and is 4 of 3",
            ),
            (("EvaluationPeriods: 3", "EvaluationPeriods: some"), "Properties: `some`: invalid digit found in string"),
            (("!Ref Audit", "!Ref Nothing"), "nothing says what Nothing is"),
            (("${sls:stage}", "${sls:region}"), "nothing says what ${sls:region} is"),
            (("!Ref Audit", "!Select [0, [a]]"), "Fn::Select is not known here; Ref, Sub, GetAtt, Join and If are"),
            (
                ("MetricName: AuditLag", ""),
                "it must have Metrics, or Namespace, MetricName, Period and a statistic, and not both",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(alarm(change), format!("alarms.yml, Lag: {expected}"));
        }
        assert!(alarm(("MetricName:", "Unit: Seconds\n      MetricName:")).contains("unknown field `Unit`"));
        assert!(
            alarm(("Threshold:", "Threshold: 1\n      Threshold:"))
                .starts_with("alarms.yml: it is no YAML: duplicated key")
        );
        assert!(alarm(("p99", "tm99")).contains("`tm99`: expected SampleCount, Sum"));
    }

    #[test]
    fn a_template_that_lost_a_word_or_its_end_is_read_or_refused() {
        for template in [ONE_METRIC, CONDITIONAL] {
            let gaps: Vec<usize> = template.match_indices([' ', '\n']).map(|(gap, _)| gap).collect();
            for gap in gaps.windows(2) {
                let without = [&template[..gap[0]], &template[gap[1]..]].concat();
                let _ = read(&[("alarms.yml", &without)], &resolve);
                let _ = read(&[("alarms.yml", &template[..gap[0]])], &resolve);
            }
        }
    }

    #[test]
    fn an_expression_that_is_not_understood_is_said_with_its_place() {
        let template = |queries: &str| {
            format!(
                "Resources: {{ A: {{ Type: AWS::CloudWatch::Alarm, Properties: {{ Metrics: [{queries}],
                EvaluationPeriods: 1, Threshold: 1, ComparisonOperator: LessThanThreshold }} }} }}"
            )
        };
        let stat = |id: &str, period: u32| {
            let metric = format!("{{ Namespace: n, MetricName: {id} }}");
            let stat = format!("{{ Metric: {metric}, Period: {period}, Stat: Sum }}");
            format!("{{ Id: {id}, ReturnData: false, MetricStat: {stat} }}")
        };
        let many: Vec<_> = (0..11).map(|number| stat(&format!("m{number}"), 60)).collect();
        let cases = [
            (
                format!("{}, {{ Id: e, Expression: m + x }}", stat("m", 60)),
                "the expression `m + x`: nothing has the Id x",
            ),
            (
                format!("{}, {{ Id: e, Expression: m + n }}, {}", stat("m", 60), stat("n", 120)),
                "its metrics must have one Period, and have [60, 120]",
            ),
            (
                format!("{}, {{ Id: e, Expression: m0 }}", many.join(", ")),
                "it uses 11 metrics, and CloudWatch takes 10 at most",
            ),
            (stat("m", 60), "ReturnData must be true for one of Metrics, and is for 0"),
            (format!("{}, {{ Id: m, Expression: m }}", stat("m", 60)), "the Id m is there twice"),
        ];
        for (queries, expected) in cases {
            assert_eq!(refused(&template(&queries)), format!("alarms.yml, A: {expected}"));
        }
    }
}
