'use strict';

// Alarms, dashboards and saved queries as they are in the packaged template: they refer only to metrics and log fields that
// exist, and what is stated in two places is the same in both. The runbooks' own tests are in runbooks.test.js.

const Ajv = require('ajv');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { DEFAULTS } = require('../parameters');
const { startMinistack } = require('./aws');
const { ROOT, VENV, run, serve, withoutAccount } = require('./helpers');
const {
  APART, COMPOSITE_ALARM, METRIC_ALARM, PAGING, alarmsOf, dashboardsOf, excluded, included, isPart, metricsOf, ofType, pages, queriesOf,
  read, resources, runbook,
} = require('./stack');
const schema = require('./dashboard.schema.json');

const INDEX = 'itemKey-modificationTime-index';

/** AWS's metrics that are used here, by namespace and dimensions (guides of AWS Lambda, Amazon DynamoDB, CloudWatch Logs). */
const AWS_METRICS = {
  'AWS/Lambda FunctionName': ['Invocations', 'Errors', 'Throttles', 'Duration', 'ConcurrentExecutions', 'IteratorAge', 'DestinationDeliveryFailures'],
  'AWS/Lambda EventSourceMappingUUID': ['PolledEventCount', 'InvokedEventCount', 'FailedInvokeEventCount', 'DroppedEventCount',
    'OnFailureDestinationDeliveredEventCount'],
  'AWS/DynamoDB TableName': ['ConsumedWriteCapacityUnits', 'WriteThrottleEvents'],
  'AWS/DynamoDB TableName GlobalSecondaryIndexName': ['ConsumedWriteCapacityUnits', 'WriteThrottleEvents'],
  'AWS/DynamoDB TableName Operation': ['SuccessfulRequestLatency', 'SystemErrors', 'ThrottledRequests'],
  'AWS/S3 BucketName StorageType': ['NumberOfObjects'],
  'AWS/Logs LogGroupName': ['IncomingBytes', 'IncomingLogEvents', 'EMFParsingErrors', 'EMFValidationErrors'],
};
const AWS_MILLISECONDS = ['Duration', 'IteratorAge', 'SuccessfulRequestLatency'];

/** The values that each dimension may have: what the stack creates or watches. */
const VALUES = {
  Service: ['config-audit'],
  Stage: ['dev'],
  FunctionName: ['config-audit-dev-audit', 'config-audit-dev-witness'],
  EventSourceMappingUUID: ['MAPPING', 'WITNESS-MAPPING'],
  TableName: ['Configuration-dev', 'Audit-dev'],
  GlobalSecondaryIndexName: [INDEX],
  Operation: ['BatchWriteItem'],
  LogGroupName: ['/aws/lambda/config-audit-dev-audit'],
  BucketName: ['BUCKET'],
  StorageType: ['AllStorageTypes'],
};

/** The function's own metrics, name and unit: a Rust test compares the table with the catalog. */
const CATALOG = Object.fromEntries([...read('docs', 'telemetry.md').matchAll(/^\| `([A-Z]\w+)` \| (Count|Milliseconds) \| /gm)]
  .map(([, name, unit]) => [name, unit]));
assert.ok(Object.keys(CATALOG).length > 10, 'docs/telemetry.md has the table of metrics');

/** The functions of metric math that the alarms' evaluator supports. */
const FUNCTIONS = ['IF', 'FILL', 'ABS', 'FLOOR', 'AND', 'OR'];
/** Those that need more than one period, which no alarm may use. */
const FUNCTIONS_OF_DASHBOARDS = [...FUNCTIONS, 'EPOCH', 'REPEAT', 'LINEAR'];
const words = (expression) => expression.match(/[A-Za-z_]\w*/g) || [];

/** A comparable form of what an alarm or a graph's line shows: a metric, or an expression with its metrics. */
const line = ({ namespace, name, dimensions, stat, period }) => JSON.stringify([namespace, name, dimensions, stat, period]);
const lineOf = (expression, metrics) => expression.replace(/[A-Za-z_]\w*/g, (word) => {
  const metric = metrics.find(({ id }) => id === word);
  return metric ? line(metric) : word;
});

/** What one unit of a graph's axis is in the metric's own unit. */
const SCALES = { minutes: 60_000, seconds: 1_000 };
const scaleOf = (expression) => Number(/ \/ (\d+)$/.exec(expression)?.[1] ?? 1);
/** A line without what fills its gaps and changes its unit. Its period suits the graph's range, not the alarm. */
const plain = (text) => text.replace(/ \/ \d+$/, '').replace(/^FILL\((.+), (?:0|LINEAR)\)$/, '$1').replace(/(\[.*),\d+\]$/, '$1]');

