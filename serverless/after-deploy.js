'use strict';

// Who is notified of alarms, for the deployment summary. A topic without a confirmed subscription swallows every page.

const { hasWitness } = require('./parameters');

/** E-mail addresses are no secret to the person who deploys, but the URL of a paging service contains its key. */
const subscriberName = ({ protocol, endpoint }) => (protocol === 'email' ? endpoint : protocol);

/** A sentence that says who receives messages from a topic. */
function recipientsOf(topic, subscriptions, parameter) {
  const [confirmed, waiting] = [true, false].map((state) => subscriptions.filter((subscription) => subscription.confirmed === state)
    .map(subscriberName).join(', '));
  const unconfirmed = `${waiting} must confirm the subscription first, with the link that SNS sent`;
  if (confirmed) return waiting ? `${confirmed}; ${unconfirmed}` : confirmed;
  if (waiting) return `NOBODY: ${unconfirmed}`;
  return `NOBODY: ${topic} has no subscription; deploy with --param ${parameter}=ADDRESS, `
    + 'or subscribe something else (docs/alarms.md)';
}

/** CanaryMissing cannot page before the first canaries arrived, so somebody must look once whether they did. */
const describeCanary = ({ stack, region }) => `CanaryMissing pages only after the first canaries have arrived; half an hour from now, `
  + `this must print OK: aws cloudwatch describe-alarms --region ${region} --alarm-names ${stack}-CanaryMissingFirst `
  + '--query MetricAlarms[].StateValue --output text (docs/alarms.md#the-canary)';

/** Without the stream of an existing Audit table nothing reports altered entries, and whoever deploys may not know. */
const describeMissingWitness = (table, region) => 'NO WITNESS: nothing reports entries that somebody alters or deletes; set auditStreamArn to what '
  + `this prints: aws dynamodb describe-table --region ${region} --table-name ${table} --query Table.LatestStreamArn --output text `
  + '(docs/existing-tables.md)';

/** The lines of the summary: who is paged, who is notified, how to try it, and whether there is a witness. */
async function describeRecipients(account, { stack, region, parameters: { canary, ...parameters } }) {
  const { PageTopicArn: page, NotifyTopicArn: notify } = await account.outputs(stack);
  const isMissing = parameters.witness !== 'off' && !hasWitness(parameters);
  const witness = isMissing && { witness: describeMissingWitness(parameters.existingAuditTable, region) };
  if (!page) return { paged: 'NOBODY: alarms=off leaves the alarms out', ...witness };
  const [paged, notified] = await Promise.all([page, notify].map((topic) => account.subscriptionsOf(topic)));
  return {
    'paged': recipientsOf(page, paged, 'pageEmail'),
    'notified': recipientsOf(notify, notified, 'notifyEmail'),
    ...(canary === 'on' && { 'canary': describeCanary({ stack, region }) }),
    ...witness,
    'try it': `aws cloudwatch set-alarm-state --region ${region} --alarm-name ${stack}-RecordsFailing --state-value ALARM `
      + '--state-reason "fire drill" (docs/runbooks/README.md#fire-drill)',
  };
}

module.exports = { describeRecipients };
