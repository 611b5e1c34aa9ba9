'use strict'

// The console in a browser: Debian's Chromium, driven by playwright-core, with axe-core checking accessibility.
//
//   node --test crates/console/tests/browser.test.js              after `cargo build --workspace --bins`
//   make pictures                                                 also takes the pictures of every page, and those in docs/images

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { after, before, describe, test } = require('node:test')
const { chromium } = require('playwright-core')
const { PATIENCE, World } = require('./world')

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
const PICTURES = process.env.PICTURES

const HOSTILE = '<img src=x onerror=alert(1)>"\'&\u202e\u001b[31m'

const VIEWS = [
  { name: 'wide, light', viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
  { name: 'wide, dark', viewport: { width: 1280, height: 800 }, colorScheme: 'dark' },
  { name: 'phone, light', viewport: { width: 390, height: 844 }, colorScheme: 'light' },
  { name: 'phone, dark', viewport: { width: 390, height: 844 }, colorScheme: 'dark' }
]

let browser
before(async () => {
  // Chromium does not start with its sandbox as root, which containers use.
  const args = process.getuid() === 0 ? ['--no-sandbox'] : []
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args })
})
after(() => browser?.close())

/** Opens a page that may neither report errors nor send requests to other hosts. */
async function visitor (world, options = {}) {
  const context = await browser.newContext(options)
  context.setDefaultTimeout(PATIENCE)
  const page = await context.newPage()
  const complaints = []
  page.on('console', message => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()) })
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('dialog', dialog => { complaints.push(`a dialog: ${dialog.message()}`); dialog.dismiss() })
  page.on('request', request => { if (!request.url().startsWith(world.url)) complaints.push(`a request: ${request.url()}`) })
  return {
    page,
    open: address => page.goto(world.url + address, { waitUntil: 'load' }),
    end: async () => {
      await context.close()
      assert.deepStrictEqual(complaints, [])
    }
  }
}

async function checkAccess (page, what) {
  // Not a script tag, which the content security policy would refuse.
  await page.evaluate(AXE)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(' ').slice(0, 400)}`)
  assert.deepStrictEqual(found, [], what)
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, globalThis.innerWidth])
  assert.ok(content <= window, `${what}: ${content} px wide in a window of ${window} px`)
}

/** Every page in every view. */
async function checkAll (world, addresses, state) {
  await Promise.all(VIEWS.map(async ({ name, ...options }) => {
    const visit = await visitor(world, options)
    for (const address of addresses) {
      const response = await visit.open(address)
      assert.strictEqual(response.status(), 200, address)
      await checkAccess(visit.page, `${address}, ${state}, ${name}`)
      assert.strictEqual(await visit.page.locator('main img').count(), 0, `${address}: markup of somebody else's`)
    }
    await visit.end()
  }))
}