/** What an alarm compares with its threshold. */
function compared(alarm) {
  const metrics = metricsOf(alarm);
  const returned = alarm.Metrics?.find(({ ReturnData }) => ReturnData !== false);
  return returned?.Expression ? lineOf(returned.Expression, metrics) : line(metrics[0]);
}

/** Asserts that the metric exists with these dimensions; returns whether its unit is milliseconds. */
function exists({ namespace, name, dimensions }) {
  const keys = Object.keys(dimensions);
  for (const key of keys) assert.ok(VALUES[key]?.includes(dimensions[key]), `${name}: ${key} is ${dimensions[key]}`);
  if (namespace === 'ConfigAudit') {
    assert.ok(CATALOG[name], `${name} is in the table of docs/telemetry.md`);
    assert.deepEqual(keys, ['Service', 'Stage'], name);
    return CATALOG[name] === 'Milliseconds';
  }
  assert.ok(AWS_METRICS[`${namespace} ${keys.join(' ')}`]?.includes(name), `${namespace} ${name} by ${keys}`);
  return AWS_MILLISECONDS.includes(name);
}

// ---- alarms ----------------------------------------------------------------------------------------------------------

test('every alarm sends to the topic notify; only two composites of severe ones, and four other alarms, send to page', async (t) => {
  const all = await resources(t);
  const alarms = alarmsOf(all);
  for (const { id, AlarmActions: onAlarm, OKActions: onOk } of alarms) {
    const topic = [...(PAGING.includes(id) ? [] : ['NotifyTopic']), ...([...PAGING, ...APART].includes(id) ? ['PageTopic'] : [])];
    assert.deepEqual([onAlarm, onOk], isPart({ id }) ? [undefined, undefined] : [topic, topic], id);
  }
  const severe = pages(alarms);
  assert.equal(new Set(severe).size, severe.length, 'no alarm pages through both');
  for (const { id, AlarmName, AlarmRule } of alarms) {
    assert.equal(AlarmName, `config-audit-dev-${id}`);
    if (AlarmRule) for (const name of [...included(AlarmRule), ...excluded(AlarmRule)]) assert.ok(alarms.some((alarm) => alarm.id === name), name);
  }
  const topics = ofType(all, 'AWS::SNS::Topic').map(([, { Properties }]) => Properties.TopicName);
  assert.deepEqual(topics, ['config-audit-dev-page', 'config-audit-dev-notify']);
  const mails = ofType(all, 'AWS::SNS::Subscription').map(([, { Condition, Properties }]) => [Condition, Properties.TopicArn]);
  assert.deepEqual(mails, [['PageByEmail', 'PageTopic'], ['NotifyByEmail', 'NotifyTopic']], 'mail goes only to addresses that were given');
  t.diagnostic(`${severe.length} alarms page through ${PAGING.length}, ${alarms.filter((alarm) => !isPart(alarm)).length - severe.length - PAGING.length} notify`);
});

test('a change of the Audit table\'s policy notifies, and the topic still accepts what it accepted without a policy', async (t) => {
  const all = await resources(t);
  const [rule, policy] = ['AuditPolicyChanged', 'NotifyTopicPolicy'].map((id) => all[id].Properties);
  const TABLE = 'arn:aws:dynamodb:REGION:ACCOUNT:table/Audit-dev';
  assert.deepEqual(rule.EventPattern.detail, {
    eventSource: ['dynamodb.amazonaws.com'],
    eventName: ['PutResourcePolicy', 'DeleteResourcePolicy'],
    $or: [{ requestParameters: { resourceArn: [TABLE] } }, { resources: { ARN: [TABLE] } }],
  });
  assert.equal(rule.State, 'ENABLED');
  assert.ok(rule.Description.length <= 512);
  const [{ Arn, InputTransformer: { InputPathsMap: paths, InputTemplate: text } }, ...others] = rule.Targets;
  assert.deepEqual([Arn, others], ['NotifyTopic', []]);
  assert.equal(typeof JSON.parse(text), 'string', 'EventBridge takes no other text');
  const named = [...text.matchAll(/<(\w+)>/g)].map(([, name]) => name);
  assert.deepEqual([...new Set(named)].sort(), Object.keys(paths).sort());

  assert.deepEqual(policy.Topics, ['NotifyTopic']);
  const allowed = policy.PolicyDocument.Statement.map(({ Principal, Action, Condition }) => [Object.values(Principal)[0], [Action].flat().includes('sns:Publish'), Condition]);
  assert.deepEqual(allowed, [
    ['*', true, { StringEquals: { 'AWS:SourceOwner': 'ACCOUNT' } }],
    ['cloudwatch.amazonaws.com', true, { StringEquals: { 'aws:SourceAccount': 'ACCOUNT' } }],
    ['events.amazonaws.com', true, undefined],
  ]);
  assert.equal(all.PageTopicPolicy, undefined, 'only alarms page');
});

