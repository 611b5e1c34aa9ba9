'use strict';

// What `serverless package` makes of serverless.yml: the same CloudFormation from both tools, without credentials.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { CLIS, EXISTING_STREAM, EXISTING_TABLES, VENV, run, serviceCopy } = require('./helpers');

/** Packages with both tools and returns the template, which must be the same and pass cfn-lint. */
async function packaged(t, args) {
  const templates = [];
  for (const [name, cli] of Object.entries(CLIS)) {
    const service = serviceCopy(t);
    const result = await service.serverless(cli, ['package', ...args]);
    assert.equal(result.status, 0, result.all);
    const template = service.template();
    const code = template.Resources.AuditLambdaFunction.Properties.Code;
    assert.match(code.S3Key, /\/bootstrap\.zip$/);
    code.S3Key = 'the time of packaging is in it';
    templates.push(template);

    const zips = fs.readdirSync(path.join(service.directory, '.serverless')).filter((file) => file.endsWith('.zip'));
    assert.deepEqual(zips, [], 'nothing but the artifact is zipped');
    const lint = await run(path.join(VENV, 'cfn-lint'), [path.join(service.directory, '.serverless', 'cloudformation-template-update-stack.json')]);
    assert.equal(lint.status, 0, lint.all);
    t.diagnostic(`${name} packaged in ${result.elapsed}; cfn-lint has nothing to say (${lint.elapsed})`);
  }
  assert.deepEqual(templates[0], templates[1]);
  return templates[0];
}

const attribute = (resource, name) => ({ 'Fn::GetAtt': [resource, name] });
const ofType = (template, type) => Object.keys(template.Resources).filter((name) => template.Resources[name].Type === type);
const statements = (template) => template.Resources.IamRoleLambdaExecution.Properties.Policies[0].PolicyDocument.Statement;

