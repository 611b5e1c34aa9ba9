'use strict';

// What the tests share: the command-line tool (osls, as package.json pins it), a copy of the service with stand-ins for the
// build tools, the packaged templates, and processes with a deadline.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');

const ROOT = path.resolve(__dirname, '..', '..');
const VENV = path.join(ROOT, '.tools', 'venv', 'bin');

const OSLS = path.join(ROOT, 'node_modules', 'osls', 'bin', 'serverless.js');

const EXISTING_STREAM = 'arn:aws:dynamodb:eu-central-1:123456789012:table/Settings/stream/2024-09-11T09:00:17.927';
const EXISTING_TABLES = ['--param', `configurationStreamArn=${EXISTING_STREAM}`, '--param', 'existingAuditTable=History'];

/** Every parameter with a value other than its default, except the existing tables and the recovery role. */
const OTHER_PARAMETERS = ['--stage', 'prod', ...Object.entries({
  configurationTable: 'Settings', auditTable: 'SettingsHistory', keyAttribute: 'name', provenance: 'on',
  architecture: 'arm64', logRetentionDays: '14', failureRetentionDays: '7',
  pageEmail: 'page@example.com', notifyEmail: 'notify@example.com', runbookUrl: 'https://example.com/runbooks',
}).flatMap(([name, value]) => ['--param', `${name}=${value}`])];

/** A folder that is removed when the test ends. */
function temporary(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'config-audit-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const HOME = fs.mkdtempSync(path.join(os.tmpdir(), 'config-audit-home-'));
process.on('exit', () => fs.rmSync(HOME, { recursive: true, force: true }));

/** The environment of a user without an AWS account: none of this machine's AWS settings, and an empty home. Caches and
 * cargo's settings are the same for all tests, so that each binary is built once.
 */
function withoutAccount(extra = {}) {
  const { CARGO_INCREMENTAL } = process.env;
  return {
    PATH: process.env.PATH,
    XDG_CACHE_HOME: path.join(ROOT, 'target', 'cache'),
    ...(CARGO_INCREMENTAL && { CARGO_INCREMENTAL }),
    CARGO_HOME: process.env.CARGO_HOME || path.join(os.homedir(), '.cargo'),
    RUSTUP_HOME: process.env.RUSTUP_HOME || path.join(os.homedir(), '.rustup'),
    HOME,
    AWS_EC2_METADATA_DISABLED: 'true',
    SLS_TELEMETRY_DISABLED: '1',
    SLS_NOTIFICATIONS_MODE: 'off',
    ...extra,
  };
}

/** A copy of what Serverless reads, with stand-ins for cargo and cargo-lambda that record how they were called. */
function serviceCopy(t, { tools = ['cargo', 'cargo-lambda'] } = {}) {
  const directory = temporary(t);
  const bin = path.join(directory, 'bin');
  const notes = path.join(directory, 'calls.jsonl');
  fs.mkdirSync(path.join(directory, 'serverless'));
  fs.mkdirSync(bin);
  fs.copyFileSync(path.join(ROOT, 'serverless.yml'), path.join(directory, 'serverless.yml'));
  for (const folder of ['alarms', 'dashboards']) fs.cpSync(path.join(ROOT, folder), path.join(directory, folder), { recursive: true });
  for (const entry of fs.readdirSync(path.join(ROOT, 'serverless'), { withFileTypes: true })) {
    if (entry.isFile()) fs.copyFileSync(path.join(ROOT, 'serverless', entry.name), path.join(directory, 'serverless', entry.name));
  }
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(directory, 'node_modules'));
  const standIn = (file, body = '') => {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, `#!${process.execPath}
const fs = require('fs'), path = require('path');
const args = process.argv.slice(2);
const note = (more) => fs.appendFileSync(${JSON.stringify(notes)}, JSON.stringify({ tool: path.basename(__filename), args, ...more }) + '\\n');
${body || 'note();'}
`, { mode: 0o755 });
  };
  const makesZip = "note(); fs.mkdirSync('target/lambda/bootstrap', { recursive: true }); fs.writeFileSync('target/lambda/bootstrap/bootstrap.zip', 'zip');";
  if (tools.includes('cargo')) standIn(path.join(bin, 'cargo'));
  if (tools.includes('cargo-lambda')) standIn(path.join(bin, 'cargo-lambda'), makesZip);
  return {
    directory,
    bin,
    standIn,
    makesZip,
    calls: () => (fs.existsSync(notes) ? fs.readFileSync(notes, 'utf8').trim().split('\n').map((line) => JSON.parse(line)) : []),
    template: () => JSON.parse(fs.readFileSync(path.join(directory, '.serverless', 'cloudformation-template-update-stack.json'))),
    serverless: (args, { env = {}, ...options } = {}) =>
      afterFirstCommand(() => run(process.execPath, [OSLS, ...args], { cwd: directory, env: withoutAccount({ PATH: bin, ...env }), ...options })),
  };
}

