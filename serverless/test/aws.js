'use strict';

// moto's server and ministack, which stand in for AWS, and the calls that the tests make of them.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { VENV, serve, temporary, withoutAccount } = require('./helpers');

const REGION = 'eu-central-1';

/** Starts an empty account that lasts until the test ends: `account` is the environment of its users, `aws` calls it. */
async function startAccount(t) {
  const endpoint = await startServer(t, ['moto_server.py', '-H', '127.0.0.1', '-p', '0']);
  return { account: account(endpoint), aws: client(endpoint) };
}

/**
 * The same for ministack, which also runs functions and their triggers: `aws(region)` calls it, and `refuse(id)` makes
 * it refuse to create this alarm or saved query, by its logical ID, until the next `refuse()`.
 */
async function startMinistack(t) {
  const directory = temporary(t);
  const refused = path.join(directory, 'refused');
  const refuse = (id = '') => fs.writeFileSync(refused, id);
  refuse();
  // The functions inherit it.
  const env = withoutAccount({ TMPDIR: directory, STATE_DIR: directory, LOG_LEVEL: 'WARNING' });
  const endpoint = await startServer(t, ['ministack_server.py', refused], { env });
  return { account: account(endpoint), aws: (region) => client(endpoint, region), refuse };
}

async function startServer(t, [script, ...args], options) {
  const ready = /Running on (http:\/\/127\.0\.0\.1:\d+)/;
  const [, endpoint] = await serve(t, path.join(VENV, 'python'), [path.join(__dirname, script), ...args], { ready, ...options });
  return endpoint;
}

const account = (AWS_ENDPOINT_URL) => ({ AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: REGION });

/** The AWS calls of the tests over plain HTTP. Neither server checks a signature; both read the service and the region from it. */
function client(endpoint, region = REGION) {
  const call = async (service, { method = 'GET', at = '/', headers = {}, body }) => {
    const Authorization = `AWS4-HMAC-SHA256 Credential=test/20260101/${region}/${service}/aws4_request, SignedHeaders=host, Signature=0`;
    const response = await fetch(endpoint + at, { method, headers: { Authorization, ...headers }, body });
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.ok(response.ok, `${service} ${at}: ${response.status} ${bytes}`);
    return bytes;
  };
  const json = async (service, target, input) => JSON.parse(await call(service, {
    method: 'POST', headers: { 'X-Amz-Target': target, 'Content-Type': 'application/x-amz-json-1.0' }, body: JSON.stringify(input),
  }));
  const query = async (service, Version, parameters) => String(await call(service, {
    method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams({ ...parameters, Version }).toString(),
  }));
  const cloudwatch = (parameters) => query('monitoring', '2010-08-01', parameters);
  const sns = (parameters) => query('sns', '2010-03-31', parameters);
  const all = (xml, name) => [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map((match) => match[1]);
  const pairs = (xml, name, value) => Object.fromEntries([...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>\\s*<${value}>([^<]*)</${value}>`, 'g'))].map((match) => match.slice(1)));
  return {
    dynamodb: (action, input) => json('dynamodb', `DynamoDB_20120810.${action}`, input),
    eventBridge: (action, input) => json('events', `AWSEvents.${action}`, input),
    logs: (action, input) => json('logs', `Logs_20140328.${action}`, input),
    lambda: async (at) => JSON.parse(await call('lambda', { at })),
    configure: async (name, settings) => call('lambda', { method: 'PUT', at: `/2015-03-31/functions/${name}/configuration`, body: JSON.stringify(settings) }),
    dashboards: async () => all(await cloudwatch({ Action: 'ListDashboards' }), 'DashboardName').sort(),
    dashboard: async (DashboardName) => all(await cloudwatch({ Action: 'GetDashboard', DashboardName }), 'DashboardBody')[0],
    topics: async () => all(await sns({ Action: 'ListTopics' }), 'TopicArn').sort(),
    subscribe: async (TopicArn, Endpoint) => sns({ Action: 'Subscribe', TopicArn, Protocol: 'email', Endpoint }),
    buckets: async () => all(String(await call('s3', {})), 'Name'),
    objects: async (bucket) => all(String(await call('s3', { at: `/${bucket}?list-type=2` })), 'Key'),
    object: async (bucket, key) => call('s3', { at: `/${bucket}/${key}` }),
    roleArn: async (RoleName) => /<Arn>([^<]*)<\/Arn>/.exec(await query('iam', '2010-05-08', { Action: 'GetRole', RoleName }))[1],
    /** What happened to the stack's resources: [logical ID, status]. */
    events: async () => {
      const events = await query('cloudformation', '2010-05-15', { Action: 'DescribeStackEvents', StackName: 'config-audit-dev' });
      const statuses = all(events, 'ResourceStatus');
      return all(events, 'LogicalResourceId').map((id, index) => [id, statuses[index]]);
    },
    stack: async () => {
      const StackName = 'config-audit-dev';
      const cloudformation = (Action) => query('cloudformation', '2010-05-15', { Action, StackName });
      return {
        outputs: pairs(await cloudformation('DescribeStacks'), 'OutputKey', 'OutputValue'),
        resources: pairs(await cloudformation('DescribeStackResources'), 'LogicalResourceId', 'PhysicalResourceId'),
        template: await cloudformation('GetTemplate'),
      };
    },
    /** The zip that Lambda was given. */
    deployedZip: async ({ template, resources }) => {
      const key = /"S3Key":\s*"([^"]*)"/.exec(template.replaceAll('&quot;', '"'))[1];
      return call('s3', { at: `/${resources.ServerlessDeploymentBucket}/${key}` });
    },
  };
}

module.exports = { REGION, startAccount, startMinistack };
