'use strict';

// What operators get: alarms, their runbooks, dashboards and saved queries, as they are in the packaged template. Nothing
// watches a metric that is not there, and all that says the same thing in two places says it alike.

const Ajv = require('ajv');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { ROOT, VENV, packaged, run, serve, temporary, withoutAccount } = require('./helpers');
const schema = require('./dashboard.schema.json');

const read = (...parts) => fs.readFileSync(path.join(ROOT, ...parts), 'utf8');
const kebab = (name) => name.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase();

const METRIC_ALARM = 'AWS::CloudWatch::Alarm';
const COMPOSITE_ALARM = 'AWS::CloudWatch::CompositeAlarm';
const INDEX = 'itemKey-modificationTime-index';

/** AWS's own metrics that are used, by namespace and dimensions (AWS Lambda, Amazon DynamoDB and CloudWatch Logs guides). */
const AWS_METRICS = {
  'AWS/Lambda FunctionName': ['Invocations', 'Errors', 'Throttles', 'Duration', 'ConcurrentExecutions', 'IteratorAge', 'DestinationDeliveryFailures'],
  'AWS/Lambda EventSourceMappingUUID': ['PolledEventCount', 'InvokedEventCount', 'FailedInvokeEventCount', 'DroppedEventCount',
    'OnFailureDestinationDeliveredEventCount'],
  'AWS/DynamoDB TableName': ['ConsumedWriteCapacityUnits', 'WriteThrottleEvents'],
  'AWS/DynamoDB TableName GlobalSecondaryIndexName': ['ConsumedWriteCapacityUnits', 'WriteThrottleEvents'],
  'AWS/DynamoDB TableName Operation': ['SuccessfulRequestLatency', 'SystemErrors', 'ThrottledRequests'],
  'AWS/Logs LogGroupName': ['IncomingBytes', 'IncomingLogEvents', 'EMFParsingErrors', 'EMFValidationErrors'],
};
const AWS_MILLISECONDS = ['Duration', 'IteratorAge', 'SuccessfulRequestLatency'];

/** The values that each dimension may have here: what the stack makes, or watches. */
const VALUES = {
  Service: ['config-audit'],
  Stage: ['dev'],
  FunctionName: ['config-audit-dev-audit'],
  EventSourceMappingUUID: ['MAPPING'],
  TableName: ['Configuration-dev', 'Audit-dev'],
  GlobalSecondaryIndexName: [INDEX],
  Operation: ['BatchWriteItem'],
  LogGroupName: ['/aws/lambda/config-audit-dev-audit'],
};

/** The function's own metrics: name and unit, from the catalog. */
const CATALOG = Object.fromEntries([...read('src', 'telemetry', 'catalog.rs').matchAll(/^ {4}[A-Z_]+ = "(\w+)", (\w+), \w+, /gm)]
  .map(([, name, unit]) => [name, unit]));

/** The packaged template's resources, as CloudFormation resolves them. */
const resources = async (t) => resolved((await packaged(t, [])).template);
const ofType = (all, ...types) => Object.entries(all).filter(([, { Type }]) => types.includes(Type));
const alarmsOf = (all) => ofType(all, METRIC_ALARM, COMPOSITE_ALARM).map(([id, { Type, Properties }]) => ({ id, Type, ...Properties }));
const dashboardsOf = (all) => ofType(all, 'AWS::CloudWatch::Dashboard').map(([, { Properties }]) => ({
  name: Properties.DashboardName, text: Properties.DashboardBody, ...JSON.parse(Properties.DashboardBody),
}));
const queriesOf = (all) => Object.fromEntries(ofType(all, 'AWS::Logs::QueryDefinition')
  .map(([, { Properties }]) => [Properties.Name.replace('config-audit-dev/', ''), Properties.QueryString]));

/** A part of another alarm is none of its own: it acts on nothing, and the other has the runbook. */
const OF_PARTS = ['FreshnessBurnFast', 'FreshnessBurnSlow', 'MappingStopped'];
const whole = ({ id }) => OF_PARTS.find((whole) => id.startsWith(whole)) ?? id;
/** Where no data is the very thing that is looked for. */
const SILENCE_IS_BAD = ['MappingStoppedPolls', 'MappingStoppedLately'];
const isPart = (alarm) => whole(alarm) !== alarm.id;
/** The alarms that a rule asks for, and those that it excepts. */
const names = (rule) => [...rule.matchAll(/(?<!NOT )ALARM\("config-audit-dev-(\w+)"\)/g)].map(([, id]) => id);
const excepted = (rule) => [...rule.matchAll(/NOT ALARM\("config-audit-dev-(\w+)"\)/g)].map(([, id]) => id);
/** The two that page, and the alarms that they page for. */
const PAGING = ['Incident', 'LossImminent'];
const pages = (alarms) => PAGING.flatMap((paging) => names(alarms.find(({ id }) => id === paging).AlarmRule));
const runbook = (id) => read('docs', 'runbooks', `${kebab(id)}.md`);

