'use strict';

// The CloudFormation that `serverless package` makes of serverless.yml, without credentials. Role, policies and encryption
// are in security.test.js.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { DEFAULTS, isRecorded } = require('../parameters');
const { EXISTING_STREAM, EXISTING_TABLES, OTHER_PARAMETERS, ROOT, packaged, serviceCopy } = require('./helpers');

/** The n-th block of YAML in docs/configuration.md, as text. */
const documented = (index) => [...fs.readFileSync(path.join(ROOT, 'docs', 'configuration.md'), 'utf8').matchAll(/```yaml\n([^]*?)```/g)][index][1];

const attribute = (resource, name) => ({ 'Fn::GetAtt': [resource, name] });
const ofType = (template, type) => Object.keys(template.Resources).filter((name) => template.Resources[name].Type === type);
const statements = (template) => template.Resources.IamRoleLambdaExecution.Properties.Policies[0].PolicyDocument.Statement;

test('without parameters, the stack has both tables, the trigger, the function and the bucket', async (t) => {
  const { template } = await packaged(t, []);
  const { Resources: resources, Outputs: outputs } = template;

  const configuration = resources.ConfigurationTable;
  assert.equal(configuration.Properties.TableName, 'Configuration-dev');
  assert.deepEqual(configuration.Properties.KeySchema, [{ AttributeName: 'key', KeyType: 'HASH' }]);
  assert.deepEqual(configuration.Properties.StreamSpecification, { StreamViewType: 'NEW_AND_OLD_IMAGES' });

  const audit = resources.AuditTable;
  assert.equal(audit.Properties.TableName, 'Audit-dev');
  assert.deepEqual(audit.Properties.KeySchema, [{ AttributeName: 'id', KeyType: 'HASH' }]);
  const [index] = audit.Properties.GlobalSecondaryIndexes;
  assert.equal(index.IndexName, 'itemKey-modificationTime-index');
  assert.deepEqual(index.KeySchema.map((key) => `${key.AttributeName} ${key.KeyType}`), ['itemKey HASH', 'modificationTime RANGE']);
  assert.deepEqual(index.Projection, { ProjectionType: 'ALL' });

  assert.deepEqual(audit.Properties.StreamSpecification, { StreamViewType: 'NEW_AND_OLD_IMAGES' });
  for (const table of [configuration, audit]) assert.equal(table.Properties.BillingMode, 'PAY_PER_REQUEST');
  t.diagnostic('tables: keys, stream view type, index');

  assert.deepEqual(ofType(template, 'AWS::Lambda::EventSourceMapping').sort(), ['AuditStreamMapping', 'ConfigurationStreamMapping']);
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
    DestinationConfig: { OnFailure: { Destination: { 'Fn::Sub': 'arn:${AWS::Partition}:s3:::${FailureBucket}' } } },
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
    LATE_MINUTES: '5',
    SERVICE_NAME: 'config-audit',
    STAGE: 'dev',
  });
  assert.deepEqual(resources.AuditLogGroup.Properties, { LogGroupName: '/aws/lambda/config-audit-dev-audit', RetentionInDays: 30 });
  assert.deepEqual(ofType(template, 'AWS::Lambda::Version'), []);
  t.diagnostic('function: runtime, environment, X-Ray, JSON logs at INFO, log group with retention');

  const bucket = resources.FailureBucket.Properties;
  assert.equal(bucket.BucketName, undefined, 'CloudFormation chooses the name, so no two accounts collide');
  const rules = bucket.LifecycleConfiguration.Rules;
  assert.deepEqual(rules.filter(({ ExpirationInDays }) => ExpirationInDays).map(({ Prefix, ExpirationInDays }) => [Prefix, ExpirationInDays]),
    [['quarantined/', 90], ['aws/lambda/', 90], ['redriven/', 90]], 'not omitted/, because entries refer to its objects');
  const everywhere = rules.filter(({ Prefix }) => Prefix === undefined);
  assert.equal(everywhere.length, 1);
  assert.ok(everywhere[0].NoncurrentVersionExpiration && everywhere[0].AbortIncompleteMultipartUpload);
  assert.ok(rules.every(({ Status }) => Status === 'Enabled'));
  t.diagnostic('failure bucket: lifecycle');

  for (const name of ['ConfigurationTableName', 'ConfigurationStreamArn', 'AuditTableName', 'FailureBucketName', 'AuditFunctionArn']) {
    assert.ok(outputs[name], name);
  }
});

