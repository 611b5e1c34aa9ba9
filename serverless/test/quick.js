'use strict';

// The tests that neither build nor deploy, in one process: each set of parameters is packaged once for all of them (helpers.js), and
// the files run side by side. Each file runs by itself too: `node --test serverless/test/template.test.js`.

const fs = require('node:fs');
const { describe } = require('node:test');

const SLOW = ['artifact', 'deploy', 'invoke', 'life', 'ministack'].map((name) => `${name}.test.js`);
const FILES = fs.readdirSync(__dirname).filter((file) => file.endsWith('.test.js') && !SLOW.includes(file));

describe('the service', { concurrency: FILES.length }, () => {
  for (const file of FILES) describe(file, { concurrency: 2 }, () => require(`./${file}`));
});
