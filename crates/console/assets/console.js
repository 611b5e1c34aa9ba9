// Replaces the live parts of a page as they change. Without this script, or while it is not connected, a page shows what was
// true when it was loaded.
'use strict'

const address = document.body.dataset.live
const status = document.getElementById('connection')
let source

// Restore the focus if the new content has the same element.
function replace (element, content) {
  const focused = element.contains(document.activeElement) ? document.activeElement : undefined
  element.innerHTML = content
  if (!focused) return
  const same = [...element.querySelectorAll('a, button, input, summary')].find(candidate =>
    candidate.id ? candidate.id === focused.id : candidate.getAttribute('href') === focused.getAttribute('href'))
  if (same) same.focus({ preventScroll: true })
}

function connect () {
  source = new EventSource(address)
  source.onopen = () => { status.textContent = 'live' }
  source.onmessage = event => {
    for (const [id, content] of Object.entries(JSON.parse(event.data))) {
      const element = document.getElementById(id)
      if (element) replace(element, content)
    }
  }
  source.onerror = () => { status.textContent = 'not live: the console does not answer' }
}

function disconnect () {
  source.close()
  status.textContent = 'paused'
}

if (address && status) {
  // A hidden tab keeps no connection open.
  document.addEventListener('visibilitychange', () => document.hidden ? disconnect() : connect())
  window.addEventListener('pagehide', () => source?.close())
  if (!document.hidden) connect()
}
