'use strict';

// The runbooks match the alarms, and their commands work when pasted.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { ROOT, VENV, packaged, run, temporary } = require('./helpers');
const { METRIC_ALARM, PAGING, alarmsOf, isPart, kebab, metricsOf, pages, read, resources, rulesOf, runbook, whole } = require('./stack');

const DASHBOARD = 'https://REGION.console.aws.amazon.com/cloudwatch/home?region=REGION#dashboards/dashboard/config-audit-dev-REGION-operations ';

/** The first command of each page. */
const SETUP = 'export STAGE=prod AWS_REGION=eu-central-1 AWS_DEFAULT_REGION=eu-central-1 AWS_PAGER=';
const SECTIONS = ['Symptom', 'Likely causes', 'How to tell them apart', 'What to do', 'How to confirm recovery'];

test('each alarm and each rule that notifies has a runbook, with its severity, the time left, and how to recognise and remove each cause', async (t) => {
  const all = await resources(t);
  const alarms = [...alarmsOf(all), ...rulesOf(all)];
  const severe = [...PAGING, ...pages(alarmsOf(all))];
  for (const alarm of alarms) {
    const { id, AlarmDescription: description } = alarm;
    assert.ok(description.endsWith(`Runbook: docs/runbooks/${kebab(whole(alarm))}.md`), id);
    assert.ok(description.length <= 1024 && !/ {2}|\n/.test(description), id);
    if (isPart(alarm)) continue;
    if (PAGING.includes(id)) assert.ok(description.includes(DASHBOARD), `${id} links the dashboard`);

    const text = runbook(id);
    assert.ok(text.startsWith(`# ${id}\n\n- **Time left**: `), id);
    assert.match(text, /^- \*\*Lost\*\*: [^#]+^Severity: /m, id);
    assert.match(text, new RegExp(`^Severity: ${severe.includes(id) ? 'page' : 'notify'} {2}$`, 'm'), id);
    assert.deepEqual([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading), SECTIONS, id);
    const [, ...sections] = text.split(/^## .*$/m);
    for (const section of sections) assert.ok(section.trim().length > 20, id);
    const [, causes, apart, todo] = sections;
    // The two that page list alarms instead of causes.
    const numbers = PAGING.includes(id) ? [] : [...causes.matchAll(/^(\d+)\. /gm)].map(([, number]) => number);
    const named = (section) => [...new Set([...section.matchAll(/\bcause\s+(\d+)\b/g)].map(([, number]) => number))].sort();
    assert.deepEqual([named(apart), named(todo)], [numbers, numbers], `${id}: how to recognise each cause, and what to do about it`);
    const within = Number(/^Fires within: (\d+) minutes(?: {2}\nWith retries ten minutes apart: \d+ minutes)?$/m.exec(text)[1]);
    if (alarm.Type === METRIC_ALARM) {
      // One value is enough for a period to breach, and the last period may have only just begun.
      const least = (((alarm.DatapointsToAlarm || alarm.EvaluationPeriods) - 1) * metricsOf(alarm)[0].period) / 60;
      assert.ok(within > least, `${id} cannot fire within ${within} minutes: it needs ${least}`);
    }
    assert.ok(read('docs', 'runbooks', 'README.md').includes(
      `| [${id}](${kebab(id)}.md) | ${severe.includes(id) ? 'page' : 'notify'} | ${within} minutes |`), `the index has ${id}`);
  }
  const files = fs.readdirSync(path.join(ROOT, 'docs', 'runbooks'));
  const expected = alarms.filter((alarm) => !isPart(alarm)).map(({ id }) => `${kebab(id)}.md`);
  assert.deepEqual(files.sort(), [...expected, 'README.md'].sort());
  const slug = (heading) => heading.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-');
  for (const file of files) {
    for (const [, link, anchor] of read('docs', 'runbooks', file).matchAll(/\]\((?!https:)([^)#]*)#?([^)]*)\)/g)) {
      const target = path.join(ROOT, 'docs', 'runbooks', link || file);
      assert.ok(fs.existsSync(target), `${file} links ${link}`);
      const headings = [...fs.readFileSync(target, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading));
      assert.ok(!anchor || headings.includes(anchor), `${file} links ${link}#${anchor}`);
    }
  }
  t.diagnostic(`${expected.length} alarms, ${expected.length} runbooks`);
});

test('the runbooks\' commands are about the stage of the alarm, and the resources that they name exist', async (t) => {
  const all = await resources(t);
  const known = [...['FunctionName', 'TableName', 'LogGroupName', 'DashboardName', 'Name'].flatMap((name) => Object.values(all)
    .flatMap(({ Properties }) => (typeof Properties?.[name] === 'string' ? Properties[name].split('/').at(-1) : []))), 'config-audit-dev', 'config-audit-dev-'];
  let count = 0;
  for (const file of fs.readdirSync(path.join(ROOT, 'docs', 'runbooks'))) {
    const text = read('docs', 'runbooks', file).replaceAll('$AWS_REGION', 'REGION');
    assert.doesNotMatch(text, /\bdev\b/, `${file}: the answer would be about another stage than the one that paged`);
    for (const [, before, after] of text.matchAll(/((?:config-audit|Configuration|Audit)-)(?:\$STAGE|\$\{STAGE:\?\})((?:-(?:REGION|[a-z]*))*)/g)) {
      assert.ok(known.includes(`${before}dev${after}`), `${file}: ${before}$STAGE${after}`);
    }
    const lines = commands(text).replaceAll(/\\\n\s*/g, '').split('\n').filter((line) => line.trim());
    assert.equal(lines[0], SETUP, file);
    for (const command of lines) {
      // The interactive zsh of macOS does not accept comments, and its date does not know -d.
      assert.doesNotMatch(command, / # |\bdate -/, `${file}: ${command}`);
      // Without the stage these would print an empty answer, which looks as if all were well.
      if (/describe-alarms|get-metric-statistics|list-event-source-mappings/.test(command)) assert.match(command, /\$\{STAGE:\?\}|Value=\$FUNCTION |Name=ScheduleGroup,Value=default /, `${file}: ${command}`);
      if (/config-audit redrive/.test(command)) assert.match(command, / "s3:\/\/\$\{BUCKET:\?\}" --key-attribute "\$\{KEY:\?\}" \$PROVENANCE /, `${file}: ${command}`);
      if (/npx serverless /.test(command)) assert.match(command, / --stage \$STAGE$/, `${file}: ${command}`);
      count += 1;
    }
  }
  t.diagnostic(`${count} lines of commands`);
});

/** Words that AWS writes in capitals; any other word in capitals is a placeholder. */
const VALUES_IN_CAPITALS = ['AWS', 'ALARM', 'MODIFIED', 'DELETED', 'INFO', 'JSON'];

test('the runbooks\' commands work when pasted: they have no placeholders, and the AWS CLI knows each of them', async (t) => {
  const files = fs.readdirSync(path.join(ROOT, 'docs', 'runbooks'));
  const calls = (await Promise.all(files.map((file) => pasted(t, file)))).flat();
  for (const [tool, ...args] of calls) {
    const given = args.filter((_, index) => args[index - 1] !== '--query');
    const capitals = given.flatMap((argument) => argument.match(/(?<![\w-])[A-Z][A-Z-]+(?![\w-])/g) || []);
    assert.deepEqual(capitals.filter((word) => !VALUES_IN_CAPITALS.includes(word)), [], `${tool} ${args.join(' ')}`);
  }
  const aws = calls.filter(([tool, service]) => tool === 'aws' && service !== 's3').map(([, ...args]) => args);
  const mentioned = files.flatMap((file) => [...read('docs', 'runbooks', file).replaceAll(/^ *```[^]*?^ *```$/gm, '').matchAll(/`aws ([^`]*)`/g)])
    .map(([, text]) => text.split(/\s+/));
  const checked = await run(path.join(VENV, 'python'), [path.join(__dirname, 'check_commands.py')], { input: JSON.stringify([...aws, ...mentioned]) });
  assert.deepEqual([checked.status, checked.all], [0, '']);
  t.diagnostic(`${calls.length} calls, ${aws.length} of them of the AWS CLI, by the APIs' models (botocore)`);
});

test('the runbook of a changed policy puts back the policy that the template has', async (t) => {
  const role = 'arn:aws:iam::123456789012:role/config-audit';
  const recovery = 'arn:aws:iam::123456789012:role/recovery';
  for (const [args, roles] of [[[], [role, role]], [['--param', `recoveryRoleArn=${recovery}`], [role, recovery]]]) {
    const { template } = await packaged(t, args);
    const directory = temporary(t);
    await pasted(t, 'audit-policy-changed.md', directory, {
      'get-function-configuration': role, 'get-template-summary': JSON.stringify(template.Metadata), 'get-resource-policy': '{"found": true}',
    });
    const written = (file) => JSON.parse(fs.readFileSync(path.join(directory, file)));
    const made = template.Resources.AuditTable.Properties.ResourcePolicy.PolicyDocument;
    assert.equal(made.Statement[0].Condition.ArnNotEquals['aws:PrincipalArn'].includes(recovery), roles.includes(recovery));
    made.Statement[0].Condition.ArnNotEquals['aws:PrincipalArn'] = roles;
    assert.deepEqual(written('audit-policy.json'), made);
    assert.deepEqual(written('found-policy.json'), { found: true });
  }
});

/** All shell commands of a page. */
function commands(text) {
  return [...text.matchAll(/^( *)```sh\n([^]*?)^ *```$/gm)].map(([, indent, block]) => block.replaceAll(new RegExp(`^${indent}`, 'gm'), '')).join('');
}

/**
 * The calls that bash makes to stand-ins when all commands of a page are pasted: [[tool, argument, …], …]. The stand-in
 * for the AWS CLI answers each operation with its answer here, or else with "answer".
 */
async function pasted(t, file, directory = temporary(t), answers = {}) {
  const recorded = path.join(directory, 'calls');
  fs.writeFileSync(recorded, '');
  for (const tool of ['aws', 'cargo', 'config-audit', 'npx', 'python3']) {
    fs.writeFileSync(path.join(directory, tool), `#!/bin/bash\nprintf '%s\\0' ${tool} "$@" $'\\1' >> '${recorded}'\ncat "${directory}/answer-to-$2" 2>/dev/null || echo answer\n`, { mode: 0o755 });
  }
  for (const [operation, answer] of Object.entries(answers)) fs.writeFileSync(path.join(directory, `answer-to-${operation}`), `${answer}\n`);
  const shell = await run('/bin/bash', ['-euo', 'pipefail', '-c', commands(read('docs', 'runbooks', file))], {
    cwd: directory, env: { PATH: `${directory}:/usr/bin:/bin` },
  });
  assert.deepEqual([shell.status, shell.stderr], [0, ''], file);
  return fs.readFileSync(recorded, 'utf8').split('\0\x01\0').slice(0, -1).map((call) => call.split('\0'));
}
