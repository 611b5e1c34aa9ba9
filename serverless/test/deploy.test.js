'use strict';

// End to end against moto's server instead of AWS: `serverless deploy`, an event through the deployed zip into the deployed
// tables, then `serverless remove`.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { REGION, startAccount } = require('./aws');
const { OSLS, ROOT, run, serve, temporary, unzip, withoutAccount } = require('./helpers');

const FUNCTION = 'config-audit-dev-audit';
const WITNESS = 'config-audit-dev-witness';
const EVENT = fs.readFileSync(path.join(ROOT, 'events', 'insert.json'), 'utf8');

test('deploy, run what was deployed, remove', async (t) => {
  const home = temporary(t);
  const { account, aws } = await startAccount(t);
  const env = withoutAccount(account);
  const serverless = async (...args) => {
    const result = await run(process.execPath, [OSLS, ...args], { env, seconds: 1500 });
    assert.equal(result.status, 0, result.all);
    t.diagnostic(`serverless ${args.join(' ')}: ${result.elapsed}`);
    return result;
  };

  await serverless('deploy');
  const stack = await aws.stack();
  const mapping = await deployed(t, aws, stack);
  assert.match((await serverless('deploy', 'function', '-f', 'audit')).all, /Building bootstrap for x86_64/);

  await t.test('the deployed bootstrap audits a change into the deployed table', async (t) => {
    const { Configuration: configuration } = await aws.lambda(`/2015-03-31/functions/${FUNCTION}`);
    assert.equal(configuration.Environment.Variables.FAILURE_BUCKET, stack.outputs.FailureBucketName, 'deploy function keeps it');
    const bootstrap = path.join(home, 'bootstrap');
    fs.writeFileSync(bootstrap, unzip(await aws.deployedZip(stack))[0].content, { mode: 0o755 });
    const { status, answer } = await invoke(t, bootstrap, { ...account, ...configuration.Environment.Variables }, EVENT);
    assert.deepEqual([status, answer], ['response', { batchItemFailures: [] }]);

    const { Items: entries } = await aws.dynamodb('Scan', { TableName: 'Audit-dev' });
    assert.equal(entries.length, 1);
    assert.match(entries[0].id.S, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.deepEqual(entries, [{
      id: entries[0].id,
      itemKey: { S: 'CACHE_TTL_SEC' },
      modificationTime: { S: '2024-09-11T09:02:28.000Z' },
      newValue: { M: { key: { S: 'CACHE_TTL_SEC' }, value: { N: '3600' } } },
    }]);
    const { Items: history } = await aws.dynamodb('Query', {
      TableName: 'Audit-dev',
      IndexName: 'itemKey-modificationTime-index',
      KeyConditionExpression: 'itemKey = :key',
      ExpressionAttributeValues: { ':key': { S: 'CACHE_TTL_SEC' } },
    });
    assert.deepEqual(history, entries);
    t.diagnostic(`entry ${entries[0].id.S} is in Audit-dev, and the index finds it`);
  });

  await t.test('invoke local --param store=aws audits an event into the deployed table', async (t) => {
    const event = path.join(home, 'event.json');
    fs.writeFileSync(event, EVENT.replaceAll('CACHE_TTL_SEC', 'PLAYED_LOCALLY').replace('97f346f5', '00000000'));
    await serverless('invoke', 'local', '-f', 'audit', '-p', event, '--param', 'store=aws');
    const { Items: entries } = await aws.dynamodb('Scan', { TableName: 'Audit-dev' });
    assert.deepEqual(entries.map((entry) => entry.itemKey.S).sort(), ['CACHE_TTL_SEC', 'PLAYED_LOCALLY']);
  });

  await serverless('remove');
  const { TableNames: tables } = await aws.dynamodb('ListTables', {});
  assert.deepEqual(tables.sort(), ['Audit-dev', 'Configuration-dev']);
  const { Count: kept } = await aws.dynamodb('Scan', { TableName: 'Audit-dev' });
  assert.equal(kept, 2);
  assert.deepEqual(await aws.buckets(), [stack.outputs.FailureBucketName]);
  const { EventSourceMappings: mappings } = await aws.lambda('/2015-03-31/event-source-mappings/');
  assert.deepEqual(mappings.filter(({ UUID }) => UUID === mapping.UUID), []);
  assert.deepEqual((await aws.lambda('/2015-03-31/functions')).Functions, []);
  assert.deepEqual([await aws.dashboards(), await aws.topics()], [[], []]);
  t.diagnostic('remove keeps both tables with what is in them, and the failure bucket; function and trigger are gone');
});

/** Checks everything that the stack created. */
async function deployed(t, aws, stack) {
  const { Table: configuration } = await aws.dynamodb('DescribeTable', { TableName: 'Configuration-dev' });
  assert.deepEqual(configuration.StreamSpecification, { StreamEnabled: true, StreamViewType: 'NEW_AND_OLD_IMAGES' });
  const { Table: audit } = await aws.dynamodb('DescribeTable', { TableName: 'Audit-dev' });
  assert.deepEqual(audit.GlobalSecondaryIndexes.map((index) => index.IndexName), ['itemKey-modificationTime-index']);
  assert.deepEqual(audit.StreamSpecification, { StreamEnabled: true, StreamViewType: 'NEW_AND_OLD_IMAGES' });
  assert.equal(audit.DeletionProtectionEnabled, true);
  // moto ignores the table's ResourcePolicy and would not enforce it; security.test.js checks it.

  const { EventSourceMappings: mappings } = await aws.lambda('/2015-03-31/event-source-mappings/');
  const [[mapping, ...others], [witness, ...more]] = [FUNCTION, WITNESS].map((name) => mappings.filter(({ FunctionArn }) => FunctionArn.endsWith(`:${name}`)));
  assert.deepEqual([...others, ...more], []);
  assert.deepEqual([witness.EventSourceArn, witness.FunctionResponseTypes], [audit.LatestStreamArn, ['ReportBatchItemFailures']]);
  assert.equal(mapping.EventSourceArn, configuration.LatestStreamArn);
  assert.equal(mapping.DestinationConfig.OnFailure.Destination, `arn:aws:s3:::${stack.outputs.FailureBucketName}`);
  assert.deepEqual(mapping.FunctionResponseTypes, ['ReportBatchItemFailures']);

  const { Configuration: lambda } = await aws.lambda(`/2015-03-31/functions/${FUNCTION}`);
  assert.equal(lambda.Role, await aws.roleArn(stack.resources.IamRoleLambdaExecution));
  assert.equal(lambda.Environment.Variables.FAILURE_BUCKET, stack.outputs.FailureBucketName);
  assert.ok((await aws.buckets()).includes(stack.outputs.FailureBucketName));
  const { logGroups: groups } = await aws.logs('DescribeLogGroups', {});
  assert.deepEqual(groups.map((group) => [group.logGroupName, group.retentionInDays]).sort(), [FUNCTION, WITNESS].map((name) => [`/aws/lambda/${name}`, 30]));
  const { Configuration: other } = await aws.lambda(`/2015-03-31/functions/${WITNESS}`);
  assert.equal(other.Role, await aws.roleArn(stack.resources.WitnessRole));
  assert.deepEqual([other.Handler, lambda.Handler, other.CodeSha256], ['witness', 'bootstrap', lambda.CodeSha256]);

  assert.deepEqual(Object.fromEntries(['ConfigurationTableName', 'ConfigurationStreamArn', 'AuditTableName', 'AuditFunctionArn'].map((name) => [name, stack.outputs[name]])), {
    ConfigurationTableName: 'Configuration-dev',
    ConfigurationStreamArn: configuration.LatestStreamArn,
    AuditTableName: 'Audit-dev',
    AuditFunctionArn: lambda.FunctionArn,
  });
  t.diagnostic('tables, stream, index, trigger, function, role, log group, failure bucket and outputs are there');

  // moto's CloudFormation creates no alarms, subscriptions or saved queries; operations.test.js checks them.
  assert.deepEqual(await aws.dashboards(), [`config-audit-dev-${REGION}-deep-dive`, `config-audit-dev-${REGION}-operations`]);
  const { widgets } = JSON.parse(await aws.dashboard(`config-audit-dev-${REGION}-operations`));
  const drawn = widgets.flatMap(({ properties }) => properties.metrics || []).flat();
  for (const name of [FUNCTION, mapping.UUID, 'Configuration-dev', 'Audit-dev']) assert.ok(drawn.includes(name), `it shows ${name}`);
  assert.deepEqual(await aws.topics(), [stack.outputs.NotifyTopicArn, stack.outputs.PageTopicArn].sort());
  t.diagnostic('both dashboards, both topics');
  return mapping;
}

/** Serves Lambda's Runtime API for one invocation. Resolves with what the function posted: its response or its error. */
async function invoke(t, bootstrap, environment, event) {
  let given = false;
  let answered;
  const answer = new Promise((resolve) => { answered = resolve; });
  const api = http.createServer((request, response) => {
    if (request.url.endsWith('/invocation/next')) {
      if (given) return; // There is no second event: the function waits, as it does while frozen.
      given = true;
      response.writeHead(200, {
        'Lambda-Runtime-Aws-Request-Id': '8476a536-e9f4-11e8-9739-2dfe598c3fcd',
        'Lambda-Runtime-Deadline-Ms': String(Date.now() + 30_000),
        'Lambda-Runtime-Invoked-Function-Arn': `arn:aws:lambda:${REGION}:123456789012:function:${FUNCTION}`,
        'Lambda-Runtime-Trace-Id': 'Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0',
      }).end(event);
      return;
    }
    let body = '';
    request.on('data', (chunk) => { body += chunk; });
    request.on('end', () => {
      response.writeHead(202).end('{}');
      answered({ status: path.basename(request.url), answer: JSON.parse(body) });
    });
  });
  await new Promise((resolve) => { api.listen(0, '127.0.0.1', resolve); });
  t.after(() => { api.closeAllConnections(); api.close(); });

  const ended = serve(t, bootstrap, [], {
    ready: /(?!)/, // It prints telemetry and waits; only its exit or the deadline ends this.
    seconds: 30,
    env: {
      ...environment,
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${api.address().port}`,
      AWS_LAMBDA_FUNCTION_NAME: FUNCTION,
      AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
      AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${FUNCTION}`,
      AWS_LAMBDA_LOG_STREAM_NAME: '2026/01/01/[$LATEST]0',
      AWS_LAMBDA_LOG_FORMAT: 'JSON',
      AWS_LAMBDA_LOG_LEVEL: 'INFO',
      _HANDLER: 'bootstrap',
    },
  });
  return Promise.race([answer, ended]);
}
