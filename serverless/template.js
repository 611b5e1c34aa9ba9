'use strict';

// What the template itself cannot express: which resources it has depends on the parameters.

const { hasWitness } = require('./parameters');
const { record } = require('./remembered');

const ALARMS = [
  'AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm', 'AWS::Events::Rule',
  'AWS::SNS::Topic', 'AWS::SNS::TopicPolicy', 'AWS::SNS::Subscription',
];
const DASHBOARD = 'AWS::CloudWatch::Dashboard';

/** The resources that `canary=on` adds. */
const CANARY = ['CanarySchedule', 'CanaryRole', 'CanaryMissing', 'CanaryMissingFirst', 'CanaryMissingSeen'];

/** The resources of the witness, and its outputs. Those that Serverless makes of the function are not here (leaveOutWitnessFunction). */
const WITNESS = ['WitnessRole', 'AuditStreamMapping', 'TrailTampered', 'WitnessBehind', 'WitnessBehindPolls', 'WitnessBehindWrites', 'TamperingQuery'];
const WITNESS_BUCKET = ['WitnessBucket', 'WitnessBucketPolicy'];

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
  if (!hasWitness(parameters) || !parameters.witnessRetentionDays) leaveOutWitnessBucket(template);
  if (!hasWitness(parameters)) leaveOutWitness(template);
  allowKeys(template, [parameters.kmsKeyArn, parameters.existingKeyArns?.split(',')].flat().filter(Boolean));
  nameMapping(template, 'ConfigurationStreamMapping', parameters.mapping);
  nameMapping(template, 'AuditStreamMapping', parameters.witnessMapping);
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
  for (const bucket of ['FailureBucket', 'WitnessBucket']) set(bucket, { BucketEncryption: { ServerSideEncryptionConfiguration: [ofBucket] } });
  for (const group of ['AuditLogGroup', 'WitnessLogGroup']) extensions[group].Properties.KmsKeyId = key;
}

/** Leaves out these resources, and those of them that are alarms on the dashboard. */
function leaveOutNamed({ Resources }, ids) {
  for (const id of ids) delete Resources[id];
  const { widgets } = Resources.OperationsDashboard.Properties.DashboardBody;
  for (const { type, properties } of widgets) {
    if (type === 'alarm') properties.alarms = properties.alarms.filter((arn) => !ids.includes(arn.split('-').at(-1)));
  }
}

const leaveOutCanary = (template) => leaveOutNamed(template, CANARY);

/** Leaves out the witness, its graphs, and its log in the saved queries. */
function leaveOutWitness(template) {
  leaveOutNamed(template, WITNESS);
  const { Resources, Outputs, extensions } = template;
  for (const id of ['WitnessLogGroup', 'WitnessLambdaFunction']) delete extensions[id];
  delete Outputs.WitnessFunctionArn;
  for (const { Type, Properties } of Object.values(Resources)) {
    if (Type === 'AWS::Logs::QueryDefinition') Properties.LogGroupNames = Properties.LogGroupNames.filter(({ Ref }) => Ref !== 'WitnessLogGroup');
  }
  const failures = Resources.FailureBucketPolicy?.Properties.PolicyDocument;
  if (failures) failures.Statement = failures.Statement.filter(({ Sid }) => !/Evidence$/.test(Sid));
  // Its graphs and their heading name it or its metrics.
  leaveOutWidgets(Resources.OperationsDashboard, ({ properties }) => /witness|EntriesTampered/i.test(JSON.stringify(properties)));
}

/** Leaves out the witness bucket, and the permission to write to it. */
function leaveOutWitnessBucket({ Resources, Outputs }) {
  for (const id of WITNESS_BUCKET) delete Resources[id];
  delete Outputs.WitnessBucketName;
  const [{ PolicyDocument: document }] = Resources.WitnessRole.Properties.Policies;
  document.Statement = document.Statement.filter(({ Sid }) => Sid !== 'StoreWitnesses');
}

