'use strict';

// What a deployment accepts as parameters, and that docs/configuration.md has each of them.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { PARAMETERS, hasWitness, nameProblems, valuesOf, valueProblems } = require('../parameters');
const { EXISTING_STREAM, ROOT, failsWith, serviceCopy } = require('./helpers');

const PLACE = { service: 'config-audit', stage: 'prod', region: 'eu-central-1' };
/** The problems with these parameters, for the stage prod in eu-central-1. */
const problems = (given, place = PLACE) => valueProblems({ configurationTable: 'Configuration-prod', auditTable: 'Audit-prod', ...given }, place);

/** Valid and invalid values of each parameter. */
const ROLE = 'arn:aws:iam::123456789012:role/config-audit-recovery';
const TOPIC = 'arn:aws:sns:eu-central-1:123456789012:page';
const AUDIT_STREAM = EXISTING_STREAM.replace('Settings', 'History');
const KEY = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const CASES = {
  configurationTable: [['Settings', 'a.b-c_d', 'x'.repeat(255)], ['no', 'x'.repeat(256), 'two words', 'Ümlaut', '${Stage}', '']],
  auditTable: [['History'], ['arn:aws:dynamodb:eu-central-1:123456789012:table/History', '']],
  configurationStreamArn: [
    [EXISTING_STREAM, EXISTING_STREAM.replace('arn:aws:', 'arn:aws-cn:')],
    ['arn:aws:dynamodb:eu-central-1:123456789012:table/Settings', EXISTING_STREAM.replace('eu-central-1', 'eu-west-1'), 'Settings', `${EXISTING_STREAM}*`, ''],
  ],
  existingAuditTable: [['History'], ['arn:aws:dynamodb:eu-central-1:123456789012:table/History', '*']],
  auditStreamArn: [[], ['arn:aws:dynamodb:eu-central-1:123456789012:table/History', AUDIT_STREAM.replace('eu-central-1', 'eu-west-1'), 'History', '']],
  existingFailureBucket: [['failures', 'my.bucket-1'], ['arn:aws:s3:::failures', 'Failures', 'ab', 's3://failures']],
  keyAttribute: [['name', 'the key', 'ключ'], ['', 'x'.repeat(256), 'к'.repeat(128), 'a\nb']],
  provenance: [['on', 'off'], ['yes', 'true', 'ON']],
  architecture: [['arm64', 'x86_64'], ['arm', 'x86-64']],
  logRetentionDays: [['1', '3653'], ['abc', '2', '0', '30 days', '-1']],
  failureRetentionDays: [['1', '36500'], ['abc', '0', '1.5', '-1', '36501', '1e2']],
  recoveryRoleArn: [
    [ROLE, 'arn:aws:iam::123456789012:role/a/path/name', 'arn:aws-us-gov:iam::123456789012:user/ops@example.com'],
    ['*', 'config-audit-recovery', `${ROLE}*`, 'arn:aws:iam::*:role/config-audit-recovery', 'arn:aws:iam::123456789012:role/?',
      'arn:aws:iam::123456789012:root', 'arn:aws:sts::123456789012:assumed-role/config-audit-recovery/me'],
  ],
  kmsKeyArn: [[KEY, KEY.replace('key/', 'key/mrk-')], [KEY.replace('key/', 'alias/'), KEY.replace('central', 'west'), '*', `${KEY}*`]],
  existingKeyArns: [[KEY, `${KEY},${KEY}`], [`${KEY},`, `${KEY}, ${KEY}`, 'alias/mine']],
  pageEmail: [['page@example.com', 'a+b@c.example.com'], ['page', 'a@b', 'a@b.com c@d.com', 'A <a@b.com>', '']],
  notifyEmail: [['notify@example.com'], ['@example.com']],
  pageTopicArn: [[TOPIC], [TOPIC.replace('central', 'west'), `${TOPIC}.fifo`, 'page', '*']],
  notifyTopicArn: [[TOPIC], ['notify']],
  runbookUrl: [['docs/runbooks', 'https://example.com/a-b/~c?d=e&f=%20'], ['https://example.com/a b', 'https://example.com/"', '${AWS::Region}', '']],
  lateMinutes: [['1', '60'], ['0', '61', '5 minutes']],
  criticalAgeMinutes: [['30', '600'], ['29', '601', '2h']],
  witness: [['on', 'off'], ['yes', 'ON', '']],
  witnessRetentionDays: [['1', '365', '36500'], ['0', '36501', '1 year', '-1', '']],
  witnessMode: [['GOVERNANCE', 'COMPLIANCE'], ['governance', 'none']],
  canary: [['on', 'off'], ['yes', '15']],
  alarms: [['on', 'off'], ['no', '']],
  dashboards: [['on', 'off'], ['false']],
  mapping: [['1', '2', '999'], ['0', 'new']],
  witnessMapping: [['1', '2', '999'], ['0', 'new']],
  rollbackMinutes: [['0', '15', '180'], ['181', '-1']],
  store: [['memory', 'aws'], ['disk']],
  artifact: [['bootstrap.zip', '../a b/c.zip'], ['bootstrap', '']],
  change: [['pageEmail', 'pageEmail,keyAttribute'], ['everything', 'pageEmail, keyAttribute', '']],
};

