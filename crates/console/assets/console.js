// Replaces the live parts of a page as they change. Without this script, or while it is not connected, a page shows what was
// true when it was loaded.
'use strict'

const address = document.body.dataset.live
const status = document.getElementById('connection')
let source

// Restore the focus if the new content has the same element.
function replace (element, content) {
  const focused = element.contains(document.activeElement) ? document.activeElement : undefined
  const chosen = focused?.dataset.at
  element.innerHTML = content
  if (!focused) return
  const same = [...element.querySelectorAll('a, button, input, summary, .graph')].find(candidate =>
    candidate.id ? candidate.id === focused.id : candidate.getAttribute('href') === focused.getAttribute('href'))
  if (same) same.focus({ preventScroll: true })
  if (same && chosen) showValues(same, Number(chosen))
}

// Shows the values of a graph at the time of one of its columns: the one that is pointed at, or chosen with the arrow keys.
function showValues (graph, position) {
  const columns = [...graph.querySelectorAll('.at')]
  if (!columns.length) return
  const chosen = Math.min(Math.max(position, 0), columns.length - 1)
  columns.forEach((column, index) => column.classList.toggle('current', index === chosen))
  graph.dataset.at = chosen
  graph.querySelector('.values').textContent = columns[chosen].querySelector('title').textContent
}

function hideValues (graph) {
  delete graph.dataset.at
  graph.querySelector('.values').textContent = ''
  for (const column of graph.querySelectorAll('.current')) column.classList.remove('current')
}

document.addEventListener('keydown', event => {
  const graph = document.activeElement.closest('.graph')
  if (!graph) return
  const last = graph.querySelectorAll('.at').length - 1
  const at = Number(graph.dataset.at ?? last + 1)
  const position = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key]
  if (position !== undefined) {
    event.preventDefault()
    showValues(graph, position)
  } else if (event.key === 'Escape') {
    hideValues(graph)
  }
})
document.addEventListener('focusout', event => {
  if (event.target.matches?.('.graph')) hideValues(event.target)
})

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

// Follows the slider of an incident: fetches the page at its position, one at a time, and replaces the parts that follow.
const slider = document.querySelector('form.slider')

async function follow (form) {
  const url = new URL(form.action)
  url.search = new URLSearchParams(new FormData(form))
  const response = await fetch(url, { headers: { accept: 'text/html' } })
  if (!response.ok) return
  const page = new DOMParser().parseFromString(await response.text(), 'text/html')
  form.elements.at.setAttribute('aria-valuetext', page.getElementById('at').getAttribute('aria-valuetext'))
  for (const part of document.querySelectorAll('.follows')) replace(part, page.getElementById(part.id).innerHTML)
  for (const field of document.querySelectorAll('input[type=hidden][name=at]')) field.value = form.elements.at.value
  history.replaceState(null, '', url)
}

if (slider) {
  let isBusy = false
  let position
  slider.addEventListener('input', async () => {
    if (isBusy) return
    isBusy = true
    // It may have moved on meanwhile.
    while (position !== slider.elements.at.value) {
      position = slider.elements.at.value
      // If the console does not answer, the page stays as it is; the button says why.
      await follow(slider).catch(() => {})
    }
    isBusy = false
  })
}
