'use strict';

// What a stage costs each month, whether anything changes or not: `make cost` packages the service with each of the parameters
// below, counts what has a price in its templates, and writes the tables into docs/cost.md. What a million changes cost is
// measured (`make bench`).

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { OSLS, ROOT } = require('../serverless/test/helpers');

const DOCUMENT = path.join(ROOT, 'docs', 'cost.md');
const PRICES = require('./prices.json');

/** Combinations of parameters that leave something out or add something. The first is a deployment without parameters. */
const STAGES = [[], ['dashboards=off'], ['alarms=off'], ['alarms=off', 'dashboards=off'], ['canary=on'], ['witness=off']];

/** CloudWatch bills metrics for the hours in which they have values. */
const HOURS = 30 * 24;
const QUIET_HOURS = 30 * PRICES.assumptions.quiet_changes_a_day;

/** The metrics of the two functions while they are healthy. ColdStart is one: if changes are hours apart, each starts a process. */
const [OWN_METRICS, WITNESS_METRICS] = fs.readFileSync(path.join(ROOT, 'docs', 'telemetry.md'), 'utf8')
  .split(/^The \[witness\]/m)
  .map((text) => text.match(/^\| `[A-Z]\w+` \| (?:Count|Milliseconds) \| .*$/gm)
    .filter((row) => !row.includes('absent') || row.includes('`ColdStart`')).length);

/** The metrics that an alarm reads. CloudWatch bills an alarm on metric math for each of them. */
const metricsOf = ({ Metrics, Period }) => (Metrics ? Metrics.flatMap(({ MetricStat }) => MetricStat ?? []) : [{ Period }]);

/** What a template creates that costs something each month: [[what, how many, the price's name, hours on a quiet table], …]. */
function billed({ Resources }) {
  const all = Object.values(Resources);
  const ofType = (type) => all.filter(({ Type }) => Type === type);
  const alarms = ofType('AWS::CloudWatch::Alarm').map(({ Properties }) => metricsOf(Properties));
  const isHigh = ([{ Period }]) => Period < 60;
  const standard = alarms.filter((metrics) => !isHigh(metrics));
  const mapping = ofType('AWS::Lambda::EventSourceMapping').filter(({ Properties }) => Properties.MetricsConfig);
  const [canary] = ofType('AWS::Scheduler::Schedule'); // It has a metric, and invokes the function every hour.
  return [
    [`metrics of ${standard.length} standard alarms`, standard.flat().length, 'alarm_metric_month'],
    ['metrics of high-resolution alarms', alarms.filter(isHigh).flat().length, 'high_resolution_alarm_metric_month'],
    ['composite alarms', ofType('AWS::CloudWatch::CompositeAlarm').length, 'composite_alarm_month'],
    ['dashboards', ofType('AWS::CloudWatch::Dashboard').length, 'dashboard_month'],
    ['metrics of the function, while it is healthy', OWN_METRICS + (canary ? 1 : 0), 'custom_metric_month', canary ? HOURS : QUIET_HOURS],
    ['metrics of the witness, while it is healthy', Resources.WitnessRole ? WITNESS_METRICS : 0, 'custom_metric_month', QUIET_HOURS],
    ['metrics of the event source mappings', mapping.length * PRICES.assumptions.mapping_metrics, 'custom_metric_month'],
    ['customer managed keys', ofType('AWS::KMS::Key').length, 'key_month'],
  ];
}

/** A number without an exponent. */
const plain = (number) => number.toFixed(10).replace(/\.?0+$/, '');
const money = (dollars) => dollars.toFixed(2);
const total = (rows, hours) => rows.reduce((sum, row) => sum + dollars(row, hours(row)), 0);
const always = () => HOURS;
const whileQuiet = ([, , , hours = HOURS]) => hours;

function dollars([, count, price], hours) {
  return count * PRICES.list[price].dollars * hours / HOURS;
}

/** A table in Markdown. Its first column is text, the others are figures. */
function table(header, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(header), `|---|${'---:|'.repeat(header.length - 1)}`, ...rows.map(line)].join('\n');
}

/** The parts of the document, from the template of each of the stages. */
function parts(templates) {
  const quiet = 'quiet table';
  const stages = templates.map(billed);
  const [usual] = stages;
  const fixed = usual.map((row) => [row[0], row[1], money(dollars(row, HOURS)), money(dollars(row, whileQuiet(row)))]);
  const options = stages.map((rows, index) => [
    STAGES[index].map((parameter) => `\`${parameter}\``).join(', ') || 'none',
    rows.filter(([, , price]) => price.includes('alarm_metric')).reduce((sum, [, count]) => sum + count, 0),
    money(total(rows, always)), money(total(rows, whileQuiet)),
  ]);
  const prices = Object.values(PRICES.list).map(({ page, dollars: price, per }) => [page, plain(price), per]);
  return {
    fixed: table(['each month', 'how many', 'dollars', quiet],
      [...fixed, ['all of it', '', money(total(usual, always)), money(total(usual, whileQuiet))]]),
    options: table(['parameters', 'metrics of alarms', 'dollars', quiet], options),
    prices: `Prices are those of ${PRICES.region} on ${PRICES.date}: ${PRICES.source}.\n\n`
      + table(['AWS\'s page', 'dollars', 'for a'], prices),
  };
}

/** The document with these parts, each between `<!-- bench: NAME -->` and `<!-- end of NAME -->`. */
function documentWith(made) {
  return Object.entries(made).reduce((text, [name, part]) => {
    const [start, end] = [`<!-- bench: ${name} -->\n`, `\n<!-- end of ${name} -->`];
    const from = text.indexOf(start) + start.length;
    const to = text.indexOf(end, from);
    if (from < start.length || to < 0) throw new Error(`${DOCUMENT} has no part ${name}`);
    return text.slice(0, from) + part + text.slice(to);
  }, fs.readFileSync(DOCUMENT, 'utf8'));
}

/** The template that `serverless package` makes with these parameters. Nothing is built: the artifact is an empty file. */
function packaged(parameters) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'config-audit-cost-'));
  try {
    const artifact = path.join(directory, 'empty.zip');
    fs.writeFileSync(artifact, '');
    const given = [`artifact=${artifact}`, ...parameters].flatMap((parameter) => ['--param', parameter]);
    execFileSync(process.execPath, [OSLS, 'package', '--package', directory, ...given],
      { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] });
    return JSON.parse(fs.readFileSync(path.join(directory, 'cloudformation-template-update-stack.json')));
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

if (require.main === module) {
  const made = parts(STAGES.map(packaged));
  fs.writeFileSync(DOCUMENT, documentWith(made));
  process.stdout.write(`${made.fixed}\n\n${made.options}\n`);
}

module.exports = { DOCUMENT, STAGES, billed, documentWith, parts };
