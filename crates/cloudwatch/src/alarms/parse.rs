//! Reads the alarms from `CloudFormation` templates.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::composite::CompositeRule;
use super::definition::{Alarm, Kind, MetricAlarm};
use super::properties::{CompositeProperties, Dimension, MetricProperties, MetricProperty, MetricStat, QueryProperty};
use super::rule::{MissingData, ThresholdRule};
use crate::math::{Expression, Query};
use crate::metrics::{Metric, Stat, is_value};
use crate::template::{self, Declared, File, Resolve, Scope, TemplateError, Text, members};

const ALARM: &str = "AWS::CloudWatch::Alarm";
const COMPOSITE_ALARM: &str = "AWS::CloudWatch::CompositeAlarm";
/// An alarm looks back at most a day, or a week if its periods are an hour or longer.
const DAY_IN_SECONDS: u64 = 86_400;
/// The most metrics that an alarm may use.
const MAX_METRICS: usize = 10;
/// The most resources that a template may have.
const MAX_RESOURCES: usize = 500;
/// The supported attributes of a resource. `Condition` is not supported: it could remove the resource.
const ATTRIBUTES: [&str; 5] = ["Type", "Properties", "Metadata", "DependsOn", "DeletionPolicy"];
/// Properties that change neither an alarm's states nor whom it notifies of `ALARM`.
const WITHOUT_EFFECT: [&str; 4] = ["AlarmDescription", "OKActions", "InsufficientDataActions", "Tags"];

/// Reads the alarms of these files, which together are one template, in the order of their logical ids. Resources of other
/// types are ignored. A `Ref` to an alarm is the alarm's name.
///
/// # Errors
///
/// Says which resource of which file is wrong, and why.
pub(super) fn read(files: &[File], resolve: Resolve) -> Result<Vec<Alarm>, TemplateError> {
    let error = |file: &str, id: Option<&str>| {
        let (file, resource) = (file.to_owned(), id.map(ToOwned::to_owned));
        move |problem| TemplateError { file, resource, problem }
    };
    let mut declared = Declared::default();
    let mut alarms = Vec::new();
    for (file, text) in files {
        let template = template::parse(text).map_err(error(file, None))?;
        for (id, resource) in members(&template, "Resources") {
            if !declared.resources.insert(id.clone()) {
                return Err(error(file, Some(id))("the resource is declared twice".to_owned()));
            }
            if declared.resources.len() > MAX_RESOURCES {
                return Err(error(file, None)(format!("CloudFormation allows {MAX_RESOURCES} resources")));
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
        return Err(format!("{other} is not supported"));
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
        Kind::Composite(CompositeRule::parse(&properties.alarm_rule).map_err(|error| error.to_string())?)
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
        return Err(format!("ReturnData must be true for exactly one of Metrics, and is true for {}", returned.len()));
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
            return Err(format!("the Id {} is used twice", query.id));
        }
    }
    if metrics.len() > MAX_METRICS {
        return Err(format!("it uses {} metrics; CloudWatch allows {MAX_METRICS}", metrics.len()));
    }
    let seconds = match periods.into_iter().collect::<Vec<_>>()[..] {
        [seconds] => seconds,
        [] => return Err("it uses no metric".to_owned()),
        ref several => return Err(format!("all its metrics must have the same Period, not {several:?}")),
    };
    if seconds == 0 || seconds % 60 != 0 {
        return Err(format!("Period is {seconds}; only multiples of 60 seconds are supported"));
    }
    let Text(evaluation_periods) = properties.evaluation_periods;
    let datapoints_to_alarm = properties.datapoints_to_alarm.map_or(evaluation_periods, |Text(datapoints)| datapoints);
    if !(1..=evaluation_periods).contains(&datapoints_to_alarm) {
        return Err(format!(
            "DatapointsToAlarm must be from 1 to EvaluationPeriods ({evaluation_periods}), not {datapoints_to_alarm}"
        ));
    }
    let longest = if seconds >= 3600 { 7 * DAY_IN_SECONDS } else { DAY_IN_SECONDS };
    if (evaluation_periods as u64).saturating_mul(seconds.into()) > longest {
        return Err(format!(
            "{evaluation_periods} periods of {seconds} s are longer than CloudWatch looks back, {longest} s"
        ));
    }
    let Text(threshold) = properties.threshold;
    if !is_value(threshold) {
        return Err(format!("Threshold is {threshold:e}, a value that no metric can have"));
    }
    // AWS's default for DynamoDB, because a table without traffic has no metrics. AWS once allowed no other value.
    let of_dynamodb = metrics.iter().any(|(metric, _)| metric.namespace == "AWS/DynamoDB");
    let default = if of_dynamodb { MissingData::Ignore } else { MissingData::Missing };
    let samples_needed = samples_needed(&metrics, properties.evaluate_low_sample_count_percentile.as_deref())?;
    let rule = ThresholdRule {
        evaluation_periods,
        datapoints_to_alarm,
        comparison: properties.comparison_operator.0,
        threshold,
        missing_data: properties.treat_missing_data.map_or(default, |Text(missing)| missing),
    };
    let expression = Expression::new(&returned.id, &ids).map_err(|error| error.to_string())?;
    // How far back they look in an alarm is not documented, and an alarm on repeated values can get stuck.
    if !expression.is_local() {
        return Err("EPOCH, and FILL with REPEAT or LINEAR, are not supported in an alarm".to_owned());
    }
    Ok(MetricAlarm { expression, metrics, period_minutes: seconds / 60, samples_needed, rule })
}

/// The metrics and expressions of the alarm, even if it names one metric without `Metrics`.
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
        _ => Err("it must have either Metrics, or Namespace, MetricName, Period and a statistic".to_owned()),
    }
}

