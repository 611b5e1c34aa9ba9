'use strict';

// Who is notified of alarms, for the deployment summary. A topic without a confirmed subscription swallows every page.

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

/** The lines of the summary: who is paged, who is notified, and how to try it. */
async function describeRecipients(account, { stack, region, canary }) {
  const { PageTopicArn: page, NotifyTopicArn: notify } = await account.outputs(stack);
  if (!page) return { paged: 'NOBODY: alarms=off leaves the alarms out' };
  const [paged, notified] = await Promise.all([page, notify].map((topic) => account.subscriptionsOf(topic)));
  return {
    'paged': recipientsOf(page, paged, 'pageEmail'),
    'notified': recipientsOf(notify, notified, 'notifyEmail'),
    ...(canary === 'on' && { 'canary': describeCanary({ stack, region }) }),
    'try it': `aws cloudwatch set-alarm-state --region ${region} --alarm-name ${stack}-RecordsFailing --state-value ALARM `
      + '--state-reason "fire drill" (docs/runbooks/README.md#fire-drill)',
  };
}

module.exports = { describeRecipients };
