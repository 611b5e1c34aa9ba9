'use strict';

// serverless/plugin.js with stand-ins for cargo, cargo-lambda, Python and config-audit: what it runs, with which arguments,
// and its errors when something is missing or fails.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const ConfigAuditPlugin = require('../plugin');
const { OTHER_PARAMETERS, failsWith, packaged, serviceCopy } = require('./helpers');

const BUILD = ['lambda', 'build', '--release', '--locked', '--bin', 'bootstrap', '--output-format', 'zip'];

test('package builds for the architecture given', async (t) => {
  for (const [parameters, flag] of [[[], '--x86-64'], [OTHER_PARAMETERS, '--arm64']]) {
    const { calls } = await packaged(t, parameters);
    assert.deepEqual(calls, [{ tool: 'cargo-lambda', args: [...BUILD, flag] }]);
    t.diagnostic(`cargo-lambda ${calls[0].args.join(' ')}`);
  }
});

test('a failed build stops the packaging, with the build\'s messages and an error that names the command', async (t) => {
  const service = serviceCopy(t);
  service.standIn(path.join(service.bin, 'cargo-lambda'), "console.error('error[E0425]: cannot find value'); process.exit(101);");
  const result = await service.serverless(['package']);
  failsWith(result, /`cargo-lambda lambda build .*` failed \(exit status 101\)/);
  assert.match(result.stderr, /error\[E0425\]: cannot find value/);
});

test('cargo-lambda is taken from .tools/venv if it is not on the PATH, and installed there if it is missing', async (t) => {
  const service = serviceCopy(t, { tools: ['cargo'] });
  const venv = path.join(service.directory, '.tools', 'venv', 'bin');
  service.standIn(path.join(service.bin, 'python3'), `note(); fs.mkdirSync(${JSON.stringify(venv)}, { recursive: true }); fs.copyFileSync(__filename.replace('python3', 'pip'), ${JSON.stringify(path.join(venv, 'python'))});`);
  service.standIn(path.join(service.bin, 'pip'), `note(); fs.copyFileSync(${JSON.stringify(path.join(service.bin, 'cargo'))} + '-lambda.made', ${JSON.stringify(path.join(venv, 'cargo-lambda'))});`);
  service.standIn(path.join(service.bin, 'cargo-lambda.made'), service.makesZip);

  const first = await service.serverless(['package']);
  assert.equal(first.status, 0, first.all);
  assert.match(first.all, /^Installing cargo-lambda into \.tools\/venv \(serverless\/requirements\.txt\), once$/m);
  assert.deepEqual(service.calls().map((call) => call.tool), ['python3', 'python', 'cargo-lambda']);
  assert.deepEqual(service.calls()[1].args.slice(0, 3), ['-m', 'pip', 'install']);
  assert.equal(service.calls()[1].args.at(-1), path.join(service.directory, 'serverless', 'requirements.txt'));

  const second = await service.serverless(['package']);
  assert.equal(second.status, 0, second.all);
  assert.doesNotMatch(second.all, /Installing/);
  assert.deepEqual(service.calls().map((call) => call.tool), ['python3', 'python', 'cargo-lambda', 'cargo-lambda']);
  t.diagnostic('installed once, with one line of output');
});

test('without Rust or Python the error says what to install', async (t) => {
  const noRust = serviceCopy(t, { tools: [] });
  failsWith(await noRust.serverless(['package']), /Rust is missing: .* install it with rustup/);
  failsWith(await noRust.serverless(['invoke', 'local', '-f', 'audit', '--data', '{}']), /Rust is missing: .* install it with rustup/);
  const noPython = serviceCopy(t, { tools: ['cargo'] });
  failsWith(await noPython.serverless(['package']), /Python 3 is missing: .*\n?.* install Python 3/);
  t.diagnostic('package and invoke local');
});

/** A service whose config-audit records its input, and exits with FAKE_STATUS. */
function withFakeOperator(t) {
  const service = serviceCopy(t, { tools: ['cargo'] });
  service.standIn(path.join(service.directory, 'target', 'debug', 'config-audit'), `
note({ event: fs.readFileSync(0, 'utf8'), credentials: process.env.AWS_ACCESS_KEY_ID });
console.log('what config-audit prints');
process.exit(Number(process.env.FAKE_STATUS || 0));`);
  return service;
}

const EVENT = { Records: [{ eventID: '1', dynamodb: { Keys: { key: { S: 'ü "quoted"' } } } }] };

