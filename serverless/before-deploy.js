'use strict';

// Whether CloudFormation could deploy at all, and what a deployment would meet: found out before it begins, not after minutes.
// account.js asks AWS.

const { isDenied } = require('./denied');
const { recorded } = require('./remembered');

const VIEW = 'NEW_AND_OLD_IMAGES';

/** The alarms that show a bad deployment within minutes. CloudFormation takes five at most. */
const ROLLBACK_TRIGGERS = ['InvocationErrors', 'RecordsFailing', 'RecordsQuarantined', 'DestinationRefused'];

/** The tables that the planned template would create, though they exist and the deployed one does not have them. */
function tablesToCreate(deployed, planned) {
  const named = (template, id) => template?.Resources?.[id]?.Properties.TableName;
  return ['ConfigurationTable', 'AuditTable'].map((id) => ({ id, name: named(planned, id) }))
    .filter(({ id, name }) => name && named(deployed, id) !== name);
}

/** What to do about a table that exists though the stack would create it. */
function alreadyThere({ id, name }, table) {
  const [use, another] = id === 'AuditTable'
    ? [`--param existingAuditTable=${name}`, 'auditTable'] : [useOfStream(name, table), 'configurationTable'];
  return `the table ${name} exists already, and this stack did not create it; to use it, deploy with ${use}; `
    + `for a new table, with --param ${another}=NAME`;
}

function useOfStream(name, { LatestStreamArn: stream, StreamSpecification: { StreamViewType: view } = {} }) {
  if (stream && view === VIEW) return `--param configurationStreamArn=${stream}`;
  return `--param configurationStreamArn=ARN, with the ARN that \`aws dynamodb update-table --table-name ${name} `
    + `--stream-specification StreamEnabled=true,StreamViewType=${VIEW} --query TableDescription.LatestStreamArn\` prints`;
}

/** What is wrong with an existing Configuration table: sentences. */
function unfitConfiguration(name, table, { stream, keyAttribute, canary }) {
  if (!table) return [`there is no table ${name}, which configurationStreamArn names`];
  const { LatestStreamArn: latest, StreamSpecification: { StreamViewType: view } = {}, KeySchema: keys } = table;
  const [key, sortKey] = ['HASH', 'RANGE'].map((type) => keys.find(({ KeyType }) => KeyType === type)?.AttributeName);
  const problems = [];
  if (!latest) problems.push(`the table ${name} has no stream`);
  else if (latest !== stream) problems.push(`the table ${name} has another stream: ${latest}; configurationStreamArn must be its latest one`);
  else if (view !== VIEW) problems.push(`the stream of ${name} has the view type ${view}; it must be ${VIEW}, and only a new stream can have another`);
  if (sortKey) problems.push(`the table ${name} has the sort key "${sortKey}", but entries name an item by its partition key alone`);
  if (key !== keyAttribute) problems.push(`the partition key of ${name} is "${key}"; deploy with --param keyAttribute=${key}`);
  const type = table.AttributeDefinitions.find(({ AttributeName }) => AttributeName === key)?.AttributeType;
  if (canary === 'on' && type !== 'S') problems.push(`the key of ${name} is not a string, so no canary can be written; deploy with --param canary=off`);
  return problems;
}

/** What is wrong with an existing Audit table: sentences. */
function unfitAudit(name, table) {
  if (!table) return [`there is no table ${name}, which existingAuditTable names`];
  const key = table.KeySchema.map(({ AttributeName }) => AttributeName).join(' and ');
  const type = table.AttributeDefinitions.find(({ AttributeName }) => AttributeName === 'id')?.AttributeType;
  return key === 'id' && type === 'S' ? [] : [`the key of ${name} is ${key}; the key of an Audit table must be "id", a string`];
}

/** Stops a deployment that must fail, or would not work, because of the tables that exist. */
async function lookAtTables(account, { stack, planned }) {
  const { configurationStreamArn: stream, existingAuditTable: audit, keyAttribute, canary } = recorded(planned);
  const problems = [];
  for (const made of tablesToCreate(await account.template(stack), planned)) {
    const table = await account.table(made.name);
    if (table) problems.push(alreadyThere(made, table));
  }
  if (stream) {
    const name = stream.split('/')[1];
    problems.push(...unfitConfiguration(name, await account.table(name), { stream, keyAttribute, canary }));
  }
  if (audit) problems.push(...unfitAudit(audit, await account.table(audit)));
  if (problems.length) throw new Error(problems.join('\n'));
}

/** Stops a deployment whose alarms would go to a topic that does not exist. */
async function lookAtTopics(account, { planned }) {
  for (const name of ['pageTopicArn', 'notifyTopicArn']) {
    const topic = recorded(planned)[name];
    if (topic && !await account.subscriptionsOf(topic)) throw new Error(`there is no topic ${topic}, which ${name} names`);
  }
}

/** Warns of other functions that read an existing stream. */
async function lookAtReaders(account, { planned, functionName, warn }) {
  const { configurationStreamArn: stream } = recorded(planned);
  const readers = stream ? await account.readersOf(stream) : [];
  const others = readers.filter((arn) => !arn.split(':').includes(functionName));
  if (others.length) {
    warn(`The stream has other readers: ${others.join(', ')}. `
      + 'DynamoDB advises at most two for each shard; with more, requests to read it are throttled.');
  }
}

/** Does these things, except those for which the credentials lack a permission. */
async function look(account, things, given) {
  for (const thing of things) {
    try {
      await thing(account, given);
    } catch (error) {
      if (!isDenied(error)) throw error;
      given.warn(`Not checked, because a permission is missing: ${error.message}`);
    }
  }
}

/** What makes CloudFormation roll a deployment back if an alarm goes off; undefined while the stack has no alarms. */
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

module.exports = { ROLLBACK_TRIGGERS, look, lookAtReaders, lookAtTables, lookAtTopics, rollbackConfiguration };
