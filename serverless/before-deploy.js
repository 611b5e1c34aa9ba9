'use strict';

// What a deployment would do to what is deployed already, and whether CloudFormation could do it at all. CloudFormation itself
// would change the one in silence, and find out the other after minutes. account.js asks AWS.

const { isDenied } = require('./denied');
const { DEFAULTS, PARAMETERS, isRecorded } = require('./parameters');

/** Where a stack's template keeps the parameters that it was deployed with. */
const RECORD = 'ConfigAudit';
const VIEW = 'NEW_AND_OLD_IMAGES';

/** Writes the parameters into the template, for the next deployment to compare. */
function record(template, values) {
  const recorded = Object.entries(values).filter(([name]) => isRecorded(name));
  template.Metadata = { ...template.Metadata, [RECORD]: { Parameters: Object.fromEntries(recorded) } };
}

/** The parameters that a template was made with; undefined if it does not say. */
const recorded = (template) => template?.Metadata?.[RECORD]?.Parameters;

/** The parameters whose values a deployment would change, though nobody said so: [{name, was, is}, …]. */
function changes(deployed, planned, confirmed = []) {
  return Object.keys(PARAMETERS).filter(isRecorded).map((name) => ({ name, was: deployed[name] ?? DEFAULTS[name]?.toString(), is: planned[name] }))
    .filter(({ name, was, is }) => was !== is && !confirmed.includes(name) && (PARAMETERS[name].isGuarded || is === DEFAULTS[name]?.toString()));
}

/** The changes side by side, and what to do. */
function explain(stack, changed) {
  const rows = [['parameter', 'deployed', 'now'], ...changed.map(({ name, was = '(none)', is = '(none)' }) => [name, was, is])];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map(([name, was, is]) => `  ${name.padEnd(widths[0])}  ${was.padEnd(widths[1])}  ${is}`);
  return [
    `the stack ${stack} is deployed with other parameters:`, '', ...lines, '',
    'Serverless does not remember parameters; give those that are missing again, best in serverless.yml (docs/configuration.md). '
      + `If this is what you want, deploy with --param change=${changed.map(({ name }) => name).join(',')}`,
  ].join('\n');
}

/** The tables that the planned template would create, though they exist and the deployed one does not have them. */
function tablesToCreate(deployed, planned) {
  const named = (template, id) => template?.Resources?.[id]?.Properties.TableName;
  return ['ConfigurationTable', 'AuditTable'].map((id) => ({ id, name: named(planned, id) }))
    .filter(({ id, name }) => name && named(deployed, id) !== name);
}

/** What to do about a table that exists though the stack would create it. */
function alreadyThere({ id, name }, { LatestStreamArn: stream, StreamSpecification: { StreamViewType: view } = {} }) {
  const streamed = stream && view === VIEW;
  const use = id === 'AuditTable' ? `--param existingAuditTable=${name}` : `--param configurationStreamArn=${streamed ? stream : 'ARN'}`;
  const enable = id === 'AuditTable' || streamed ? '' : `, with the ARN that \`aws dynamodb update-table --table-name ${name} `
    + `--stream-specification StreamEnabled=true,StreamViewType=${VIEW} --query TableDescription.LatestStreamArn\` prints`;
  const other = id === 'AuditTable' ? 'auditTable' : 'configurationTable';
  return `the table ${name} exists already, and this stack did not create it; to use it, deploy with ${use}${enable}; `
    + `for a new table, with --param ${other}=NAME`;
}

/** What is wrong with an existing Configuration table: sentences. */
function unfitConfiguration(name, table, { stream, keyAttribute }) {
  if (!table) return [`there is no table ${name}, which configurationStreamArn names`];
  const { LatestStreamArn: latest, StreamSpecification: { StreamViewType: view } = {}, KeySchema: [{ AttributeName: key }] } = table;
  return [
    ...(latest !== stream ? [`the table ${name} has ${latest ? `another stream: ${latest}` : 'no stream'}; configurationStreamArn must be its latest one`] : []),
    ...(latest === stream && view !== VIEW ? [`the stream of ${name} has the view type ${view}; it must be ${VIEW}, and only a new stream can have another`] : []),
    ...(key !== keyAttribute ? [`the partition key of ${name} is "${key}"; deploy with --param keyAttribute=${key}`] : []),
  ];
}

