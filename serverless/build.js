'use strict';

// Builds the function with cargo-lambda, and what `invoke local` runs with cargo.

const { existsSync } = require('fs');
const path = require('path');
const { findOnPath, start } = require('./processes');

const RUST = 'Rust is missing: there is no `cargo` on the PATH; '
  + 'install it with rustup (https://rustup.rs), then run this again';
const PYTHON = 'Python 3 is missing: there is no `python3` on the PATH, and cargo-lambda comes as a Python package; '
  + 'install Python 3 with venv and pip, or cargo-lambda itself (https://www.cargo-lambda.info), then run this again';

/** Builds `bootstrap` for Lambda, as a zip: target/lambda/bootstrap/bootstrap.zip. */
async function buildArtifact(directory, architecture, log) {
  if (!findOnPath('cargo')) throw new Error(RUST);
  const env = await withCargoLambda(directory, log);
  log.notice(`Building bootstrap for ${architecture} with cargo-lambda`);
  await build(directory, 'cargo-lambda', [
    'lambda', 'build', '--release', '--locked', '--bin', 'bootstrap', '--output-format', 'zip',
    architecture === 'arm64' ? '--arm64' : '--x86-64',
  ], env);
}

/** Builds `bootstrap` and `config-audit` for this machine; returns the folder they are in. */
async function buildForThisMachine(directory) {
  if (!findOnPath('cargo')) throw new Error(RUST);
  await build(directory, 'cargo', [
    'build', '--locked',
    '-p', 'config-audit', '--bin', 'bootstrap',
    '-p', 'config-audit-cli', '--bin', 'config-audit',
  ]);
  return path.join(directory, 'target', 'debug');
}

/** An environment with `cargo-lambda` on its PATH: the user's own, or that of .tools/venv, created if needed. */
async function withCargoLambda(directory, log) {
  if (findOnPath('cargo-lambda')) return process.env;
  const venv = path.join(directory, '.tools', 'venv');
  const bin = path.join(venv, 'bin');
  if (!existsSync(path.join(bin, 'cargo-lambda'))) {
    log.notice('Installing cargo-lambda into .tools/venv (serverless/requirements.txt), once');
    if (!findOnPath('python3')) throw new Error(PYTHON);
    await build(directory, 'python3', ['-m', 'venv', venv]);
    await build(directory, path.join(bin, 'python'), [
      '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check',
      '-r', path.join(directory, 'serverless', 'requirements.txt'),
    ]);
  }
  // cargo-lambda links with zig, a package of the same virtual environment.
  return { ...process.env, PATH: bin + path.delimiter + process.env.PATH };
}

/** Runs a build step. Its output goes to target, whatever directory the user's settings name. */
async function build(directory, command, args, env = process.env) {
  const status = await start(command, args, {
    cwd: directory, env: { ...env, CARGO_TARGET_DIR: path.join(directory, 'target') }, quiet: true,
  });
  if (status !== 0) {
    throw new Error(`\`${path.basename(command)} ${args.join(' ')}\` failed (exit status ${status}); its own messages are above`);
  }
}

module.exports = { buildArtifact, buildForThisMachine };