describe('the console', () => {
  let world
  // With Lambda's timeout of 30 seconds, each failed write would take as long.
  before(async () => { world = await World.start(['--timeout', '10']) })
  after(() => world?.stop())

  const PAGES = ['/', '/trail', '/trail/verify', '/invocations', '/dashboards', '/dashboards/operations', '/dashboards/deep-dive?range=1h&period=5m',
    '/alarms', '/alarms/InvocationErrors', '/alarms/Incident', '/runbooks/README', '/break']

  // These do not depend on the world.
  const PRACTICE = ['/practice', '/practice/faults/the-audit-table-throttles-every-write?at=60', '/practice/quiz/0']

  test('each page that is empty says what to do next, to everybody', async () => {
    await checkAll(world, [...PAGES, ...PRACTICE], 'empty')
    const visit = await visitor(world)
    for (const [address, words] of [['/', 'No changes yet'], ['/trail', 'No entries yet'], ['/invocations', 'No invocations yet']]) {
      await visit.open(address)
      await visit.page.getByText(words).waitFor()
    }
    await visit.end()
  })

  test('a newcomer sees a change arrive, breaks the table, reads the failed trace, and fixes the table', async () => {
    const visit = await visitor(world, { viewport: { width: 1280, height: 800 } })
    const { page } = visit
    await visit.open('/')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.locator('#changes').getByText('in the trail').first().waitFor()
    await page.locator('#changes').getByText('1 entry').first().waitFor()
    await page.getByRole('link', { name: 'Trail', exact: true }).click()
    await page.getByRole('link', { name: 'CACHE_TTL_SEC' }).first().click()
    await page.getByText('Every change leads to the next.').waitFor()

    await page.getByRole('link', { name: 'Break it' }).click()
    await page.getByRole('button', { name: 'Break: The Audit table answers with errors' }).click()
    await page.getByRole('button', { name: 'Fix: The Audit table answers with errors' }).waitFor()
    await page.getByRole('link', { name: 'Overview' }).click()
    await page.getByText('Deliberately broken').waitFor()
    await page.getByLabel('Value').fill('900')
    await page.getByRole('button', { name: 'Save' }).click()
    await world.until('/invocations?outcome=failed', view => view.invocations.length > 0)
    await page.goto(world.url + '/invocations?outcome=failed')
    await page.locator('#invocations tbody a').first().click()
    await page.locator('.waterfall .failed').first().waitFor()

    await page.getByRole('link', { name: 'Break it' }).click()
    await page.getByRole('button', { name: 'Fix everything' }).click()
    await page.getByText('Nothing is broken.').waitFor()
    await world.until('/', view => view.waiting === 0)
    await page.getByRole('link', { name: 'Overview' }).click()
    await page.locator('#changes tbody tr').first().getByText('in the trail').waitFor()
    await visit.end()
  })

  test('hostile keys and values stay text on every page', async () => {
    await world.form('/items', { action: 'save', key: HOSTILE, attribute: HOSTILE, value: HOSTILE })
    await world.form('/items', { action: 'save', key: HOSTILE, attribute: HOSTILE, value: HOSTILE + HOSTILE })
    const { entries } = await world.until('/trail', view => view.entries.filter(entry => entry.itemKey === HOSTILE).length === 2)
    const [entry] = entries
    const key = encodeURIComponent(HOSTILE)
    const addresses = [...PAGES, `/trail?key=${key}`, `/trail/item?key=${key}&at=2099`, `/trail/entry/${entry.id}`, `/invocations/${entry.requestId}`]
    await checkAll(world, addresses, 'with hostile data')
  })

  test('each page is usable under failure', async () => {
    await world.form('/break', { fault: 'functionCrashes', on: 'true' })
    await world.form('/items', { action: 'save', key: 'FLAG', attribute: 'value', value: 'on' })
    const { invocations } = await world.until('/invocations?outcome=failed', view => view.invocations.some(one => one.outcome === 'failed'))
    const failed = invocations.find(one => one.outcome === 'failed')
    await checkAll(world, [...PAGES, `/invocations/${failed.requestId}`], 'under failure')
    await world.form('/break', { fault: 'none' })
    await world.until('/', view => view.waiting === 0)
  })

  test('without JavaScript all is there to read, and forms work', async () => {
    const visit = await visitor(world, { javaScriptEnabled: false })
    await visit.open('/')
    await visit.page.getByText('reload for the newest').waitFor()
    await visit.page.getByRole('button', { name: 'Save' }).click()
    await visit.page.getByRole('status').getByText('is saved').waitFor()
    await visit.open('/trail')
    assert.ok(await visit.page.locator('ol.entries > li').count() > 0)
    await visit.end()
  })

  test('the keyboard reaches everything, and the content first', async () => {
    const visit = await visitor(world)
    await visit.open('/trail')
    const focused = () => visit.page.evaluate(() => document.activeElement.textContent.trim())
    await visit.page.keyboard.press('Tab')
    assert.strictEqual(await focused(), 'Skip to the content')
    await visit.page.keyboard.press('Enter')
    assert.strictEqual(await visit.page.evaluate(() => document.activeElement.id), 'content')
    await visit.page.keyboard.press('Tab')
    assert.strictEqual(await focused(), 'Is the trail intact?')
    await visit.end()
  })

  test('the values of a graph are shown under the pointer and by the arrow keys', async () => {
    // A period is drawn when its minute has passed.
    await world.until('/dashboards/operations?range=15m', ({ widgets }) => widgets.some(({ lines }) =>
      lines?.some(({ points }) => points.some(([, value]) => value > 0))))
    const visit = await visitor(world, { viewport: { width: 1280, height: 800 } })
    await visit.open('/dashboards/operations?range=15m')
    const graph = visit.page.locator('.graph', { has: visit.page.locator('.at') }).first()
    await graph.focus()
    await visit.page.keyboard.press('ArrowLeft')
    const values = await graph.locator('.values').textContent()
    assert.match(values, /^\d\d \w+ \d\d:\d\d: .+: [\d.,]+/)
    await visit.page.keyboard.press('Escape')
    assert.strictEqual(await graph.locator('.values').textContent(), '')
    assert.strictEqual(await graph.locator('.at title').last().textContent(), values)
    await visit.end()
  })

  test('an incident follows the slider, and its quiz tells right from wrong', async () => {
    const visit = await visitor(world)
    const { page } = visit
    await visit.open('/practice')
    await page.getByRole('link', { name: 'the Audit table throttles every write' }).click()
    await page.locator('#now').getByText('RecordsFailing').waitFor()
    const slider = page.getByLabel('Time', { exact: true })
    await slider.focus()
    await page.keyboard.press('Home')
    await page.locator('#now').getByText('2 hours before it begins').waitFor()
    await page.locator('#now').getByText('none').waitFor()
    await page.keyboard.press('End')
    await page.locator('#now').getByText(/2\d h \d+ min after it began/).waitFor()
    await page.locator('#happened a[aria-current]').waitFor({ state: 'detached' })
    assert.match(page.url(), /at=\d{4}/)
    await page.getByRole('link', { name: 'deep-dive' }).first().click()
    await page.getByRole('heading', { name: /deep dive/ }).waitFor()
    await page.locator('#now').getByText(/2\d h \d+ min after it began/).waitFor()
    await page.getByRole('link', { name: 'after 1 hour' }).click()
    await page.getByText('somebody removes the cause').first().waitFor()
    await page.getByText('Lost with the cause removed after 1 hour').waitFor()

    await visit.open('/practice/quiz/0')
    await page.locator('#answer').selectOption('mapping-stopped')
    await page.getByRole('button', { name: 'Open it' }).click()
    await page.getByText('is not that of this fault').waitFor()
    await page.locator('#answer').selectOption('records-failing')
    await page.getByRole('button', { name: 'Open it' }).click()
    await page.getByText('Right: the Audit table throttles every write').waitFor()
    await visit.end()
  })

  test('what the browser loads is small', async () => {
    const visit = await visitor(world)
    let bytes = 0
    visit.page.on('response', async response => { if (!response.url().includes('/live/')) bytes += (await response.body()).length })
    await visit.open('/')
    await visit.page.waitForFunction(() => document.getElementById('connection').textContent === 'live')
    assert.ok(bytes > 0 && bytes < 100_000, `${bytes} bytes`)
    await visit.end()
  })

  test('the pictures of the documents', { skip: PICTURES ? false : 'only with PICTURES' }, async () => {
    const { entries } = await world.json('/trail')
    const pictures = {
      overview: '/',
      trail: '/trail',
      item: '/trail/item?key=CACHE_TTL_SEC',
      verify: '/trail/verify',
      invocations: '/invocations',
      invocation: `/invocations/${entries[0].requestId}`,
      dashboard: '/dashboards/operations?range=15m',
      'deep-dive': '/dashboards/deep-dive?range=15m',
      alarms: '/alarms',
      alarm: '/alarms/InvocationErrors',
      break: '/break',
      practice: '/practice',
      incident: PRACTICE[1],
      quiz: PRACTICE[2]
    }
    fs.mkdirSync(PICTURES, { recursive: true })
    for (const { name, ...options } of VIEWS) {
      const visit = await visitor(world, options)
      for (const [picture, address] of Object.entries(pictures)) {
        await visit.open(address)
        const file = path.join(PICTURES, `${picture}-${name.replace(', ', '-')}.png`)
        await visit.page.screenshot({ path: file, fullPage: options.viewport.width < 500 })
        const isInDocuments = name === 'wide, light' && ['overview', 'trail', 'invocation'].includes(picture)
        if (isInDocuments) fs.copyFileSync(file, path.join(__dirname, `../../../docs/images/console-${picture}.png`))
      }
      await visit.end()
    }
  })
})
