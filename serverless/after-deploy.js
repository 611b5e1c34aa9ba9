'use strict';

// Who is told of an alarm, for the summary of a deployment. A topic without a confirmed subscription swallows every page.

/** Mail addresses are known to whoever deploys; the URL of a paging service contains its key. */
const inWords = ({ protocol, endpoint }) => (protocol === 'email' ? endpoint : protocol);

/** What becomes of a message to a topic: a sentence. */
function told(topic, subscriptions, parameter) {
  const [confirmed, waiting] = [true, false].map((state) => subscriptions.filter((subscription) => subscription.confirmed === state)
    .map(inWords).join(', '));
  const unconfirmed = `${waiting} must confirm the subscription first, with the link that SNS sent`;
  if (confirmed) return waiting ? `${confirmed}; ${unconfirmed}` : confirmed;
  if (waiting) return `NOBODY: ${unconfirmed}`;
  return `NOBODY: ${topic} has no subscription; deploy with --param ${parameter}=ADDRESS, `
    + 'or subscribe something else (docs/alarms.md)';
}

/** The lines of the summary: who is paged, who is notified, and how to try it. */
async function whoIsTold(account, { stack, region }) {
  const { PageTopicArn: page, NotifyTopicArn: notify } = await account.outputs(stack);
  if (!page) return { paged: 'NOBODY: alarms=off leaves the alarms out' };
  const [paged, notified] = await Promise.all([page, notify].map((topic) => account.subscriptionsOf(topic)));
  return {
    'paged': told(page, paged, 'pageEmail'),
    'notified': told(notify, notified, 'notifyEmail'),
    'try it': `aws cloudwatch set-alarm-state --region ${region} --alarm-name ${stack}-RecordsFailing --state-value ALARM `
      + '--state-reason "fire drill" (docs/runbooks/README.md#fire-drill)',
  };
}

module.exports = { whoIsTold };
