'use strict'

const assert = require('node:assert')
const path = require('node:path')
const { spawn } = require('node:child_process')
const { createInterface } = require('node:readline')
const { setTimeout } = require('node:timers/promises')

const ROOT = path.join(__dirname, '../../..')
const BINARIES = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), 'debug')
// Long enough for a cold start on a busy machine.
const PATIENCE = 60_000

/** A local world with its console. */
class World {
  static async start (more = []) {
    const world = new World()
    const bootstrap = path.join(BINARIES, 'bootstrap')
    world.process = spawn(path.join(BINARIES, 'config-audit'),
      ['local', '--port', '0', '--console-port', '0', '--bootstrap', bootstrap, ...more], { stdio: ['ignore', 'pipe', 'ignore'] })
    world.url = await new Promise((resolve, reject) => {
      world.process.once('exit', code => reject(new Error(`the local world ended with ${code}`)))
      const lines = createInterface(world.process.stdout)
      lines.on('line', line => {
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)
        if (line.startsWith('Console') && url) resolve(url[0])
      })
    })
    return world
  }

  async stop () {
    const ended = new Promise(resolve => this.process.once('exit', resolve))
    this.process.kill('SIGTERM')
    await ended
  }

  async json (address) {
    const response = await fetch(this.url + address, { headers: { accept: 'application/json' } })
    return response.json()
  }

  async form (address, fields) {
    const { token } = await this.json('/')
    const body = new URLSearchParams({ token, ...fields })
    const response = await fetch(this.url + address, { method: 'POST', body, headers: { accept: 'application/json' } })
    assert.ok(response.ok, `${address}: ${response.status} ${await response.text()}`)
  }

  /** Requests a page repeatedly until it satisfies the condition. */
  async until (address, isWanted) {
    const deadline = Date.now() + PATIENCE
    for (;;) {
      const view = await this.json(address)
      if (isWanted(view)) return view
      assert.ok(Date.now() < deadline, `${address}: ${JSON.stringify(view).slice(0, 2000)}`)
      // Without a pause, the requests would take the CPU from what is waited for.
      await setTimeout(50)
    }
  }
}

module.exports = { PATIENCE, World }