/** What is wrong with an existing Audit table: sentences. */
function unfitAudit(name, table) {
  if (!table) return [`there is no table ${name}, which existingAuditTable names`];
  const key = table.KeySchema.map(({ AttributeName }) => AttributeName).join(' and ');
  const type = table.AttributeDefinitions.find(({ AttributeName }) => AttributeName === 'id')?.AttributeType;
  return key === 'id' && type === 'S' ? [] : [`the key of ${name} is ${key}; the key of an Audit table must be "id", a string`];
}

/** Stops a deployment that would change parameters without being told so. */
async function compareParameters(account, { stack, planned, confirmed, warn }) {
  const deployed = await account.template(stack);
  const [before, now] = [recorded(deployed), recorded(planned)];
  if (before) {
    const changed = changes(before, now, confirmed);
    if (changed.length) throw new Error(explain(stack, changed));
  } else if (deployed?.Resources.AuditLambdaFunction) {
    warn(`The stack ${stack} does not say with which parameters it was deployed. These must be all: `
      + Object.entries(now).map(([name, value]) => `${name}=${value}`).join(' '));
  }
}

/** Stops a deployment that must fail, or would not work, because of the tables that exist. */
async function lookAtTables(account, { stack, planned }) {
  const { configurationStreamArn: stream, existingAuditTable: audit, ...others } = recorded(planned);
  const problems = [];
  for (const made of tablesToCreate(await account.template(stack), planned)) {
    const table = await account.table(made.name);
    if (table) problems.push(alreadyThere(made, table));
  }
  if (stream) {
    const name = stream.split('/')[1];
    problems.push(...unfitConfiguration(name, await account.table(name), { stream, keyAttribute: others.keyAttribute }));
  }
  if (audit) problems.push(...unfitAudit(audit, await account.table(audit)));
  if (problems.length) throw new Error(problems.join('\n'));
}

/** Warns of other functions that read an existing stream. */
async function lookAtReaders(account, { planned, functionName, warn }) {
  const { configurationStreamArn: stream } = recorded(planned);
  const others = stream ? (await account.readersOf(stream)).filter((arn) => !arn.split(':').includes(functionName)) : [];
  if (others.length) {
    warn(`The stream has other readers: ${others.join(', ')}. DynamoDB advises at most two for each shard; with more, requests to read it are throttled.`);
  }
}

/** The alarms that show a bad deployment within minutes. CloudFormation takes five at most. */
const ROLLBACK_TRIGGERS = ['InvocationErrors', 'RecordsFailing', 'RecordsQuarantined', 'DestinationRefused'];

/** What makes CloudFormation roll a deployment back if an alarm goes off; undefined while the stack has no alarms. */
async function rollbackConfiguration(account, { stack, minutes }) {
  const deployed = await account.template(stack);
  const alarms = ROLLBACK_TRIGGERS.filter((id) => deployed?.Resources[id]);
  if (!minutes || !alarms.length) return undefined;
  const [, partition, , region, owner] = (await account.outputs(stack)).AuditFunctionArn.split(':');
  return {
    MonitoringTimeInMinutes: minutes,
    RollbackTriggers: alarms.map((id) => ({ Arn: `arn:${partition}:cloudwatch:${region}:${owner}:alarm:${stack}-${id}`, Type: 'AWS::CloudWatch::Alarm' })),
  };
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

module.exports = { ROLLBACK_TRIGGERS, compareParameters, look, lookAtReaders, lookAtTables, record, rollbackConfiguration };
