'use strict';

// The artifact that `serverless package` builds: one executable for Amazon Linux 2023, small enough to start quickly.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { OSLS, ROOT, run, temporary, unzip, withoutAccount } = require('./helpers');

const LARGEST = 3_500_000;
const GLIBC_OF_AMAZON_LINUX_2023 = 34; // 2.34

test('serverless package builds bootstrap and nothing else, for Amazon Linux 2023', async (t) => {
  const directory = temporary(t);
  const packaged = await run(process.execPath, [OSLS, 'package', '--package', path.join(directory, 'package')], { env: withoutAccount(), seconds: 1500 });
  assert.equal(packaged.status, 0, packaged.all);

  const zip = fs.readFileSync(path.join(ROOT, 'target', 'lambda', 'bootstrap', 'bootstrap.zip'));
  const files = unzip(zip);
  assert.deepEqual(files.map((file) => file.name), ['bootstrap']);
  const [{ mode, content }] = files;
  assert.equal(mode & 0o555, 0o555, `everyone may read and run it, but its mode is ${mode.toString(8)}`);
  assert.ok(zip.length <= LARGEST, `the zip has ${zip.length} bytes, more than ${LARGEST}`);

  const bootstrap = path.join(directory, 'bootstrap');
  fs.writeFileSync(bootstrap, content, { mode: 0o755 });
  const symbols = await run('objdump', ['-T', bootstrap]);
  assert.equal(symbols.status, 0, symbols.all);
  const versions = [...symbols.stdout.matchAll(/GLIBC_2\.(\d+)/g)].map((match) => Number(match[1]));
  assert.ok(versions.length > 0, 'it links with glibc');
  const newest = Math.max(...versions);
  assert.ok(newest <= GLIBC_OF_AMAZON_LINUX_2023, `it needs glibc 2.${newest}`);

  t.diagnostic(`packaged in ${packaged.elapsed}; one executable, needs glibc 2.${newest}; ${zip.length} bytes zipped, ${content.length} unzipped`);
});
