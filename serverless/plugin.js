'use strict';

// What Serverless cannot do for a function in Rust:
//   package, deploy   build `bootstrap` for Lambda and zip it, with cargo-lambda
//   invoke local      run the real bootstrap on this machine, without Docker or an AWS account

const { spawn } = require('child_process');
const { existsSync } = require('fs');
const path = require('path');

class ConfigAuditPlugin {
  constructor(serverless, options, { log }) {
    this.serverless = serverless;
    this.options = options;
    this.log = log;
    this.hooks = {
      'initialize': () => {
        this.leaveOutExistingTables();
        this.writeDashboardsAsText();
        this.takeOverInvokeLocal();
      },
      'before:package:createDeploymentArtifacts': () => this.buildArtifact(),
      'before:package:function:package': () => this.buildArtifact(), // `serverless deploy function`
    };
  }

  /** The stack neither creates nor changes existing tables. */
  leaveOutExistingTables() {
    const { custom, resources } = this.serverless.service;
    for (const [table, existing] of Object.entries(custom.existingTables)) if (existing) delete resources.Resources[table];
    const stream = custom.existingTables.ConfigurationTable;
    if (stream) resources.Parameters.ConfigurationTableName.Default = stream.split('/')[1]; // arn:aws:dynamodb:…:table/NAME/stream/…
  }

  /** CloudFormation expects a dashboard's body as text, and substitutes names only in text. */
  writeDashboardsAsText() {
    for (const { Type, Properties } of Object.values(this.serverless.service.resources.Resources)) {
      if (Type === 'AWS::CloudWatch::Dashboard') Properties.DashboardBody = { 'Fn::Sub': JSON.stringify(Properties.DashboardBody) };
    }
  }

  // ---- package, deploy -------------------------------------------------------------------------------------------

  async buildArtifact() {
    const { architecture = 'x86_64' } = this.serverless.service.provider;
    if (!findOnPath('cargo')) throw this.error(RUST);
    const env = await this.withCargoLambda();
    this.log.notice(`Building bootstrap for ${architecture} with cargo-lambda`);
    await this.run('cargo-lambda', [
      'lambda', 'build', '--release', '--locked', '--bin', 'bootstrap', '--output-format', 'zip',
      architecture === 'arm64' ? '--arm64' : '--x86-64',
    ], { env });
  }

  /** An environment with `cargo-lambda` on its PATH: the user's own, or that of .tools/venv, made if needed. */
  async withCargoLambda() {
    if (findOnPath('cargo-lambda')) return process.env;
    const venv = this.inService('.tools', 'venv');
    const bin = path.join(venv, 'bin');
    if (!existsSync(path.join(bin, 'cargo-lambda'))) {
      this.log.notice('Installing cargo-lambda into .tools/venv (serverless/requirements.txt), once');
      if (!findOnPath('python3')) throw this.error(PYTHON);
      await this.run('python3', ['-m', 'venv', venv]);
      await this.run(path.join(bin, 'python'), [
        '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check',
        '-r', this.inService('serverless', 'requirements.txt'),
      ]);
    }
    // cargo-lambda links with zig, a package of the same virtual environment.
    return { ...process.env, PATH: bin + path.delimiter + process.env.PATH };
  }

  // ---- invoke local ----------------------------------------------------------------------------------------------

  /** Serverless parses the options and reads the event. What it does next needs Docker for this runtime, so it is replaced. */
  takeOverInvokeLocal() {
    if (this.serverless.processedInput.commands.join(' ') !== 'invoke local') return;
    const aws = this.serverless.pluginManager.plugins.find((plugin) => plugin.constructor.name === 'AwsInvokeLocal');
    if (!aws) throw this.error(UNKNOWN_SERVERLESS);
    aws.loadEnvVars = async () => {}; // Serverless's own looks for credentials and for the deployed stack.
    aws.invokeLocal = () => this.invokeLocal(aws);
  }