/** Metric math that is used, and that the alarms' evaluator knows. */
const FUNCTIONS = ['IF', 'FILL', 'ABS', 'AND', 'OR'];
const words = (expression) => expression.match(/[A-Za-z_]\w*/g) || [];

/** Each metric that an alarm looks at: {id, namespace, name, dimensions, stat, period}. */
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

/** What a line is made of, so that an alarm's and a graph's can be compared: a metric, or an expression with its metrics. */
const line = ({ namespace, name, dimensions, stat, period }) => JSON.stringify([namespace, name, dimensions, stat, period]);
const lineOf = (expression, metrics) => expression.replace(/[A-Za-z_]\w*/g, (word) => {
  const metric = metrics.find(({ id }) => id === word);
  return metric ? line(metric) : word;
});

/** What an alarm compares with its threshold. */
function compared(alarm) {
  const metrics = metricsOf(alarm);
  const returned = alarm.Metrics?.find(({ ReturnData }) => ReturnData !== false);
  return returned?.Expression ? lineOf(returned.Expression, metrics) : line(metrics[0]);
}

/** Asserts that there is such a metric, with these dimensions; returns whether its values are milliseconds. */
function exists({ namespace, name, dimensions }) {
  const keys = Object.keys(dimensions);
  for (const key of keys) assert.ok(VALUES[key]?.includes(dimensions[key]), `${name}: ${key} is ${dimensions[key]}`);
  if (namespace === 'ConfigAudit') {
    assert.ok(CATALOG[name], `${name} is in src/telemetry/catalog.rs`);
    assert.deepEqual(keys, ['Service', 'Stage'], name);
    return CATALOG[name] === 'Milliseconds';
  }
  assert.ok(AWS_METRICS[`${namespace} ${keys.join(' ')}`]?.includes(name), `${namespace} ${name} by ${keys}`);
  return AWS_MILLISECONDS.includes(name);
}

// ---- alarms ----------------------------------------------------------------------------------------------------------

test('an incident pages once, and loss once more: all alarms act on the topic notify, two composites of the severe ones on page', async (t) => {
  const all = await resources(t);
  const alarms = alarmsOf(all);
  for (const { id, AlarmActions: onAlarm, OKActions: onOk } of alarms) {
    const topic = [PAGING.includes(id) ? 'PageTopic' : 'NotifyTopic'];
    assert.deepEqual([onAlarm, onOk], isPart({ id }) ? [undefined, undefined] : [topic, topic], id);
  }
  const severe = pages(alarms);
  assert.equal(new Set(severe).size, severe.length, 'none pages through both');
  for (const { id, AlarmName, AlarmRule } of alarms) {
    assert.equal(AlarmName, `config-audit-dev-${id}`);
    if (AlarmRule) for (const name of [...names(AlarmRule), ...excepted(AlarmRule)]) assert.ok(alarms.some((alarm) => alarm.id === name), name);
  }
  const topics = ofType(all, 'AWS::SNS::Topic').map(([, { Properties }]) => Properties.TopicName);
  assert.deepEqual(topics, ['config-audit-dev-page', 'config-audit-dev-notify']);
  const mails = ofType(all, 'AWS::SNS::Subscription').map(([, { Condition, Properties }]) => [Condition, Properties.TopicArn]);
  assert.deepEqual(mails, [['PageByEmail', 'PageTopic'], ['NotifyByEmail', 'NotifyTopic']], 'nobody gets mail who was not named');
  t.diagnostic(`${severe.length} alarms page through ${PAGING.length}, ${alarms.filter((alarm) => !isPart(alarm)).length - severe.length - PAGING.length} notify`);
});

const DASHBOARD = 'https://REGION.console.aws.amazon.com/cloudwatch/home?region=REGION#dashboards/dashboard/config-audit-dev-operations ';

