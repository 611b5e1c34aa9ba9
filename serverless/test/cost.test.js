'use strict';

// docs/cost.md says what a stage costs each month, as `make cost` computes it from the current template.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { DOCUMENT, STAGES, billed, documentWith, parts } = require('../../bench/cost');
const { packaged } = require('./helpers');

test('docs/cost.md has the costs of the current template; if not, run `make cost`', async (t) => {
  const templates = await Promise.all(STAGES.map(async (parameters) => {
    const { template } = await packaged(t, parameters.flatMap((parameter) => ['--param', parameter]));
    return template;
  }));
  const made = parts(templates);
  assert.equal(fs.readFileSync(DOCUMENT, 'utf8'), documentWith(made));
  t.diagnostic(`${STAGES.length} stages; ${made.options.split('\n')[2]}`);
});

test('an alarm is billed for each metric that it reads, and according to its resolution', () => {
  const metric = (Period) => ({ Id: 'a', MetricStat: { Period } });
  const alarm = (Properties) => ({ Type: 'AWS::CloudWatch::Alarm', Properties });
  const rows = billed({ Resources: {
    One: alarm({ MetricName: 'Errors', Period: 60 }),
    Fast: alarm({ MetricName: 'Errors', Period: 10 }),
    Math: alarm({ Metrics: [metric(300), metric(300), { Id: 'c', Expression: 'a+b' }] }),
    FastMath: alarm({ Metrics: [metric(10), metric(10)] }),
    Both: { Type: 'AWS::CloudWatch::CompositeAlarm', Properties: {} },
    Mapping: { Type: 'AWS::Lambda::EventSourceMapping', Properties: {} },
  } });
  const count = Object.fromEntries(rows.map(([what, number]) => [what, number]));
  assert.equal(count['metrics of 2 standard alarms'], 3);
  assert.equal(count['metrics of high-resolution alarms'], 3);
  assert.equal(count['composite alarms'], 1);
  assert.equal(count['metrics of the event source mappings'], 0, 'they are opt-in');
});
