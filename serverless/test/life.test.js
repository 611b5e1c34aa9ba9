'use strict';

// What a deployment says about parameters and about who is paged, and rollback, against moto's server and without a
// toolchain.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { startAccount } = require('./aws');
const { failsWith, serviceCopy } = require('./helpers');

const parameters = (given) => Object.entries(given).flatMap(([name, value]) => ['--param', `${name}=${value}`]);
/** The command that deploys a function that was built somewhere else. */
const deploy = (given = {}) => ['deploy', ...parameters({ artifact: 'built.zip', ...given })];

/** An empty account, and a service whose commands use it. */
async function begin(t) {
  const { account, aws } = await startAccount(t);
  const service = serviceCopy(t, { tools: [] });
  fs.writeFileSync(path.join(service.directory, 'built.zip'), 'zip');
  const serverless = async (...args) => {
    const result = await service.serverless(args, { env: account, seconds: 300 });
    t.diagnostic(`serverless ${args.join(' ')}: ${result.status === 0 ? 'done' : 'refused'} in ${result.elapsed}`);
    return result;
  };
  const succeeds = async (...args) => {
    const result = await serverless(...args);
    assert.equal(result.status, 0, result.all);
    return result;
  };
  const environment = async () => (await aws.lambda('/2015-03-31/functions/config-audit-dev-audit')).Configuration.Environment.Variables;
  return { aws, environment, serverless, succeeds };
}

test('a deployment that forgets parameters changes nothing until it is confirmed, and rolling back needs no toolchain', async (t) => {
  const { aws, environment, serverless, succeeds } = await begin(t);
  failsWith(await serverless('deploy', '--param', 'artifact=nowhere.zip'), /the parameter artifact is "nowhere\.zip"; there is no such file/);
  const topic = 'arn:aws:sns:eu-central-1:123456789012:nobody';
  failsWith(await serverless(...deploy({ pageTopicArn: topic })), /there is no topic .*:nobody, which pageTopicArn names/);
  const first = await succeeds(...deploy({ provenance: 'on', logRetentionDays: '14' }));
  assert.match(first.stdout, /^paged: NOBODY: arn:aws:sns:.*:config-audit-dev-page has no subscription; deploy with --param pageEmail=ADDRESS/m);
  assert.match(first.stdout, /^try it: aws cloudwatch set-alarm-state --region eu-central-1 --alarm-name config-audit-dev-RecordsFailing /m);
  assert.equal((await environment()).AUDIT_PROVENANCE, 'on');

  const forgotten = await serverless(...deploy());
  failsWith(forgotten, /the stack config-audit-dev is deployed with other parameters:/);
  assert.match(forgotten.all, /^ {2}provenance +on +off\n {2}logRetentionDays +14 +30$/m);
  assert.match(forgotten.all, /deploy with --param change=provenance,logRetentionDays$/m);
  failsWith(await serverless('deploy', 'function', '-f', 'audit', ...parameters({ artifact: 'built.zip' })), /change=provenance,logRetentionDays/);
  assert.equal((await environment()).AUDIT_PROVENANCE, 'on', 'nothing was deployed');

  await aws.subscribe((await aws.topics()).find((arn) => arn.endsWith('-page')), 'page@example.com');
  const second = await succeeds(...deploy({ change: 'provenance,logRetentionDays' }));
  assert.match(second.stdout, /^paged: page@example\.com$/m);
  assert.equal((await environment()).AUDIT_PROVENANCE, 'off');

  const [, timestamp] = /Timestamp: (\d+)/.exec((await succeeds('deploy', 'list')).stdout);
  await succeeds('rollback', '--timestamp', timestamp);
  assert.equal((await environment()).AUDIT_PROVENANCE, 'on', 'the parameters are those of that deployment too');
  failsWith(await serverless(...deploy()), /change=provenance,logRetentionDays/);
});