test('the Audit table, which no rollback can delete, is created last', async (t) => {
  const { template: { Resources: resources } } = await packaged(t, []);
  /** What a resource waits for: what it refers to, and what it depends on. */
  const before = (id) => Object.keys(resources).filter((other) => resources[id].DependsOn?.includes(other)
    || new RegExp(`"${other}[".]|\\$\\{${other}[.}]`).test(JSON.stringify(resources[id].Properties)));
  const first = new Set(['AuditTable']);
  for (const id of first) for (const other of before(id)) first.add(other);
  const others = Object.keys(resources).filter((id) => !first.has(id));
  // The first two have a condition, and wait only for a topic. The others are the witness's trigger, which needs the table's
  // stream, and the alarm on that trigger.
  const later = ['AuditStreamMapping', 'WitnessBehind', 'WitnessBehindPolls'];
  assert.deepEqual(others.sort(), [...later, 'NotifyEmailSubscription', 'PageEmailSubscription'].sort());
  for (const id of Object.keys(resources)) assert.equal(before(id).some((other) => ['AuditTable', ...later].includes(other)), later.includes(id), `${id} waits for the table`);
  t.diagnostic(`${first.size - 1} resources come first`);
});

test('without a witness, the Audit table is the very last', async (t) => {
  const { template: { Resources: resources } } = await packaged(t, ['--param', 'witness=off']);
  for (const [id, { Properties }] of Object.entries(resources)) if (id !== 'AuditTable') assert.doesNotMatch(JSON.stringify(Properties), /"AuditTable"/, id);
});

const RETENTION = ['--param', 'witnessRetentionDays=365'];
const WITNESS = /Witness|TrailTampered|Tampering|AuditStreamMapping|EntriesTampered/;

test('the witness is a second function of the same zip, which reads the Audit table\'s stream', async (t) => {
  const { template: { Resources: resources, Outputs: outputs } } = await packaged(t, []);
  const { Architectures, Code, FunctionName, Handler, LoggingConfig, MemorySize, Role, Runtime, Timeout, TracingConfig, Environment } = resources.WitnessLambdaFunction.Properties;
  const { Properties: audit } = resources.AuditLambdaFunction;
  assert.deepEqual([FunctionName, Handler, Role], ['config-audit-dev-witness', 'witness', attribute('WitnessRole', 'Arn')]);
  assert.deepEqual({ Architectures, Code, LoggingConfig, Runtime, Timeout, TracingConfig }, Object.fromEntries(
    ['Architectures', 'Code', 'LoggingConfig', 'Runtime', 'Timeout', 'TracingConfig'].map((name) => [name, audit[name]]),
  ));
  assert.ok(MemorySize <= 256);
  assert.deepEqual(Environment.Variables, { AUDIT_TABLE: 'Audit-dev', FAILURE_BUCKET: { Ref: 'FailureBucket' }, SERVICE_NAME: 'config-audit', STAGE: 'dev' });
  assert.deepEqual(resources.WitnessLogGroup.Properties, { LogGroupName: '/aws/lambda/config-audit-dev-witness', RetentionInDays: 30 });
  assert.deepEqual(resources.AuditStreamMapping.Properties, {
    FunctionName: attribute('WitnessLambdaFunction', 'Arn'),
    EventSourceArn: attribute('AuditTable', 'StreamArn'),
    StartingPosition: 'TRIM_HORIZON',
    BatchSize: 1000,
    MaximumBatchingWindowInSeconds: 30,
    FunctionResponseTypes: ['ReportBatchItemFailures'],
    BisectBatchOnFunctionError: true,
    MaximumRetryAttempts: -1,
    MaximumRecordAgeInSeconds: -1, // And no destination: redrive would take a record of this stream for a change.
    MetricsConfig: { Metrics: ['EventCount'] },
  });
  assert.deepEqual(outputs.WitnessFunctionArn.Value, attribute('WitnessLambdaFunction', 'Arn'));
  assert.equal(resources.WitnessBucket, undefined, 'a bucket whose objects nobody can delete is not made by default');
  assert.equal(outputs.WitnessBucketName, undefined);
});