test('with no parameter, the stack makes both tables, the trigger, the bucket and the role', async (t) => {
  const template = await packaged(t, []);
  const { Resources: resources, Outputs: outputs } = template;

  const configuration = resources.ConfigurationTable;
  assert.equal(configuration.Properties.TableName, 'Configuration-dev');
  assert.deepEqual(configuration.Properties.KeySchema, [{ AttributeName: 'key', KeyType: 'HASH' }]);
  assert.deepEqual(configuration.Properties.StreamSpecification, { StreamViewType: 'NEW_AND_OLD_IMAGES' });

  const audit = resources.AuditTable;
  assert.equal(audit.Properties.TableName, 'Audit-dev');
  assert.deepEqual(audit.Properties.KeySchema, [{ AttributeName: 'id', KeyType: 'HASH' }]);
  assert.deepEqual(audit.Properties.PointInTimeRecoverySpecification, { PointInTimeRecoveryEnabled: true });
  const [index] = audit.Properties.GlobalSecondaryIndexes;
  assert.equal(index.IndexName, 'itemKey-modificationTime-index');
  assert.deepEqual(index.KeySchema.map((key) => `${key.AttributeName} ${key.KeyType}`), ['itemKey HASH', 'modificationTime RANGE']);
  assert.deepEqual(index.Projection, { ProjectionType: 'ALL' });

  for (const name of ['ConfigurationTable', 'AuditTable', 'FailureBucket', 'FailureBucketPolicy']) {
    assert.equal(resources[name].DeletionPolicy, 'Retain', name);
    assert.equal(resources[name].UpdateReplacePolicy, 'Retain', name);
  }
  for (const table of [configuration, audit]) {
    assert.equal(table.Properties.BillingMode, 'PAY_PER_REQUEST');
    assert.deepEqual(table.Properties.SSESpecification, { SSEEnabled: true });
  }
  t.diagnostic('tables: keys, stream view type, index, recovery, encryption, kept on removal');

  assert.deepEqual(ofType(template, 'AWS::Lambda::EventSourceMapping'), ['ConfigurationStreamMapping']);
  assert.deepEqual(resources.ConfigurationStreamMapping.Properties, {
    FunctionName: attribute('AuditLambdaFunction', 'Arn'),
    EventSourceArn: attribute('ConfigurationTable', 'StreamArn'),
    StartingPosition: 'TRIM_HORIZON',
    BatchSize: 100,
    MaximumBatchingWindowInSeconds: 1,
    FunctionResponseTypes: ['ReportBatchItemFailures'],
    BisectBatchOnFunctionError: true,
    MaximumRetryAttempts: -1,
    MaximumRecordAgeInSeconds: 79200,
    DestinationConfig: { OnFailure: { Destination: attribute('FailureBucket', 'Arn') } },
    MetricsConfig: { Metrics: ['EventCount'] },
  });
  t.diagnostic('trigger: reports failures, bisects, retries until 22 hours, then the failure bucket; event count metrics on');

  const lambda = resources.AuditLambdaFunction.Properties;
  assert.equal(lambda.Runtime, 'provided.al2023');
  assert.equal(lambda.Handler, 'bootstrap');
  assert.deepEqual(lambda.Architectures, ['x86_64']);
  assert.deepEqual(lambda.TracingConfig, { Mode: 'Active' });
  assert.deepEqual(lambda.LoggingConfig, { LogFormat: 'JSON', ApplicationLogLevel: 'INFO', SystemLogLevel: 'INFO' });
  assert.equal(lambda.ReservedConcurrentExecutions, undefined);
  assert.deepEqual(lambda.Environment.Variables, {
    AUDIT_TABLE: 'Audit-dev',
    FAILURE_BUCKET: { Ref: 'FailureBucket' },
    KEY_ATTRIBUTE: 'key',
    AUDIT_PROVENANCE: 'off',
    SERVICE_NAME: 'config-audit',
    STAGE: 'dev',
  });
  assert.deepEqual(resources.AuditLogGroup.Properties, { LogGroupName: '/aws/lambda/config-audit-dev-audit', RetentionInDays: 30 });
  assert.deepEqual(ofType(template, 'AWS::Lambda::Version'), []);
  t.diagnostic('function: runtime, environment, X-Ray, JSON logs at INFO, log group with retention');

  assert.deepEqual(ofType(template, 'AWS::IAM::Role'), ['IamRoleLambdaExecution']);
  assert.equal(resources.IamRoleLambdaExecution.Properties.Policies.length, 1);
  assert.equal(resources.IamRoleLambdaExecution.Properties.ManagedPolicyArns, undefined);
  assert.deepEqual(statements(template).map(({ Action, Resource }) => [Action, Resource]), [
    ['dynamodb:BatchWriteItem', { 'Fn::Sub': 'arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/Audit-dev' }],
    [['dynamodb:DescribeStream', 'dynamodb:GetRecords', 'dynamodb:GetShardIterator'], attribute('ConfigurationTable', 'StreamArn')],
    ['dynamodb:ListStreams', { 'Fn::Sub': ['${Table}/stream/*', { Table: { 'Fn::Select': [0, { 'Fn::Split': ['/stream/', attribute('ConfigurationTable', 'StreamArn')] }] } }] }],
    ['s3:PutObject', { 'Fn::Sub': '${FailureBucket.Arn}/*' }],
    ['s3:ListBucket', attribute('FailureBucket', 'Arn')],
    [['logs:CreateLogStream', 'logs:PutLogEvents'], attribute('AuditLogGroup', 'Arn')],
    [['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], '*'],
  ]);
  t.diagnostic('role: seven statements, each on its own resource');

  const bucket = resources.FailureBucket.Properties;
  assert.equal(bucket.BucketName, undefined, 'the name is CloudFormation\'s choice, so no two accounts collide');
  assert.ok(Object.values(bucket.PublicAccessBlockConfiguration).every((blocked) => blocked === true));
  assert.equal(Object.keys(bucket.PublicAccessBlockConfiguration).length, 4);
  assert.equal(bucket.BucketEncryption.ServerSideEncryptionConfiguration[0].ServerSideEncryptionByDefault.SSEAlgorithm, 'AES256');
  assert.equal(bucket.OwnershipControls.Rules[0].ObjectOwnership, 'BucketOwnerEnforced');
  assert.equal(bucket.LifecycleConfiguration.Rules[0].ExpirationInDays, 90);
  assert.ok(bucket.LifecycleConfiguration.Rules[0].AbortIncompleteMultipartUpload);
  const [tls] = resources.FailureBucketPolicy.Properties.PolicyDocument.Statement;
  assert.deepEqual([tls.Effect, tls.Principal, tls.Action, tls.Condition], ['Deny', '*', 's3:*', { Bool: { 'aws:SecureTransport': 'false' } }]);
  t.diagnostic('failure bucket: private, encrypted, TLS only, lifecycle');

  for (const name of ['ConfigurationTableName', 'ConfigurationStreamArn', 'AuditTableName', 'FailureBucketName', 'AuditFunctionArn']) {
    assert.ok(outputs[name], name);
  }
});

test('with the stream and the Audit table that exist already, the stack makes neither table and uses those', async (t) => {
  const template = await packaged(t, EXISTING_TABLES);
  assert.deepEqual(ofType(template, 'AWS::DynamoDB::Table'), []);
  assert.equal(template.Resources.ConfigurationStreamMapping.Properties.EventSourceArn, EXISTING_STREAM);
  assert.equal(template.Resources.AuditLambdaFunction.Properties.Environment.Variables.AUDIT_TABLE, 'History');
  const [write, read] = statements(template);
  assert.match(write.Resource['Fn::Sub'], /:table\/History$/);
  assert.equal(read.Resource, EXISTING_STREAM);
  assert.equal(template.Outputs.AuditTableName.Value, 'History');
  assert.doesNotMatch(JSON.stringify(template), /Configuration-dev|Audit-dev"|"ConfigurationTable"|"AuditTable"/);
  t.diagnostic('no table is made; trigger, role, environment and outputs name the existing ones');
});

test('every other parameter arrives where it belongs, as a number where CloudFormation wants one', async (t) => {
  const template = await packaged(t, ['--stage', 'prod', ...Object.entries({
    configurationTable: 'Settings', auditTable: 'SettingsHistory', keyAttribute: 'name', provenance: 'on',
    architecture: 'arm64', logRetentionDays: '14', failureRetentionDays: '7',
  }).flatMap(([name, value]) => ['--param', `${name}=${value}`])]);
  const { ConfigurationTable, AuditTable, AuditLambdaFunction, AuditLogGroup, FailureBucket } = template.Resources;
  assert.equal(ConfigurationTable.Properties.TableName, 'Settings');
  assert.deepEqual(ConfigurationTable.Properties.KeySchema, [{ AttributeName: 'name', KeyType: 'HASH' }]);
  assert.equal(AuditTable.Properties.TableName, 'SettingsHistory');
  assert.deepEqual(AuditLambdaFunction.Properties.Architectures, ['arm64']);
  const { AUDIT_TABLE, KEY_ATTRIBUTE, AUDIT_PROVENANCE, STAGE } = AuditLambdaFunction.Properties.Environment.Variables;
  assert.deepEqual([AUDIT_TABLE, KEY_ATTRIBUTE, AUDIT_PROVENANCE, STAGE], ['SettingsHistory', 'name', 'on', 'prod']);
  assert.equal(Number(AuditLogGroup.Properties.RetentionInDays), 14);
  assert.equal(Number(FailureBucket.Properties.LifecycleConfiguration.Rules[0].ExpirationInDays), 7);
  t.diagnostic('stage, table names, key, provenance, arm64 and retention times');
});
