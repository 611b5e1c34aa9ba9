'use strict';

// What the plugin checks before a deployment, against fake accounts. life.test.js and ministack.test.js test the whole,
// with Serverless and a stand-in for AWS.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ROLLBACK_TRIGGERS, runChecks, checkReaders, checkTables, checkTopics, rollbackConfiguration } = require('../before-deploy');
const { DEFAULTS, PARAMETERS } = require('../parameters');
const { compareParameters, record } = require('../remembered');
const { EXISTING_STREAM, packaged } = require('./helpers');

const AUDIT_STREAM = EXISTING_STREAM.replace('Settings', 'History');
const DEPLOYED = {
  configurationTable: 'Configuration-prod', auditTable: 'Audit-prod', keyAttribute: 'name', provenance: 'on', logRetentionDays: '14', failureRetentionDays: '7',
  recoveryRoleArn: 'arn:aws:iam::123456789012:role/recovery', pageEmail: 'page@example.com', notifyEmail: 'notify@example.com', runbookUrl: 'https://example.com/r',
  architecture: 'arm64', configurationStreamArn: EXISTING_STREAM, existingAuditTable: 'History', auditStreamArn: AUDIT_STREAM, witness: 'off',
  witnessRetentionDays: '365', witnessMode: 'COMPLIANCE',
};
const TABLES = {
  ConfigurationTable: { Properties: { TableName: 'Configuration-prod' } },
  AuditTable: { Properties: { TableName: 'Audit-prod' } },
};

function template(values, Resources = { AuditLambdaFunction: {}, ...TABLES }) {
  const made = { Resources };
  record(made, values);
  return made;
}

/** What these checks report about a deployment: the error and the warnings. */
async function checkResult(checks, { deployed, planned, tables = {}, topics = {}, readers = [], confirmed, denied }) {
  const warnings = [];
  const answer = (value) => async (...given) => {
    if (denied) throw Object.assign(new Error('not authorized'), { name: denied });
    return value(...given);
  };
  const account = {
    template: async () => deployed, table: answer((name) => tables[name]), subscriptionsOf: answer((arn) => topics[arn]), readersOf: answer(() => readers),
  };
  const given = { stack: 'config-audit-prod', functionNames: ['config-audit-prod-audit', 'config-audit-prod-witness'], planned, confirmed, warn: (text) => warnings.push(text) };
  const error = await runChecks(account, checks, given).then(() => '', ({ message }) => message);
  return { error, warnings };
}

const compared = (now, more = {}) => checkResult([compareParameters], { deployed: template(DEPLOYED), planned: template(now), ...more });
const without = (name) => Object.fromEntries(Object.entries(DEPLOYED).filter(([other]) => other !== name));
/** The values of a deployment that leaves a parameter out. */
const leftOut = (name) => ({ ...without(name), ...(name in DEFAULTS && { [name]: String(DEFAULTS[name]) }) });

test('a deployment that drops any parameter stops, and shows the old and the new value, until the change is confirmed', async (t) => {
  const names = Object.keys(DEPLOYED);
  for (const name of names) {
    const { error } = await compared(leftOut(name));
    assert.match(error, /^the stack config-audit-prod is deployed with other parameters:\n/);
    assert.ok(error.split('\n').some((line) => new RegExp(`^  ${name} +`).test(line) && line.includes(DEPLOYED[name]) && line.endsWith(`  ${DEFAULTS[name] ?? '(none)'}`)), error);
    assert.match(error, new RegExp(`deploy with --param change=${name}$`));
    assert.deepEqual(await compared(leftOut(name), { confirmed: [name] }), { error: '', warnings: [] });
    assert.notEqual((await compared(leftOut(name), { confirmed: ['store'] })).error, '', 'another name does not confirm it');
  }
  assert.deepEqual(await compared(DEPLOYED), { error: '', warnings: [] });
  t.diagnostic(names.join(', '));
});