test('each parameter accepts valid values, and the error for an invalid one says what is expected', (t) => {
  assert.deepEqual(Object.keys(CASES), Object.keys(PARAMETERS), 'every parameter has cases');
  let count = 0;
  for (const [name, [right, mistaken]] of Object.entries(CASES)) {
    for (const value of right) assert.deepEqual(problems({ [name]: value }), [], `${name}=${value}`);
    for (const value of mistaken) {
      const [problem, ...others] = problems({ [name]: value });
      assert.ok(problem?.startsWith(`the parameter ${name} is "${value}"; it must be `), `${name}=${value}: ${problem}`);
      assert.deepEqual(others, []);
    }
    count += right.length + mistaken.length;
  }
  t.diagnostic(`${count} values of ${Object.keys(CASES).length} parameters`);
});

test('the errors say what to do', () => {
  const [region] = problems({ configurationStreamArn: EXISTING_STREAM.replace('eu-central-1', 'eu-west-1') });
  assert.match(region, /must be the ARN of a table's stream in eu-central-1, the region of this deployment; `aws dynamodb describe-table .*` prints it$/);
  assert.match(problems({ existingAuditTable: 'arn:aws:dynamodb:eu-central-1:123456789012:table/History' })[0], /the name of a table \(.*\), not its ARN$/);
});

test('the Audit table is not the Configuration table, however either is given', () => {
  for (const given of [{ configurationTable: 'Same', auditTable: 'Same' }, { configurationTable: 'Same', existingAuditTable: 'Same' },
    { configurationStreamArn: EXISTING_STREAM, existingAuditTable: 'Settings' }]) {
    assert.match(problems(given).join(), /^"\w+" is both the Configuration table and the Audit table; .* they must be two tables$/);
  }
  assert.deepEqual(problems({ configurationTable: 'Audit-prod', configurationStreamArn: EXISTING_STREAM }), [], 'the name is not used then');
});

test('a deployment is not rolled back because of alarms that it leaves out', () => {
  assert.match(problems({ alarms: 'off', rollbackMinutes: '15' }).join(), /^rollbackMinutes needs the alarms, /);
  assert.deepEqual(problems({ alarms: 'off', rollbackMinutes: '0' }), []);
});

test('a canary needs its alarm, and a key attribute that does not clash with its own', () => {
  assert.match(problems({ canary: 'on', alarms: 'off' }).join(), /^canary=on needs its alarm, /);
  for (const keyAttribute of ['value', 'scheduledTime', 'a"b', 'a\\b', '${a}']) {
    assert.match(problems({ canary: 'on', keyAttribute }).join(), /^canary=on cannot write an item whose key is the attribute /);
    assert.deepEqual(problems({ keyAttribute }), []);
  }
  assert.deepEqual(problems({ canary: 'on', keyAttribute: 'the key' }), []);
});

test('the stream of an existing Audit table is given with the table, and is its own', () => {
  assert.deepEqual(problems({ existingAuditTable: 'History', auditStreamArn: AUDIT_STREAM }), []);
  assert.deepEqual(problems({ auditStreamArn: AUDIT_STREAM }), ['auditStreamArn is for an existing Audit table; deploy with existingAuditTable=History too']);
  assert.match(problems({ existingAuditTable: 'Trail', auditStreamArn: AUDIT_STREAM }).join(), /^auditStreamArn is a stream of the table History, but existingAuditTable is Trail; /);
});

test('a witness bucket needs a witness, which needs the stream of the Audit table', () => {
  const witnessRetentionDays = '365';
  assert.match(problems({ witnessRetentionDays, witness: 'off' }).join(), /^witnessRetentionDays needs the witness; witness=off leaves it out$/);
  assert.match(problems({ witnessRetentionDays, existingAuditTable: 'History' }).join(), /^witnessRetentionDays needs the witness; with existingAuditTable, set auditStreamArn too$/);
  for (const given of [{}, { existingAuditTable: 'History', auditStreamArn: AUDIT_STREAM }]) assert.deepEqual(problems({ witnessRetentionDays, ...given }), []);
  assert.deepEqual([{}, { witness: 'off' }, { existingAuditTable: 'History' }, { existingAuditTable: 'History', auditStreamArn: AUDIT_STREAM }].map(hasWitness),
    [true, false, false, true]);
});

test('a stage whose name is too long for the function\'s role is refused, and one letter less is not', () => {
  const [problem] = problems({}, { ...PLACE, stage: 'x'.repeat(28) });
  assert.match(problem, /longer than IAM's 64 characters; give the stage a name of at most 27 characters$/);
  assert.deepEqual(problems({}, { ...PLACE, stage: 'x'.repeat(27) }), []);
});

test('unknown names are refused wherever they are given, with the nearest right one', () => {
  const of = (name) => nameProblems({ commandLine: [`${name}=value`] });
  for (const [name, near] of [['keyAtribute', 'keyAttribute'], ['PAGEEMAIL', 'pageEmail'], ['recoveryRole', 'recoveryRoleArn'], ['auditTabel', 'auditTable']]) {
    assert.deepEqual(of(name), [`there is no parameter ${name}; did you mean ${near}?`]);
  }
  assert.deepEqual(of('colour'), ['there is no parameter colour; docs/configuration.md lists them all']);
  assert.deepEqual(of('pageEmail'), []);
  assert.deepEqual(nameProblems({ blocks: { default: { store: 'memory' }, test: { pageMail: 'a@b.c' }, prod: null } }), ['there is no parameter pageMail; did you mean pageEmail?']);
});

test('parameters for one command cannot be kept in serverless.yml', () => {
  assert.deepEqual(nameProblems({ blocks: { prod: { change: 'pageEmail' } } }),
    ['the parameter change is for one command, so it cannot be kept in params.prod; give it with --param']);
  assert.equal(nameProblems({ blocks: { default: { store: 'aws' } } }).length, 1);
});

test('the command line overrides the stage\'s block, which overrides the default', () => {
  const blocks = { default: { keyAttribute: 'key', logRetentionDays: 30, provenance: 'off' }, prod: { keyAttribute: 'name', logRetentionDays: 14, pageEmail: null }, dev: { keyAttribute: 'x' } };
  assert.deepEqual(valuesOf({ blocks, stage: 'prod', commandLine: ['keyAttribute=a=b ', 'store=aws'] }),
    { keyAttribute: 'a=b', logRetentionDays: '14', provenance: 'off', store: 'aws' });
});

test('serverless reports all invalid parameters at once, before it builds anything', async (t) => {
  const service = serviceCopy(t);
  const result = await service.serverless(['package', ...['keyAtribute=name', 'provenance=yes', 'logRetentionDays=abc', 'recoveryRoleArn=*', 'architecture=arm',
    `configurationStreamArn=${EXISTING_STREAM.replace('eu-central-1', 'eu-west-1')}`].flatMap((given) => ['--param', given])]);
  failsWith(result, /there is no parameter keyAtribute; did you mean keyAttribute\?/);
  for (const name of ['provenance', 'logRetentionDays', 'recoveryRoleArn', 'architecture', 'configurationStreamArn']) {
    assert.match(result.all, new RegExp(`^the parameter ${name} is ".*"; it must be `, 'm'));
  }
  assert.deepEqual(service.calls(), []);
  failsWith(await service.serverless(['package', '--stage', 'a_b']), /Stage names may contain only ASCII letters, numbers, and hyphens/);
  failsWith(await service.serverless(['package', '--stage', 'x'.repeat(28)]), /a name of at most 27 characters/);
  assert.deepEqual(service.calls(), []);
});

test('docs/configuration.md has every parameter with its default and effect', (t) => {
  const [, table] = /## Deploy parameters\n[^]*?\n\|---\|---\|---\|\n([^]*?)\n\n/.exec(fs.readFileSync(path.join(ROOT, 'docs', 'configuration.md'), 'utf8'));
  const rows = table.split('\n').map((row) => /^\| `(\w+)` \| (none|`[^`]+`) \| (.+) \|$/.exec(row)?.slice(1) ?? assert.fail(row));
  const written = ({ default: value }) => (value === undefined ? 'none' : `\`${String(value).replace('${sls:stage}', '<stage>')}\``);
  assert.deepEqual(rows.map(([name, value]) => [name, value]), Object.entries(PARAMETERS).map(([name, parameter]) => [name, written(parameter)]));
  for (const [name, , effect] of rows) assert.ok(effect.length > 10, name);
  t.diagnostic(`${rows.length} parameters`);
});
