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
use super::{Alarm, Kind, MetricAlarm, composite};

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
/// like.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Option<String>;

const ALARM: &str = "AWS::CloudWatch::Alarm";
const COMPOSITE_ALARM: &str = "AWS::CloudWatch::CompositeAlarm";
/// An alarm looks back a day at most, or a week with periods of an hour and more. In seconds.
const DAY: u64 = 86_400;
/// So many metrics an alarm's expressions may use.
const MOST_METRICS: usize = 10;
/// What a resource may have. A `Condition` may do away with it, so that would have to be understood.
const ATTRIBUTES: [&str; 5] = ["Type", "Properties", "Metadata", "DependsOn", "DeletionPolicy"];
/// Properties that change nothing of an alarm's states, nor of whom it tells that it is in `ALARM`.
const WITHOUT_EFFECT: [&str; 4] = ["AlarmDescription", "OKActions", "InsufficientDataActions", "Tags"];

/// The alarms of these files, which are one template together, in the order of their logical ids. Resources of other
/// kinds are passed over. An alarm stands for its name.
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
        names.insert(id.clone(), name.as_str().unwrap_or(id).to_owned());
    }
    declared.alarms = names;

    let scope = Scope { declared: &declared, resolve };
    let read = alarms.iter().map(|(id, file, resource)| alarm(&scope, id, resource).map_err(error(file, Some(id))));
    read.collect()
}

