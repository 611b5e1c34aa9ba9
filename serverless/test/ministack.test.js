'use strict';

// The life of a stack on ministack, an independent implementation of CloudFormation, DynamoDB, Lambda and event source
// mappings: the function that is deployed runs there, triggered by the table's stream. At the end every change has
// exactly its entries.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { REGION, startMinistack } = require('./aws');
const { ROOT, failsWith, run, serviceCopy, withoutAccount } = require('./helpers');

const TARGET = path.resolve(ROOT, process.env.CARGO_TARGET_DIR || 'target');
const COMMAND = path.join(TARGET, 'debug', 'config-audit');
const ZIP = path.join(ROOT, 'target', 'lambda', 'bootstrap', 'bootstrap.zip');
const FUNCTION = 'config-audit-dev-audit';
const WITNESS_LOG = { logGroupName: '/aws/lambda/config-audit-dev-witness' };
const TABLES = ['--configuration-table', 'Configuration-dev', '--audit-table', 'Audit-dev'];
const ELSEWHERE = 'eu-west-1';

test('the life of a stack', async (t) => {
  const { aws, refuse, serverless, deploy, command } = await begin(t);
  const account = aws(REGION);
  const home = tablesIn(account);

  await t.test('a first deployment that fails half-way leaves nothing in the way of the next', async () => {
    refuse('Incident');
    failsWith(await deploy(), /: Incident \(AWS::CloudWatch::CompositeAlarm\)\nIncident is refused$/m);
    const rolledBack = (await account.events()).filter(([, status]) => status === 'DELETE_COMPLETE').map(([id]) => id);
    for (const id of ['ConfigurationTable', 'FailureBucket', 'AuditLambdaFunction']) assert.ok(rolledBack.includes(id), `${id} was there`);
    assert.ok(!rolledBack.includes('AuditTable'), 'it cannot be deleted, so it is created last');
    assert.deepEqual((await account.dynamodb('ListTables', {})).TableNames, []);
    refuse();
    succeeds(await deploy());
  });

  await t.test('the examples, a deletion and 500 items at once are audited', async () => {
    await home.put('CACHE_TTL_SEC', 3600);
    await home.put('CACHE_TTL_SEC', 1800);
    await home.delete('CACHE_TTL_SEC');
    await home.putMany(500);
    await home.isAudited();
  });

  await t.test('every entry leaves a witness, and what somebody alters or deletes is reported, with the entry as it was', async () => {
    const { FailureBucketName: failures, WitnessBucketName: witnesses } = (await account.stack()).outputs;
    const entries = await all(account, 'Audit-dev');
    const contents = async (bucket, prefix) => {
      const keys = (await account.objects(bucket)).filter((key) => key.startsWith(prefix));
      return Promise.all(keys.map(async (key) => JSON.parse(await account.object(bucket, key))));
    };
    await until('every entry has left a witness', async () => {
      const witnessed = new Set((await contents(witnesses, 'entries/')).flatMap((object) => object.entries.map(({ id }) => id)));
      return entries.every(({ id }) => witnessed.has(id.S));
    });
    assert.deepEqual((await contents(failures, 'tampering/')), []);

    // ministack does not enforce the table's policy.
    const [altered, deleted] = entries;
    const key = ({ id }) => ({ TableName: 'Audit-dev', Key: { id } });
    await account.dynamodb('UpdateItem', { ...key(altered), UpdateExpression: 'SET itemKey = :k', ExpressionAttributeValues: { ':k': { S: 'FORGED' } } });
    await account.dynamodb('DeleteItem', key(deleted));
    const objects = await until('both are in the failure bucket', async () => {
      const found = await contents(failures, 'tampering/');
      return found.length >= 2 && found;
    });
    assert.deepEqual(objects.map(({ reason, record }) => [reason, record.dynamodb.OldImage]).sort(), [['entry_altered', altered], ['entry_deleted', deleted]]);
    const { events } = await account.logs('FilterLogEvents', WITNESS_LOG);
    const tampered = events.flatMap(({ message }) => (message.startsWith('{') ? JSON.parse(message).EntriesTampered ?? [] : []));
    assert.equal(tampered.reduce((sum, count) => sum + count, 0), 2);

    // As the runbook says.
    for (const { record } of objects) await account.dynamodb('PutItem', { TableName: 'Audit-dev', Item: record.dynamodb.OldImage });
    await home.isAudited();
  });

  await t.test('another parameter changes what is deployed, and loses no change', async () => {
    await home.put('RETRY_LIMIT', 5);
    succeeds(await deploy('--param', 'logRetentionDays=14'));
    const { logGroups: [group] } = await account.logs('DescribeLogGroups', {});
    assert.equal(group.retentionInDays, 14);
    await home.put('RETRY_LIMIT', 6);
    await home.isAudited();
  });

  await t.test('redrive recovers the records that a function with a wrong setting put into the failure bucket', async () => {
    const { FailureBucketName: bucket } = (await account.stack()).outputs;
    const { Configuration: { Environment: right } } = await account.lambda(`/2015-03-31/functions/${FUNCTION}`);
    const objects = async (prefix) => (await account.objects(bucket)).filter((key) => key.startsWith(prefix));
    await account.configure(FUNCTION, { Environment: { Variables: { ...right.Variables, KEY_ATTRIBUTE: 'name' } } });
    await home.put('RETRY_LIMIT', 7);
    const [object] = await until('the record is in the failure bucket', async () => {
      const found = await objects('quarantined/');
      return found.length && found;
    });
    await account.configure(FUNCTION, { Environment: right });

    succeeds(await command('redrive', `s3://${bucket}`, '--audit-table', 'Audit-dev'));
    assert.deepEqual(await objects('quarantined/'), []);
    assert.deepEqual(await objects('redriven/'), [`redriven/${object}`]);
    await home.isAudited();
  });

  await t.test('a second region has its own stack', async () => {
    succeeds(await deploy('--region', ELSEWHERE));
    const there = tablesIn(aws(ELSEWHERE));
    await there.put('CACHE_TTL_SEC', 60);
    await there.isAudited();
    await home.put('RETRY_LIMIT', 8);
    await home.isAudited();
    for (const [region, { dashboards }] of [[REGION, account], [ELSEWHERE, aws(ELSEWHERE)]]) {
      assert.deepEqual(await dashboards(), [`config-audit-dev-${region}-deep-dive`, `config-audit-dev-${region}-operations`]);
    }
  });

  await t.test('after remove, the next deployment says how to use the remaining tables, and continues where the last one ended', async () => {
    succeeds(await serverless('remove'));
    await home.put('RETRY_LIMIT', 9);
    const refused = await deploy();
    failsWith(refused, /the table Configuration-dev already exists/);
    const [, ...existing] = /deploy with --param (configurationStreamArn=\S+);[^]*deploy with --param (existingAuditTable=\S+) --param (auditStreamArn=\S+);/.exec(refused.all);
    succeeds(await deploy(...existing.flatMap((given) => ['--param', given])));
    await home.put('RETRY_LIMIT', 10);
    await home.isAudited();
  });

  await t.test('history and verify read the trail', async () => {
    const { stdout } = succeeds(await command('history', 'CACHE_TTL_SEC', '--audit-table', 'Audit-dev', '--output', 'json'));
    const shown = stdout.trim().split('\n').map((line) => JSON.parse(line)).map(({ id, modificationTime, ...rest }) => rest);
    assert.deepEqual(shown, [
      { itemKey: 'CACHE_TTL_SEC', newValue: { key: 'CACHE_TTL_SEC', value: 3600 } },
      { itemKey: 'CACHE_TTL_SEC', updatedAttribute: 'value', oldValue: 3600, newValue: 1800 },
      { itemKey: 'CACHE_TTL_SEC', oldValue: { key: 'CACHE_TTL_SEC', value: 1800 } },
    ]);
    const { all } = succeeds(await command('verify', ...TABLES, '--complete'));
    assert.match(all, /^The trail is intact\.$/m);
  });
});

