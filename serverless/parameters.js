'use strict';

// Every parameter of a deployment: its default and its valid values. This is the only source: the plugin gives the
// defaults to Serverless and rejects unknown or invalid parameters, and a test compares docs/configuration.md with this
// table.

/** A shape: which values are accepted, and a description of them. Both may depend on where the service is deployed. */
const shape = (accepts, expected) => ({ accepts, expected: typeof expected === 'function' ? expected : () => expected });
const matching = (pattern, expected) => shape((value) => pattern.test(value), expected);
const oneOf = (...values) => shape((value) => values.includes(value), `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`);
const wholeNumber = (from, to) => shape((value) => /^\d+$/.test(value) && Number(value) >= from && Number(value) <= to,
  `a whole number from ${from} to ${to}`);

const LOG_RETENTION_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];
const LOG_RETENTION = shape((value) => LOG_RETENTION_DAYS.map(String).includes(value),
  `a number of days that CloudWatch Logs supports: ${LOG_RETENTION_DAYS.join(', ')}`);

const ATTRIBUTE = shape((value) => /^[^\p{Cc}]+$/u.test(value) && Buffer.byteLength(value) <= 255,
  'the name of an attribute, 1 to 255 bytes');
const NAMES = shape((value) => value.split(',').every((name) => Object.hasOwn(PARAMETERS, name)),
  'names of parameters, separated by commas');