fn alarm(scope: &Scope, id: &str, resource: &Value) -> Result<Alarm, String> {
    if let Some(other) = resource
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .find(|name| !ATTRIBUTES.contains(&name.as_str()))
    {
        return Err(format!("{other} is not known here"));
    }
    let mut properties = resource["Properties"].as_object().cloned().ok_or("it has no Properties")?;
    properties.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
    let enabled: Option<Text<bool>> =
        from_value(properties.remove("ActionsEnabled").unwrap_or_default(), "ActionsEnabled")?;
    let by_id = |name: &str| {
        let id = name.split('.').next().unwrap_or(name);
        if scope.declared.resources.contains(id) { Some(id.to_owned()) } else { (scope.resolve)(name) }
    };
    let actions = properties.remove("AlarmActions").unwrap_or_default();
    let actions: Option<Vec<String>> =
        from_value(Scope { resolve: &by_id, ..*scope }.resolve(&actions)?, "AlarmActions")?;
    let alarm_actions = actions.filter(|_| enabled.is_none_or(|Text(enabled)| enabled)).unwrap_or_default();
    properties.remove("AlarmName");
    let name = scope.declared.alarms.get(id).cloned().unwrap_or_default();
    let properties = scope.resolve(&Value::Object(properties))?;
    let kind = if resource["Type"] == COMPOSITE_ALARM {
        let properties: CompositeProperties = from_value(properties, "Properties")?;
        Kind::Composite(composite::Rule::parse(&properties.alarm_rule).map_err(|error| error.to_string())?)
    } else {
        Kind::Metric(Box::new(metric_alarm(from_value(properties, "Properties")?)?))
    };
    Ok(Alarm { id: id.to_owned(), name, alarm_actions, kind })
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
    let longest = if seconds >= 3600 { 7 * DAY } else { DAY };
    if (evaluation_periods as u64).saturating_mul(seconds.into()) > longest {
        return Err(format!(
            "{evaluation_periods} periods of {seconds} s are longer than CloudWatch looks back: {longest} s"
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
    /// The value with all its intrinsic functions evaluated.
    fn resolve(&self, value: &Value) -> Result<Value, String> {
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
        let wrong = || format!("{function} cannot be used so: {argument}");
        match (function, argument) {
            ("Ref" | "Fn::GetAtt", Value::String(name)) => self.named(name),
            ("Fn::GetAtt", Value::Array(parts)) => self.named(&texts(parts).ok_or_else(wrong)?.join(".")),
            ("Fn::Sub", Value::String(text)) => substitute(text, &|name| self.named(name).ok()),
            ("Ref" | "Fn::GetAtt" | "Fn::Sub", _) => Err(wrong()),
            _ => Err(format!("{function} is not known here; Ref, GetAtt and Sub of a text are")),
        }
    }

    fn named(&self, name: &str) -> Result<String, String> {
        let alarm = |name: &str| self.declared.alarms.get(name).cloned();
        let arn = || Some(format!("arn:aws:cloudwatch:::alarm:{}", alarm(name.strip_suffix(".Arn")?)?));
        let known = alarm(name).or_else(arn).or_else(|| (self.resolve)(name));
        known.ok_or_else(|| format!("nothing says what {name} is"))
    }
}

/// Puts in what stands for each `${name}`, as `Fn::Sub` does.
pub(super) fn substitute(mut rest: &str, resolve: Resolve) -> Result<String, String> {
    let mut whole = String::new();
    while let Some((before, (name, after))) =
        rest.split_once("${").and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
    {
        whole.push_str(before);
        match name.strip_prefix('!') {
            Some(literal) => whole.extend(["${", literal, "}"]),
            None => whole.push_str(&resolve(name).ok_or_else(|| format!("nothing says what {name} is"))?),
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
            let prefix = if tag.suffix == "Ref" { "" } else { "Fn::" };
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
            "Service" => "config-audit",
            "Stage" => "dev",
            "LagSeconds" => "300",
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
    Metadata: { Runbook: docs/runbook.md }
    Properties:
      AlarmName: !Sub ${Service}-${Stage}-lag
      AlarmDescription: !Sub "Entries come too late in ${AWS::Region}. Costs ${!x}."
      AlarmActions: [!Ref Topic]
      OKActions: [!GetAtt Topic.TopicArn]
      Namespace: ConfigAudit
      MetricName: AuditLag
      Dimensions:
        - { Name: Service, Value: !Ref Service }
        - Name: Function
          Value: !Ref Audit
      ExtendedStatistic: p99
      Period: "300"
      EvaluationPeriods: 3
      DatapointsToAlarm: 2
      Threshold: !Ref LagSeconds
      ComparisonOperator: GreaterThanThreshold
      EvaluateLowSampleCountPercentile: ignore
      Tags: [{ Key: a, Value: b }]
"#;

    #[test]
    fn an_alarm_on_one_metric_is_read_with_all_it_says() {
        let alarm = one(ONE_METRIC);
        assert_eq!((alarm.id.as_str(), alarm.name.as_str()), ("Lag", "config-audit-dev-lag"));
        assert_eq!(substitute("${!x} of ${Stage}", &resolve), Ok("${x} of dev".to_owned()));
        assert_eq!(alarm.alarm_actions, ["Topic"]);
        let silent = ONE_METRIC.replace("AlarmName:", "ActionsEnabled: false\n      AlarmName:");
        assert_eq!(one(&silent).alarm_actions, [""; 0]);
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
        let value = alarm.expression.value(&|metric| Some([1.0, 3.0][metric]));
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

    #[test]
    fn an_alarm_on_dynamodbs_metrics_keeps_its_state_where_data_is_missing_and_nothing_is_said() {
        let alarm = one(&ONE_METRIC.replace("Namespace: ConfigAudit", "Namespace: AWS/DynamoDB"));
        assert_eq!(metric(&alarm).rule.missing_data, MissingData::Ignore);
    }

    #[test]
    fn what_is_not_understood_is_said_with_its_place() {
        let alarm = |change: (&str, &str)| refused(&ONE_METRIC.replace(change.0, change.1));
        let cases = [
            (("Threshold: !Ref LagSeconds", ""), "Properties: missing field `Threshold`"),
            (
                ("Period: \"300\"", "Period: 30"),
                "Period is 30; only whole minutes are known here, 60 seconds and its multiples",
            ),
            (
                ("DatapointsToAlarm: 2", "DatapointsToAlarm: 4"),
                "DatapointsToAlarm must be from 1 to EvaluationPeriods, and is 4 of 3",
            ),
            (("EvaluationPeriods: 3", "EvaluationPeriods: some"), "Properties: `some`: invalid digit found in string"),
            (
                ("EvaluationPeriods: 3", "EvaluationPeriods: 289"),
                "289 periods of 300 s are longer than CloudWatch looks back: 86400 s",
            ),
            (("!Ref Audit", "!Ref Nothing"), "nothing says what Nothing is"),
            (("${Stage}", "${AWS::Account}"), "nothing says what AWS::Account is"),
            (("!Ref Audit", "!Select [0, [a]]"), "Fn::Select is not known here; Ref, GetAtt and Sub of a text are"),
            (("Metadata:", "Condition: { Ref: IsProduction }\n    Metadata:"), "Condition is not known here"),
            (
                ("MetricName: AuditLag", ""),
                "it must have Metrics, or Namespace, MetricName, Period and a statistic, and not both",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(alarm(change), format!("alarms.yml, Lag: {expected}"));
        }
        assert!(
            alarm(("Tags:", "ActionsSuppressor: other\n      Tags:")).contains("unknown field `ActionsSuppressor`")
        );
        assert!(alarm(("MetricName:", "Unit: Seconds\n      MetricName:")).contains("unknown field `Unit`"));
        assert!(
            alarm(("Threshold:", "Threshold: 1\n      Threshold:"))
                .starts_with("alarms.yml: it is no YAML: duplicated key")
        );
        assert!(alarm(("p99", "tm99")).contains("`tm99`: expected SampleCount, Sum"));
    }

    #[test]
    fn a_template_that_lost_a_word_or_its_end_is_read_or_refused() {
        let gaps: Vec<usize> = ONE_METRIC.match_indices([' ', '\n']).map(|(gap, _)| gap).collect();
        for gap in gaps.windows(2) {
            let without = [&ONE_METRIC[..gap[0]], &ONE_METRIC[gap[1]..]].concat();
            let _ = read(&[("alarms.yml", &without)], &resolve);
            let _ = read(&[("alarms.yml", &ONE_METRIC[..gap[0]])], &resolve);
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
