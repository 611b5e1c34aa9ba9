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

/**
 * The writing actions that DynamoDB supports in a table's policy (its documentation has the list, "DynamoDB API operations
 * supported by resource-based policies"; PartiQL's APIs are authorized by four actions of other names). DynamoDB refuses a
 * table whose policy has another action, and no test on this machine would notice.
 */
const ACCEPTED = ['BatchWriteItem', 'DeleteItem', 'PutItem', 'UpdateItem', 'PartiQLDelete', 'PartiQLInsert', 'PartiQLUpdate',
  'DeleteTable', 'UpdateTable', 'UpdateContinuousBackups', 'UpdateTimeToLive'].map((action) => `dynamodb:${action}`);

/** The template with no parameter given. */
const template = async (t) => (await packaged(t, [])).template;
const withRecoveryRole = async (t) => {
  const { template: made } = await packaged(t, ['--param', `recoveryRoleArn=${RECOVERY_ROLE.replace('ACCOUNT', ACCOUNT)}`]);
  return JSON.parse(JSON.stringify(made).replaceAll(ACCOUNT, 'ACCOUNT'));
};

const list = (value) => [value].flat();
const ofType = ({ Resources }, type) => Object.values(Resources).filter((resource) => resource.Type.startsWith(type));
const roleStatements = (made) => resolved(made, made.Resources.IamRoleLambdaExecution.Properties.Policies).flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
const tablePolicy = (made) => resolved(made, made.Resources.AuditTable.Properties.ResourcePolicy.PolicyDocument);

/** [action, resource] of every pair that a policy's statements name. */
const pairs = (statements) => statements.flatMap(({ Action, Resource }) => list(Action).flatMap((action) => list(Resource).map((resource) => [action, resource])));
const sorted = (rows) => rows.map((row) => JSON.stringify(row)).sort();

test('the function may do what PERMISSIONS lists, and nothing else', async (t) => {
  const made = await template(t);
  const statements = roleStatements(made);
  assert.deepEqual(sorted(pairs(statements)), sorted(PERMISSIONS));
  for (const { Condition: condition, ...statement } of statements) {
    assert.deepEqual(Object.keys(statement), ['Sid', 'Effect', 'Action', 'Resource'], 'no NotAction, no NotResource');
    assert.equal(statement.Effect, 'Allow');
    // A bucket of the same name in another account is not this bucket.
    assert.deepEqual(condition, /^s3:/.test(statement.Action) ? { StringEquals: { 's3:ResourceAccount': 'ACCOUNT' } } : undefined, statement.Sid);
  }
  for (const [action] of PERMISSIONS) assert.doesNotMatch(action, /\*/);
  t.diagnostic(`${PERMISSIONS.length} actions, each on its own resource`);
});

test('only Lambda may assume the function\'s role, and the stack grants nothing else', async (t) => {
  const made = await template(t);
  const [role, ...others] = ofType(made, 'AWS::IAM::');
  assert.deepEqual(others, []);
  assert.deepEqual(Object.keys(role.Properties).sort(), ['AssumeRolePolicyDocument', 'Path', 'Policies', 'RoleName'], 'it has no managed policy');
  assert.deepEqual(role.Properties.AssumeRolePolicyDocument.Statement, [
    { Effect: 'Allow', Principal: { Service: ['lambda.amazonaws.com'] }, Action: ['sts:AssumeRole'] },
  ]);
  assert.deepEqual(ofType(made, 'AWS::Lambda::').map((resource) => resource.Type).sort(), ['AWS::Lambda::EventSourceMapping', 'AWS::Lambda::Function'],
    'there is no Lambda permission and no function URL');
  const policies = ofType(made, 'AWS::S3::BucketPolicy').map((policy) => policy.Properties.PolicyDocument);
  for (const { Statement } of [...policies, tablePolicy(made)]) assert.ok(Statement.every(({ Effect }) => Effect === 'Deny'));
  t.diagnostic('the policies of buckets and table only deny');
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
  assert.deepEqual(resolved(made, FailureBucketPolicy.Properties.PolicyDocument.Statement), [{
    Sid: 'TlsOnly',
    Effect: 'Deny',
    Principal: '*',
    Action: 's3:*',
    Resource: ['arn:aws:s3:::BUCKET', 'arn:aws:s3:::BUCKET/*'],
    Condition: { Bool: { 'aws:SecureTransport': 'false' } },
  }]);
  for (const { Properties } of ofType(made, 'AWS::S3::Bucket').filter(({ Type }) => Type === 'AWS::S3::Bucket')) {
    assert.equal(Properties.BucketEncryption.ServerSideEncryptionConfiguration[0].ServerSideEncryptionByDefault.SSEAlgorithm, 'AES256');
  }
  t.diagnostic('failure bucket: private, encrypted, TLS only, kept');
});

test('the function\'s settings contain no secret', async (t) => {
  const made = await template(t);
  const [{ Properties: { Environment: { Variables: variables } } }] = ofType(made, 'AWS::Lambda::Function');
  assert.deepEqual(resolved(made, variables), {
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
  const reference = (name) => pseudo[name] || { FailureBucket: 'BUCKET' }[name] || made.Parameters[name]?.Default;
  const attribute = (name, what) => {
    const { Properties: properties } = made.Resources[name];
    return {
      'ConfigurationTable.StreamArn': () => `arn:aws:dynamodb:REGION:ACCOUNT:table/${properties.TableName}/stream/LABEL`,
      'FailureBucket.Arn': () => 'arn:aws:s3:::BUCKET',
      'AuditLogGroup.Arn': () => `arn:aws:logs:REGION:ACCOUNT:log-group:${properties.LogGroupName}:*`,
      'IamRoleLambdaExecution.Arn': () => `arn:aws:iam::ACCOUNT:role/${resolve(properties.RoleName)}`,
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

/** IAM's answer within one account: a denial wins, and what no statement allows is not allowed. */
function answer({ arn, identity, action, on }, policy) {
  const matches = (pattern, text) => new RegExp(`^${pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&')).join('.*')}$`).test(text);
  const holds = (condition) => {
    assert.deepEqual(Object.keys(condition), ['ArnNotEquals'], 'this test understands only these conditions');
    assert.deepEqual(Object.keys(condition.ArnNotEquals), ['aws:PrincipalArn']);
    return !list(condition.ArnNotEquals['aws:PrincipalArn']).includes(arn);
  };
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
