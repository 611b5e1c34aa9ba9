'use strict';

// Starting other programs.

const { spawn } = require('child_process');
const { existsSync } = require('fs');
const path = require('path');

function findOnPath(name) {
  return (process.env.PATH || '').split(path.delimiter).some((directory) => directory && existsSync(path.join(directory, name)));
}

/**
 * Runs a program in a directory; resolves with its exit status, or with the signal that ended it, as text. If it is `quiet`,
 * all its output goes to standard error, except cargo's line "Finished".
 */
function start(command, args, { cwd, env = process.env, input, quiet }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: [input === undefined ? 'ignore' : 'pipe', quiet ? process.stderr : 'inherit', quiet ? 'pipe' : 'inherit'],
    });
    child.on('error', ({ message }) => reject(new Error(`cannot start ${command}: ${message}`)));
    child.on('close', (code, signal) => resolve(code === null ? `signal ${signal}` : code));
    if (quiet) forwardLines(child.stderr, (line) => !/^\s*Finished /.test(line));
    if (input !== undefined) {
      child.stdin.on('error', () => {}); // The process ended without reading the event; its exit status says why.
      child.stdin.end(input);
    }
  });
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

module.exports = { findOnPath, start };
