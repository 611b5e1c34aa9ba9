'use strict';

// `serverless invoke local` runs the real bootstrap on this machine, without Docker or an AWS account.

const path = require('path');
const { buildForThisMachine } = require('./build');
const { start } = require('./processes');

const UNKNOWN_SERVERLESS = 'this version of Serverless has no `invoke local` that the plugin can replace; '
  + 'use the osls that package.json pins: `npm ci`, then `npx serverless`';
const NO_EVENT = 'there is no event; give a file with --path, JSON with --data, or an event on standard input, as in '
  + '`serverless invoke local -f audit -p events/insert.json`';

/** Serverless parses the options and reads the event. What it does next needs Docker for this runtime, so it is replaced. */
function takeOver(serverless, run) {
  const aws = serverless.pluginManager.plugins.find((plugin) => plugin.constructor.name === 'AwsInvokeLocal');
  if (!aws) throw new Error(UNKNOWN_SERVERLESS);
  aws.loadEnvVars = async () => {}; // Serverless's own looks up credentials and the deployed stack.
  aws.invokeLocal = () => run(aws);
}

/** Runs the event; `store` is `memory`, or `aws` for the deployed tables. */
async function invokeLocal(aws, store) {
  const { service: { provider }, serviceDir } = aws.serverless;
  const { functionObj, data } = aws.options;
  if (data === '') throw new Error(NO_EVENT);
  const binaries = await buildForThisMachine(serviceDir);

  let environment = aws.getConfiguredEnvVars();
  let credentials = {};
  if (store === 'aws') {
    environment = await aws.resolveConfiguredEnvVars(environment); // `!Ref FailureBucket` becomes the deployed stack's bucket.
    credentials = { AWS_REGION: aws.provider.getRegion(), ...(await aws.getCredentialEnvVars()) };
  }
  const literal = Object.entries({ ...environment, ...aws.getEnvVarsFromOptions() })
    .filter(([, value]) => typeof value !== 'object') // Without a deployed stack a Ref has no value.
    .flatMap(([name, value]) => ['--env', `${name}=${value}`]);

  // config-audit has already printed what went wrong, so only pass on its exit status.
  const status = await start(path.join(binaries, 'config-audit'), [
    'invoke',
    '--bootstrap', path.join(binaries, 'bootstrap'),
    '--store', store,
    '--function-name', functionObj.name,
    '--timeout', String(functionObj.timeout || provider.timeout || 6),
    '--memory', String(functionObj.memorySize || provider.memorySize || 1024),
    '--env', `_HANDLER=${functionObj.handler}`,
    ...literal,
  ], { cwd: serviceDir, env: { ...process.env, ...credentials }, input: typeof data === 'string' ? data : JSON.stringify(data) });
  if (typeof status !== 'number') throw new Error(`config-audit was killed by ${status}`);
  process.exitCode = status;
}

module.exports = { invokeLocal, takeOver };