  async invokeLocal(aws) {
    const { provider, custom } = this.serverless.service;
    const { functionObj, data } = aws.options;
    if (data === '') throw this.error(NO_EVENT);
    if (!['memory', 'aws'].includes(custom.store)) {
      throw this.error(`the parameter store is "${custom.store}"; it must be memory or aws`);
    }

    if (!findOnPath('cargo')) throw this.error(RUST);
    await this.run('cargo', [
      'build', '--locked',
      '-p', 'config-audit', '--bin', 'bootstrap',
      '-p', 'config-audit-cli', '--bin', 'config-audit',
    ]);

    let environment = aws.getConfiguredEnvVars();
    let credentials = {};
    if (custom.store === 'aws') {
      environment = await aws.resolveConfiguredEnvVars(environment); // `!Ref FailureBucket` becomes the deployed stack's bucket.
      credentials = { AWS_REGION: aws.provider.getRegion(), ...(await aws.getCredentialEnvVars()) };
    }
    const literal = Object.entries({ ...environment, ...aws.getEnvVarsFromOptions() })
      .filter(([, value]) => typeof value !== 'object') // Without a deployed stack a Ref has no value.
      .flatMap(([name, value]) => ['--env', `${name}=${value}`]);

    // config-audit has printed what went wrong, so only its exit status is passed on.
    const status = await this.spawn(this.inService('target', 'debug', 'config-audit'), [
      'invoke',
      '--bootstrap', this.inService('target', 'debug', 'bootstrap'),
      '--store', custom.store,
      '--function-name', functionObj.name,
      '--timeout', String(functionObj.timeout || provider.timeout || 6),
      '--memory', String(functionObj.memorySize || provider.memorySize || 1024),
      ...literal,
    ], { env: { ...process.env, ...credentials }, input: typeof data === 'string' ? data : JSON.stringify(data) });
    if (typeof status !== 'number') throw this.error(`config-audit was killed by ${status}`);
    process.exitCode = status;
  }

  // ---- helpers ---------------------------------------------------------------------------------------------------

  inService(...parts) {
    return path.join(this.serverless.serviceDir, ...parts);
  }

  error(message) {
    return new this.serverless.classes.Error(message, 'CONFIG_AUDIT');
  }

  /** Runs a build step. Its output goes to standard error, except cargo's line "Finished". */
  async run(command, args, { env } = {}) {
    const name = path.basename(command);
    // The plugin looks for what is built in target, whatever directory the user's settings name.
    const status = await this.spawn(command, args, {
      env: { ...(env || process.env), CARGO_TARGET_DIR: this.inService('target') },
      quiet: true,
    });
    if (status !== 0) throw this.error(`\`${name} ${args.join(' ')}\` failed (exit status ${status}); its own messages are above`);
  }

  spawn(command, args, { env = process.env, input, quiet }) {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd: this.serverless.serviceDir,
        env,
        stdio: [input === undefined ? 'ignore' : 'pipe', quiet ? process.stderr : 'inherit', quiet ? 'pipe' : 'inherit'],
      });
      child.on('error', ({ message }) => reject(this.error(`cannot start ${command}: ${message}`)));
      child.on('close', (code, signal) => resolve(code === null ? `signal ${signal}` : code));
      if (quiet) forwardLines(child.stderr, (line) => !/^\s*Finished /.test(line));
      if (input !== undefined) {
        child.stdin.on('error', () => {}); // The process ended without reading the event; its exit status says why.
        child.stdin.end(input);
      }
    });
  }
}

const UNKNOWN_SERVERLESS = 'this version of Serverless has no `invoke local` that the plugin can replace; '
  + 'use the osls that package.json pins: `npm ci`, then `npx serverless`';
const NO_EVENT = 'there is no event; give a file with --path, JSON with --data, or an event on standard input, as in '
  + '`serverless invoke local -f audit -p events/insert.json`';
const RUST = 'Rust is missing: there is no `cargo` on the PATH; '
  + 'install it with rustup (https://rustup.rs), then run this again';
const PYTHON = 'Python 3 is missing: there is no `python3` on the PATH, and cargo-lambda comes as a Python package; '
  + 'install Python 3 with venv and pip, or cargo-lambda itself (https://www.cargo-lambda.info), then run this again';

function findOnPath(name) {
  return (process.env.PATH || '').split(path.delimiter).some((directory) => directory && existsSync(path.join(directory, name)));
}

function forwardLines(stream, wanted) {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) if (wanted(line)) process.stderr.write(`${line}\n`);
  });
  stream.on('end', () => rest && wanted(rest) && process.stderr.write(rest));
}

module.exports = ConfigAuditPlugin;
