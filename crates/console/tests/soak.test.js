'use strict'

// The console under a load of 200 changes per second. `make soak` runs it for ten minutes and also requires that the rate
// is reached and that pages stay quick. `make test` runs it for twenty seconds and only prints those two, since they depend
// on the machine.

const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')
const { World } = require('./world')

const ON_DEMAND = process.env.SECONDS !== undefined
const SECONDS = Number(process.env.SECONDS ?? 20)
const RATE = 200
// docs/console.md. In a short run, the console does not come near what it may keep.
const MAX_MEMORY = (SECONDS > 60 ? 400 : 200) << 20
const PAGES = ['/', '/trail', '/invocations', '/alarms']
// In milliseconds, for 99 of 100 requests: what a person still feels as an immediate answer to a click.
const MAX_LATENCY = 500

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

const quantile = (times, part) => times.toSorted((a, b) => a - b)[Math.floor(times.length * part)]

test(`${RATE} changes per second for ${SECONDS} s: nothing is lost, pages answer, and memory is bounded`, async t => {
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
  t.diagnostic(`${counts.changes} changes, ${rate.toFixed(0)} per second, memory at most ${(highest / (1 << 20)).toFixed(0)} MB`)
  if (ON_DEMAND) assert.ok(rate > 0.9 * RATE && rate < 1.1 * RATE, `${rate} changes per second`)
  for (const address of PAGES) {
    const [median, high] = [0.5, 0.99].map(part => quantile(loaded[address], part))
    t.diagnostic(`${address}: median ${median.toFixed(0)} ms, 99 % within ${high.toFixed(0)} ms`)
    if (ON_DEMAND) assert.ok(high < MAX_LATENCY, `${address}: 99 % within ${high} ms`)
  }
  assert.deepStrictEqual([known, missedEvents], [Math.min(counts.changes, 200_000), 0])
  assert.ok(highest < MAX_MEMORY, `${highest} bytes`)
  await world.form('/trail/verify', {})
  const { verdict } = await world.until('/trail/verify', view => view.state === 'done')
  assert.strictEqual(verdict, 'The trail is intact.')
})
