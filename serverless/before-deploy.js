'use strict';

// Checks before a deployment whether CloudFormation can succeed, instead of failing after minutes. account.js queries
// AWS.

const { isDenied } = require('./denied');
const { recorded } = require('./remembered');

const VIEW = 'NEW_AND_OLD_IMAGES';

/** The alarms that show a bad deployment within minutes. CloudFormation takes five at most. */
const ROLLBACK_TRIGGERS = ['InvocationErrors', 'RecordsFailing', 'RecordsQuarantined', 'DestinationRefused'];

/** The tables that the planned template would create, and that are not in the deployed one. */
function tablesToCreate(deployed, planned) {
  const named = (template, id) => template?.Resources?.[id]?.Properties.TableName;
  return ['ConfigurationTable', 'AuditTable'].map((id) => ({ id, name: named(planned, id) }))
    .filter(({ id, name }) => name && named(deployed, id) !== name);
}

/** What to do if a table that the stack would create already exists. */
function tableExistsProblem({ id, name }, table) {
  const [use, another] = id === 'AuditTable'
    ? [auditTableParameters(name, table), 'auditTable'] : [streamParameter(name, table), 'configurationTable'];
  return `the table ${name} already exists, and this stack did not create it; to use it, deploy with ${use}; `
    + `for a new table, with --param ${another}=NAME`;
}

const hasStream = ({ LatestStreamArn: stream, StreamSpecification: { StreamViewType: view } = {} }) => Boolean(stream) && view === VIEW;

/** Without the stream, the table has no witness; the deployment's summary says so. */
const auditTableParameters = (name, table) => `--param existingAuditTable=${name}`
  + (hasStream(table) ? ` --param auditStreamArn=${table.LatestStreamArn}` : '');

function streamParameter(name, table) {
  if (hasStream(table)) return `--param configurationStreamArn=${table.LatestStreamArn}`;
  return `--param configurationStreamArn=ARN, with the ARN that \`aws dynamodb update-table --table-name ${name} `
    + `--stream-specification StreamEnabled=true,StreamViewType=${VIEW} --query TableDescription.LatestStreamArn\` prints`;
}

/** Sentences that say what is wrong with the stream that a parameter names. */
function streamProblems(name, { LatestStreamArn: latest, StreamSpecification: { StreamViewType: view } = {} }, parameter, stream) {
  if (!latest) return [`the table ${name} has no stream`];
  if (latest !== stream) return [`the table ${name} has a newer stream: ${latest}; ${parameter} must be its latest one`];
  return view === VIEW ? [] : [`the stream of ${name} has the view type ${view}; it must be ${VIEW}, and only a new stream can have another`];
}

/** Sentences that say what is wrong with an existing Configuration table. */
function configurationTableProblems(name, table, { stream, keyAttribute, canary }) {
  if (!table) return [`there is no table ${name}, which configurationStreamArn names`];
  const [key, sortKey] = ['HASH', 'RANGE'].map((type) => table.KeySchema.find(({ KeyType }) => KeyType === type)?.AttributeName);
  const problems = streamProblems(name, table, 'configurationStreamArn', stream);
  if (sortKey) problems.push(`the table ${name} has the sort key "${sortKey}", but entries name an item by its partition key alone`);
  if (key !== keyAttribute) problems.push(`the partition key of ${name} is "${key}"; deploy with --param keyAttribute=${key}`);
  const type = table.AttributeDefinitions.find(({ AttributeName }) => AttributeName === key)?.AttributeType;
  if (canary === 'on' && type !== 'S') problems.push(`the key of ${name} is not a string, so no canary can be written; deploy with --param canary=off`);
  return problems;
}

/** Sentences that say what is wrong with an existing Audit table. */
function auditTableProblems(name, table, stream) {
  if (!table) return [`there is no table ${name}, which existingAuditTable names`];
  const key = table.KeySchema.map(({ AttributeName }) => AttributeName).join(' and ');
  const type = table.AttributeDefinitions.find(({ AttributeName }) => AttributeName === 'id')?.AttributeType;
  return [
    ...(key === 'id' && type === 'S' ? [] : [`the key of ${name} is ${key}; the key of an Audit table must be "id", a string`]),
    ...(stream ? streamProblems(name, table, 'auditStreamArn', stream) : []),
  ];
}

/** Stops a deployment that would fail, or would not work, because of existing tables. */
async function checkTables(account, { stack, planned }) {
  const { configurationStreamArn: stream, existingAuditTable: audit, auditStreamArn: auditStream, keyAttribute, canary } = recorded(planned);
  const problems = [];
  for (const made of tablesToCreate(await account.template(stack), planned)) {
    const table = await account.table(made.name);
    if (table) problems.push(tableExistsProblem(made, table));
  }
  if (stream) {
    const name = stream.split('/')[1];
    problems.push(...configurationTableProblems(name, await account.table(name), { stream, keyAttribute, canary }));
  }
  if (audit) problems.push(...auditTableProblems(audit, await account.table(audit), auditStream));
  if (problems.length) throw new Error(problems.join('\n'));
}

/** Stops a deployment whose alarms would go to a topic that does not exist. */
async function checkTopics(account, { planned }) {
  for (const name of ['pageTopicArn', 'notifyTopicArn']) {
    const topic = recorded(planned)[name];
    if (topic && !await account.subscriptionsOf(topic)) throw new Error(`there is no topic ${topic}, which ${name} names`);
  }
}

/** Warns about other functions that read an existing stream. */
async function checkReaders(account, { planned, functionNames, warn }) {
  const { configurationStreamArn, auditStreamArn } = recorded(planned);
  for (const stream of [configurationStreamArn, auditStreamArn].filter(Boolean)) {
    const readers = await account.readersOf(stream);
    const others = readers.filter((arn) => !functionNames.some((name) => arn.split(':').includes(name)));
    if (others.length) {
      warn(`The stream of ${stream.split('/')[1]} has other readers: ${others.join(', ')}. `
        + 'DynamoDB recommends at most two readers per shard; with more, it throttles read requests.');
    }
  }
}

/** Runs these checks, except those for which the credentials lack a permission. */
async function runChecks(account, checks, context) {
  for (const check of checks) {
    try {
      await check(account, context);
    } catch (error) {
      if (!isDenied(error)) throw error;
      context.warn(`Not checked, because a permission is missing: ${error.message}`);
    }
  }
}

/** The configuration with which CloudFormation rolls back if an alarm fires; undefined while the stack has no alarms. */
async function rollbackConfiguration(account, { stack, minutes }) {
  if (!minutes) return undefined;
  const deployed = await account.template(stack);
  const alarms = ROLLBACK_TRIGGERS.filter((id) => deployed?.Resources[id]);
  if (!alarms.length) return undefined;
  const [, partition, , region, owner] = (await account.outputs(stack)).AuditFunctionArn.split(':');
  const arn = (id) => `arn:${partition}:cloudwatch:${region}:${owner}:alarm:${stack}-${id}`;
  return {
    MonitoringTimeInMinutes: minutes,
    RollbackTriggers: alarms.map((id) => ({ Arn: arn(id), Type: 'AWS::CloudWatch::Alarm' })),
  };
}

module.exports = { ROLLBACK_TRIGGERS, runChecks, checkReaders, checkTables, checkTopics, rollbackConfiguration };