test('with witnessRetentionDays there is a bucket whose objects are locked', async (t) => {
  const { template: { Resources: resources, Outputs: outputs } } = await packaged(t, [...RETENTION, '--param', 'witnessMode=COMPLIANCE']);
  const { WitnessBucket: bucket, WitnessLambdaFunction: witness } = resources;
  assert.equal(bucket.Properties.BucketName, undefined);
  assert.equal(bucket.Properties.ObjectLockEnabled, true);
  const { ObjectLockEnabled, Rule: { DefaultRetention: { Mode, Days } } } = bucket.Properties.ObjectLockConfiguration;
  assert.deepEqual([ObjectLockEnabled, Mode, Number(Days)], ['Enabled', 'COMPLIANCE', 365]);
  assert.equal(bucket.Properties.VersioningConfiguration.Status, 'Enabled', 'Object Lock requires it');
  assert.equal(bucket.Properties.LifecycleConfiguration, undefined, 'a witness is kept as long as its entry');
  assert.deepEqual(witness.Properties.Environment.Variables.WITNESS_BUCKET, { Ref: 'WitnessBucket' });
  assert.deepEqual(outputs.WitnessBucketName.Value, { Ref: 'WitnessBucket' });
  const { template: usual } = await packaged(t, RETENTION);
  assert.equal(usual.Resources.WitnessBucket.Properties.ObjectLockConfiguration.Rule.DefaultRetention.Mode, 'GOVERNANCE');
});