test('invoke local builds both binaries and passes the event to config-audit', async (t) => {
  const service = withFakeOperator(t);
  fs.writeFileSync(path.join(service.directory, 'event.json'), JSON.stringify(EVENT));
  const ways = [
    ['-p', 'event.json'],
    ['--data', JSON.stringify(EVENT)],
    [], // standard input
  ];
  for (const way of ways) {
    const result = await service.serverless(['invoke', 'local', '-f', 'audit', ...way], way.length ? {} : { input: JSON.stringify(EVENT) });
    assert.equal(result.status, 0, result.all);
    assert.match(result.stdout, /what config-audit prints/);
    const [build, invoke] = service.calls().slice(-2);
    assert.deepEqual(build.args, ['build', '--locked', '-p', 'config-audit', '--bin', 'bootstrap', '-p', 'config-audit-cli', '--bin', 'config-audit']);
    assert.deepEqual(JSON.parse(invoke.event), EVENT);
    assert.equal(invoke.credentials, undefined);
    assert.deepEqual(invoke.args, [
      'invoke', '--bootstrap', path.join(service.directory, 'target', 'debug', 'bootstrap'), '--store', 'memory',
      '--function-name', 'config-audit-dev-audit', '--timeout', '30', '--memory', '256', '--env', '_HANDLER=bootstrap',
      '--env', 'IS_LOCAL=true', // Serverless's own mark of a local invocation.
      '--env', 'AUDIT_TABLE=Audit-dev', '--env', 'KEY_ATTRIBUTE=key', '--env', 'AUDIT_PROVENANCE=off',
      '--env', 'LATE_MINUTES=5', '--env', 'SERVICE_NAME=config-audit', '--env', 'STAGE=dev',
    ]);
    t.diagnostic(`${way[0] || 'standard input'}: no account, ${result.elapsed} without the function itself`);
  }
});

test('invoke local passes --env on, which overrides serverless.yml', async (t) => {
  const service = withFakeOperator(t);
  const result = await service.serverless(['invoke', 'local', '-f', 'audit', '--data', '{}', '--env', 'STAGE=mine', '--env', 'A=b=c']);
  assert.equal(result.status, 0, result.all);
  const given = service.calls().at(-1).args.join(' ');
  assert.match(given, /--env STAGE=mine/);
  assert.match(given, /--env A=b=c/);
  assert.doesNotMatch(given, /STAGE=dev/);
});

test('invoke local exits with the status of config-audit, and adds nothing to its output', async (t) => {
  const service = withFakeOperator(t);
  for (const status of ['1', '2']) {
    const result = await service.serverless(['invoke', 'local', '-f', 'audit', '--data', '[]'], { env: { FAKE_STATUS: status } });
    assert.equal(result.status, Number(status), result.all);
    assert.equal(result.stdout.trim(), 'what config-audit prints');
    assert.doesNotMatch(result.all, /Error|^\s+at /m);
  }
});

test('invoke local reports errors in its own input', async (t) => {
  const service = withFakeOperator(t);
  const local = (...args) => service.serverless(['invoke', 'local', '-f', 'audit', ...args], { input: '' });
  failsWith(await local(), /there is no event; give a file with --path/);
  failsWith(await local('--data', '{}', '--param', 'store=disk'), /the parameter store is "disk"; it must be memory or aws/);
  failsWith(await local('-p', 'nowhere.json'), /does not exist/);
  assert.deepEqual(service.calls(), []);
  service.standIn(path.join(service.bin, 'cargo'), "console.error('error: could not compile'); process.exit(101);");
  failsWith(await local('--data', '{}'), /`cargo build .*` failed \(exit status 101\)/);
});

test('CloudFormation gets the rollback triggers with the deployment', async () => {
  const stack = 'config-audit-dev';
  const resources = { Resources: {}, Metadata: { ConfigAudit: { Parameters: {} } } };
  const service = { provider: {}, resources, getAllFunctionsNames: () => ['audit'] };
  const serverless = {
    service,
    configurationInput: {},
    extendConfiguration: () => {},
    processedInput: { commands: ['deploy'], options: {} },
    getProvider: () => ({ naming: { getStackName: () => stack } }),
  };
  const plugin = new ConfigAuditPlugin(serverless, {}, { log: {} });
  plugin.account = {
    template: async () => ({ Resources: { RecordsFailing: {} } }),
    outputs: async () => ({ AuditFunctionArn: 'arn:aws:lambda:eu-central-1:123456789012:function:audit' }),
  };
  plugin.parameters = { rollbackMinutes: '15' };
  await plugin.hooks['before:package:cleanup']();
  assert.deepEqual(service.provider.rollbackConfiguration, {
    MonitoringTimeInMinutes: 15,
    RollbackTriggers: [{ Arn: 'arn:aws:cloudwatch:eu-central-1:123456789012:alarm:config-audit-dev-RecordsFailing', Type: 'AWS::CloudWatch::Alarm' }],
  });
});

test('odd characters in a value stay as they are, and the template is valid', async (t) => {
  const key = 'my "key" {x} \\ ключ';
  const { template } = await packaged(t, ['--param', `keyAttribute=${key}`]);
  assert.equal(template.Resources.AuditLambdaFunction.Properties.Environment.Variables.KEY_ATTRIBUTE, key);
  assert.equal(template.Resources.ConfigurationTable.Properties.KeySchema[0].AttributeName, key);
});