test('tables, streams, key, provenance, recovery role and what the witness keeps do not change to other values either; the rest may', async (t) => {
  const changed = { ...DEPLOYED, keyAttribute: 'other', pageEmail: 'other@example.com', logRetentionDays: '60' };
  const { error } = await compared(changed);
  assert.match(error, /change=keyAttribute$/);
  const guarded = Object.keys(PARAMETERS).filter((name) => PARAMETERS[name].isGuarded);
  assert.deepEqual(guarded, ['configurationTable', 'auditTable', 'configurationStreamArn', 'existingAuditTable', 'auditStreamArn', 'keyAttribute', 'provenance',
    'recoveryRoleArn', 'witness', 'witnessRetentionDays', 'witnessMode']);
  t.diagnostic(guarded.join(', '));
});

test('a deployment cannot shorten the retention of witnesses, or switch the witness off, without confirmation', async () => {
  for (const [name, value] of [['witnessRetentionDays', '30'], ['witnessMode', 'GOVERNANCE'], ['witness', 'on']]) {
    assert.match((await compared({ ...DEPLOYED, [name]: value })).error, new RegExp(`change=${name}$`));
  }
  const before = { deployed: template(without('witness')) }; // It was deployed by a version without a witness.
  assert.equal((await compared({ ...DEPLOYED, witness: 'on' }, before)).error, '');
});

test('a parameter that is newer than the deployed stack had its default', async () => {
  const deployed = template(without('provenance'));
  const now = (provenance) => template({ ...DEPLOYED, provenance });
  assert.equal((await checkResult([compareParameters], { deployed, planned: now('off') })).error, '');
  assert.match((await checkResult([compareParameters], { deployed, planned: now('on') })).error, /change=provenance$/);
});

test('a stack without a record of its parameters causes a warning, and a first deployment does not', async () => {
  const planned = template(DEPLOYED);
  const old = await checkResult([compareParameters], { deployed: { Resources: { AuditLambdaFunction: {} } }, planned });
  assert.equal(old.error, '');
  assert.match(old.warnings[0], /^The stack config-audit-prod does not record the parameters .* keyAttribute=name /);
  for (const deployed of [undefined, { Resources: { ServerlessDeploymentBucket: {} } }]) {
    assert.deepEqual(await checkResult([compareParameters], { deployed, planned }), { error: '', warnings: [] });
  }
});

const table = ({ stream = EXISTING_STREAM, view = 'NEW_AND_OLD_IMAGES', keys = ['key'], type = 'S' } = {}) => ({
  ...(stream && { LatestStreamArn: stream, StreamSpecification: { StreamEnabled: true, StreamViewType: view } }),
  KeySchema: keys.map((AttributeName, index) => ({ AttributeName, KeyType: ['HASH', 'RANGE'][index] })),
  AttributeDefinitions: keys.map((AttributeName) => ({ AttributeName, AttributeType: type })),
});
const NEW = { configurationTable: 'Configuration-prod', auditTable: 'Audit-prod', keyAttribute: 'key' };

test('a table that already exists stops the deployment that would create it, and the error has the parameter to use it', async () => {
  const given = { planned: template(NEW), tables: { 'Configuration-prod': table(), 'Audit-prod': table({ keys: ['id'] }) } };
  const { error } = await checkResult([checkTables], given);
  assert.deepEqual(error.split('\n'), [
    `the table Configuration-prod already exists, and this stack did not create it; to use it, deploy with --param configurationStreamArn=${EXISTING_STREAM}; `
      + 'for a new table, with --param configurationTable=NAME',
    `the table Audit-prod already exists, and this stack did not create it; to use it, deploy with --param existingAuditTable=Audit-prod --param auditStreamArn=${EXISTING_STREAM}; `
      + 'for a new table, with --param auditTable=NAME',
  ]);
  for (const without of [table({ stream: null }), table({ view: 'KEYS_ONLY' })]) {
    const { error: audit } = await checkResult([checkTables], { ...given, tables: { 'Audit-prod': without } });
    assert.match(audit, /deploy with --param existingAuditTable=Audit-prod; for a new table/, 'a stream that has no old images is no use');
  }
  for (const other of [table({ stream: null }), table({ view: 'KEYS_ONLY' })]) {
    const { error: without } = await checkResult([checkTables], { ...given, tables: { 'Configuration-prod': other } });
    assert.match(without, /configurationStreamArn=ARN, with the ARN that `aws dynamodb update-table --table-name Configuration-prod .*` prints;/);
  }
  assert.equal((await checkResult([checkTables], { ...given, deployed: template(NEW) })).error, '', 'the stack has them');
  assert.equal((await checkResult([checkTables], { ...given, tables: {} })).error, '');
  const afterAFailure = { Resources: { ServerlessDeploymentBucket: {} } };
  assert.match((await checkResult([checkTables], { ...given, deployed: afterAFailure })).error, /^the table Configuration-prod already exists/);
});

