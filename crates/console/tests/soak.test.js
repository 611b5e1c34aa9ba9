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
// docs/console.md: what the console keeps, and what the rest of the world needs besides.
const MAX_MEMORY = 400 << 20

function memory (pid) {
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(resident[1]) * 1024
}

test(`${RATE} changes per second for ${SECONDS} s: nothing is lost, and memory stays within its bound`, async t => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'console-soak-'))
  const world = await World.start(['--directory', directory])
  t.after(async () => {
    await world.stop()
    fs.rmSync(directory, { recursive: true })
  })
  // One browser that listens, and a forgotten one that never reads.
  const listener = await fetch(world.url + '/live/overview')
  const forgotten = await fetch(world.url + '/live/overview')
  const end = Date.now() + SECONDS * 1000
  await world.form('/break/load', { rate: RATE })
  const reader = listener.body.getReader()
  let [slowest, highest] = [0, 0]
  while (Date.now() < end) {
    await reader.read()
    for (const address of ['/', '/trail', '/invocations', '/alarms']) {
      const begun = performance.now()
      assert.strictEqual((await fetch(world.url + address)).status, 200, address)
      slowest = Math.max(slowest, performance.now() - begun)
    }
    highest = Math.max(highest, memory(world.process.pid))
  }
  await world.form('/break/load', { rate: 0 })
  await reader.cancel()
  await forgotten.body.cancel()
  const { counts, missedEvents } = await world.until('/', view => view.waiting === 0 && view.counts.entries === view.counts.changes)
  const { known } = await world.json('/trail')
  t.diagnostic(`${counts.changes} changes, slowest page ${slowest.toFixed(0)} ms, memory at most ${(highest / (1 << 20)).toFixed(0)} MB`)
  assert.ok(counts.changes > SECONDS, `only ${counts.changes} changes`)
  assert.deepStrictEqual([known, missedEvents], [Math.min(counts.changes, 200_000), 0])
  assert.ok(highest < MAX_MEMORY, `${highest} bytes`)
  await world.form('/trail/verify', {})
  const { verdict } = await world.until('/trail/verify', view => view.state === 'done')
  assert.strictEqual(verdict, 'The trail is intact.')
})