let first;
/** osls compiles its configuration schema for two seconds and keeps it in the home, so the first command runs alone. */
function afterFirstCommand(command) {
  if (first) return first.then(command, command);
  first = command();
  return first;
}

const packages = new Map();

/**
 * What `serverless package` makes with these arguments: {template, calls}, with the calls of the build tools. The template
 * passes cfn-lint. Each set of arguments is packaged once for all tests of this process; each caller gets a copy.
 */
async function packaged(t, args) {
  const key = JSON.stringify(args);
  if (!packages.has(key)) packages.set(key, packageOnce(t, args));
  return structuredClone(await packages.get(key));
}

async function packageOnce(t, args) {
  const service = serviceCopy(t);
  const result = await service.serverless(['package', ...args]);
  assert.equal(result.status, 0, result.all);
  const template = service.template();
  assert.match(template.Resources.AuditLambdaFunction.Properties.Code.S3Key, /\/bootstrap\.zip$/);

  const zips = fs.readdirSync(path.join(service.directory, '.serverless')).filter((file) => file.endsWith('.zip'));
  assert.deepEqual(zips, [], 'nothing but the artifact is zipped');
  const lint = await run(path.join(VENV, 'cfn-lint'), [path.join(service.directory, '.serverless', 'cloudformation-template-update-stack.json')]);
  assert.equal(lint.status, 0, lint.all);
  t.diagnostic(`packaged in ${result.elapsed}; cfn-lint passed in ${lint.elapsed}`);
  return { template, calls: service.calls() };
}

/** Asserts that the command fails with this error and without a stack trace. */
function failsWith(result, message) {
  assert.notEqual(result.status, 0, result.all);
  assert.match(result.all, message);
  assert.doesNotMatch(result.all, /^\s+at .*:\d+:\d+\)?$/m, 'a stack trace');
}

/** Runs a process to its end, with standard input closed unless there is an input. */
function run(command, args, { cwd = ROOT, env = process.env, input, seconds = 120 } = {}) {
  const started = process.hrtime.bigint();
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    const deadline = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => { stdout += chunk; });
    child.stderr.on('data', (chunk) => { stderr += chunk; });
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearTimeout(deadline);
      const elapsed = Number(process.hrtime.bigint() - started) / 1e9;
      resolve({ status, signal, stdout, stderr, all: stdout + stderr, elapsed: `${elapsed.toFixed(2)} s` });
    });
    if (input !== undefined) child.stdin.on('error', () => {}).end(input);
  });
}

/** The files in a zip, from its central directory. */
function unzip(buffer) {
  const end = buffer.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  let at = buffer.readUInt32LE(end + 16);
  return Array.from({ length: buffer.readUInt16LE(end + 10) }, () => {
    const [method, packed] = [buffer.readUInt16LE(at + 10), buffer.readUInt32LE(at + 20)];
    const [name, extra, comment] = [28, 30, 32].map((offset) => buffer.readUInt16LE(at + offset));
    const local = buffer.readUInt32LE(at + 42);
    const start = local + 30 + buffer.readUInt16LE(local + 26) + buffer.readUInt16LE(local + 28);
    const bytes = buffer.subarray(start, start + packed);
    const file = {
      name: buffer.toString('utf8', at + 46, at + 46 + name),
      mode: buffer.readUInt32LE(at + 38) >>> 16,
      content: method === 8 ? zlib.inflateRawSync(bytes) : bytes,
    };
    at += 46 + name + extra + comment;
    return file;
  });
}

/** Starts a server that runs until the test ends. Resolves with the first match of `ready` in its output. */
function serve(t, command, args, { ready, seconds = 60, ...options }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    t.after(() => child.kill());
    let printed = '';
    const deadline = setTimeout(() => reject(new Error(`${command} was not ready in ${seconds} s. It printed: ${printed}`)), seconds * 1000);
    const look = (chunk) => {
      printed += chunk;
      const match = ready.exec(printed);
      if (match) { clearTimeout(deadline); resolve(match); }
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('error', reject);
    child.on('close', (status) => { clearTimeout(deadline); reject(new Error(`${command} ended with ${status}. It printed: ${printed}`)); });
  });
}

module.exports = {
  EXISTING_STREAM, EXISTING_TABLES, OSLS, OTHER_PARAMETERS, ROOT, VENV, failsWith, packaged, run, serve, serviceCopy, temporary, unzip, withoutAccount,
};
