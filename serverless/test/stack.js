'use strict';

// The packaged stack as CloudFormation resolves it: its resources, and which alarms page for which. Used by the tests of
// alarms, dashboards, queries and runbooks.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT, packaged } = require('./helpers');

const read = (...parts) => fs.readFileSync(path.join(ROOT, ...parts), 'utf8');
const kebab = (name) => name.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase();

const METRIC_ALARM = 'AWS::CloudWatch::Alarm';
const COMPOSITE_ALARM = 'AWS::CloudWatch::CompositeAlarm';

/** The parameters that add something to the stack that is not there by default. */
const EVERYTHING = ['--param', 'canary=on', '--param', 'witnessRetentionDays=365'];

/** The packaged template's resources, as CloudFormation resolves them, with everything that can be switched on. */
const resources = async (t, args = EVERYTHING) => resolved((await packaged(t, args)).template);
const ofType = (all, ...types) => Object.entries(all).filter(([, { Type }]) => types.includes(Type));
const alarmsOf = (all) => ofType(all, METRIC_ALARM, COMPOSITE_ALARM).map(([id, { Type, Properties }]) => ({ id, Type, ...Properties }));
/** The rules that notify as an alarm does, in the same form. */
const rulesOf = (all) => ofType(all, 'AWS::Events::Rule').map(([id, { Type, Properties }]) => ({ id, Type, AlarmDescription: Properties.Description, ...Properties }));
const dashboardsOf = (all) => ofType(all, 'AWS::CloudWatch::Dashboard').map(([, { Properties }]) => ({
  name: Properties.DashboardName, text: Properties.DashboardBody, ...JSON.parse(Properties.DashboardBody),
}));
const queriesOf = (all) => Object.fromEntries(ofType(all, 'AWS::Logs::QueryDefinition')
  .map(([, { Properties }]) => [Properties.Name.replace('config-audit-dev/', ''), Properties.QueryString]));

/** Composite alarms whose parts have no actions and no runbook of their own. */
const WITH_PARTS = ['CanaryMissing', 'FreshnessBurnFast', 'MappingStopped', 'WitnessBehind'];
const whole = ({ id }) => WITH_PARTS.find((whole) => id.startsWith(whole)) ?? id;
const isPart = (alarm) => whole(alarm) !== alarm.id;
/** The alarms that a composite alarm's rule includes, and those that it excludes. */
const included = (rule) => [...rule.matchAll(/(?<!NOT )ALARM\("config-audit-dev-(\w+)"\)/g)].map(([, id]) => id);
const excluded = (rule) => [...rule.matchAll(/NOT ALARM\("config-audit-dev-(\w+)"\)/g)].map(([, id]) => id);
/** The two alarms that page for others, those that page for themselves, and all alarms of severity page besides the two. */
const PAGING = ['Incident', 'LossImminent'];
const APART = ['TelemetryMissing', 'CanaryMissing', 'TrailTampered', 'WitnessBehind'];
const pages = (alarms) => [...PAGING.flatMap((paging) => included(alarms.find(({ id }) => id === paging).AlarmRule)), ...APART];
const runbook = (id) => read('docs', 'runbooks', `${kebab(id)}.md`);

/** The metrics that an alarm evaluates: {id, namespace, name, dimensions, stat, period}. */
function metricsOf({ Metrics, ...alone }) {
  const stats = Metrics ? Metrics.filter(({ MetricStat }) => MetricStat)
    : [{ MetricStat: { Metric: alone, Stat: alone.Statistic || alone.ExtendedStatistic, Period: alone.Period } }];
  return stats.map(({ Id, MetricStat: { Metric, Stat, Period } }) => ({
    id: Id,
    namespace: Metric.Namespace,
    name: Metric.MetricName,
    dimensions: Object.fromEntries(Metric.Dimensions.map(({ Name, Value }) => [Name, Value])),
    stat: Stat,
    period: Period,
  }));
}

/** The template's resources with CloudFormation's functions resolved, in an account ACCOUNT and a region REGION. */
function resolved({ Resources, Parameters }) {
  const given = { 'AWS::Partition': 'aws', 'AWS::Region': 'REGION', 'AWS::AccountId': 'ACCOUNT', ConfigurationStreamMapping: 'MAPPING', AuditStreamMapping: 'WITNESS-MAPPING', FailureBucket: 'BUCKET' };
  const reference = (name) => {
    if (given[name] !== undefined) return given[name];
    if (Parameters[name]) return Parameters[name].Default;
    const { AlarmName, FunctionName, LogGroupName } = Resources[name].Properties || {};
    return AlarmName ? resolve(AlarmName) : FunctionName || LogGroupName || name;
  };
  const substituted = (text) => text.replace(/\$\{([^}!.]+)\}/g, (_, name) => reference(name));
  const resolve = (value) => {
    if (Array.isArray(value)) return value.map(resolve);
    if (value === null || typeof value !== 'object') return value;
    if (value.Ref) return reference(value.Ref);
    if (typeof value['Fn::Sub'] === 'string') return substituted(value['Fn::Sub']);
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, resolve(member)]));
  };
  return resolve(Resources);
}

module.exports = {
  APART, COMPOSITE_ALARM, METRIC_ALARM, PAGING, alarmsOf, dashboardsOf, excluded, included, isPart, kebab, metricsOf, ofType, pages,
  queriesOf, read, resources, rulesOf, runbook, whole,
};
