'use strict'

// The console in a browser: Debian's Chromium, driven by playwright-core, with axe-core checking accessibility.
//
//   node --test crates/console/tests/browser.test.js              after `cargo build --workspace --bins`
//   make pictures                                                 also takes the pictures of every page, and those in docs/images

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { after, afterEach, before, describe, test } = require('node:test')
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

/** A tab of a browser, whose pages may neither report errors nor send requests to other hosts. */
class Tab {
  static async open (world, options = {}) {
    const context = await browser.newContext(options)
    context.setDefaultTimeout(PATIENCE)
    const page = await context.newPage()
    const complaints = []
    page.on('console', message => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()) })
    page.on('pageerror', error => complaints.push(String(error)))
    page.on('dialog', dialog => { complaints.push(`a dialog: ${dialog.message()}`); dialog.dismiss() })
    page.on('request', request => { if (!request.url().startsWith(world.url)) complaints.push(`a request: ${request.url()}`) })
    return Object.assign(new Tab(), { world, context, page, complaints })
  }

  async visit (address, view = VIEWS[0]) {
    await this.show(view)
    return this.page.goto(this.world.url + address, { waitUntil: 'load' })
  }

  async show ({ viewport, colorScheme }) {
    await this.page.setViewportSize(viewport)
    await this.page.emulateMedia({ colorScheme })
  }

  /** Fails if a page has reported an error or sent a request to another host since the last call. */
  check () {
    assert.deepStrictEqual(this.complaints.splice(0), [])
  }

  async close () {
    await this.context.close()
    this.check()
  }
}

/** Loads axe, and makes sure that a dark view differs from a light one only in colours. */
async function prepare (page) {
  // Not a script tag, which the content security policy would refuse.
  await page.evaluate(AXE)
  const others = await page.evaluate(() => [...document.styleSheets].flatMap(sheet => [...sheet.cssRules])
    .filter(rule => rule.conditionText?.includes('prefers-color-scheme')).flatMap(rule => [...rule.cssRules])
    .flatMap(rule => [...rule.style].filter(name => !globalThis.CSS.supports('color', rule.style.getPropertyValue(name)))))
  assert.deepStrictEqual(others, [], 'set by a dark view, but not a colour')
}

// The rules of axe that look at colours. So a dark view has to be checked against these only.
const COLOURS = ['color-contrast', 'link-in-text-block']

async function checkAccess (page, rules, what) {
  const found = await page.evaluate(async rules => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'], selectors: false, ...rules })
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(' ').slice(0, 400)}`)
  }, rules)
  assert.deepStrictEqual(found, [], what)
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, globalThis.innerWidth])
  assert.ok(content <= window, `${what}: ${content} px wide in a window of ${window} px`)
}

/**
 * Every page in every view. Each page is loaded once, because the console sends the same page to every screen: the view only
 * selects style rules. The tabs share the addresses, so that one is busy while the other waits.
 */
async function checkAll (tabs, addresses, state) {
  const left = [...addresses]
  await Promise.all(tabs.map(async tab => {
    for (let address = left.shift(); address !== undefined; address = left.shift()) {
      const response = await tab.visit(address)
      assert.strictEqual(response.status(), 200, address)
      assert.strictEqual(await tab.page.locator('main img').count(), 0, `${address}: markup of somebody else's`)
      await prepare(tab.page)
      for (const view of VIEWS) {
        await tab.show(view)
        await checkAccess(tab.page, view.colorScheme === 'dark' ? { runOnly: COLOURS } : {}, `${address}, ${state}, ${view.name}`)
      }
    }
  }))
}

// These do not depend on the world.
const FIXED = ['/dashboards', '/runbooks/README', '/practice', '/practice/faults/the-audit-table-throttles-every-write?at=60', '/practice/quiz/0']
const PAGES = ['/', '/trail', '/trail/verify', '/invocations', '/dashboards/operations', '/dashboards/deep-dive?range=1h&period=5m',
  '/alarms', '/alarms/InvocationErrors', '/alarms/Incident', '/break']

/** A period is drawn when its minute has passed. */
function untilGraphsHaveData (world) {
  return world.until('/dashboards/operations?range=15m', ({ widgets }) => widgets.some(({ lines }) =>
    lines?.some(({ points }) => points.some(([, value]) => value > 0))))
}

