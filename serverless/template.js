'use strict';

// What the template itself cannot express: which resources it has depends on the parameters.

const { record } = require('./remembered');

const ALARMS = [
  'AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm', 'AWS::Events::Rule',
  'AWS::SNS::Topic', 'AWS::SNS::TopicPolicy', 'AWS::SNS::Subscription',
];
const DASHBOARD = 'AWS::CloudWatch::Dashboard';

/** The resources that `canary=on` adds. */
const CANARY = ['CanarySchedule', 'CanaryRole', 'CanaryMissing', 'CanaryMissingFirst', 'CanaryMissingSeen'];

/** Everything that the function asks DynamoDB and S3 to do with a key. None of these actions manages the key. */
const USE_OF_KEYS = ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:ReEncryptFrom', 'kms:ReEncryptTo'];

/** Adapts the template of serverless.yml to these parameters. */
function adapt(template, parameters) {
  record(template, parameters);
  setThresholds(template);
  leaveOutExistingTables(template, parameters);
  useExisting(template, 'PageTopic', parameters.pageTopicArn);
  useExisting(template, 'NotifyTopic', parameters.notifyTopicArn);
  useExisting(template, 'FailureBucket', parameters.existingFailureBucket);
  encryptWith(template, parameters.kmsKeyArn);
  if (parameters.canary === 'off') leaveOutCanary(template);
  allowKeys(template, [parameters.kmsKeyArn, parameters.existingKeyArns?.split(',')].flat().filter(Boolean));
  nameMapping(template, parameters.mapping);
  if (parameters.alarms === 'off') leaveOutAlarms(template);
  if (parameters.dashboards === 'off') leaveOut(template, [DASHBOARD]);
  dropUnused(template);
  writeDashboardsAsText(template);
}

/** The stack neither creates nor changes existing tables. */
function leaveOutExistingTables({ Resources, Parameters }, { configurationStreamArn, existingAuditTable }) {
  if (existingAuditTable) delete Resources.AuditTable;
  if (configurationStreamArn) {
    delete Resources.ConfigurationTable;
    Parameters.ConfigurationTableName.Default = configurationStreamArn.split('/')[1]; // arn:aws:dynamodb:…:table/NAME/stream/…
  }
}

/** Uses an existing resource: everything that refers to it gets this name or ARN. */
function useExisting({ Resources, Parameters }, id, value) {
  if (!value) return;
  delete Resources[id];
  delete Resources[`${id}Policy`];
  Parameters[id] = { Type: 'String', Default: value };
}

/** Metrics are in milliseconds, parameters in minutes. */
function setThresholds({ Parameters }) {
  for (const name of ['LateMinutes', 'CriticalAgeMinutes']) Parameters[name].Default = Number(Parameters[name].Default);
  Parameters.CriticalAgeMilliseconds.Default = Parameters.CriticalAgeMinutes.Default * 60_000;
}

/** Encrypts everything that the stack creates and that stores something with the customer's key. */
function encryptWith({ Resources, extensions }, key) {
  if (!key) return;
  const set = (id, properties) => Resources[id] && Object.assign(Resources[id].Properties, properties);
  const table = { SSESpecification: { SSEEnabled: true, SSEType: 'KMS', KMSMasterKeyId: key } };
  const ofBucket = { ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: key }, BucketKeyEnabled: true };
  set('ConfigurationTable', table);
  set('AuditTable', table);
  set('PageTopic', { KmsMasterKeyId: key });
  set('NotifyTopic', { KmsMasterKeyId: key });
  set('FailureBucket', { BucketEncryption: { ServerSideEncryptionConfiguration: [ofBucket] } });
  extensions.AuditLogGroup.Properties.KmsKeyId = key;
}

/** Leaves out the canary, and its alarm on the dashboard. */
function leaveOutCanary({ Resources }) {
  for (const id of CANARY) delete Resources[id];
  const { widgets } = Resources.OperationsDashboard.Properties.DashboardBody;
  for (const { type, properties } of widgets) {
    if (type === 'alarm') properties.alarms = properties.alarms.filter((arn) => !CANARY.includes(arn.split('-').at(-1)));
  }
}

