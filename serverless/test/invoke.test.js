'use strict';

// `serverless invoke local` with the real function, the embedded store and every sample event, without Docker or an account.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');
const { OSLS, ROOT, run, withoutAccount } = require('./helpers');

const EVENTS = fs.readdirSync(path.join(ROOT, 'events')).filter((file) => file.endsWith('.json')).sort();

function invokeLocal(args, options = {}) {
  return run(process.execPath, [OSLS, 'invoke', 'local', '-f', 'audit', ...args], { env: withoutAccount(), seconds: 900, ...options });
}

// Two at a time: most of each is Node.js starting.
describe('invoke local', { concurrency: 2 }, () => {
  test('there are sample events', () => assert.ok(EVENTS.length > 0));

  for (const file of EVENTS) {
    test(`osls runs events/${file}`, async (t) => {
      const result = await invokeLocal(['-p', `events/${file}`]);
      assert.equal(result.status, 0, result.all);
      t.diagnostic(`answered in ${result.elapsed}`);
    });
  }

  test('--data and standard input give the same entries as a file', async (t) => {
    const event = fs.readFileSync(path.join(ROOT, 'events', 'insert.json'), 'utf8');
    for (const [args, options] of [[['--data', event], {}], [[], { input: event }]]) {
      const result = await invokeLocal(args, options);
      assert.equal(result.status, 0, result.all);
      assert.match(result.stdout, /CACHE_TTL_SEC/);
      t.diagnostic(`${args[0] || 'standard input'}: ${result.elapsed}`);
    }
  });

  test('anything that is not an event fails, with a status that scripts can check', async (t) => {
    const result = await invokeLocal(['--data', '[]']);
    assert.notEqual(result.status, 0, result.all);
    assert.doesNotMatch(result.all, /^\s+at .*:\d+:\d+\)?$/m, 'a stack trace');
    t.diagnostic(`exit status ${result.status}`);
  });
});
