'use strict';

// The documentation is consistent: everything that it links and names exists, and every page can be found.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { ROOT } = require('./helpers');

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');
const list = (folder, ending) => fs.readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
  .map((entry) => path.relative(ROOT, path.join(entry.parentPath ?? entry.path, entry.name)));

const PAGES = list('docs', '.md');
const DOCUMENTS = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'fuzz/README.md', 'bench/README.md', ...PAGES];

/** A document without its blocks of code, which begin with a fence or are indented by four spaces after an empty line. */
const prose = (file) => read(file).replaceAll(/^ *```[^]*?^ *```$/gm, '').replaceAll(/(?<=\n\n)(?: {4}.*\n)+/g, '');

/** The links of a document to other files: [[file, anchor], …]. */
const links = (file) => [...prose(file).matchAll(/\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)/g)]
  .map(([, target, anchor]) => [path.normalize(target ? path.join(path.dirname(file), target) : file), anchor]);

/** The anchors of a document, as GitHub makes them of headings. */
const anchors = (file) => [...prose(file).matchAll(/^#+ (.*)$/gm)]
  .map(([, heading]) => heading.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-'));

test('every link of the documents leads somewhere', (t) => {
  let count = 0;
  for (const file of DOCUMENTS) {
    for (const [target, anchor] of links(file)) {
      assert.ok(fs.existsSync(path.join(ROOT, target)), `${file} links ${target}`);
      assert.ok(!anchor || anchors(target).includes(anchor), `${file} links ${target}#${anchor}`);
      count += 1;
    }
  }
  assert.ok(count > 100, `${count} links`);
  t.diagnostic(`${count} links in ${DOCUMENTS.length} documents`);
});

test('every page of docs/ can be reached from its index, and the index from the README', () => {
  const reached = new Set(['docs/README.md']);
  for (const page of reached) {
    for (const [target] of links(page)) if (PAGES.includes(target)) reached.add(target);
  }
  assert.deepEqual([...reached].sort(), PAGES.toSorted());
  assert.ok(links('README.md').some(([target]) => target === 'docs/README.md'));
});

test('the README is short', () => {
  const lines = read('README.md').trimEnd().split('\n').length;
  assert.ok(lines <= 180, `${lines} lines; a detail belongs in docs/`);
});

test('files, tests and make targets that the documents name exist', (t) => {
  const exists = (name) => ['', '.rs'].some((ending) => fs.existsSync(path.join(ROOT, name + ending)));
  const sources = ['src', 'crates', 'fuzz/targets', 'fuzz/src'].flatMap((folder) => list(folder, '.rs')).map(read).join('\n');
  const targets = [...read('Makefile').matchAll(/^([a-z-]+):/gm)].map(([, target]) => target);
  const found = { files: 0, tests: 0, targets: 0 };
  for (const file of DOCUMENTS.filter((document) => document !== 'CHANGELOG.md')) {
    const text = /^(fuzz|bench)\//.test(file) ? '' : prose(file);
    for (const [, name] of text.matchAll(/`((?:src|crates|serverless|alarms|dashboards|events|examples|fuzz|bench|docs)\/[\w./-]*)`/g)) {
      assert.ok(exists(name), `${file} names ${name}`);
      found.files += 1;
    }
    for (const [, name] of text.matchAll(/`([a-z0-9]+(?:_[a-z0-9]+){3,})`/g)) {
      assert.ok(sources.includes(`fn ${name}(`), `${file} names the test ${name}`);
      found.tests += 1;
    }
    for (const [, target] of read(file).matchAll(/(?:`|^)make ([a-z-]+)/gm)) {
      assert.ok(targets.includes(target), `${file} names make ${target}`);
      found.targets += 1;
    }
  }
  assert.ok(found.files > 30 && found.tests > 3 && found.targets > 20, JSON.stringify(found));
  t.diagnostic(`${found.files} files, ${found.tests} tests, ${found.targets} mentions of make`);
});

test('commands and options of config-audit that the documents show exist', (t) => {
  const files = list('crates/cli/src', '.rs');
  let count = 0;
  for (const file of DOCUMENTS.filter((document) => document !== 'CHANGELOG.md')) {
    const text = read(file).replaceAll(/\\\n\s*/g, '');
    const code = [...text.matchAll(/^ *```[^]*?^ *```$|^ {4}.*$|`[^`]+`/gm)].flatMap(([block]) => block.split('\n'));
    for (const [, command, rest] of code.flatMap((line) => [...line.matchAll(/(?<![\w./-])config-audit ([a-z]+)(.*)/g)])) {
      const own = files.filter((source) => source.includes(`/commands/${command}`));
      assert.ok(own.length > 0, `${file}: config-audit ${command}`);
      // What several commands have: which account, which tables, which times, and how the function is run.
      const shared = ['aws/mod.rs', 'tables.rs', 'moment.rs', 'commands/invoke.rs'].map((source) => `crates/cli/src/${source}`);
      const source = [...own, ...shared].map(read).join('\n');
      for (const [, option] of rest.matchAll(/ --([a-z-]+)/g)) {
        const field = new RegExp(`^    (?:pub )?${option.replaceAll('-', '_')}: `, 'm');
        assert.ok(field.test(source), `${file}: config-audit ${command} --${option}`);
        count += 1;
      }
    }
  }
  assert.ok(count > 20, `${count} options`);
  t.diagnostic(`${count} options`);
});