test('witness=off leaves the witness out, and so does an existing Audit table without its stream', async (t) => {
  for (const args of [['--param', 'witness=off'], EXISTING_TABLES]) {
    const { template } = await packaged(t, args);
    delete template.Metadata;
    assert.doesNotMatch(JSON.stringify(template).replaceAll(/[^"]*LambdaFunction[^"]*describe[^"]*/g, ''), WITNESS);
    const { widgets } = JSON.parse(template.Resources.OperationsDashboard.Properties.DashboardBody['Fn::Sub'].replaceAll(/\$\{\w+\}/g, '0'));
    const covered = new Set(widgets.flatMap(({ y, height }) => Array.from({ length: height }, (_, row) => y + row)));
    assert.equal(covered.size, Math.max(...covered) + 1, 'no empty rows where its graphs were');
  }
  const stream = EXISTING_STREAM.replace('Settings', 'History');
  const { template } = await packaged(t, [...EXISTING_TABLES, '--param', `auditStreamArn=${stream}`, '--param', 'witnessMapping=2']);
  assert.equal(template.Resources.AuditStreamMapping2.Properties.EventSourceArn, stream);
  assert.equal(template.Resources.AuditStreamMapping, undefined);
  assert.ok(template.Resources.ConfigurationStreamMapping, 'the other mapping stays');
  const [{ Resource }] = template.Resources.WitnessRole.Properties.Policies[0].PolicyDocument.Statement;
  assert.match(Resource['Fn::Sub'], /:table\/History\/stream\/\*$/, 'by name, so that the role does not wait for the table');
});

test('the template records its parameters, except those of a single command', async (t) => {
  const { template } = await packaged(t, OTHER_PARAMETERS);
  const given = Object.fromEntries(OTHER_PARAMETERS.flatMap((argument, index) => (argument === '--param' ? [OTHER_PARAMETERS[index + 1].split('=')] : [])));
  const expected = Object.entries({ ...DEFAULTS, ...given }).filter(([name]) => isRecorded(name)).map(([name, value]) => [name, String(value)]);
  assert.deepEqual(template.Metadata, { ConfigAudit: { Parameters: Object.fromEntries(expected) } });
  assert.deepEqual(['store', 'artifact', 'change', 'rollbackMinutes'].map(isRecorded), [false, false, false, false]);
});

test('with an existing stream and Audit table, the stack has no table and uses those', async (t) => {
  const { template } = await packaged(t, EXISTING_TABLES);
  assert.deepEqual(ofType(template, 'AWS::DynamoDB::Table'), []);
  assert.equal(template.Resources.ConfigurationStreamMapping.Properties.EventSourceArn, EXISTING_STREAM);
  assert.equal(template.Resources.AuditLambdaFunction.Properties.Environment.Variables.AUDIT_TABLE, 'History');
  const [write, read] = statements(template);
  assert.match(write.Resource['Fn::Sub'], /:table\/History$/);
  assert.equal(read.Resource, EXISTING_STREAM);
  assert.equal(template.Outputs.AuditTableName.Value, 'History');
  const { ConfigurationTableName, AuditTableName } = template.Parameters;
  assert.deepEqual([ConfigurationTableName.Default, AuditTableName.Default], ['Settings', 'History'], 'alarms and dashboards use them too');
  delete template.Metadata; // The defaults are recorded too.
  assert.doesNotMatch(JSON.stringify(template), /Configuration-dev|Audit-dev"|"ConfigurationTable"|"AuditTable"/);
  t.diagnostic('trigger, role, environment and outputs name the existing tables');
});

const KEYS = ['a', 'b', 'c'].map((name) => `arn:aws:kms:eu-central-1:123456789012:key/${name}`);

test('a customer-managed key encrypts everything that the stack creates, and the function may use it through DynamoDB and S3', async (t) => {
  const { template } = await packaged(t, ['--param', `kmsKeyArn=${KEYS[0]}`, '--param', `existingKeyArns=${KEYS[1]},${KEYS[2]}`, ...RETENTION]);
  const { ConfigurationTable, AuditTable, PageTopic, NotifyTopic, FailureBucket, AuditLogGroup, WitnessBucket, WitnessLogGroup, WitnessRole } = template.Resources;
  for (const { Properties } of [ConfigurationTable, AuditTable]) assert.deepEqual(Properties.SSESpecification, { SSEEnabled: true, SSEType: 'KMS', KMSMasterKeyId: KEYS[0] });
  for (const { Properties } of [PageTopic, NotifyTopic]) assert.equal(Properties.KmsMasterKeyId, KEYS[0]);
  for (const { Properties } of [AuditLogGroup, WitnessLogGroup]) assert.equal(Properties.KmsKeyId, KEYS[0]);
  for (const { Properties } of [FailureBucket, WitnessBucket]) {
    const [encryption] = Properties.BucketEncryption.ServerSideEncryptionConfiguration;
    assert.deepEqual(encryption.ServerSideEncryptionByDefault, { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: KEYS[0] });
  }
  const statement = statements(template).at(-1);
  assert.deepEqual(WitnessRole.Properties.Policies[0].PolicyDocument.Statement.at(-1), statement);
  assert.deepEqual([statement.Sid, statement.Effect, statement.Resource], ['UseKeys', 'Allow', KEYS]);
  for (const action of statement.Action) assert.match(action, /^kms:(Decrypt|DescribeKey|Encrypt|GenerateDataKey|ReEncrypt(From|To))$/);
  assert.deepEqual(statement.Condition, { StringEquals: { 'kms:ViaService': ['dynamodb', 's3'].map((service) => ({ 'Fn::Sub': `${service}.\${AWS::Region}.\${AWS::URLSuffix}` })) } });
});

const TOPICS = { PageTopic: 'arn:aws:sns:eu-central-1:123456789012:oncall', NotifyTopic: 'arn:aws:sns:eu-central-1:123456789012:team' };
const EXISTING = Object.entries({
  existingFailureBucket: 'our-failures', existingKeyArns: KEYS[1], pageTopicArn: TOPICS.PageTopic, notifyTopicArn: TOPICS.NotifyTopic,
}).flatMap(([name, value]) => ['--param', `${name}=${value}`]);

test('with an existing bucket and an existing table\'s key, the function may use just those', async (t) => {
  const { template } = await packaged(t, EXISTING);
  assert.deepEqual(ofType(template, 'AWS::S3::Bucket'), ['ServerlessDeploymentBucket']);
  assert.equal(template.Resources.FailureBucketPolicy, undefined);
  assert.equal(template.Resources.AuditLambdaFunction.Properties.Environment.Variables.FAILURE_BUCKET, 'our-failures');
  assert.deepEqual(template.Parameters.FailureBucket, { Type: 'String', Default: 'our-failures' });
  assert.deepEqual(statements(template).at(-1).Resource, [KEYS[1]]);
  assert.deepEqual(template.Resources.AuditTable.Properties.SSESpecification, { SSEEnabled: true }, 'the key is not for what the stack creates');
});

test('alarms can be left out, and dashboards too', async (t) => {
  const [both, neither, alarms] = await Promise.all([[], ['alarms', 'dashboards'], ['alarms']]
    .map(async (off) => (await packaged(t, off.flatMap((name) => ['--param', `${name}=off`]))).template));
  const count = (template) => [/Alarm$|Events/, /SNS/, /Dashboard$/].map((type) => Object.values(template.Resources).filter(({ Type }) => type.test(Type)).length);
  assert.deepEqual(count(neither), [0, 0, 0]);
  assert.deepEqual(count(alarms), [0, 0, 2]);
  const [left, topics, dashboards] = count(both);
  assert.ok(left > 20 && topics === 5 && dashboards === 2);
  for (const template of [neither, alarms]) assert.ok(!template.Outputs.PageTopicArn && !template.Parameters.PageEmail && !template.Conditions.PageByEmail);
  for (const { Properties } of Object.values(alarms.Resources).filter(({ Type }) => /Dashboard$/.test(Type))) {
    const { widgets } = JSON.parse(Properties.DashboardBody['Fn::Sub'].replaceAll(/\$\{\w+\}/g, '0')); // Also where a number is expected.
    assert.deepEqual(widgets.filter(({ type }) => type === 'alarm'), []);
    const covered = new Set(widgets.flatMap(({ y, height }) => Array.from({ length: height }, (_, row) => y + row)));
    assert.equal(covered.size, Math.max(...covered) + 1, 'no empty rows where the alarms were');
  }
});

test('mapping=2 replaces the mapping, and everything follows it', async (t) => {
  const [{ template }, { template: before }] = await Promise.all([packaged(t, ['--param', 'mapping=2']), packaged(t, [])]);
  assert.deepEqual(ofType(template, 'AWS::Lambda::EventSourceMapping').sort(), ['AuditStreamMapping', 'ConfigurationStreamMapping2']);
  const text = JSON.stringify({ ...template, Metadata: undefined });
  assert.ok(text.split('ConfigurationStreamMapping2').length > 5);
  assert.equal(text.replaceAll('ConfigurationStreamMapping2', 'ConfigurationStreamMapping').replace(/\d{13}-[^/]*Z/g, ''), JSON.stringify({ ...before, Metadata: undefined }).replace(/\d{13}-[^/]*Z/g, ''));
});

test('Serverless\'s own settings for boundaries, tags and concurrency work, as docs/configuration.md says', async (t) => {
  const service = serviceCopy(t);
  const file = path.join(service.directory, 'serverless.yml');
  const [provider, functions] = documented(2).split('functions:\n').map((block) => block.replace(/^\w+:\n/, ''));
  const [, audit] = functions.split('  audit:\n');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('\nprovider:\n', `\nprovider:\n${provider}`).replace('\n  audit:\n', `\n  audit:\n${audit}`));
  const result = await service.serverless(['package', '--param', 'canary=on']);
  assert.equal(result.status, 0, result.all);
  const { IamRoleLambdaExecution: role, CanaryRole: canary, WitnessRole: witness, AuditLambdaFunction: lambda } = service.template().Resources;
  assert.equal(role.Properties.PermissionsBoundary, 'arn:aws:iam::123456789012:policy/boundary');
  for (const { Properties } of [canary, witness]) assert.equal(Properties.PermissionsBoundary, role.Properties.PermissionsBoundary);
  assert.equal(role.Properties.Policies.length, 1, 'the role still has its own policies');
  assert.equal(lambda.Properties.ReservedConcurrentExecutions, 5);
  assert.deepEqual(lambda.Properties.Tags, [{ Key: 'team', Value: 'platform' }]);
});

test('with existing topics, the stack has none, and its alarms and subscriptions use those', async (t) => {
  const { template } = await packaged(t, EXISTING);
  assert.deepEqual([...ofType(template, 'AWS::SNS::Topic'), ...ofType(template, 'AWS::SNS::TopicPolicy')], []);
  for (const [id, arn] of Object.entries(TOPICS)) assert.deepEqual(template.Parameters[id], { Type: 'String', Default: arn });
  assert.deepEqual(template.Resources.Incident.Properties.AlarmActions, [{ Ref: 'PageTopic' }]);
  assert.deepEqual(template.Resources.RecordsFailing.Properties.AlarmActions, [{ Ref: 'NotifyTopic' }]);
  assert.deepEqual(template.Resources.PageEmailSubscription.Properties.TopicArn, { Ref: 'PageTopic' });
  assert.deepEqual(template.Outputs.PageTopicArn.Value, { Ref: 'PageTopic' });
});

test('every other parameter reaches the template, as a number where CloudFormation expects one', async (t) => {
  const { template } = await packaged(t, OTHER_PARAMETERS);
  const { ConfigurationTable, AuditTable, AuditLambdaFunction, AuditLogGroup, FailureBucket } = template.Resources;
  assert.equal(ConfigurationTable.Properties.TableName, 'Settings');
  assert.deepEqual(ConfigurationTable.Properties.KeySchema, [{ AttributeName: 'name', KeyType: 'HASH' }]);
  assert.equal(AuditTable.Properties.TableName, 'SettingsHistory');
  assert.deepEqual(AuditLambdaFunction.Properties.Architectures, ['arm64']);
  const { AUDIT_TABLE, KEY_ATTRIBUTE, AUDIT_PROVENANCE, STAGE } = AuditLambdaFunction.Properties.Environment.Variables;
  assert.deepEqual([AUDIT_TABLE, KEY_ATTRIBUTE, AUDIT_PROVENANCE, STAGE], ['SettingsHistory', 'name', 'on', 'prod']);
  assert.equal(Number(AuditLogGroup.Properties.RetentionInDays), 14);
  const expirations = FailureBucket.Properties.LifecycleConfiguration.Rules.flatMap(({ ExpirationInDays }) => ExpirationInDays ?? []);
  assert.deepEqual(expirations.map(Number), [7, 7, 7]);
  const { PageEmail, NotifyEmail, RunbookUrl, Stage } = template.Parameters;
  assert.deepEqual([PageEmail, NotifyEmail, RunbookUrl, Stage].map((parameter) => parameter.Default),
    ['page@example.com', 'notify@example.com', 'https://example.com/runbooks', 'prod']);
  t.diagnostic('stage, table names, key, provenance, arm64 and retention times');
});

/** A service whose serverless.yml has what docs/configuration.md says; resolves what `serverless print` shows of it. */
function withYaml(t, yaml) {
  const service = serviceCopy(t);
  const file = path.join(service.directory, 'serverless.yml');
  const [params, custom = ''] = yaml.split('custom:\n');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('\ncustom:\n', `\n${params}\ncustom:\n${custom}`));
  return async (...args) => {
    const result = await service.serverless(['print', '--format', 'json', ...args]);
    if (result.status) return { error: result.all };
    const { custom: { stream, auditStream, recoveryRole }, functions, resources } = JSON.parse(result.stdout);
    const { Parameters: parameters } = [resources].flat().find(({ Parameters }) => Parameters);
    return {
      configurationStreamArn: stream,
      existingAuditTable: functions.audit.environment.AUDIT_TABLE,
      auditStreamArn: auditStream,
      keyAttribute: functions.audit.environment.KEY_ATTRIBUTE,
      recoveryRoleArn: recoveryRole,
      pageEmail: parameters.PageEmail.Default,
      notifyEmail: parameters.NotifyEmail.Default,
      runbookUrl: parameters.RunbookUrl.Default,
    };
  };
}

test('the parameters of a stage are kept in serverless.yml, as docs/configuration.md says', async (t) => {
  const example = documented(0);
  const given = Object.fromEntries([...example.matchAll(/^ {4}(\w+): (.*)$/gm)].map(([, name, value]) => [name, value]));
  const printed = withYaml(t, example);
  const [prod, overridden, dev] = await Promise.all([
    printed('--stage', 'prod'),
    printed('--stage', 'prod', '--param', 'pageEmail=other@example.com'),
    printed(),
  ]);
  assert.deepEqual(prod, given);
  assert.deepEqual(overridden, { ...given, pageEmail: 'other@example.com' });
  const { configurationStreamArn, existingAuditTable, pageEmail } = dev;
  assert.deepEqual([typeof configurationStreamArn, existingAuditTable, pageEmail], ['object', 'Audit-dev', ''], 'another stage does not have them');
  t.diagnostic(`${Object.keys(given).length} parameters`);
});

test('two regions of a stage have their own parameters, as docs/configuration.md says', async (t) => {
  const example = documented(1);
  const streams = Object.fromEntries([...example.matchAll(/configurationStreamArn: (arn:aws:dynamodb:([^:]*):.*)/g)].map(([, arn, region]) => [region, arn]));
  const printed = withYaml(t, example);
  const [one, other, unlisted, dev] = await Promise.all([
    ...Object.keys(streams).map((region) => printed('--stage', 'prod', '--region', region)),
    printed('--stage', 'prod', '--region', 'us-east-1'),
    printed('--region', 'us-east-1'),
  ]);
  assert.deepEqual([one, other].map(({ configurationStreamArn }) => configurationStreamArn), Object.values(streams));
  assert.match(unlisted.error, /Cannot resolve variable at "params\.prod\.configurationStreamArn"/);
  assert.equal(dev.error, undefined, 'another stage is not affected');
  t.diagnostic(Object.keys(streams).join(', '));
});
