'use strict';

// Serverless forgets parameters from one deployment to the next, so the stack's template remembers them.

const { DEFAULTS, PARAMETERS, isRecorded } = require('./parameters');

/** The key below a template's `Metadata`. */
const RECORD = 'ConfigAudit';

/** Writes the parameters into a template, so that the next deployment can compare them. */
function record(template, values) {
  const recorded = Object.entries(values).filter(([name]) => isRecorded(name));
  template.Metadata = { ...template.Metadata, [RECORD]: { Parameters: Object.fromEntries(recorded) } };
}

/** The parameters with which a template was made; undefined if it does not record them. */
const recorded = (template) => template?.Metadata?.[RECORD]?.Parameters;

/** The parameters whose values a deployment would change without confirmation: [{name, was, is}, …]. */
function changes(deployed, planned, confirmed = []) {
  const byDefault = (name) => DEFAULTS[name]?.toString();
  const isSilent = ({ name, is }) => PARAMETERS[name].isGuarded || is === byDefault(name);
  return Object.keys(PARAMETERS).filter((name) => isRecorded(name) && !confirmed.includes(name))
    .map((name) => ({ name, was: deployed[name] ?? byDefault(name), is: planned[name] }))
    .filter((change) => change.was !== change.is && isSilent(change));
}

/** Shows the changes side by side, and what to do. */
function explain(stack, changed) {
  const rows = [['parameter', 'deployed', 'now'], ...changed.map(({ name, was = '(none)', is = '(none)' }) => [name, was, is])];
  const [first, second] = [0, 1].map((column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map(([name, was, is]) => `  ${name.padEnd(first)}  ${was.padEnd(second)}  ${is}`);
  return [
    `the stack ${stack} is deployed with other parameters:`, '', ...lines, '',
    'Serverless does not remember parameters; give those that are missing again, best in serverless.yml '
      + '(docs/configuration.md). If this is what you want, deploy with '
      + `--param change=${changed.map(({ name }) => name).join(',')}`,
  ].join('\n');
}

/** Stops a deployment that would change parameters without confirmation. */
async function compareParameters(account, { stack, planned, confirmed, warn }) {
  const deployed = await account.template(stack);
  const [before, now] = [recorded(deployed), recorded(planned)];
  if (before) {
    const changed = changes(before, now, confirmed);
    if (changed.length) throw new Error(explain(stack, changed));
  } else if (deployed?.Resources.AuditLambdaFunction) {
    warn(`The stack ${stack} does not record the parameters with which it was deployed. Check that these are complete: `
      + Object.entries(now).map(([name, value]) => `${name}=${value}`).join(' '));
  }
}

module.exports = { compareParameters, record, recorded };