/** Adapts the functions of serverless.yml to these parameters. */
function adaptFunctions(functions, parameters) {
  if (!hasWitness(parameters)) delete functions.witness;
  else if (!parameters.witnessRetentionDays) delete functions.witness.environment.WITNESS_BUCKET;
}

/** The functions and the canary may use these keys, but only through DynamoDB and S3. */
function allowKeys({ Resources, extensions }, keys) {
  if (!keys.length) return;
  const roles = [extensions.IamRoleLambdaExecution, Resources.WitnessRole, Resources.CanaryRole].filter(Boolean);
  const services = ['dynamodb', 's3'].map((service) => ({ 'Fn::Sub': `${service}.\${AWS::Region}.\${AWS::URLSuffix}` }));
  const condition = { StringEquals: { 'kms:ViaService': services } };
  for (const { Properties: { Policies: [{ PolicyDocument: { Statement: statements } }] } } of roles) {
    statements.push({ Sid: 'UseKeys', Effect: 'Allow', Action: USE_OF_KEYS, Resource: keys, Condition: condition });
  }
}

/** CloudFormation replaces a resource that gets another name. */
function nameMapping(template, id, number) {
  if (number === '1') return;
  Object.assign(template, JSON.parse(JSON.stringify(template).replaceAll(RegExp(`\\b${id}\\b`, 'g'), `$&${number}`)));
}

function leaveOut({ Resources }, types) {
  for (const [id, { Type }] of Object.entries(Resources)) if (types.includes(Type)) delete Resources[id];
}

/** Leaves out the alarms, the rule that notifies, the topics, and the alarms' places on the dashboards. */
function leaveOutAlarms(template) {
  leaveOut(template, ALARMS);
  for (const resource of Object.values(template.Resources)) {
    if (resource.Type === DASHBOARD) leaveOutWidgets(resource, ({ type }) => type === 'alarm');
  }
  delete template.Outputs.PageTopicArn;
  delete template.Outputs.NotifyTopicArn;
}

/** Leaves out some widgets of a dashboard. The rows below move up. */
function leaveOutWidgets({ Properties: { DashboardBody: body } }, isLeftOut) {
  const widgets = body.widgets.filter((widget) => !isLeftOut(widget));
  const isCovered = (row) => widgets.some(({ y, height }) => y <= row && row < y + height);
  const emptyAbove = ({ y }) => Array.from({ length: y }, (_, row) => row).filter((row) => !isCovered(row)).length;
  body.widgets = widgets.map((widget) => ({ ...widget, y: widget.y - emptyAbove(widget) }));
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
 * rolled back. Only the witness's trigger comes later, which needs the table's stream, and the alarm that needs the trigger.
 */
function createAuditTableLast({ Resources }) {
  const { AuditTable: table, ...others } = Resources;
  if (!table) return;
  const refersTo = (resource, id) => RegExp(`"${id}"|\\$\\{${id}[.}]`).test(JSON.stringify(resource.Properties));
  const later = new Set(['AuditTable']);
  for (const id of later) for (const other of Object.keys(others)) if (refersTo(others[other], id)) later.add(other);
  // A resource with a condition may not exist, and the table waits for what it refers to anyway.
  table.DependsOn = Object.keys(others).filter((id) => !others[id].Condition && !later.has(id) && !refersTo(table, id));
}

/** Serverless says that the witness depends on its role, to which it refers anyway; cfn-lint warns about that. */
function dropRepeatedDependency({ Resources: { WitnessLambdaFunction: witness } }) {
  if (witness) witness.DependsOn = witness.DependsOn.filter((id) => id !== 'WitnessRole');
}

/** Applies a permissions boundary that Serverless gives the function's role to the other roles too. */
function applyBoundary({ Resources: { IamRoleLambdaExecution: role, WitnessRole, CanaryRole } }) {
  const { PermissionsBoundary: boundary } = role.Properties;
  if (!boundary) return;
  for (const other of [WitnessRole, CanaryRole].filter(Boolean)) other.Properties.PermissionsBoundary = boundary;
}

module.exports = { adapt, adaptFunctions, applyBoundary, createAuditTableLast, dropRepeatedDependency };