/** The function and the canary may use these keys, but only through DynamoDB and S3. */
function allowKeys({ Resources, extensions }, keys) {
  if (!keys.length) return;
  const roles = [extensions.IamRoleLambdaExecution, Resources.CanaryRole].filter(Boolean);
  const services = ['dynamodb', 's3'].map((service) => ({ 'Fn::Sub': `${service}.\${AWS::Region}.\${AWS::URLSuffix}` }));
  const condition = { StringEquals: { 'kms:ViaService': services } };
  for (const { Properties: { Policies: [{ PolicyDocument: { Statement: statements } }] } } of roles) {
    statements.push({ Sid: 'UseKeys', Effect: 'Allow', Action: USE_OF_KEYS, Resource: keys, Condition: condition });
  }
}

/** CloudFormation replaces a resource that gets another name. */
function nameMapping(template, number) {
  if (number === '1') return;
  Object.assign(template, JSON.parse(JSON.stringify(template).replaceAll(/\bConfigurationStreamMapping\b/g, `$&${number}`)));
}

function leaveOut({ Resources }, types) {
  for (const [id, { Type }] of Object.entries(Resources)) if (types.includes(Type)) delete Resources[id];
}

/** Leaves out the alarms, the rule that notifies, the topics, and the alarms' places on the dashboards. */
function leaveOutAlarms(template) {
  leaveOut(template, ALARMS);
  for (const { Type, Properties } of Object.values(template.Resources)) {
    if (Type !== DASHBOARD) continue;
    const widgets = Properties.DashboardBody.widgets.filter(({ type }) => type !== 'alarm');
    const isCovered = (row) => widgets.some(({ y, height }) => y <= row && row < y + height);
    const emptyAbove = ({ y }) => Array.from({ length: y }, (_, row) => row).filter((row) => !isCovered(row)).length;
    Properties.DashboardBody.widgets = widgets.map((widget) => ({ ...widget, y: widget.y - emptyAbove(widget) }));
  }
  delete template.Outputs.PageTopicArn;
  delete template.Outputs.NotifyTopicArn;
}

/** Drops parameters and conditions to which only left-out resources refer. */
function dropUnused({ Parameters, Conditions, ...rest }) {
  const drop = (names, users) => {
    const text = JSON.stringify(users);
    for (const name of Object.keys(names)) if (!RegExp(`"${name}"(?!:)|\\$\\{${name}\\}`).test(text)) delete names[name];
  };
  drop(Conditions, rest);
  drop(Parameters, { Conditions, ...rest });
}

/** CloudFormation expects a dashboard's body as text, and substitutes names only in text. A threshold that is a parameter is
 * quoted in the file, because that is JSON, but not in what CloudWatch gets, because there it is a number.
 */
function writeDashboardsAsText({ Resources }) {
  for (const { Type, Properties } of Object.values(Resources)) {
    if (Type !== DASHBOARD) continue;
    const body = JSON.stringify(Properties.DashboardBody).replaceAll(/"value":"(\$\{\w+\})"/g, '"value":$1');
    Properties.DashboardBody = { 'Fn::Sub': body };
  }
}

/** CloudFormation creates the Audit table last. It is protected from deletion, so a deployment that fails later could not be
 * rolled back.
 */
function createAuditTableLast({ Resources }) {
  const { AuditTable: table, ...others } = Resources;
  if (!table) return;
  const referred = JSON.stringify(table.Properties);
  // A resource with a condition may not exist, and the table waits for what it refers to anyway.
  table.DependsOn = Object.keys(others).filter((id) => !others[id].Condition && !referred.includes(`"${id}"`));
}

/** Applies a permissions boundary that Serverless gives the function's role to the canary's role too. */
function applyBoundaryToCanary({ Resources: { IamRoleLambdaExecution: role, CanaryRole: canary } }) {
  const { PermissionsBoundary: boundary } = role.Properties;
  if (canary && boundary) canary.Properties.PermissionsBoundary = boundary;
}

module.exports = { adapt, applyBoundaryToCanary, createAuditTableLast };