test('the rule matches a change of this table\'s policy, wherever CloudTrail names the table, and no other call', async (t) => {
  const { EventPattern: pattern } = (await resources(t)).AuditPolicyChanged.Properties;
  const { eventBridge } = (await startMinistack(t)).aws();
  const matches = async (detail) => {
    const envelope = { id: '1', account: '123456789012', source: 'aws.dynamodb', time: '2026-03-03T10:15:00Z', region: 'eu-central-1', resources: [] };
    const Event = JSON.stringify({ ...envelope, 'detail-type': 'AWS API Call via CloudTrail', detail: { eventSource: 'dynamodb.amazonaws.com', ...detail } });
    return (await eventBridge('TestEventPattern', { EventPattern: JSON.stringify(pattern), Event })).Result;
  };
  const [own, other] = ['Audit-dev', 'Audit-prod'].map((name) => `arn:aws:dynamodb:REGION:ACCOUNT:table/${name}`);
  for (const eventName of ['PutResourcePolicy', 'DeleteResourcePolicy']) {
    assert.equal(await matches({ eventName, requestParameters: { resourceArn: own } }), true, eventName);
    assert.equal(await matches({ eventName, resources: [{ ARN: own, type: 'AWS::DynamoDB::Table' }] }), true, eventName);
    assert.equal(await matches({ eventName, requestParameters: { resourceArn: other }, resources: [{ ARN: other }] }), false, eventName);
  }
  assert.equal(await matches({ eventName: 'GetResourcePolicy', requestParameters: { resourceArn: own } }), false);
});

/** Alarms that look for missing data, and one that waits for the first data. */
const MISSING_DATA = {
  MappingStoppedPolls: 'breaching', MappingStoppedLately: 'breaching', WitnessBehindPolls: 'breaching', CanaryMissingSeen: 'breaching',
  CanaryMissingFirst: 'ignore',
};