// The two worlds are tested at the same time: one often waits, for example until a write has failed.
describe('the console', { concurrency: true }, () => {
  describe('of a new world', { concurrency: false }, () => {
    let world, tabs, tab
    before(async () => {
      world = await World.start()
      tabs = [await Tab.open(world), await Tab.open(world)]
      tab = tabs[0]
    })
    afterEach(() => tabs?.forEach(tab => tab.check()))
    after(() => world?.stop())

    test('each page that is empty says what to do next, to everybody', async () => {
      await checkAll(tabs, [...PAGES, ...FIXED], 'empty')
      for (const [address, words] of [['/', 'No changes yet'], ['/trail', 'No entries yet'], ['/invocations', 'No invocations yet']]) {
        await tab.visit(address)
        await tab.page.getByText(words).waitFor()
      }
    })

    test('the keyboard reaches everything, and the content first', async () => {
      await tab.visit('/trail')
      const focused = () => tab.page.evaluate(() => document.activeElement.textContent.trim())
      await tab.page.keyboard.press('Tab')
      assert.strictEqual(await focused(), 'Skip to the content')
      await tab.page.keyboard.press('Enter')
      assert.strictEqual(await tab.page.evaluate(() => document.activeElement.id), 'content')
      await tab.page.keyboard.press('Tab')
      assert.strictEqual(await focused(), 'Is the trail intact?')
    })

    test('an incident follows the slider, and its quiz tells right from wrong', async () => {
      const { page } = tab
      await tab.visit('/practice')
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

      await tab.visit('/practice/quiz/0')
      await page.locator('#answer').selectOption('mapping-stopped')
      await page.getByRole('button', { name: 'Open it' }).click()
      await page.getByText('is not that of this fault').waitFor()
      await page.locator('#answer').selectOption('records-failing')
      await page.getByRole('button', { name: 'Open it' }).click()
      await page.getByText('Right: the Audit table throttles every write').waitFor()
    })
  })

  describe('of a world with changes', { concurrency: false }, () => {
    let world, tabs, tab
    before(async () => {
      // With Lambda's timeout of 30 seconds, each failed write would take as long.
      world = await World.start(['--timeout', '10'])
      tabs = [await Tab.open(world), await Tab.open(world)]
      tab = tabs[0]
    })
    afterEach(() => tabs?.forEach(tab => tab.check()))
    after(() => world?.stop())

    test('a newcomer sees a change arrive, breaks the table, reads the failed trace, and fixes the table', async () => {
      const { page } = tab
      await tab.visit('/')
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
    })

    test('without JavaScript all is there to read, and forms work', async () => {
      const tab = await Tab.open(world, { javaScriptEnabled: false })
      await tab.visit('/')
      await tab.page.getByText('reload for the newest').waitFor()
      await tab.page.getByRole('button', { name: 'Save' }).click()
      await tab.page.getByRole('status').getByText('is saved').waitFor()
      await tab.visit('/trail')
      assert.ok(await tab.page.locator('ol.entries > li').count() > 0)
      await tab.close()
    })

    test('what the browser loads is small', async () => {
      // The other tabs have a cache.
      const tab = await Tab.open(world)
      let bytes = 0
      tab.page.on('response', async response => { if (!response.url().includes('/live/')) bytes += (await response.body()).length })
      await tab.visit('/')
      await tab.page.waitForFunction(() => document.getElementById('connection').textContent === 'live')
      assert.ok(bytes > 0 && bytes < 100_000, `${bytes} bytes`)
      await tab.close()
    })

    test('the values of a graph are shown under the pointer and by the arrow keys', async () => {
      await untilGraphsHaveData(world)
      await tab.visit('/dashboards/operations?range=15m')
      const graph = tab.page.locator('.graph', { has: tab.page.locator('.at') }).first()
      await graph.focus()
      await tab.page.keyboard.press('ArrowLeft')
      // Read both at once, because a live graph gets a new column every minute.
      const [values, last] = await graph.evaluate(element =>
        [element.querySelector('.values').textContent, [...element.querySelectorAll('.at title')].at(-1).textContent])
      assert.match(values, /^\d\d \w+ \d\d:\d\d: .+: [\d.,]+/)
      assert.strictEqual(values, last)
      await tab.page.keyboard.press('Escape')
      assert.strictEqual(await graph.locator('.values').textContent(), '')
    })

    test('hostile keys and values stay text on every page', async () => {
      await world.form('/items', { action: 'save', key: HOSTILE, attribute: HOSTILE, value: HOSTILE })
      await world.form('/items', { action: 'save', key: HOSTILE, attribute: HOSTILE, value: HOSTILE + HOSTILE })
      const { entries } = await world.until('/trail', view => view.entries.filter(entry => entry.itemKey === HOSTILE).length === 2)
      await untilGraphsHaveData(world)
      await world.form('/trail/verify', {})
      await world.until('/trail/verify', ({ state }) => state === 'done')
      const [entry] = entries
      const key = encodeURIComponent(HOSTILE)
      const addresses = [...PAGES, `/trail?key=${key}`, `/trail/item?key=${key}&at=2099`, `/trail/entry/${entry.id}`, `/invocations/${entry.requestId}`]
      await checkAll(tabs, addresses, 'with hostile data')
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
        incident: FIXED[3],
        quiz: FIXED[4]
      }
      fs.mkdirSync(PICTURES, { recursive: true })
      for (const view of VIEWS) {
        const { name, viewport } = view
        for (const [picture, address] of Object.entries(pictures)) {
          await tab.visit(address, view)
          const file = path.join(PICTURES, `${picture}-${name.replace(', ', '-')}.png`)
          await tab.page.screenshot({ path: file, fullPage: viewport.width < 500 })
          const isInDocuments = name === 'wide, light' && ['overview', 'trail', 'invocation'].includes(picture)
          if (isInDocuments) fs.copyFileSync(file, path.join(__dirname, `../../../docs/images/console-${picture}.png`))
        }
      }
    })

    test('each page is usable under failure', async () => {
      await world.form('/break', { fault: 'functionCrashes', on: 'true' })
      await world.form('/items', { action: 'save', key: 'FLAG', attribute: 'value', value: 'on' })
      const { invocations } = await world.until('/invocations?outcome=failed', view => view.invocations.some(one => one.outcome === 'failed'))
      const failed = invocations.find(one => one.outcome === 'failed')
      await checkAll(tabs, [...PAGES, `/invocations/${failed.requestId}`], 'under failure')
    })
  })
})