test('existing tables are checked: their existence, their keys, the stream and its view type', async () => {
  const existing = { configurationStreamArn: EXISTING_STREAM, existingAuditTable: 'History', keyAttribute: 'key' };
  const checked = async (settings, history) => (await checkResult([checkTables], {
    planned: template(existing, {}), tables: { Settings: settings, History: history },
  })).error;
  const audit = table({ keys: ['id'] });
  assert.equal(await checked(table(), audit), '');
  for (const [settings, history, message] of [
    [undefined, audit, /^there is no table Settings, which configurationStreamArn names$/],
    [table({ stream: null }), audit, /^the table Settings has no stream$/],
    [table({ stream: `${EXISTING_STREAM}1` }), audit, /^the table Settings has a newer stream: .*9271; configurationStreamArn must be its latest one$/],
    [table({ view: 'NEW_IMAGE' }), audit, /^the stream of Settings has the view type NEW_IMAGE; it must be NEW_AND_OLD_IMAGES/],
    [table({ keys: ['name'] }), audit, /^the partition key of Settings is "name"; deploy with --param keyAttribute=name$/],
    [table({ keys: ['key', 'time'] }), audit, /^the table Settings has the sort key "time", but entries name an item by its partition key alone$/],
    [table(), undefined, /^there is no table History, which existingAuditTable names$/],
    [table(), table({ keys: ['key'] }), /^the key of History is key; the key of an Audit table must be "id", a string$/],
    [table(), table({ keys: ['id', 'time'] }), /^the key of History is id and time; /],
    [table(), table({ keys: ['id'], type: 'N' }), /must be "id", a string$/],
  ]) assert.match(await checked(settings, history), message);
});

test('the stream of an existing Audit table is checked if it is given', async () => {
  const checked = async (history) => (await checkResult([checkTables], {
    planned: template({ existingAuditTable: 'History', auditStreamArn: AUDIT_STREAM }, {}), tables: { History: history },
  })).error;
  const audit = (given) => table({ keys: ['id'], stream: AUDIT_STREAM, ...given });
  assert.equal(await checked(audit()), '');
  for (const [history, message] of [
    [audit({ stream: null }), /^the table History has no stream$/],
    [audit({ stream: `${AUDIT_STREAM}1` }), /^the table History has a newer stream: .*9271; auditStreamArn must be its latest one$/],
    [audit({ view: 'NEW_IMAGE' }), /^the stream of History has the view type NEW_IMAGE; it must be NEW_AND_OLD_IMAGES/],
    [undefined, /^there is no table History, which existingAuditTable names$/],
  ]) assert.match(await checked(history), message);
});

test('a canary is refused if the key of an existing table is not a string', async () => {
  const checked = async (canary, type) => (await checkResult([checkTables], {
    planned: template({ configurationStreamArn: EXISTING_STREAM, keyAttribute: 'key', canary }, {}), tables: { Settings: table({ type }) },
  })).error;
  assert.match(await checked('on', 'N'), /^the key of Settings is not a string, so no canary can be written; deploy with --param canary=off$/);
  for (const [canary, type] of [['on', 'S'], ['off', 'N'], [undefined, 'B']]) assert.equal(await checked(canary, type), '');
});

