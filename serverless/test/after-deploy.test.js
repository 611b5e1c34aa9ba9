'use strict';

// What a deployment's summary says about who is paged.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { describeRecipients } = require('../after-deploy');
const { read } = require('./stack');

const PAGE = 'arn:aws:sns:eu-central-1:123456789012:config-audit-prod-page';
const mail = (confirmed) => ({ protocol: 'email', endpoint: 'page@example.com', confirmed });
const pager = (confirmed) => ({ protocol: 'https', endpoint: 'https://events.example.com/integration/SECRET/enqueue', confirmed });

const summary = (...subscriptions) => describeRecipients({
  outputs: async () => ({ PageTopicArn: PAGE, NotifyTopicArn: 'notify' }),
  subscriptionsOf: async (topic) => (topic === PAGE ? subscriptions : []),
}, { stack: 'config-audit-prod', region: 'eu-central-1', parameters: { witness: 'on' } });

test('it says that nobody is paged if no subscription is confirmed, and what to do', async () => {
  assert.equal((await summary()).paged, `NOBODY: ${PAGE} has no subscription; deploy with --param pageEmail=ADDRESS, or subscribe something else (docs/alarms.md)`);
  assert.equal((await summary(mail(false))).paged, 'NOBODY: page@example.com must confirm the subscription first, with the link that SNS sent');
  assert.equal((await summary()).notified, 'NOBODY: notify has no subscription; deploy with --param notifyEmail=ADDRESS, or subscribe something else (docs/alarms.md)');
});

test('it says that nobody is paged if there are no alarms', async () => {
  const lines = await describeRecipients({ outputs: async () => ({}) }, { stack: 'config-audit-prod', parameters: { witness: 'on' } });
  assert.deepEqual(lines, { paged: 'NOBODY: alarms=off leaves the alarms out' });
});

test('it says who is paged, without the key of a paging service', async () => {
  assert.equal((await summary(mail(true), pager(true))).paged, 'page@example.com, https');
  const both = (await summary(pager(true), mail(false))).paged;
  assert.equal(both, 'https; page@example.com must confirm the subscription first, with the link that SNS sent');
});

test('with a canary, it says how to check that the first ones arrive', async () => {
  const account = { outputs: async () => ({ PageTopicArn: PAGE }), subscriptionsOf: async () => [] };
  const { canary } = await describeRecipients(account, {
    stack: 'config-audit-prod', region: 'eu-central-1', parameters: { canary: 'on' },
  });
  assert.match(canary, / aws cloudwatch describe-alarms --region eu-central-1 --alarm-names config-audit-prod-CanaryMissingFirst --query /);
  assert.match(read('alarms', 'canary.yml'), /AlarmName: !Sub "\$\{Service\}-\$\{Stage\}-CanaryMissingFirst"/);
  assert.equal((await summary(mail(true))).canary, undefined);
});

test('it says that an existing Audit table has no witness without its stream, and prints the command that shows the stream', async () => {
  const of = async (parameters, outputs = { PageTopicArn: PAGE }) => (await describeRecipients(
    { outputs: async () => outputs, subscriptionsOf: async () => [] }, { stack: 'config-audit-prod', region: 'eu-central-1', parameters },
  )).witness;
  for (const outputs of [undefined, {}]) {
    const witness = await of({ witness: 'on', existingAuditTable: 'History' }, outputs);
    assert.match(witness, /^NO WITNESS: .* set auditStreamArn to what this prints: aws dynamodb describe-table --region eu-central-1 --table-name History /);
  }
  const auditStreamArn = 'arn:aws:dynamodb:eu-central-1:123456789012:table/History/stream/2024-09-11T09:00:17.927';
  for (const parameters of [{ witness: 'on' }, { witness: 'off', existingAuditTable: 'History' }, { existingAuditTable: 'History', auditStreamArn }]) {
    assert.equal(await of(parameters), undefined);
  }
});

test('it says how to test this, with the same command as the runbook', async () => {
  const { 'try it': command } = await summary(mail(true));
  assert.equal(command, 'aws cloudwatch set-alarm-state --region eu-central-1 --alarm-name config-audit-prod-RecordsFailing --state-value ALARM '
    + '--state-reason "fire drill" (docs/runbooks/README.md#fire-drill)');
  assert.match(read('docs', 'runbooks', 'README.md'), /^## Fire drill$[^]*set-alarm-state --alarm-name config-audit-\$\{STAGE:\?\}-RecordsFailing /m);
});