/** What each page begins its commands with. */
const SETUP = 'export STAGE=prod AWS_REGION=eu-central-1 AWS_DEFAULT_REGION=eu-central-1 AWS_PAGER=';
const SECTIONS = ['Symptom', 'Likely causes', 'How to tell them apart', 'What to do', 'How to know that it is over'];

test('each alarm has its runbook, and each runbook its alarm, its severity, the time left and what to do about each cause', async (t) => {
  const alarms = alarmsOf(await resources(t));
  const severe = [...PAGING, ...pages(alarms)];
  for (const alarm of alarms) {
    const { id, AlarmDescription: description } = alarm;
    assert.ok(description.endsWith(`Runbook: docs/runbooks/${kebab(whole(alarm))}.md`), id);
    assert.ok(description.length <= 1024 && !/ {2}|\n/.test(description), id);
    if (isPart(alarm)) continue;
    if (PAGING.includes(id)) assert.ok(description.includes(DASHBOARD), `${id} links the dashboard`);

    const text = runbook(id);
    assert.ok(text.startsWith(`# ${id}\n\n- **Time left**: `), id);
    assert.match(text, /^- \*\*Lost\*\*: [^#]+^Severity: /m, id);
    assert.match(text, new RegExp(`^Severity: ${severe.includes(id) ? 'page' : 'notify'} {2}$`, 'm'), id);
    assert.deepEqual([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading), SECTIONS, id);
    const [, ...sections] = text.split(/^## .*$/m);
    for (const section of sections) assert.ok(section.trim().length > 20, id);
    const [, causes, apart, todo] = sections;
    // The two that page list alarms instead, each with a runbook of its own.
    const numbers = PAGING.includes(id) ? [] : [...causes.matchAll(/^(\d+)\. /gm)].map(([, number]) => number);
    const named = (section) => [...new Set([...section.matchAll(/\bcause\s+(\d+)\b/g)].map(([, number]) => number))].sort();
    assert.deepEqual([named(apart), named(todo)], [numbers, numbers], `${id}: how to recognise each cause, and what to do about it`);
    const within = Number(/^Fires within: (\d+) minutes$/m.exec(text)[1]);
    if (alarm.Type === METRIC_ALARM) {
      const least = ((alarm.DatapointsToAlarm || alarm.EvaluationPeriods) * metricsOf(alarm)[0].period) / 60;
      assert.ok(within > least, `${id} can't fire within ${within} minutes: it needs ${least}`);
    }
    assert.ok(read('docs', 'runbooks', 'README.md').includes(
      `| [${id}](${kebab(id)}.md) | ${severe.includes(id) ? 'page' : 'notify'} | ${within} minutes |`), `the index has ${id}`);
  }
  const files = fs.readdirSync(path.join(ROOT, 'docs', 'runbooks'));
  const expected = alarms.filter((alarm) => !isPart(alarm)).map(({ id }) => `${kebab(id)}.md`);
  assert.deepEqual(files.sort(), [...expected, 'README.md'].sort());
  const slug = (heading) => heading.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-');
  for (const file of files) {
    for (const [, link, anchor] of read('docs', 'runbooks', file).matchAll(/\]\((?!https:)([^)#]*)#?([^)]*)\)/g)) {
      const target = path.join(ROOT, 'docs', 'runbooks', link || file);
      assert.ok(fs.existsSync(target), `${file} links ${link}`);
      const headings = [...fs.readFileSync(target, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading));
      assert.ok(!anchor || headings.includes(anchor), `${file} links ${link}#${anchor}`);
    }
  }
  t.diagnostic(`${expected.length} alarms, ${expected.length} runbooks`);
});

test('commands of the runbooks are about the stage that was paged for, and what they name is there', async (t) => {
  const all = await resources(t);
  const known = [...['FunctionName', 'TableName', 'LogGroupName', 'DashboardName'].flatMap((name) => Object.values(all)
    .flatMap(({ Properties }) => (typeof Properties?.[name] === 'string' ? Properties[name].split('/').at(-1) : []))), 'config-audit-dev', 'config-audit-dev-'];
  let count = 0;
  for (const file of fs.readdirSync(path.join(ROOT, 'docs', 'runbooks'))) {
    const text = read('docs', 'runbooks', file);
    assert.doesNotMatch(text, /\bdev\b/, `${file}: the answer would be about another stage than the one that paged`);
    for (const [, before, after] of text.matchAll(/((?:config-audit|Configuration|Audit)-)(?:\$STAGE|\$\{STAGE:\?\})((?:-[a-z]*)*)/g)) {
      assert.ok(known.includes(`${before}dev${after}`), `${file}: ${before}$STAGE${after}`);
    }
    const lines = commands(text).replaceAll(/\\\n\s*/g, '').split('\n').filter((line) => line.trim());
    assert.equal(lines[0], SETUP, file);
    for (const command of lines) {
      // The shell of macOS takes no comment, and its date no -d.
      assert.doesNotMatch(command, / # |\bdate -/, `${file}: ${command}`);
      // An answer that is empty, for want of the stage, would read as if all were well.
      if (/describe-alarms|get-metric-statistics|list-event-source-mappings/.test(command)) assert.match(command, /\$\{STAGE:\?\}|Value=\$FUNCTION /, `${file}: ${command}`);
      if (/config-audit redrive/.test(command)) assert.match(command, / "s3:\/\/\$\{BUCKET:\?\}" --key-attribute "\$\{KEY:\?\}" \$PROVENANCE /, `${file}: ${command}`);
      if (/serverless (deploy|print)/.test(command)) assert.match(command, / --stage \$STAGE$/, `${file}: ${command}`);
      count += 1;
    }
  }
  t.diagnostic(`${count} lines of commands`);
});

/** What AWS itself writes in capitals; any other such word would stand for something to fill in. */
const VALUES_IN_CAPITALS = ['AWS', 'ALARM', 'MODIFIED', 'DELETED', 'INFO', 'JSON'];

test('commands of the runbooks work when pasted: nothing is left to fill in, and the AWS CLI knows each of them', async (t) => {
  const files = fs.readdirSync(path.join(ROOT, 'docs', 'runbooks'));
  const calls = (await Promise.all(files.map((file) => pasted(t, file)))).flat();
  for (const [tool, ...args] of calls) {
    const given = args.filter((_, index) => args[index - 1] !== '--query');
    const capitals = given.flatMap((argument) => argument.match(/(?<![\w-])[A-Z][A-Z-]+(?![\w-])/g) || []);
    assert.deepEqual(capitals.filter((word) => !VALUES_IN_CAPITALS.includes(word)), [], `${tool} ${args.join(' ')}`);
  }
  const aws = calls.filter(([tool, service]) => tool === 'aws' && service !== 's3').map(([, ...args]) => args);
  const mentioned = files.flatMap((file) => [...read('docs', 'runbooks', file).replaceAll(/^ *```[^]*?^ *```$/gm, '').matchAll(/`aws ([^`]*)`/g)])
    .map(([, text]) => text.split(/\s+/));
  const checked = await run(path.join(VENV, 'python'), [path.join(__dirname, 'check_commands.py')], { input: JSON.stringify([...aws, ...mentioned]) });
  assert.deepEqual([checked.status, checked.all], [0, '']);
  t.diagnostic(`${calls.length} calls, ${aws.length} of them of the AWS CLI, by the APIs' models (botocore)`);
});

/** The shell commands of a page, as they are pasted. */
function commands(text) {
  return [...text.matchAll(/^( *)```sh\n([^]*?)^ *```$/gm)].map(([, indent, block]) => block.replaceAll(new RegExp(`^${indent}`, 'gm'), '')).join('');
}

/** The calls that bash makes when all commands of a page are pasted into it, by stand-ins: [[tool, argument, …], …]. */
async function pasted(t, file) {
  const directory = temporary(t);
  const recorded = path.join(directory, 'calls');
  fs.writeFileSync(recorded, '');
  for (const tool of ['aws', 'cargo', 'config-audit', 'git', 'npx', 'perl']) {
    fs.writeFileSync(path.join(directory, tool), `#!/bin/bash\nprintf '%s\\0' ${tool} "$@" $'\\1' >> '${recorded}'\necho answer\n`, { mode: 0o755 });
  }
  const shell = await run('/bin/bash', ['-euo', 'pipefail', '-c', commands(read('docs', 'runbooks', file))], {
    cwd: directory, env: { PATH: `${directory}:/usr/bin:/bin` },
  });
  assert.deepEqual([shell.status, shell.stderr], [0, ''], file);
  return fs.readFileSync(recorded, 'utf8').split('\0\x01\0').slice(0, -1).map((call) => call.split('\0'));
}

test('each alarm looks at metrics that exist, and treats missing data as it should', async (t) => {
  const alarms = alarmsOf(await resources(t)).filter(({ Type }) => Type === METRIC_ALARM);
  for (const alarm of alarms) {
    metricsOf(alarm).forEach(exists);
    assert.equal(alarm.ComparisonOperator, 'GreaterThanThreshold', alarm.id);
    assert.equal(alarm.TreatMissingData, SILENCE_IS_BAD.includes(alarm.id) ? 'breaching' : 'notBreaching', alarm.id);
    assert.ok(metricsOf(alarm)[0].period * alarm.EvaluationPeriods <= 86400, `${alarm.id} looks back for a day at most`);
  }
  for (const file of fs.readdirSync(path.join(ROOT, 'alarms'))) {
    assert.doesNotMatch(read('alarms', file), /\$\{(self|sls|param|opt|env|file)[:(]/, `${file} is plain CloudFormation`);
  }
  const { METRICS_NAMESPACE } = (await resources(t)).AuditLambdaFunction.Properties.Environment.Variables;
  assert.equal(METRICS_NAMESPACE, undefined, 'so the namespace is the default');
  assert.match(read('src', 'settings.rs'), /"ConfigAudit"/);
  t.diagnostic(`${alarms.length} alarms on ${alarms.flatMap(metricsOf).length} metrics`);
});

test('metric math is what an alarm may have, and what the evaluator knows', async (t) => {
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

test('thresholds follow what they are thresholds of', async (t) => {
  const all = await resources(t);
  const alarm = (name) => ({ id: name, ...all[name].Properties });
  const { Timeout } = all.AuditLambdaFunction.Properties;
  assert.equal(alarm('DurationHigh').Threshold, 0.9 * Timeout * 1000);
  assert.ok(alarm('DurationHigh').AlarmDescription.includes(`${0.9 * Timeout} of their ${Timeout} seconds`));

  const givesUp = all.ConfigurationStreamMapping.Properties.MaximumRecordAgeInSeconds * 1000;
  assert.ok(alarm('IteratorAgeHigh').Threshold < alarm('IteratorAgeCritical').Threshold);
  assert.ok(alarm('IteratorAgeCritical').Threshold < givesUp / 4, 'time is left to do something');

  const allowance = 0.1; // Per cent of the records of 30 days.
  for (const [composite, burn, windows] of [['FreshnessBurnFast', 14.4, { '1h': 3600, '5m': 300 }], ['FreshnessBurnSlow', 6, { '6h': 21600, '30m': 1800 }]]) {
    assert.deepEqual(names(alarm(composite).AlarmRule), Object.keys(windows).map((window) => composite + window));
    for (const [index, [window, period]] of Object.entries(windows).entries()) {
      // In the long window two late records are no trend; in the short one they say that it goes on.
      const stats = index === 0 ? ['TC(300000:)', 'PR(300000:)'] : ['PR(300000:)'];
      const metrics = metricsOf(alarm(composite + window));
      assert.deepEqual(metrics.map(({ name, stat, period }) => [name, stat, period]), stats.map((stat) => ['AuditLag', stat, period]));
      assert.ok(Math.abs(alarm(composite + window).Threshold - burn * allowance) < 1e-9);
    }
    assert.ok(alarm(composite).AlarmDescription.startsWith(`More than ${+(burn * allowance).toFixed(2)} %`));
  }
  t.diagnostic('time-out, record age, objective');
});

test('CloudWatch\'s API takes every alarm as the template gives it', async (t) => {
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

/** A dashboard's graphs, with what they draw: [{title, metrics: [{id, namespace, name, dimensions, stat, period, axis}], …}]. */
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
    expressions: properties.metrics.filter(([first]) => typeof first === 'object').map(([expression]) => expression),
    labels: properties.metrics.filter((entry) => entry.at(-1).visible !== false).map((entry) => entry.at(-1).label),
    axes: properties.metrics.map((entry) => entry.at(-1)?.yAxis || 'left'),
  }));
}

test('dashboards are what CloudWatch takes: body, grid of 24 columns without gap or overlap, readable at 1280 pixels', async (t) => {
  const valid = new Ajv({ strict: true, strictTypes: false, strictRequired: false }).compile(schema);
  for (const dashboard of dashboardsOf(await resources(t))) {
    const { name, text, ...body } = dashboard;
    assert.ok(valid(body), `${name}: ${JSON.stringify(valid.errors?.slice(0, 3))}`);
    assert.doesNotMatch(text, /\$\{/, 'every placeholder names something');

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
        const takes = label.length * 7 + 25; // With the coloured mark before it.
        assert.ok(takes <= room, `"${title}": "${label}" does not fit ${width} columns`);
        if (takes > left) [rows, left] = [rows + 1, room];
        left -= takes;
      }
      assert.ok(rows <= 2, `"${title}" has ${rows} rows of legend`);
      for (const { value } of annotations?.horizontal || []) {
        assert.ok(value >= (yAxis.left.max ?? 0) / 20, `"${title}": ${value} can't be told from 0 on an axis up to ${yAxis.left.max}`);
      }
    }
    for (const { properties } of body.widgets.filter(({ type }) => ['metric', 'log'].includes(type))) assert.equal(properties.region, 'REGION', properties.title);
    for (const { type, width, properties } of body.widgets.filter((widget) => widget.properties.title)) {
      assert.ok(width >= (type === 'metric' ? 6 : 8), `${properties.title} is too narrow`);
      assert.ok(properties.title.length * 7 <= width * column - 40, `"${properties.title}" does not fit ${width} columns`);
    }
    t.diagnostic(`${name}: ${body.widgets.length} widgets, ${rows} rows, ${Buffer.byteLength(text)} bytes`);
  }
});

test('every graph draws metrics that exist, on axes that say the unit', async (t) => {
  let count = 0;
  for (const dashboard of dashboardsOf(await resources(t))) {
    for (const { title, metrics, expressions, yAxis, axes } of graphsOf(dashboard)) {
      const ids = [...metrics, ...expressions].flatMap(({ id }) => id ?? []);
      assert.equal(new Set(ids).size, ids.length, `"${title}" has no id twice`);
      for (const { expression } of expressions) {
        for (const word of words(expression)) assert.ok([...ids, ...FUNCTIONS].includes(word), `"${title}": ${word}`);
      }
      assert.deepEqual(Object.keys(yAxis).sort(), [...new Set(axes)].sort(), `"${title}" labels the axes that it uses`);
      for (const metric of metrics) {
        const milliseconds = exists(metric) && !/^(SampleCount|PR\(.*)$/.test(metric.stat);
        const { label } = yAxis[metric.axis];
        if (metric.drawn) assert.equal(/millisecond/.test(label), milliseconds, `"${title}": ${metric.name} against "${label}"`);
        if (metric.drawn) assert.equal(/per cent/.test(label), metric.stat.startsWith('PR('), `"${title}": ${metric.name} against "${label}"`);
        count += 1;
      }
    }
  }
  t.diagnostic(`${count} metrics`);
});

test('thresholds are drawn where the alarms have them, and every alarm has its state on top', async (t) => {
  const all = await resources(t);
  const alarms = alarmsOf(all);
  const [operations] = dashboardsOf(all);
  const thresholds = alarms.filter(({ Type, Threshold }) => Type === METRIC_ALARM && Threshold > 0)
    .map((alarm) => ({ id: alarm.id, value: alarm.Threshold, compared: compared(alarm) }));
  const OBJECTIVE = Number(/PR\((\d+):\)/.exec(metricsOf(alarms.find(({ id }) => id === 'FreshnessBurnFast5m'))[0].stat)[1]);

  const drawn = dashboardsOf(all).flatMap(graphsOf).flatMap(({ metrics, expressions, annotations, title }) => {
    const lines = [...metrics.filter((metric) => metric.drawn).map(line), ...expressions.map(({ expression }) => lineOf(expression, metrics))];
    const lag = metrics.some(({ name, stat }) => name === 'AuditLag' && /^(p\d+|Maximum)$/.test(stat));
    return (annotations?.horizontal || []).map(({ value, label }) => ({ value, label, title, lines, lag }));
  });
  for (const { value, label, title, lines, lag } of drawn) {
    const known = thresholds.some((alarm) => alarm.value === value && lines.includes(alarm.compared)) || (lag && value === OBJECTIVE);
    assert.ok(known, `"${title}" draws ${value} (${label}), which is no alarm's threshold for a line in it`);
  }
  for (const { id, value, compared: line } of thresholds) {
    const there = drawn.find((threshold) => threshold.value === value && threshold.lines.includes(line));
    assert.ok(there, `${id}: what it compares with ${value} is drawn, with the same statistic and period`);
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

// ---- queries ---------------------------------------------------------------------------------------------------------

/** Members of Lambda's own log lines (AWS Lambda Developer Guide, "Lambda Telemetry API Event schema reference"). */
const PLATFORM = ['type', 'record.requestId', 'record.status', 'record.errorType', 'record.metrics.initDurationMs'];
const PLATFORM_VALUES = { type: ['platform.report'], 'record.status': ['error', 'failure', 'timeout'] };
/** What the operator puts his own in for. */
const PLACEHOLDERS = { itemKey: ['ITEM-KEY'], requestId: ['REQUEST-ID'], 'record.requestId': ['REQUEST-ID'] };
const LANGUAGE = /^(fields|filter|stats|sort|limit|by|as|asc|desc|in|like|and|or|coalesce|ispresent|count|count_distinct|min|max|avg|sum|strlen|bin|\d+h?)$/;

/** A source file without its tests. */
const code = (...parts) => read('src', ...parts).split(/^#\[cfg\(test\)\]\n(?:pub\(crate\) )?mod tests/m)[0];

/** The arguments of each call of one of tracing's macros: [[macro, argument, …], …]. */
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

/** The members that the function's lines have, and the values of those that its code names: from the code that writes them. */
function printed() {
  const wide = code('telemetry', 'mod.rs');
  const calls = ['lambda.rs', 'main.rs', 'telemetry/mod.rs', 'telemetry/logs.rs'].flatMap((file) => traced(code(file)));
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
      level: calls.map(([macro]) => macro.toUpperCase()),
      // As text: what a metric's line has in it, whatever it is for.
      '@message': [...code('telemetry', 'emf.rs').matchAll(/"(\w+)": \[/g)].map(([, name]) => name),
    },
  };
}

test('saved queries ask for what the log has, and runbooks and dashboards use their very words', async (t) => {
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
    assert.equal(literals.length, query.split('"').length >> 1, `"${name}": each literal is some member's`);
    for (const [member, value] of literals) {
      const known = [log.values, PLATFORM_VALUES, PLACEHOLDERS].flatMap((values) => values[member] ?? []);
      assert.ok(known.includes(value), `"${name}" asks for a ${member} of ${value}, which is one of ${[...new Set(known)]}`);
    }
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

test('runbooks have every reason that the function gives', () => {
  const found = (text, ...patterns) => [...new Set(patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name]) => name)))];
  const part = (text, from, to) => {
    const start = text.indexOf(from);
    assert.ok(start >= 0, from);
    return text.slice(start, text.indexOf(to, start));
  };
  const [handler, store] = [code('handler.rs'), code('store.rs')];
  const refusals = found(code('stream', 'record.rs'), /=> "([a-z]\w+)",/g);
  const records = [
    ...refusals,
    ...found(handler, /Cause::new\("(\w+)"/g),
    ...found(code('writer.rs'), /Fate::Unknown\("(\w+)"/g, /note\(.*"(\w+)"\)/g, /unanswered\("(\w+)"/g),
    // What DynamoDB answers, where it is no reason to fail the invocation; and what stands for no answer.
    ...found(part(store, '"ProvisionedThroughputExceededException"', '_ if status'), /"(\w+)"/g),
    ...found(part(store, 'fn classify_unanswered', 'fn is_about_the_key'), /Failure::Unavailable,\s*"(\w+)"/g),
  ];
  const invocations = found(part(handler, 'pub const fn code(', '\n    }'), /=> "(\w+)"/g);
  for (const [id, codes, least] of [['RecordsFailing', records, 20], ['RecordsQuarantined', refusals, 6], ['InvocationErrors', invocations, 5]]) {
    assert.ok(codes.length >= least, `${codes}`);
    for (const name of codes) assert.ok(runbook(id).includes(`\`${name}\``), `${id} has ${name}`);
  }
  assert.match(runbook('RecordsFailing'), /^\| any other \| /m);
});

// ---- CloudFormation, as much of it as is needed ----------------------------------------------------------------------

/** What CloudFormation makes of the template's resources, in an account and a region of these names. */
function resolved({ Resources, Parameters }) {
  const given = { 'AWS::Partition': 'aws', 'AWS::Region': 'REGION', 'AWS::AccountId': 'ACCOUNT', ConfigurationStreamMapping: 'MAPPING' };
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