const TABLE = matching(/^[\w.-]{3,255}$/, 'the name of a table (3 to 255 letters, digits, "_", "." and "-"), not its ARN');
const EMAIL = matching(/^[^\s@"<>]+@[^\s@"<>]+\.[^\s@"<>]+$/, 'one e-mail address');
const STREAM = shape(
  (value, { region }) => RegExp(`^arn:aws[a-z-]*:dynamodb:${region}:\\d{12}:table/[\\w.-]{3,255}/stream/[\\w.:-]+$`).test(value),
  ({ region }) => `the ARN of a table's stream in ${region}, the region of this deployment; `
    + '`aws dynamodb describe-table --table-name NAME --query Table.LatestStreamArn` prints it',
);
const TOPIC = shape(
  (value, { region }) => RegExp(`^arn:aws[a-z-]*:sns:${region}:\\d{12}:[\\w-]{1,256}$`).test(value),
  ({ region }) => `the ARN of an SNS topic (not a FIFO topic) in ${region}, the region of this deployment`,
);
// A policy cannot allow the use of a key by an alias.
const isKey = (value, { region }) => RegExp(`^arn:aws[a-z-]*:kms:${region}:\\d{12}:key/[\\w-]+$`).test(value);
const KEY = shape(isKey, ({ region }) => `the ARN of a KMS key (not an alias) in ${region}, the region of this deployment`);
const KEYS = shape((value, place) => value.split(',').every((key) => isKey(key, place)),
  ({ region }) => `the ARN of a KMS key (not an alias) in ${region}, or several, separated by commas`);
// The policy of the Audit table compares this ARN literally, except that `*` and `?` match any text.
const ROLE = matching(/^arn:aws[a-z-]*:iam::\d{12}:(role|user)\/[\w+=,.@/-]+$/,
  'the ARN of one role or user as IAM prints it, such as arn:aws:iam::123456789012:role/config-audit-recovery');

// `isGuarded`: a deployed stack gets another value only if `change` names the parameter. For other parameters, that
// applies only to values that are left out.
// `isOnce`: it applies to one command, so it belongs on the command line, and the stack does not remember it.
// `isOfDeployment`: the stack is the same with any value, so it does not remember this parameter either.
const PARAMETERS = {
  configurationTable: { default: 'Configuration-${sls:stage}', shape: TABLE, isGuarded: true },
  auditTable: { default: 'Audit-${sls:stage}', shape: TABLE, isGuarded: true },
  configurationStreamArn: { shape: STREAM, isGuarded: true },
  existingAuditTable: { shape: TABLE, isGuarded: true },
  auditStreamArn: { shape: STREAM, isGuarded: true },
  existingFailureBucket: { shape: matching(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'the name of an S3 bucket, not its ARN') },
  keyAttribute: { default: 'key', shape: ATTRIBUTE, isGuarded: true },
  provenance: { default: 'off', shape: oneOf('off', 'on'), isGuarded: true },
  architecture: { default: 'x86_64', shape: oneOf('x86_64', 'arm64') },
  logRetentionDays: { default: 30, shape: LOG_RETENTION },
  failureRetentionDays: { default: 90, shape: wholeNumber(1, 36500) },
  recoveryRoleArn: { shape: ROLE, isGuarded: true },
  kmsKeyArn: { shape: KEY },
  existingKeyArns: { shape: KEYS },
  pageEmail: { shape: EMAIL },
  notifyEmail: { shape: EMAIL },
  pageTopicArn: { shape: TOPIC },
  notifyTopicArn: { shape: TOPIC },
  // It becomes part of the dashboards' JSON and of links.
  runbookUrl: { default: 'docs/runbooks', shape: matching(/^[\w:/.~%?&=+@-]+$/, 'a URL without spaces, quotes or "#"') },
  // The windows of the objective are an hour and longer, and Lambda gives up on a record at 22 hours.
  lateMinutes: { default: 5, shape: wholeNumber(1, 60) },
  criticalAgeMinutes: { default: 120, shape: wholeNumber(30, 600) },
  witness: { default: 'on', shape: oneOf('on', 'off'), isGuarded: true },
  witnessRetentionDays: { shape: wholeNumber(1, 36500), isGuarded: true },
  witnessMode: { default: 'GOVERNANCE', shape: oneOf('GOVERNANCE', 'COMPLIANCE'), isGuarded: true },
  canary: { default: 'off', shape: oneOf('on', 'off') },
  alarms: { default: 'on', shape: oneOf('on', 'off') },
  dashboards: { default: 'on', shape: oneOf('on', 'off') },
  mapping: { default: 1, shape: wholeNumber(1, 999) },
  witnessMapping: { default: 1, shape: wholeNumber(1, 999) },
  rollbackMinutes: { default: 0, shape: wholeNumber(0, 180), isOfDeployment: true },
  store: { default: 'memory', shape: oneOf('memory', 'aws'), isOnce: true },
  artifact: { shape: matching(/\.zip$/, 'a zip file with the executable `bootstrap`'), isOnce: true },
  change: { shape: NAMES, isOnce: true },
};

/** Whether the stack remembers a parameter. */
const isRecorded = (name) => Object.hasOwn(PARAMETERS, name) && !PARAMETERS[name].isOnce && !PARAMETERS[name].isOfDeployment;

const DEFAULTS = Object.fromEntries(Object.entries(PARAMETERS).filter(([, parameter]) => 'default' in parameter)
  .map(([name, parameter]) => [name, parameter.default]));

/** The parameters that `--param name=value` gives. Serverless itself refuses one without a value. */
const fromCommandLine = (options = []) => Object.fromEntries(options.map((option) => {
  const [name] = option.split('=', 1);
  return [name, option.slice(name.length + 1).trimEnd()];
}));

/** The values of a stage's parameters, as text: the command line overrides the stage's own, and those the defaults. */
function valuesOf({ blocks = {}, stage, commandLine }) {
  const all = { ...blocks.default, ...blocks[stage], ...fromCommandLine(commandLine) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value != null).map(([name, value]) => [name, String(value)]));
}

/** Sentences that say what is wrong with the parameter names on the command line or in a block of `params`. */
function nameProblems({ blocks = {}, commandLine }) {
  const inFile = Object.entries(blocks).flatMap(([block, values]) => Object.keys(values ?? {}).map((name) => [name, block]));
  const names = new Set([...inFile.map(([name]) => name), ...Object.keys(fromCommandLine(commandLine))]);
  const unknown = [...names].filter((name) => !Object.hasOwn(PARAMETERS, name)).map((name) => {
    const near = nearest(name);
    return `there is no parameter ${name}; ${near ? `did you mean ${near}?` : 'docs/configuration.md lists them all'}`;
  });
  const kept = inFile.filter(([name, block]) => PARAMETERS[name]?.isOnce && !(block === 'default' && blocks.default[name] === DEFAULTS[name]))
    .map(([name, block]) => `the parameter ${name} is for one command, so it cannot be kept in params.${block}; give it with --param`);
  return [...unknown, ...kept];
}

/** Whether there is a witness: it needs the stream of the Audit table. */
const hasWitness = ({ witness, existingAuditTable, auditStreamArn }) => witness !== 'off' && (!existingAuditTable || Boolean(auditStreamArn));

/** Sentences that say what is wrong with the parameters of the witness. */
function witnessProblems(values) {
  const { existingAuditTable: table, auditStreamArn: stream, witnessRetentionDays: days, witness } = values;
  const named = stream?.split('/')[1];
  const problems = [];
  if (stream && !table) problems.push(`auditStreamArn is for an existing Audit table; deploy with existingAuditTable=${named} too`);
  if (stream && table && named !== table) problems.push(`auditStreamArn is a stream of the table ${named}, but existingAuditTable is ${table}; both must name one table`);
  if (days && !hasWitness(values)) {
    problems.push(`witnessRetentionDays needs the witness; ${witness === 'off' ? 'witness=off leaves it out' : 'with existingAuditTable, set auditStreamArn too'}`);
  }
  return problems;
}

/** Sentences that say what is wrong with the values, and with names made from those of the service, stage and region. */
function valueProblems(values, { service, stage, region }) {
  const shapes = Object.entries(PARAMETERS)
    .filter(([name, { shape: { accepts } }]) => Object.hasOwn(values, name) && !accepts(values[name], { region }))
    .map(([name, { shape: { expected } }]) => `the parameter ${name} is "${values[name]}"; it must be ${expected({ region })}`);
  const configuration = values.configurationStreamArn?.split('/')[1] ?? values.configurationTable;
  const audit = values.existingAuditTable ?? values.auditTable;
  const same = configuration === audit
    ? [`"${audit}" is both the Configuration table and the Audit table; each entry would be audited again, so they must be two tables`] : [];
  // The role's name is the longest one that contains the stage, and IAM limits its length.
  const tooLong = `${service}-${stage}-${region}-lambdaRole`.length - 64;
  const long = tooLong > 0 ? [`the stage "${stage}" makes the name of the function's role longer than IAM's 64 characters; `
    + `give the stage a name of at most ${stage.length - tooLong} characters`] : [];
  const blind = values.alarms === 'off' && Number(values.rollbackMinutes) > 0
    ? ['rollbackMinutes needs the alarms, and alarms=off leaves them out; set only one of the two'] : [];
  const unwatched = values.alarms === 'off' && values.canary === 'on'
    ? ['canary=on needs its alarm, and alarms=off leaves it out; set only one of the two'] : [];
  // The canary is JSON in the template, with two attributes besides the key.
  const crowded = values.canary === 'on' && /^(value|scheduledTime)$|["\\$]/.test(values.keyAttribute)
    ? [`canary=on cannot write an item whose key is the attribute "${values.keyAttribute}"; deploy with canary=off`] : [];
  const witness = shapes.length ? [] : witnessProblems(values);
  return [...shapes, ...same, ...long, ...blind, ...unwatched, ...crowded, ...witness];
}

/** The parameter with the most similar name, if any is similar. */
function nearest(name) {
  const [[near, distance]] = Object.keys(PARAMETERS)
    .map((known) => [known, edits(name.toLowerCase(), known.toLowerCase())])
    .sort(([, one], [, other]) => one - other);
  return distance <= Math.max(2, near.length / 3) ? near : undefined;
}

/** How many letters must be added, removed or replaced to turn one word into the other (Levenshtein). */
function edits(from, to) {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1];
    for (let column = 0; column < to.length; column += 1) {
      next.push(Math.min(row[column] + (letter === to[column] ? 0 : 1), row[column + 1] + 1, next[column] + 1));
    }
    row = next;
  }
  return row.at(-1);
}

module.exports = { DEFAULTS, PARAMETERS, hasWitness, isRecorded, nameProblems, valuesOf, valueProblems };
