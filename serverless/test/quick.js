'use strict';

// The tests that build nothing, in one process: each set of parameters is packaged once for all of them (helpers.js), and
// the files run side by side. Each file runs by itself too: `node --test serverless/test/template.test.js`.

const { describe } = require('node:test');

const FILES = ['plugin', 'template', 'security', 'operations', 'runbooks'];

describe('the service', { concurrency: FILES.length }, () => {
  for (const file of FILES) describe(file, { concurrency: 2 }, () => require(`./${file}.test`));
});