test('each alarm evaluates metrics that exist, and states how it treats missing data', async (t) => {
  const alarms = alarmsOf(await resources(t)).filter(({ Type }) => Type === METRIC_ALARM);
  for (const alarm of alarms) {
    metricsOf(alarm).forEach(exists);
    for (const { stat } of metricsOf(alarm)) assert.match(stat, /^(Sum|SampleCount|Maximum|p90)$/, `${alarm.id}: CloudWatch documents it for alarms`);
    assert.equal(alarm.ComparisonOperator, 'GreaterThanThreshold', alarm.id);
    assert.equal(alarm.TreatMissingData, MISSING_DATA[alarm.id] ?? 'notBreaching', alarm.id);
    const [{ period }] = metricsOf(alarm);
    assert.ok(period * alarm.EvaluationPeriods <= (period < 3600 ? 1 : 7) * 86400, `${alarm.id} looks back no longer than CloudWatch allows`);
  }
  for (const file of fs.readdirSync(path.join(ROOT, 'alarms'))) {
    assert.doesNotMatch(read('alarms', file), /\$\{(self|sls|param|opt|env|file)[:(]/, `${file} is plain CloudFormation`);
  }
  const { METRICS_NAMESPACE } = (await resources(t)).AuditLambdaFunction.Properties.Environment.Variables;
  assert.equal(METRICS_NAMESPACE, undefined, 'so the namespace is the default');
  assert.match(read('src', 'settings.rs'), /"ConfigAudit"/);
  t.diagnostic(`${alarms.length} alarms on ${alarms.flatMap(metricsOf).length} metrics`);
});

test('metric math is within CloudWatch\'s limits for alarms, and within what the evaluator supports', async (t) => {
  const math = alarmsOf(await resources(t)).filter(({ Metrics }) => Metrics);
  for (const { id, Metrics } of math) {
    assert.ok(Metrics.length <= 10, id);
    assert.equal(Metrics.filter(({ ReturnData }) => ReturnData !== false).length, 1, `${id} returns one series`);
    assert.equal(new Set(Metrics.flatMap(({ MetricStat }) => MetricStat?.Period ?? [])).size, 1, `${id} has one period`);
    const ids = Metrics.map((metric) => metric.Id);
    assert.equal(new Set(ids).size, ids.length, id);
    for (const { Expression } of Metrics.filter((metric) => metric.Expression)) {
      for (const word of words(Expression)) assert.ok([...ids, ...FUNCTIONS].includes(word), `${id}: ${word}`);
      assert.match(Expression, /^[\w\s(),+*/<>=-]+$/, id);
    }
    for (const name of ids) assert.match(name, /^[a-z]\w*$/);
  }
  t.diagnostic(`${math.length} alarms with metric math`);
});

test('thresholds match the time-out, the record age and the objective that they derive from', async (t) => {
  const all = await resources(t);
  const alarm = (name) => ({ id: name, ...all[name].Properties });
  const { Timeout } = all.AuditLambdaFunction.Properties;
  assert.equal(alarm('DurationHigh').Threshold, 0.9 * Timeout * 1000);
  assert.ok(alarm('DurationHigh').AlarmDescription.includes(`${0.9 * Timeout} of their ${Timeout} seconds`));

  const givesUp = all.ConfigurationStreamMapping.Properties.MaximumRecordAgeInSeconds * 1000;
  assert.ok(alarm('IteratorAgeHigh').Threshold < alarm('IteratorAgeCritical').Threshold);
  assert.ok(alarm('IteratorAgeCritical').Threshold < givesUp / 4, 'it leaves time to act');

  const budget = 0.1; // Per cent of the records of 30 days.
  for (const [id, composite, burn, period] of [['FreshnessBurnFast1h', 'FreshnessBurnFast', 14.4, 3600], ['FreshnessBurnSlow', 'FreshnessBurnSlow', 3, 86400]]) {
    assert.deepEqual(metricsOf(alarm(id)).map(({ name, stat, period }) => [name, stat, period]), [['RecordsLate', 'Sum', period], ['RecordsAudited', 'Sum', period]]);
    assert.ok(Math.abs(alarm(id).Threshold - burn * budget) < 1e-9);
    assert.ok(alarm(composite).AlarmDescription.startsWith(`More than ${+(burn * budget).toFixed(2)} %`));
  }
  t.diagnostic('time-out, record age, objective');
});

test('when a record is late, and which age is critical, are parameters; the evaluator has their defaults', async (t) => {
  const given = await resources(t, ['--param', 'lateMinutes=10', '--param', 'criticalAgeMinutes=60']);
  assert.equal(given.AuditLambdaFunction.Properties.Environment.Variables.LATE_MINUTES, '10', 'the function counts what is late');
  assert.equal(given.IteratorAgeCritical.Properties.Threshold, 3_600_000);
  assert.match(given.IteratorAgeCritical.Properties.AlarmDescription, /^The last record of a batch is more than 60 minutes old/);
  assert.match(given.FreshnessBurnFast.Properties.AlarmDescription, /were audited more than 10 minutes after/);
  const thresholds = dashboardsOf(given).flatMap(graphsOf).flatMap(({ annotations }) => annotations?.horizontal ?? []).map(({ value }) => value);
  assert.ok(thresholds.includes(10) && thresholds.includes(60), 'they are drawn in minutes, as numbers');
  assert.ok(thresholds.every((value) => typeof value === 'number' && ![5, 120].includes(value)));

  const constant = (name) => Number(new RegExp(`const ${name}: u64 = (\\d+);`).exec(read('crates', 'faults', 'src', 'received.rs'))[1]);
  assert.deepEqual([constant('LATE_MINUTES'), constant('CRITICAL_AGE_MINUTES')], [DEFAULTS.lateMinutes, DEFAULTS.criticalAgeMinutes]);
});

test('a witness that fails, falls behind or is not polled pages if anybody wrote to the Audit table, and no write can escape it', async (t) => {
  const all = await resources(t);
  const [polls, writes] = ['WitnessBehindPolls', 'WitnessBehindWrites'].map((id) => ({ id, ...all[id].Properties }));
  assert.equal(all.WitnessBehind.Properties.AlarmRule, 'ALARM("config-audit-dev-WitnessBehindPolls") AND ALARM("config-audit-dev-WitnessBehindWrites")');
  // Not the function's own count: it does not know what others write.
  assert.deepEqual(metricsOf(writes).map(({ namespace, name, dimensions }) => [namespace, name, dimensions]),
    [['AWS/DynamoDB', 'ConsumedWriteCapacityUnits', { TableName: 'Audit-dev' }]]);
  const DAY = 86400;
  assert.equal(writes.Period * writes.EvaluationPeriods, DAY, 'as long as the stream keeps a record');
  const [{ period }] = metricsOf(polls);
  assert.ok(period * polls.EvaluationPeriods > 3600 && period * polls.EvaluationPeriods < DAY / 8);
  assert.equal(all.AuditStreamMapping.Properties.MetricsConfig.Metrics[0], 'EventCount', 'polls are counted');
});

test('CloudWatch\'s API accepts every alarm of the template', async (t) => {
  const all = await resources(t);
  const [, endpoint] = await serve(t, path.join(VENV, 'moto_server'), ['-H', '127.0.0.1', '-p', '0'], { ready: /Running on (http:\/\/127\.0\.0\.1:\d+)/ });
  const alarms = ofType(all, METRIC_ALARM, COMPOSITE_ALARM).map(([, alarm]) => alarm);
  const put = await run(path.join(VENV, 'python'), [path.join(__dirname, 'put_alarms.py'), endpoint], {
    input: JSON.stringify(alarms), env: withoutAccount({ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' }),
  });
  assert.equal(put.status, 0, put.all);
  const metric = alarms.filter(({ Type }) => Type === METRIC_ALARM).map(({ Properties }) => Properties.AlarmName);
  assert.deepEqual(JSON.parse(put.stdout).sort(), metric.sort());
  t.diagnostic(`${alarms.length} alarms by the API's model (botocore), ${metric.length} of them by moto, which refuses little`);
});

// ---- dashboards ------------------------------------------------------------------------------------------------------

/** A dashboard's graphs and what they show: [{title, metrics: [{id, namespace, name, dimensions, stat, period, axis}], …}]. */
function graphsOf({ widgets }) {
  return widgets.filter(({ type }) => type === 'metric').map(({ width, properties }) => ({
    ...properties,
    width,
    metrics: properties.metrics.filter(([first]) => typeof first === 'string').map((entry) => {
      const options = typeof entry.at(-1) === 'object' ? entry.at(-1) : {};
      const [namespace, name, ...pairs] = entry.filter((part) => typeof part === 'string');
      return {
        namespace,
        name,
        id: options.id,
        dimensions: Object.fromEntries(Array.from({ length: pairs.length / 2 }, (_, index) => pairs.slice(2 * index, 2 * index + 2))),
        stat: options.stat || properties.stat,
        period: options.period || properties.period,
        axis: options.yAxis || 'left',
        drawn: options.visible !== false,
      };
    }),
    expressions: properties.metrics.filter(([first]) => typeof first === 'object').map(([expression]) => ({ ...expression, drawn: expression.visible !== false })),
    labels: properties.metrics.filter((entry) => entry.at(-1).visible !== false).map((entry) => entry.at(-1).label),
    axes: properties.metrics.filter((entry) => entry.at(-1).visible !== false).map((entry) => entry.at(-1)?.yAxis || 'left'),
  }));
}

test('dashboards are valid for CloudWatch, fill a grid of 24 columns without gap or overlap, and fit 1280 pixels', async (t) => {
  const valid = new Ajv({ strict: true, strictTypes: false, strictRequired: false }).compile(schema);
  for (const dashboard of dashboardsOf(await resources(t))) {
    const { name, text, ...body } = dashboard;
    assert.ok(valid(body), `${name}: ${JSON.stringify(valid.errors?.slice(0, 3))}`);
    assert.doesNotMatch(text, /\$\{/, 'every placeholder is resolved');

    const cells = new Map();
    for (const { x, y, width, height } of body.widgets) {
      for (let row = y; row < y + height; row += 1) {
        for (let column = x; column < x + width; column += 1) {
          assert.ok(column < 24 && !cells.has(`${column} ${row}`), `${name}: two widgets at ${column}, ${row}`);
          cells.set(`${column} ${row}`, true);
        }
      }
    }
    const rows = Math.max(...body.widgets.map(({ y, height }) => y + height));
    assert.equal(cells.size, 24 * rows, `${name} has a gap`);

    const column = 1280 / 24;
    for (const { title, width, labels, yAxis, annotations } of graphsOf(body)) {
      const room = width * column;
      let [rows, left] = [1, room];
      for (const label of labels) {
        const takes = label.length * 7 + 25; // Including the coloured mark before it.
        assert.ok(takes <= room, `"${title}": "${label}" does not fit ${width} columns`);
        if (takes > left) [rows, left] = [rows + 1, room];
        left -= takes;
      }
      assert.ok(rows <= 2, `"${title}" has ${rows} rows of legend`);
      for (const { value } of annotations?.horizontal || []) {
        assert.ok(value >= (yAxis.left.max ?? 0) / 20, `"${title}": ${value} cannot be told from 0 on an axis up to ${yAxis.left.max}`);
      }
    }
    for (const { properties } of body.widgets.filter(({ type }) => ['metric', 'log'].includes(type))) assert.equal(properties.region, 'REGION', properties.title);
    for (const { type, width, properties } of body.widgets.filter((widget) => widget.properties.title)) {
      assert.ok(width >= (properties.view === 'singleValue' ? 3 : type === 'metric' ? 6 : 8), `${properties.title} is too narrow`);
      assert.ok(properties.title.length * 7 <= width * column - 40, `"${properties.title}" does not fit ${width} columns`);
    }
    t.diagnostic(`${name}: ${body.widgets.length} widgets, ${rows} rows, ${Buffer.byteLength(text)} bytes`);
  }
});

test('dashboards and links to them have the region in their names, because dashboards are global in an account', async (t) => {
  const all = await resources(t);
  const dashboards = dashboardsOf(all);
  const names = dashboards.map(({ name }) => name);
  assert.deepEqual(names, ['config-audit-dev-REGION-operations', 'config-audit-dev-REGION-deep-dive']);
  const texts = [...dashboards.map(({ text }) => text), ...alarmsOf(all).map(({ AlarmDescription }) => AlarmDescription)];
  const linked = texts.flatMap((text) => [...text.matchAll(/#dashboards(?::name=|\/dashboard\/)([\w-]+)/g)].map(([, name]) => name));
  for (const name of linked) assert.ok(names.includes(name), name);
  assert.equal(linked.length, 4);
});

test('every graph shows metrics that exist, on axes labelled with their unit', async (t) => {
  let count = 0;
  for (const dashboard of dashboardsOf(await resources(t))) {
    for (const { title, metrics, expressions, yAxis, axes } of graphsOf(dashboard)) {
      const ids = [...metrics, ...expressions].flatMap(({ id }) => id ?? []);
      assert.equal(new Set(ids).size, ids.length, `"${title}" has no id twice`);
      for (const { expression } of expressions) {
        for (const word of words(expression)) assert.ok([...ids, ...FUNCTIONS_OF_DASHBOARDS].includes(word), `"${title}": ${word}`);
      }
      for (const metric of metrics) {
        const milliseconds = exists(metric) && !/^(SampleCount|PR\(.*)$/.test(metric.stat);
        count += 1;
        if (!yAxis) continue;
        const users = expressions.filter(({ expression }) => words(expression).includes(metric.id));
        for (const { expression, yAxis: axis = 'left' } of metric.drawn ? [{ expression: metric.id ?? '', yAxis: metric.axis }] : users) {
          const { label } = yAxis[axis];
          const [unit] = milliseconds ? Object.entries({ ...SCALES, milliseconds: 1 }).find(([, scale]) => scale === scaleOf(expression)) : [''];
          assert.ok(label.startsWith(unit) && (unit || !/millisecond/.test(label)), `"${title}": ${metric.name} against "${label}"`);
          assert.equal(/per cent/.test(label), metric.stat.startsWith('PR(') || expression.includes('100 *'), `"${title}": ${metric.name} against "${label}"`);
        }
      }
      if (yAxis) assert.deepEqual(Object.keys(yAxis).sort(), [...new Set(axes)].sort(), `"${title}" labels the axes that it uses`);
    }
  }
  t.diagnostic(`${count} metrics`);
});

test('graphs have the alarms\' thresholds, and every alarm\'s state is on top', async (t) => {
  const all = await resources(t);
  const alarms = alarmsOf(all);
  const [operations] = dashboardsOf(all);
  const thresholds = alarms.filter(({ Type, Threshold }) => Type === METRIC_ALARM && Threshold > 0)
    .map((alarm) => ({ id: alarm.id, value: alarm.Threshold, compared: compared(alarm) }));

  const drawn = dashboardsOf(all).flatMap(graphsOf).flatMap(({ metrics, expressions, annotations, title, yAxis }) => {
    const lines = [...metrics.filter((metric) => metric.drawn).map(line), ...expressions.map(({ expression }) => lineOf(expression, metrics))].map(plain);
    const lag = metrics.some(({ name, stat }) => name === 'AuditLag' && /^(p\d+|Maximum)$/.test(stat));
    const scale = SCALES[yAxis?.left.label] ?? 1;
    return (annotations?.horizontal || []).map(({ value, label }) => ({ value: value * scale, label, title, lines, lag }));
  });
  for (const { value, label, title, lines, lag } of drawn) {
    const known = thresholds.some((alarm) => alarm.value === value && lines.includes(plain(alarm.compared))) || (lag && value === DEFAULTS.lateMinutes * 60_000);
    assert.ok(known, `"${title}" draws ${value} (${label}), which is not the threshold of an alarm on one of its lines`);
  }
  for (const { id, value, compared: line } of thresholds) {
    const there = drawn.find((threshold) => threshold.value === value && threshold.lines.includes(plain(line)));
    assert.ok(there, `${id}: a graph shows its metric with the same statistic, and ${value} as a line`);
    const severe = pages(alarms).some((page) => id.startsWith(page));
    assert.ok(there.label.startsWith(severe ? 'page' : 'notify'), `${id}: ${there.label}`);
  }

  const shown = operations.widgets.filter(({ type }) => type === 'alarm').map(({ properties }) => properties.alarms.map((arn) => arn.split('-dev-')[1]));
  const [severe, others] = shown;
  assert.deepEqual(severe.toSorted(), [...PAGING, ...pages(alarms)].sort());
  assert.deepEqual([...severe, ...others].sort(), alarms.filter((alarm) => !isPart(alarm)).map(({ id }) => id).sort());
  const title = operations.widgets[0].properties.markdown;
  assert.ok(title.startsWith('# config-audit dev') && title.includes('docs/runbooks/README.md'));
  t.diagnostic(`${drawn.length} lines; ${severe.length} alarms of severity page, ${others.length} of severity notify`);
});

test('the operations dashboard opens with 24 hours, and starts with numbers', async (t) => {
  const [{ start, widgets: [title, ...widgets] }] = dashboardsOf(await resources(t));
  assert.deepEqual([start, title.type], ['-PT24H', 'text']);
  const numbers = widgets.slice(0, widgets.findIndex(({ type }) => type === 'alarm'));
  assert.deepEqual(numbers.map(({ properties }) => [properties.view, properties.title]), [
    'Last change audited', 'Stream last read', 'Changes audited', 'Failures in the time shown', 'Failure bucket', 'Audited in time, 30 days',
  ].map((name) => ['singleValue', name]));
});

// ---- queries ---------------------------------------------------------------------------------------------------------

/** Members of Lambda's own log lines (AWS Lambda Developer Guide, "Lambda Telemetry API Event schema reference"). */
const PLATFORM = ['type', 'record.requestId', 'record.status', 'record.errorType', 'record.metrics.initDurationMs'];
const PLATFORM_VALUES = { type: ['platform.report'], 'record.status': ['error', 'failure', 'timeout'] };
/** Values that the operator replaces. */
const PLACEHOLDERS = { itemKey: ['ITEM-KEY'], requestId: ['REQUEST-ID'], 'record.requestId': ['REQUEST-ID'] };
const LANGUAGE = /^(fields|filter|stats|sort|limit|by|as|asc|desc|in|like|and|or|coalesce|ispresent|count|count_distinct|min|max|avg|sum|strlen|bin|fromMillis|\d+h?)$/;

/** A source file without its tests. */
const code = (...parts) => read('src', ...parts).split(/^#\[cfg\(test\)\]\n(?:pub\(crate\) )?mod tests/m)[0];

/** The calls of tracing's macros with their arguments: [[macro, argument, …], …]. */
function traced(text) {
  return [...text.matchAll(/\btracing::(\w+)!\(/g)].map((call) => {
    const parts = [''];
    let depth = 1;
    for (const [token] of text.slice(call.index + call[0].length).matchAll(/"(?:\\[^]|[^"\\])*"|[^]/g)) {
      depth += '([{'.includes(token) ? 1 : ')]}'.includes(token) ? -1 : 0;
      if (depth === 0) break;
      if (depth === 1 && token === ',') parts.push('');
      else parts[parts.length - 1] += token;
    }
    return [call[1], ...parts.map((part) => part.trim())];
  });
}

/** The members of the function's log lines, and the values that its code gives some of them, from that code. */
function printed() {
  const wide = code('telemetry', 'mod.rs');
  const reasons = [...code('reason.rs').matchAll(/^ {4}\w+ = "(\w+)",/gm)].map(([, value]) => value);
  const calls = ['lambda.rs', 'main.rs', 'telemetry/records.rs', 'telemetry/logs.rs'].flatMap((file) => traced(code(file)));
  const members = [
    ...[...wide.matchAll(/\("(\w+)", /g), ...code('telemetry', 'emf.rs').matchAll(/\.member\("(\w+)"/g),
      ...code('telemetry', 'logs.rs').matchAll(/line\.insert\("(\w+)"/g)].map(([, name]) => name),
    ...calls.flatMap(([, ...parts]) => parts.flatMap((part) => /^(\w+)(?: =[^]*)?$/.exec(part)?.[1] ?? [])),
    ...Object.keys(CATALOG),
  ];
  const messages = [...wide.matchAll(/\("message", Value::from\("([^"]*)"\)\)/g)].map(([, value]) => value);
  return {
    members,
    values: {
      message: messages,
      reason: reasons,
      level: calls.map(([macro]) => macro.toUpperCase()),
      // As text: what every line with metrics contains.
      '@message': [...code('telemetry', 'emf.rs').matchAll(/"(\w+)": \[/g)].map(([, name]) => name),
    },
  };
}

test('saved queries use members that exist in the log, and runbooks and dashboards use the same queries', async (t) => {
  const all = await resources(t);
  const queries = queriesOf(all);
  const log = printed();
  for (const [name, query] of Object.entries(queries)) {
    const aliases = [...query.matchAll(/ as (\w+)/g)].map(([, alias]) => alias);
    for (const [word] of query.replace(/"[^"]*"/g, '').matchAll(/@?[\w.]+/g)) {
      if (word.startsWith('@') || LANGUAGE.test(word) || aliases.includes(word) || PLATFORM.includes(word)) continue;
      assert.ok(log.members.includes(word.replace(/\.0$/, '')), `"${name}" asks for ${word}, which the function's log has`);
    }
    const literals = [...query.matchAll(/(@?[\w.]+) (?:=|in|like) ("[^"]*"|\[[^\]]*\])/g)]
      .flatMap(([, member, list]) => [...list.matchAll(/"([^"]*)"/g)].map(([, value]) => [member, value]));
    assert.equal(literals.length, query.split('"').length >> 1, `"${name}": each literal belongs to a member`);
    for (const [member, value] of literals) {
      const known = [log.values, PLATFORM_VALUES, PLACEHOLDERS].flatMap((values) => values[member] ?? []);
      assert.ok(known.includes(value), `"${name}" asks for a ${member} of ${value}, which is one of ${[...new Set(known)]}`);
    }
    assert.doesNotMatch(query, /(?<!fromMillis\()(?:min|max)\(@timestamp\)/, `"${name}" shows times`);
    assert.ok(query.split('\n').every((line, index) => index === 0 || line.startsWith('| ')), name);
  }
  for (const file of fs.readdirSync(path.join(ROOT, 'docs', 'runbooks'))) {
    const blocks = [...read('docs', 'runbooks', file).matchAll(/Saved query "([^"]*)":\n\n```insights\n([^]*?)\n```/g)];
    assert.equal(blocks.length, read('docs', 'runbooks', file).split('```insights').length - 1, `${file} says which saved query each is`);
    for (const [, name, query] of blocks) assert.equal(query, queries[name], `${file}: "${name}"`);
  }
  for (const alarm of alarmsOf(all)) {
    for (const [, name] of alarm.AlarmDescription.matchAll(/saved query "([^"]*)"/g)) {
      assert.ok(queries[name], `${alarm.id}: ${name}`);
      assert.ok(runbook(alarm.id).includes(`Saved query "${name}"`), `${alarm.id}: its runbook has the query "${name}"`);
    }
  }
  const shown = dashboardsOf(all).flatMap(({ widgets }) => widgets).filter(({ type }) => type === 'log');
  for (const { properties: { query } } of shown) {
    const text = query.replace("SOURCE '/aws/lambda/config-audit-dev-audit' | ", '');
    assert.ok(Object.values(queries).some((saved) => saved.replaceAll('\n', ' ') === text), query);
  }
  t.diagnostic(`${Object.keys(queries).length} saved queries`);
});

test('runbooks list every reason that the function reports', () => {
  // Rust tests compare the tables of the page with the code.
  const page = read('docs', 'semantics.md');
  const codes = (heading) => {
    const start = page.indexOf(`\n### ${heading}`);
    assert.ok(start >= 0, heading);
    return [...page.slice(start, page.indexOf('\n#', start + 2)).matchAll(/^\| `(\w+)` \| /gm)].map(([, name]) => name);
  };
  const records = [...codes('A record cannot be audited'), ...codes('Entries could not be written')];
  for (const [id, names, least] of [['RecordsFailing', records, 20], ['RecordsQuarantined', codes('A record cannot be audited'), 8], ['InvocationErrors', codes('The invocation fails as a whole'), 5],
    ['TrailTampered', codes('Somebody touched the trail'), 2], ['WitnessBehind', codes('An entry has no witness yet'), 1]]) {
    assert.ok(names.length >= least, `${names}`);
    for (const name of names.filter((name) => id !== 'RecordsQuarantined' || name !== 'value_omitted')) {
      assert.ok(runbook(id).includes(`\`${name}\``), `${id} has ${name}`);
    }
  }
  assert.match(runbook('RecordsFailing'), /^\| any other \| /m);
});