test('a topic that does not exist stops the deployment', async () => {
  const topic = 'arn:aws:sns:eu-central-1:123456789012:oncall';
  for (const name of ['pageTopicArn', 'notifyTopicArn']) {
    const planned = template({ [name]: topic }, {});
    assert.equal((await checkResult([checkTopics], { planned })).error, `there is no topic ${topic}, which ${name} names`);
    assert.equal((await checkResult([checkTopics], { planned, topics: { [topic]: [] } })).error, '', 'nobody needs to have subscribed yet');
  }
  assert.equal((await checkResult([checkTopics], { planned: template(NEW) })).error, '');
});

test('the plugin warns about other readers of an existing stream', async () => {
  const planned = template({ configurationStreamArn: EXISTING_STREAM }, {});
  const own = 'arn:aws:lambda:eu-central-1:123456789012:function:config-audit-prod-audit';
  const other = own.replace('config-audit-prod-audit', 'config-audit-prod-audit-copy');
  assert.deepEqual((await checkResult([checkReaders], { planned, readers: [own] })).warnings, []);
  const { error, warnings } = await checkResult([checkReaders], { planned, readers: [own, other] });
  assert.equal(error, '');
  assert.ok(warnings[0].startsWith(`The stream of Settings has other readers: ${other}. DynamoDB recommends at most two readers per shard; `));
  const both = template({ configurationStreamArn: EXISTING_STREAM, auditStreamArn: AUDIT_STREAM }, {});
  const witness = own.replace(/audit$/, 'witness');
  assert.deepEqual((await checkResult([checkReaders], { planned: both, readers: [own, witness] })).warnings, []);
  assert.match((await checkResult([checkReaders], { planned: both, readers: [other] })).warnings[1], /^The stream of History has other readers: /);
  assert.deepEqual((await checkResult([checkReaders], { planned: template(NEW), readers: [other] })).warnings, [], 'a new table has no reader yet');
});

test('CloudFormation rolls back on the alarms that show a bad deployment, once the stack has them', async (t) => {
  const AuditFunctionArn = 'arn:aws-cn:lambda:cn-north-1:123456789012:function:config-audit-prod-audit';
  const account = (deployed) => ({ template: async () => deployed, outputs: async () => ({ AuditFunctionArn }) });
  const configured = (deployed, minutes) => rollbackConfiguration(account(deployed), { stack: 'config-audit-prod', minutes });
  const { template: { Resources } } = await packaged(t, []);
  assert.deepEqual(await configured({ Resources }, 15), {
    MonitoringTimeInMinutes: 15,
    RollbackTriggers: ROLLBACK_TRIGGERS.map((id) => ({ Arn: `arn:aws-cn:cloudwatch:cn-north-1:123456789012:alarm:config-audit-prod-${id}`, Type: Resources[id].Type })),
  });
  assert.ok(ROLLBACK_TRIGGERS.length <= 5);
  assert.equal(await configured({ Resources }, 0), undefined);
  assert.equal(await configured(undefined, 15), undefined, 'a trigger that is missing would make the first deployment fail');
  assert.equal(await configured({ Resources: {} }, 15), undefined);
});

test('if a permission is missing, the plugin says so and continues; any other failure stops it', async () => {
  const given = { planned: template(NEW), tables: { 'Audit-prod': table() } };
  for (const denied of ['AccessDeniedException', 'AccessDenied', 'AuthorizationErrorException']) {
    const { error, warnings } = await checkResult([checkTables, checkReaders], { ...given, denied });
    assert.equal(error, '');
    assert.deepEqual(warnings, ['Not checked, because a permission is missing: not authorized']);
  }
  assert.equal((await checkResult([checkTables], { ...given, denied: 'TimeoutError' })).error, 'not authorized');
});