/// The number of samples below which AWS calls a percentile not significant; `None` if the alarm evaluates it anyway.
fn samples_needed(metrics: &[(Metric, Stat)], low_sample_count: Option<&str>) -> Result<Option<f64>, String> {
    match (low_sample_count, metrics) {
        (None | Some("evaluate"), _) => Ok(None),
        (Some("ignore"), [(_, Stat::Percentile(percent))]) => {
            Ok(Some(1000.0 / if *percent < 50.0 { *percent } else { 100.0 - percent }))
        }
        (Some("ignore"), _) => {
            Err("EvaluateLowSampleCountPercentile: ignore needs an alarm on one percentile".to_owned())
        }
        (Some(_), _) => Err("EvaluateLowSampleCountPercentile must be evaluate or ignore".to_owned()),
    }
}

fn from_value<T: DeserializeOwned>(value: Value, what: &str) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::rule::Comparison;

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

    fn rejected(text: &str) -> String {
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
    fn an_alarm_on_one_metric_is_read_completely() {
        let alarm = one(ONE_METRIC);
        assert_eq!((alarm.id.as_str(), alarm.name.as_str()), ("Lag", "config-audit-dev-lag"));
        assert_eq!(alarm.alarm_actions, ["Topic"]);
        let silent = ONE_METRIC.replace("AlarmName:", "ActionsEnabled: false\n      AlarmName:");
        assert_eq!(one(&silent).alarm_actions, [""; 0]);
        let MetricAlarm { metrics, period_minutes, samples_needed, rule, .. } = metric(&alarm);
        let dimensions = [("Service", "config-audit"), ("Function", "config-audit-dev-audit")];
        assert_eq!(*metrics, [(Metric::new("ConfigAudit", "AuditLag", &dimensions), Stat::Percentile(99.0))]);
        assert_eq!((*period_minutes, *samples_needed), (5, Some(1000.0)));
        let expected = ThresholdRule {
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
        assert_eq!(alarm.expression.values(&[0], &[vec![Some(1.0)], vec![Some(3.0)]]), [Some(25.0)]);
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
        let all = |name: &str| resolve(name).or(Some("any value".to_owned()));
        let alarms = read(&[("page.yml", composite), ("lag.yml", ONE_METRIC)], &all).unwrap();
        let Kind::Composite(rule) = &alarms[1].kind else { panic!("{:?}", alarms[1]) };
        assert_eq!((alarms[1].name.as_str(), rule.alarms()), ("Page", vec!["config-audit-dev-lag"; 2]));
    }

    #[test]
    fn an_alarm_on_dynamodbs_metrics_ignores_missing_data_by_default() {
        let alarm = one(&ONE_METRIC.replace("Namespace: ConfigAudit", "Namespace: AWS/DynamoDB"));
        assert_eq!(metric(&alarm).rule.missing_data, MissingData::Ignore);
    }

    #[test]
    fn an_error_names_the_file_the_resource_and_the_problem() {
        let alarm = |change: (&str, &str)| rejected(&ONE_METRIC.replace(change.0, change.1));
        let cases = [
            (("Threshold: !Ref LagSeconds", ""), "Properties: missing field `Threshold`"),
            (("Period: \"300\"", "Period: 30"), "Period is 30; only multiples of 60 seconds are supported"),
            (
                ("DatapointsToAlarm: 2", "DatapointsToAlarm: 4"),
                "DatapointsToAlarm must be from 1 to EvaluationPeriods (3), not 4",
            ),
            (("EvaluationPeriods: 3", "EvaluationPeriods: some"), "Properties: `some`: invalid digit found in string"),
            (
                ("EvaluationPeriods: 3", "EvaluationPeriods: 289"),
                "289 periods of 300 s are longer than CloudWatch looks back, 86400 s",
            ),
            (("Threshold: !Ref LagSeconds", "Threshold: NaN"), "Threshold is NaN, a value that no metric can have"),
            (
                ("Threshold: !Ref LagSeconds", "Threshold: -1e300"),
                "Threshold is -1e300, a value that no metric can have",
            ),
            (("!Ref Audit", "!Ref Nothing"), "Nothing is not defined"),
            (("${Stage}", "${AWS::Account}"), "AWS::Account is not defined"),
            (("!Ref Audit", "!Select [0, [a]]"), "Fn::Select is not supported; Ref, GetAtt and Sub of a string are"),
            (("Metadata:", "Condition: { Ref: IsProduction }\n    Metadata:"), "Condition is not supported"),
            (
                ("MetricName: AuditLag", ""),
                "it must have either Metrics, or Namespace, MetricName, Period and a statistic",
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
                .starts_with("alarms.yml: not valid YAML: duplicated key")
        );
        assert!(alarm(("p99", "tm99")).contains("`tm99`: expected SampleCount, Sum"));
    }

    #[test]
    fn a_template_without_a_word_or_its_end_is_read_or_rejected() {
        let gaps: Vec<usize> = ONE_METRIC.match_indices([' ', '\n']).map(|(gap, _)| gap).collect();
        for gap in gaps.windows(2) {
            let without = [&ONE_METRIC[..gap[0]], &ONE_METRIC[gap[1]..]].concat();
            let _ = read(&[("alarms.yml", &without)], &resolve);
            let _ = read(&[("alarms.yml", &ONE_METRIC[..gap[0]])], &resolve);
        }
    }

    #[test]
    fn an_error_in_an_expression_names_the_file_and_the_resource() {
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
                "the expression `m + x`: no metric or expression has the Id x",
            ),
            (
                format!("{}, {{ Id: e, Expression: m + n }}, {}", stat("m", 60), stat("n", 120)),
                "all its metrics must have the same Period, not [60, 120]",
            ),
            (format!("{}, {{ Id: e, Expression: m0 }}", many.join(", ")), "it uses 11 metrics; CloudWatch allows 10"),
            (
                format!("{}, {{ Id: e, Expression: 'FILL(m, REPEAT)' }}", stat("m", 60)),
                "EPOCH, and FILL with REPEAT or LINEAR, are not supported in an alarm",
            ),
            (stat("m", 60), "ReturnData must be true for exactly one of Metrics, and is true for 0"),
            (format!("{}, {{ Id: m, Expression: m }}", stat("m", 60)), "the Id m is used twice"),
        ];
        for (queries, expected) in cases {
            assert_eq!(rejected(&template(&queries)), format!("alarms.yml, A: {expected}"));
        }
    }
}
