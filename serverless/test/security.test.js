'use strict';

// What the packaged template allows, and to whom: nothing beyond the tables in this file. docs/security.md documents the
// same, and is compared with the template too.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { ROOT, packaged } = require('./helpers');

const RECOVERY_ROLE = 'arn:aws:iam::ACCOUNT:role/config-audit-recovery';
const ACCOUNT = '123456789012';

const KEY = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';

/** Everything that the function's role may do: [action, resource]. docs/security.md has the reasons. */
const PERMISSIONS = [
  ['dynamodb:BatchWriteItem', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Audit-dev'],
  ['dynamodb:DescribeStream', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Configuration-dev/stream/LABEL'],
  ['dynamodb:GetRecords', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Configuration-dev/stream/LABEL'],
  ['dynamodb:GetShardIterator', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Configuration-dev/stream/LABEL'],
  ['dynamodb:ListStreams', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Configuration-dev/stream/*'],
  ['s3:PutObject', 'arn:aws:s3:::BUCKET/*'],
  ['s3:ListBucket', 'arn:aws:s3:::BUCKET'],
  ['logs:CreateLogStream', 'arn:aws:logs:REGION:ACCOUNT:log-group:/aws/lambda/config-audit-dev-audit:*'],
  ['logs:PutLogEvents', 'arn:aws:logs:REGION:ACCOUNT:log-group:/aws/lambda/config-audit-dev-audit:*'],
  ['xray:PutTraceSegments', '*'],
  ['xray:PutTelemetryRecords', '*'],
];

/** The same for the role of the witness, with a witness bucket. */
const WITNESS_PERMISSIONS = [
  ['dynamodb:DescribeStream', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Audit-dev/stream/*'],
  ['dynamodb:GetRecords', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Audit-dev/stream/*'],
  ['dynamodb:GetShardIterator', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Audit-dev/stream/*'],
  ['dynamodb:ListStreams', 'arn:aws:dynamodb:REGION:ACCOUNT:table/Audit-dev/stream/*'],
  ['s3:PutObject', 'arn:aws:s3:::BUCKET/tampering/*'],
  ['s3:PutObject', 'arn:aws:s3:::WITNESS-BUCKET/entries/*'],
  ['logs:CreateLogStream', 'arn:aws:logs:REGION:ACCOUNT:log-group:/aws/lambda/config-audit-dev-witness:*'],
  ['logs:PutLogEvents', 'arn:aws:logs:REGION:ACCOUNT:log-group:/aws/lambda/config-audit-dev-witness:*'],
  ['xray:PutTraceSegments', '*'],
  ['xray:PutTelemetryRecords', '*'],
];

/**
 * The writing actions that DynamoDB supports in a table's policy (its documentation has the list, "DynamoDB API operations
 * supported by resource-based policies"; PartiQL's APIs are authorized by four actions of other names). DynamoDB refuses a
 * table whose policy has another action, and no test on this machine would notice.
 */
const ACCEPTED = ['BatchWriteItem', 'DeleteItem', 'PutItem', 'UpdateItem', 'PartiQLDelete', 'PartiQLInsert', 'PartiQLUpdate',
  'DeleteTable', 'UpdateTable', 'UpdateContinuousBackups', 'UpdateTimeToLive'].map((action) => `dynamodb:${action}`);

/** The template with no parameter given. */
const template = async (t) => (await packaged(t, [])).template;
const withBucket = async (t) => (await packaged(t, ['--param', 'witnessRetentionDays=365'])).template;
const withRecoveryRole = async (t) => {
  const { template: made } = await packaged(t, ['--param', `recoveryRoleArn=${RECOVERY_ROLE.replace('ACCOUNT', ACCOUNT)}`]);
  return JSON.parse(JSON.stringify(made).replaceAll(ACCOUNT, 'ACCOUNT'));
};

const list = (value) => [value].flat();
const ofType = ({ Resources }, type) => Object.values(Resources).filter((resource) => resource.Type.startsWith(type));
const statementsOf = (made, role) => resolved(made, made.Resources[role].Properties.Policies).flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
const roleStatements = (made) => statementsOf(made, 'IamRoleLambdaExecution');
const witnessStatements = (made) => statementsOf(made, 'WitnessRole');
const tablePolicy = (made) => resolved(made, made.Resources.AuditTable.Properties.ResourcePolicy.PolicyDocument);

/** [action, resource] of every pair that a policy's statements name. */
const pairs = (statements) => statements.flatMap(({ Action, Resource }) => list(Action).flatMap((action) => list(Resource).map((resource) => [action, resource])));
const sorted = (rows) => rows.map((row) => JSON.stringify(row)).sort();

test('each function may do what is listed here, and nothing else', async (t) => {
  const made = await withBucket(t);
  const statements = [...roleStatements(made), ...witnessStatements(made)];
  assert.deepEqual(sorted(pairs(roleStatements(made))), sorted(PERMISSIONS));
  assert.deepEqual(sorted(pairs(witnessStatements(made))), sorted(WITNESS_PERMISSIONS));
  const withoutBucket = await template(t);
  assert.deepEqual(sorted(pairs(witnessStatements(withoutBucket))), sorted(WITNESS_PERMISSIONS.filter(([, resource]) => !resource.includes('WITNESS-BUCKET'))));
  for (const { Condition: condition, ...statement } of statements) {
    assert.deepEqual(Object.keys(statement), ['Sid', 'Effect', 'Action', 'Resource'], 'no NotAction, no NotResource');
    assert.equal(statement.Effect, 'Allow');
    // A bucket of the same name in another account is not this bucket.
    assert.deepEqual(condition, /^s3:/.test(statement.Action) ? { StringEquals: { 's3:ResourceAccount': 'ACCOUNT' } } : undefined, statement.Sid);
  }
  for (const [action] of [...PERMISSIONS, ...WITNESS_PERMISSIONS]) assert.doesNotMatch(action, /\*/);
  t.diagnostic(`${PERMISSIONS.length} and ${WITNESS_PERMISSIONS.length} actions, each on its own resource`);
});

test('only Lambda may assume the functions\' roles, and the stack grants nothing else', async (t) => {
  const made = await withBucket(t);
  const roles = ofType(made, 'AWS::IAM::');
  assert.deepEqual(roles.map(({ Type }) => Type), ['AWS::IAM::Role', 'AWS::IAM::Role']);
  for (const role of roles) {
    assert.deepEqual(Object.keys(role.Properties).filter((name) => name !== 'Path').sort(), ['AssumeRolePolicyDocument', 'Policies', 'RoleName'], 'it has no managed policy');
    const [{ Effect, Principal: { Service }, Action }, ...others] = role.Properties.AssumeRolePolicyDocument.Statement;
    assert.deepEqual([Effect, list(Service), list(Action), others], ['Allow', ['lambda.amazonaws.com'], ['sts:AssumeRole'], []]);
  }
  const [mapping, lambda] = ['AWS::Lambda::EventSourceMapping', 'AWS::Lambda::Function'];
  assert.deepEqual(ofType(made, 'AWS::Lambda::').map((resource) => resource.Type).sort(), [mapping, mapping, lambda, lambda],
    'there is no Lambda permission and no function URL');
  const policies = ofType(made, 'AWS::S3::BucketPolicy').map((policy) => policy.Properties.PolicyDocument);
  assert.equal(policies.length, 3);
  for (const { Statement } of [...policies, tablePolicy(made)]) assert.ok(Statement.every(({ Effect }) => Effect === 'Deny'));
  t.diagnostic('the policies of buckets and table only deny');
});

test('the witness bucket takes only what the witness adds, and gives nothing up', async (t) => {
  const made = await withBucket(t);
  const { WitnessBucket: bucket, WitnessBucketPolicy: policy } = made.Resources;
  for (const resource of [bucket, policy]) assert.deepEqual([resource.DeletionPolicy, resource.UpdateReplacePolicy], ['RetainExceptOnCreate', 'Retain']);
  const { FailureBucket: other } = made.Resources;
  for (const name of ['PublicAccessBlockConfiguration', 'OwnershipControls', 'BucketEncryption']) assert.deepEqual(bucket.Properties[name], other.Properties[name]);
  assert.deepEqual(policy.Properties.Bucket, { Ref: 'WitnessBucket' });

  const statements = resolved(made, policy.Properties.PolicyDocument.Statement);
  const witness = { arn: 'arn:aws:iam::ACCOUNT:role/config-audit-dev-eu-central-1-witness', identity: witnessStatements(made) };
  assert.equal(resolved(made, { 'Fn::GetAtt': ['WitnessRole', 'Arn'] }), witness.arn);
  const [object, whole] = ['arn:aws:s3:::WITNESS-BUCKET/entries/Audit-dev/2026/03/03/0a.json', 'arn:aws:s3:::WITNESS-BUCKET'];
  const asked = (principal, action, on, context) => answer({ ...principal, action, on, context }, statements);
  const new_ = { 's3:if-none-match': '*' };
  assert.equal(asked(witness, 's3:PutObject', object, new_), 'allowed');
  assert.equal(asked(witness, 's3:PutObject', object), 'denied', 'without If-None-Match it could replace an object');
  assert.equal(asked(witness, 's3:PutObject', `${whole}/elsewhere`, new_), 'not allowed');
  for (const action of ['s3:GetObject', 's3:ListBucket', 's3:PutObjectAcl']) assert.equal(asked(witness, action, object), 'not allowed');
  const locked = ['s3:BypassGovernanceRetention', 's3:DeleteObject', 's3:DeleteObjectVersion', 's3:PutObjectLegalHold', 's3:PutObjectRetention'];
  for (const principal of [ADMINISTRATOR, ROOT_USER, { ...witness, identity: EVERYTHING }]) {
    for (const action of locked) assert.equal(asked(principal, action, object), 'denied', `${principal.arn} ${action}`);
    assert.equal(asked(principal, 's3:PutLifecycleConfiguration', whole), 'denied');
  }
  for (const principal of [ADMINISTRATOR, ROOT_USER, theFunction(made)]) assert.equal(asked(principal, 's3:PutObject', object, new_), 'denied', principal.arn);
  // CloudFormation needs these, and an auditor reads.
  for (const action of ['s3:PutBucketObjectLockConfiguration', 's3:PutBucketPolicy', 's3:PutEncryptionConfiguration', 's3:ListBucket']) {
    assert.equal(asked(ADMINISTRATOR, action, whole), 'allowed', action);
  }
  assert.equal(asked(ADMINISTRATOR, 's3:GetObject', object), 'allowed');
  assert.equal(asked(ADMINISTRATOR, 's3:GetObject', object, { 'aws:SecureTransport': 'false' }), 'denied');
});

test('the canary may write one item and nothing else, and only the scheduler of this account may assume its role', async (t) => {
  const [{ template: made }, { template: withKey }] = await Promise.all([['canary=on'], ['canary=on', `kmsKeyArn=${KEY}`]]
    .map((given) => packaged(t, given.flatMap((parameter) => ['--param', parameter]))));
  assert.equal((await template(t)).Resources.CanaryRole, undefined);
  const { CanaryRole: { Properties: role }, CanarySchedule: { Properties: schedule } } = made.Resources;
  assert.deepEqual(resolved(made, role.AssumeRolePolicyDocument.Statement), [{
    Effect: 'Allow', Principal: { Service: 'scheduler.amazonaws.com' }, Action: 'sts:AssumeRole', Condition: { StringEquals: { 'aws:SourceAccount': 'ACCOUNT' } },
  }]);
  const { Item: item, TableName } = JSON.parse(resolved(made, schedule.Target.Input));
  assert.deepEqual([TableName, Object.keys(item)], ['Configuration-dev', ['key', 'value', 'scheduledTime']]);
  assert.deepEqual(resolved(made, role.Policies).flatMap(({ PolicyDocument }) => PolicyDocument.Statement), [{
    Sid: 'WriteCanary',
    Effect: 'Allow',
    Action: 'dynamodb:PutItem',
    Resource: 'arn:aws:dynamodb:REGION:ACCOUNT:table/Configuration-dev',
    Condition: { 'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': [item.key.S] } },
  }]);
  const [statements, used] = ['CanaryRole', 'IamRoleLambdaExecution'].map((id) => withKey.Resources[id].Properties.Policies[0].PolicyDocument.Statement);
  assert.deepEqual(statements.find(({ Sid }) => Sid === 'UseKeys'), used.find(({ Sid }) => Sid === 'UseKeys'));
});

test('what is stored is encrypted, private, and outlives the stack', async (t) => {
  const made = await template(t);
  const { ConfigurationTable, AuditTable, FailureBucket, FailureBucketPolicy } = made.Resources;
  for (const resource of [ConfigurationTable, FailureBucket, FailureBucketPolicy]) {
    assert.deepEqual([resource.DeletionPolicy, resource.UpdateReplacePolicy], ['RetainExceptOnCreate', 'Retain'], resource.Type);
  }
  assert.deepEqual([AuditTable.DeletionPolicy, AuditTable.UpdateReplacePolicy], ['Retain', 'Retain']);
  for (const table of ofType(made, 'AWS::DynamoDB::Table')) assert.deepEqual(table.Properties.SSESpecification, { SSEEnabled: true });
  assert.deepEqual(AuditTable.Properties.PointInTimeRecoverySpecification, { PointInTimeRecoveryEnabled: true });
  assert.equal(AuditTable.Properties.DeletionProtectionEnabled, true);
  t.diagnostic('both tables: encrypted, kept; Audit: recovery to a point in time, deletion protection');

  const bucket = FailureBucket.Properties;
  assert.deepEqual(bucket.PublicAccessBlockConfiguration, { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true });
  assert.deepEqual(bucket.OwnershipControls.Rules, [{ ObjectOwnership: 'BucketOwnerEnforced' }]);
  assert.deepEqual(FailureBucketPolicy.Properties.Bucket, { Ref: 'FailureBucket' });
  const [tlsOnly, ...evidence] = resolved(made, FailureBucketPolicy.Properties.PolicyDocument.Statement);
  assert.deepEqual(tlsOnly, {
    Sid: 'TlsOnly',
    Effect: 'Deny',
    Principal: '*',
    Action: 's3:*',
    Resource: ['arn:aws:s3:::BUCKET', 'arn:aws:s3:::BUCKET/*'],
    Condition: { Bool: { 'aws:SecureTransport': 'false' } },
  });
  assert.deepEqual(evidence.map(({ Effect, Principal, Action, Resource }) => [Effect, Principal, Action, Resource]), [
    ['Deny', '*', 's3:PutObject', 'arn:aws:s3:::BUCKET/tampering/*'],
    ['Deny', '*', ['s3:DeleteObject', 's3:DeleteObjectVersion'], 'arn:aws:s3:::BUCKET/tampering/*'],
  ]);
  assert.deepEqual(FailureBucketPolicy.Properties.PolicyDocument.Statement[1].Condition, { ArnNotEquals: { 'aws:PrincipalArn': { 'Fn::GetAtt': ['WitnessRole', 'Arn'] } } });
  for (const { Properties } of ofType(made, 'AWS::S3::Bucket').filter(({ Type }) => Type === 'AWS::S3::Bucket')) {
    assert.equal(Properties.BucketEncryption.ServerSideEncryptionConfiguration[0].ServerSideEncryptionByDefault.SSEAlgorithm, 'AES256');
  }
  t.diagnostic('failure bucket: private, encrypted, TLS only, kept');
});

test('the function\'s settings contain no secret', async (t) => {
  const made = await template(t);
  const [variables, ofWitness] = ['AuditLambdaFunction', 'WitnessLambdaFunction'].map((id) => resolved(made, made.Resources[id].Properties.Environment.Variables));
  assert.deepEqual(ofWitness, { AUDIT_TABLE: 'Audit-dev', FAILURE_BUCKET: 'BUCKET', SERVICE_NAME: 'config-audit', STAGE: 'dev' });
  assert.deepEqual(variables, {
    AUDIT_TABLE: 'Audit-dev', FAILURE_BUCKET: 'BUCKET', KEY_ATTRIBUTE: 'key', AUDIT_PROVENANCE: 'off', LATE_MINUTES: '5',
    SERVICE_NAME: 'config-audit', STAGE: 'dev',
  });
  assert.deepEqual(Object.keys(made.Parameters), ['Service', 'Stage', 'ConfigurationTableName', 'AuditTableName', 'PageEmail', 'NotifyEmail', 'RunbookUrl',
    'LateMinutes', 'CriticalAgeMinutes', 'CriticalAgeMilliseconds']);
  assert.doesNotMatch(JSON.stringify(made), /\{\{resolve:|AKIA|ASIA/, 'neither a reference to a secret nor an access key');
});

test('DynamoDB accepts the Audit table\'s policy: it supports the actions, and the size is within its limit', async (t) => {
  const made = await template(t);
  const policy = tablePolicy(made);
  for (const [action, resource] of pairs(policy.Statement)) {
    assert.ok(ACCEPTED.includes(action), action);
    assert.equal(resource, '*', 'this is the table that has the policy; a mistyped ARN would protect nothing');
  }
  for (const { Principal } of policy.Statement) assert.deepEqual(Principal, { AWS: '*' });
  const bytes = JSON.stringify(policy, undefined, 4).length;
  assert.ok(bytes < 20 * 1024);
  t.diagnostic(`${bytes} of 20480 bytes, with the spaces that DynamoDB counts`);
});

const INSERTS = ['dynamodb:BatchWriteItem', 'dynamodb:PutItem', 'dynamodb:PartiQLInsert'];
const CHANGES = ['dynamodb:UpdateItem', 'dynamodb:DeleteItem', 'dynamodb:PartiQLUpdate', 'dynamodb:PartiQLDelete'];
const LOSSES = ['dynamodb:UpdateTimeToLive', 'dynamodb:DeleteTable'];
const READS = ['dynamodb:GetItem', 'dynamodb:BatchGetItem', 'dynamodb:Query', 'dynamodb:Scan', 'dynamodb:PartiQLSelect', 'dynamodb:DescribeTable'];
// CloudFormation needs the first two; with the others an administrator who is locked out can remove the policy.
const CONTROL = ['dynamodb:UpdateTable', 'dynamodb:UpdateContinuousBackups', 'dynamodb:GetResourcePolicy', 'dynamodb:PutResourcePolicy', 'dynamodb:DeleteResourcePolicy'];

const EVERYTHING = [{ Effect: 'Allow', Action: '*', Resource: '*' }];
const ADMINISTRATOR = { arn: 'arn:aws:iam::ACCOUNT:role/administrator', identity: EVERYTHING };
const ROOT_USER = { arn: 'arn:aws:iam::ACCOUNT:root', identity: EVERYTHING };
const theWitness = (made) => ({ arn: resolved(made, { 'Fn::GetAtt': ['WitnessRole', 'Arn'] }), identity: witnessStatements(made) });
const NOBODY = { arn: 'arn:aws:iam::ACCOUNT:role/of-something-else', identity: [] };
const theFunction = (made) => ({ arn: resolved(made, { 'Fn::GetAtt': ['IamRoleLambdaExecution', 'Arn'] }), identity: roleStatements(made) });
const recovery = () => ({ arn: RECOVERY_ROLE, identity: documented('The recovery role', 'json').Statement });

/** Asserts IAM's answer to each of these principals for each of these actions on the Audit table. */
function answers(made, cases) {
  for (const [principal, actions, expected] of cases) {
    for (const action of actions) {
      const on = 'arn:aws:dynamodb:REGION:ACCOUNT:table/Audit-dev';
      assert.equal(answer({ ...principal, action, on }, tablePolicy(made).Statement), expected, `${principal.arn} ${action}`);
    }
  }
  return `${cases.reduce((count, [, actions]) => count + actions.length, 0)} requests`;
}

test('only the function may write audit entries, and nobody may alter or delete one', async (t) => {
  const made = await template(t);
  t.diagnostic(answers(made, [
    [theFunction(made), ['dynamodb:BatchWriteItem'], 'allowed'],
    [theFunction(made), ['dynamodb:PutItem', ...READS, ...CONTROL], 'not allowed'],
    [theFunction(made), [...CHANGES, ...LOSSES], 'denied'],
    [ADMINISTRATOR, [...INSERTS, ...CHANGES, ...LOSSES], 'denied'],
    [ADMINISTRATOR, [...READS, ...CONTROL], 'allowed'],
    [ROOT_USER, [...INSERTS, ...CHANGES, ...LOSSES], 'denied'],
    [ROOT_USER, CONTROL, 'allowed'],
    [theWitness(made), [...READS, ...CONTROL], 'not allowed'],
    [theWitness(made), [...INSERTS, ...CHANGES, ...LOSSES], 'denied'],
    [{ ...theWitness(made), identity: EVERYTHING }, [...INSERTS, ...CHANGES, ...LOSSES], 'denied'],
    [NOBODY, [...READS, ...CONTROL], 'not allowed'],
    [NOBODY, [...INSERTS, ...CHANGES, ...LOSSES], 'denied'],
    [recovery(), [...INSERTS, ...CHANGES, ...LOSSES], 'denied'],
    [{ ...theFunction(made), identity: EVERYTHING }, [...CHANGES, ...LOSSES], 'denied'],
  ]));
});

test('the recovery role, if one is given, may write too, but not alter or delete', async (t) => {
  const made = await withRecoveryRole(t);
  t.diagnostic(answers(made, [
    [recovery(), ['dynamodb:BatchWriteItem', 'dynamodb:PutItem'], 'allowed'],
    [recovery(), [...CHANGES, ...LOSSES], 'denied'],
    [recovery(), CONTROL, 'not allowed'],
    [theFunction(made), ['dynamodb:BatchWriteItem'], 'allowed'],
    [theFunction(made), CHANGES, 'denied'],
    [ADMINISTRATOR, [...INSERTS, ...CHANGES, ...LOSSES], 'denied'],
  ]));
});

test('docs/security.md matches the template', async (t) => {
  const made = await template(t);
  assert.deepEqual(documented('What the function may do', 'table').map(([action, resource]) => [action, resource]), PERMISSIONS);
  assert.deepEqual(documented('What the witness may do', 'table').map(([action, resource]) => [action, resource]), WITNESS_PERMISSIONS);
  const [{ Properties: { PolicyDocument: policy } }] = [(await withBucket(t)).Resources.WitnessBucketPolicy];
  const denied = documented('The witness bucket', 'table');
  assert.deepEqual(denied.map(([sid]) => sid), policy.Statement.map(({ Sid }) => Sid));
  for (const [index, [, actions]] of denied.entries()) assert.deepEqual(actions.split(', '), list(policy.Statement[index].Action));

  const given = await withRecoveryRole(t);
  assert.deepEqual(documented('A table that exists already', 'json'), tablePolicy(given));

  const recovers = documented('What the command\'s user needs', 'table')
    .filter(([commands]) => /redrive|backfill/.test(commands))
    .flatMap(([, actions, resource]) => actions.split(', ').map((action) => [action, resource]));
  assert.deepEqual(sorted(pairs(documented('The recovery role', 'json').Statement)), sorted(recovers));
  assert.equal(tablePolicy(made).Statement.length, tablePolicy(given).Statement.length);
  t.diagnostic('the role\'s table, the table\'s policy and the recovery role\'s policy');
});

// ---- the parts of CloudFormation, IAM and Markdown that the tests need --------------------------------------------------

/** A value of the template with CloudFormation's functions resolved, in an account ACCOUNT and a region REGION. */
function resolved(made, value) {
  const pseudo = { 'AWS::Partition': 'aws', 'AWS::Region': 'REGION', 'AWS::AccountId': 'ACCOUNT' };
  const reference = (name) => pseudo[name] || { FailureBucket: 'BUCKET', WitnessBucket: 'WITNESS-BUCKET' }[name] || made.Parameters[name]?.Default;
  const attribute = (name, what) => {
    const { Properties: properties } = made.Resources[name];
    return {
      'ConfigurationTable.StreamArn': () => `arn:aws:dynamodb:REGION:ACCOUNT:table/${properties.TableName}/stream/LABEL`,
      'FailureBucket.Arn': () => 'arn:aws:s3:::BUCKET',
      'WitnessBucket.Arn': () => 'arn:aws:s3:::WITNESS-BUCKET',
      'AuditLogGroup.Arn': () => `arn:aws:logs:REGION:ACCOUNT:log-group:${properties.LogGroupName}:*`,
      'WitnessLogGroup.Arn': () => `arn:aws:logs:REGION:ACCOUNT:log-group:${properties.LogGroupName}:*`,
      'IamRoleLambdaExecution.Arn': () => `arn:aws:iam::ACCOUNT:role/${resolve(properties.RoleName)}`,
      'WitnessRole.Arn': () => `arn:aws:iam::ACCOUNT:role/${resolve(properties.RoleName)}`,
    }[`${name}.${what}`]();
  };
  const functions = {
    Ref: reference,
    'Fn::GetAtt': (names) => attribute(...names),
    'Fn::Join': ([separator, parts]) => parts.join(separator),
    'Fn::Select': ([index, parts]) => parts[index],
    'Fn::Split': ([separator, text]) => text.split(separator),
    'Fn::Sub': (argument) => {
      const [text, names = {}] = list(argument);
      return text.replace(/\$\{([^}]+)\}/g, (_, name) => names[name] || reference(name) || attribute(...name.split('.')));
    },
  };
  const resolve = (value) => {
    if (Array.isArray(value)) return value.map(resolve);
    if (typeof value !== 'object') return value;
    const [[name, argument]] = Object.entries(value);
    if (functions[name]) return functions[name](resolve(argument));
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, resolve(member)]));
  };
  return resolve(value);
}

/** IAM's answer within one account: a denial wins, and what no statement allows is not allowed. `context` are the condition keys of
 * the request besides the principal; a request is over TLS and within the account unless it says otherwise.
 */
function answer({ arn, identity, action, on, context }, policy) {
  const keys = { 'aws:SecureTransport': 'true', 's3:ResourceAccount': 'ACCOUNT', 'aws:PrincipalArn': arn, ...context };
  const matches = (pattern, text) => new RegExp(`^${pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&')).join('.*')}$`).test(text);
  const operators = {
    ArnNotEquals: (value, wanted) => !list(wanted).includes(value),
    StringEquals: (value, wanted) => list(wanted).includes(value),
    Bool: (value, wanted) => value === wanted,
    Null: (value, wanted) => String(value === undefined) === wanted,
  };
  const holds = (condition) => Object.entries(condition).every(([operator, tests]) => {
    assert.ok(operators[operator], `this test does not understand ${operator}`);
    return Object.entries(tests).every(([key, wanted]) => operators[operator](keys[key], wanted));
  });
  const applies = ({ Action, Resource, Condition }) => list(Action).some((pattern) => matches(pattern, action))
    && list(Resource).some((pattern) => matches(pattern, on))
    && (!Condition || holds(Condition));
  const says = (effect) => [...identity, ...policy].some((statement) => statement.Effect === effect && applies(statement));
  if (says('Deny')) return 'denied';
  return says('Allow') ? 'allowed' : 'not allowed';
}

/** The first table (its rows, without the backticks) or JSON block below a heading of docs/security.md. */
function documented(heading, what) {
  const text = fs.readFileSync(path.join(ROOT, 'docs', 'security.md'), 'utf8');
  const section = text.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`));
  assert.ok(section, `docs/security.md has the heading "${heading}"`);
  if (what === 'json') return JSON.parse(/```json\n([^]*?)```/.exec(section)[1]);
  const rows = section.split('\n').filter((line) => line.startsWith('|')).slice(2);
  return rows.map((row) => row.split('|').slice(1, -1).map((cell) => cell.trim().replaceAll('`', '')));
}
