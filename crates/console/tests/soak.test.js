'use strict'

// The console under a load of 200 changes per second. `make soak` runs it for ten minutes, `make test` for twenty seconds.

const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')
const { World } = require('./world')

const SECONDS = Number(process.env.SECONDS ?? 20)
const RATE = 200
// docs/console.md. In a short run, the console does not come near what it may keep.
const MAX_MEMORY = (SECONDS > 60 ? 400 : 200) << 20
const PAGES = ['/', '/trail', '/invocations', '/alarms']
// A page under load may take this many times as long as the same page of an idle world.
const MAX_RATIO = 10

function memory (pid) {
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(resident[1]) * 1024
}

async function timed (url) {
  const begun = performance.now()
  const response = await fetch(url)
  assert.strictEqual(response.status, 200, url)
  await response.text()
  return performance.now() - begun
}

const median = times => times.toSorted((a, b) => a - b)[times.length >> 1]

test(`${RATE} changes per second for ${SECONDS} s: the rate is reached, nothing is lost, pages stay quick, and memory is bounded`, async t => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'console-soak-'))
  const world = await World.start(['--directory', directory])
  t.after(async () => {
    await world.stop()
    fs.rmSync(directory, { recursive: true })
  })
  // One browser that listens, and a forgotten one that never reads.
  const listener = await fetch(world.url + '/live/overview')
  const forgotten = await fetch(world.url + '/live/overview')
  await world.form('/break/load', { rate: RATE })
  const begun = performance.now()
  const reader = listener.body.getReader()
  const loaded = Object.fromEntries(PAGES.map(address => [address, []]))
  let highest = 0
  while (performance.now() < begun + SECONDS * 1000) {
    await reader.read()
    for (const address of PAGES) loaded[address].push(await timed(world.url + address))
    highest = Math.max(highest, memory(world.process.pid))
  }
  await world.form('/break/load', { rate: 0 })
  const seconds = (performance.now() - begun) / 1000
  const rate = (await world.json('/')).counts.written / seconds
  await reader.cancel()
  await forgotten.body.cancel()
  const { counts, missedEvents } = await world.until('/', ({ waiting, counts }) =>
    waiting === 0 && counts.changes === counts.written && counts.entries === counts.changes)
  const { known } = await world.json('/trail')
  const slowest = Math.max(...Object.values(loaded).flat())
  t.diagnostic(`${counts.changes} changes, ${rate.toFixed(0)} per second, slowest page ${slowest.toFixed(0)} ms, ` +
    `memory at most ${(highest / (1 << 20)).toFixed(0)} MB`)
  assert.ok(rate > 0.9 * RATE && rate < 1.1 * RATE, `${rate} changes per second`)
  // Afterwards, because then the pages are as large as they were under load.
  for (const address of PAGES) {
    const idle = []
    while (idle.length < 20) idle.push(await timed(world.url + address))
    const ratio = median(loaded[address]) / median(idle)
    t.diagnostic(`${address}: ${median(loaded[address]).toFixed(1)} ms under load, ${ratio.toFixed(1)} times as long as without`)
    assert.ok(ratio < MAX_RATIO, `${address}: ${ratio} times as long under load`)
  }
  assert.deepStrictEqual([known, missedEvents], [Math.min(counts.changes, 200_000), 0])
  assert.ok(highest < MAX_MEMORY, `${highest} bytes`)
  await world.form('/trail/verify', {})
  const { verdict } = await world.until('/trail/verify', view => view.state === 'done')
  assert.strictEqual(verdict, 'The trail is intact.')
})