/** An empty account, and what deploys to it and reads it. */
async function begin(t) {
  const { account, ...emulator } = await startMinistack(t);
  const service = serviceCopy(t, { tools: [] });
  const timed = async (name, command) => {
    const result = await command;
    t.diagnostic(`${name}: exit status ${result.status} in ${result.elapsed}`);
    return result;
  };
  const serverless = (...args) => timed(`serverless ${args.join(' ')}`, service.serverless(args, { env: account, seconds: 120 }));
  return {
    ...emulator,
    serverless,
    deploy: (...args) => serverless('deploy', '--param', `artifact=${ZIP}`, '--param', 'witnessRetentionDays=365', ...args),
    command: (...args) => timed(`config-audit ${args.join(' ')}`, run(COMMAND, args, { env: withoutAccount(account) })),
  };
}

function succeeds(result) {
  assert.equal(result.status, 0, result.all);
  return result;
}

/** Both tables in a region. It remembers each change, and so the entries that the Audit table must have. */
function tablesIn(aws) {
  const [TableName, values, expected] = ['Configuration-dev', new Map(), []];
  const item = (key, value) => ({ key: { S: key }, value: { N: String(value) } });
  const changed = (key, after) => {
    const [itemKey, before] = [{ S: key }, values.get(key)];
    if (before === undefined) expected.push({ itemKey, newValue: { M: item(key, after) } });
    else if (after === undefined) expected.push({ itemKey, oldValue: { M: item(key, before) } });
    else expected.push({ itemKey, updatedAttribute: { S: 'value' }, oldValue: { N: String(before) }, newValue: { N: String(after) } });
    values.set(key, after);
  };
  return {
    async put(key, value) {
      await aws.dynamodb('PutItem', { TableName, Item: item(key, value) });
      changed(key, value);
    },

    async delete(key) {
      await aws.dynamodb('DeleteItem', { TableName, Key: { key: { S: key } } });
      changed(key, undefined);
    },

    async putMany(count) {
      const keys = Array.from({ length: count }, (_, index) => `ITEM_${index}`);
      const batches = Array.from({ length: Math.ceil(count / 25) }, () => keys.splice(0, 25));
      await Promise.all(batches.map(async (batch) => {
        const requests = batch.map((key) => ({ PutRequest: { Item: item(key, 1) } }));
        const { UnprocessedItems: unprocessed } = await aws.dynamodb('BatchWriteItem', { RequestItems: { [TableName]: requests } });
        assert.deepEqual(unprocessed, {});
        for (const key of batch) changed(key, 1);
      }));
    },

    /** Waits until the Audit table has as many entries as it must have, and compares them. */
    async isAudited() {
      const entries = await until('every change is audited', async () => {
        const found = await all(aws, 'Audit-dev');
        return found.length >= expected.length && found;
      });
      const withoutIds = entries.map(({ id, modificationTime, ...rest }) => {
        assert.match(id.S, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        assert.match(modificationTime.S, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        return rest;
      });
      assert.deepEqual(inOrder(withoutIds), inOrder(expected));
    },
  };
}

/** All items of a table. */
async function all(aws, TableName) {
  const items = [];
  let page = {};
  do {
    page = await aws.dynamodb('Scan', { TableName, ConsistentRead: true, ExclusiveStartKey: page.LastEvaluatedKey });
    items.push(...page.Items);
  } while (page.LastEvaluatedKey);
  return items;
}

/** Lists are equal in this order if they have the same entries. */
const inOrder = (entries) => entries.map((entry) => JSON.stringify(byName(entry))).sort();
const byName = (value) => (Object(value) === value ? Object.entries(value).sort().map(([name, inner]) => [name, byName(inner)]) : value);

/** What a condition returns, once it is met. */
async function until(what, condition, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const met = await condition();
    if (met) return met;
    assert.ok(Date.now() < deadline, `not within ${seconds} s: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}
