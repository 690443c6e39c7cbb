import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { askStream, eventsIn, lastResponse } from './listen.ts'
import type { Script } from './script.ts'
import { openSim } from './sim.ts'

const sentence = { text: 'one two three four', deltas: 2 }
const plainEvents = [
  'response.created',
  'response.in_progress',
  'response.output_item.added',
  'response.content_part.added',
  'response.output_text.delta',
  'response.output_text.delta',
  'response.output_text.done',
  'response.content_part.done',
  'response.output_item.done',
]

async function streamOf(script: Script, ask: object = {}) {
  await using sim = await openSim()
  sim.script({}, script)
  const heard = await askStream(sim, { ask }).heard
  return { heard, events: eventsIn(heard.text), line: sim.invoice[0]! }
}

test('a stream has every lifecycle event, numbered from 0, named twice, and one terminal event', async () => {
  const { heard, events } = await streamOf(sentence)

  expect(heard.headers['content-type']).toBe('text/event-stream; charset=utf-8')
  expect(events.map(event => event.type)).toEqual([...plainEvents, 'response.completed'])
  expect(events.map(event => event.name)).toEqual(events.map(event => event.type))
  expect(events.map(event => event.sequence)).toEqual(events.map((_, n) => n))
  expect(events.filter(event => event.type.endsWith('.delta')).map(event => event.fields.delta)).toEqual(['one two t', 'hree four'])
  expect(events[0]!.fields.response).toMatchObject({ status: 'in_progress', usage: null, output: [], service_tier: 'auto' })
  expect(lastResponse(heard.text)).toMatchObject({ status: 'completed', service_tier: 'default', error: null, incomplete_details: null })
})

test('reasoning, searches, an image, a text and a tool call come as items of their own, in this order', async () => {
  const { events, heard } = await streamOf({
    ...sentence,
    reasoning: 3,
    webSearches: 2,
    hugeEventBytes: 200_000,
    toolCall: { name: 'look', arguments: '{"at":1}' },
  })

  const types = (list: unknown) => (list as { type: string }[]).map(item => item.type)
  const order = ['reasoning', 'web_search_call', 'web_search_call', 'image_generation_call', 'message', 'function_call']
  expect(types(lastResponse(heard.text).output)).toEqual(order)
  expect(types(events.filter(event => event.type === 'response.output_item.done').map(event => event.fields.item))).toEqual(order)
  expect(lastResponse(heard.text).tool_usage).toEqual({ web_search: { num_requests: 2 } })
  const partial = events.find(event => event.type === 'response.image_generation_call.partial_image')!
  expect(String(partial.fields.partial_image_b64).length).toBe(200_000)
  const seen = new Set(events.map(event => event.type))
  for (const type of [
    'reasoning_summary_text.delta',
    'web_search_call.searching',
    'function_call_arguments.delta',
    'function_call_arguments.done',
  ]) {
    expect(seen).toContain(`response.${type}`)
  }
})

const begun = plainEvents.slice(0, 5)

/** How a stream ends: the events besides the plain ones, what the connection does, and what the invoice says. */
const ends: { script: Script; events: string[]; ending: 'whole' | 'broken'; cut: boolean; outputTokens: number }[] = [
  { script: {}, events: [...plainEvents, 'response.completed'], ending: 'whole', cut: false, outputTokens: 5 },
  { script: { end: 'incomplete' }, events: [...plainEvents, 'response.incomplete'], ending: 'whole', cut: false, outputTokens: 5 },
  {
    script: { end: 'incomplete', afterEvents: 5 },
    events: [...begun, 'response.incomplete'],
    ending: 'whole',
    cut: false,
    outputTokens: 3,
  },
  { script: { end: 'failed' }, events: [...plainEvents, 'response.failed'], ending: 'whole', cut: false, outputTokens: 5 },
  { script: { end: 'failed', afterEvents: 5 }, events: [...begun, 'response.failed'], ending: 'whole', cut: false, outputTokens: 3 },
  { script: { end: 'failed', afterEvents: 0 }, events: ['response.failed'], ending: 'whole', cut: false, outputTokens: 0 },
  { script: { end: 'error' }, events: [...plainEvents, 'error'], ending: 'whole', cut: true, outputTokens: 5 },
  { script: { end: 'error', afterEvents: 5 }, events: [...begun, 'error'], ending: 'whole', cut: true, outputTokens: 3 },
  { script: { errorFirst: true }, events: ['error'], ending: 'whole', cut: true, outputTokens: 0 },
  { script: { end: 'eof' }, events: plainEvents, ending: 'whole', cut: true, outputTokens: 5 },
  { script: { end: 'eof', afterEvents: 0 }, events: [], ending: 'whole', cut: true, outputTokens: 0 },
  { script: { end: 'cut' }, events: plainEvents, ending: 'broken', cut: true, outputTokens: 5 },
  { script: { end: 'cut', afterEvents: 5 }, events: begun, ending: 'broken', cut: true, outputTokens: 3 },
  { script: { end: 'cut', afterEvents: 0 }, events: [], ending: 'broken', cut: true, outputTokens: 0 },
]

test.each(ends)('an end of $script sends $events.length events and leaves the connection $ending', async expected => {
  const { script, ...wanted } = expected
  const { heard, events, line } = await streamOf({ ...sentence, ...script })

  expect(heard.status).toBe(200)
  expect({ events: events.map(event => event.type), ending: heard.ending, cut: line.cut, outputTokens: line.usage.outputTokens }).toEqual(
    wanted,
  )
  expect(events.map(event => event.sequence)).toEqual(events.map((_, n) => n))
  expect(line).toMatchObject({
    ended: script.errorFirst ? 'error' : (script.end ?? 'completed'),
    answered: events.length > 0,
    clientLeft: false,
  })
})

test('a failed answer says why, and an error event says it flat', async () => {
  const failure = { code: 'rate_limit_exceeded', message: 'Try again in 2 s.', param: 'input' }
  const failed = await streamOf({ end: 'failed', afterEvents: 3, failure })
  const error = await streamOf({ errorFirst: true, failure })

  expect(lastResponse(failed.heard.text)).toMatchObject({
    status: 'failed',
    error: { code: failure.code, message: failure.message },
    output: [],
  })
  expect(error.events[0]).toMatchObject({ type: 'error', sequence: 0, fields: failure })
})

test.each([
  ['reset', 'ECONNRESET'],
  ['cut', 'end'],
] as const)('on the socket a %s is seen as %s', async (end, seen) => {
  await using sim = await openSim()
  sim.script({}, { end, noHeaders: true, hold: 'weir' })
  const socket = connect(sim.port, '127.0.0.1')
  const closing = new Promise(resolve => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
    socket.once('end', () => resolve('end'))
  })
  socket.end('POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{"model":"m"}').resume()
  await sim.gate('weir').reached()
  sim.open('weir')

  expect(await closing).toBe(seen)
})

test('a reset comes after the events that were read', async () => {
  await using sim = await openSim()
  sim.script({}, { ...sentence, end: 'reset', afterEvents: 5, hold: { gate: 'heard', at: 5 } })
  const listening = askStream(sim)
  await listening.until('"sequence_number":4')
  sim.open('heard')
  const heard = await listening.heard

  expect(heard.code).toBe('ECONNRESET')
  expect(eventsIn(heard.text).length).toBe(5)
  expect(sim.invoice[0]).toMatchObject({ ended: 'reset', cut: true, clientLeft: false })
})

test('a stalled stream stays open until the client leaves', async () => {
  await using sim = await openSim()
  sim.script({}, { ...sentence, end: 'stall', afterEvents: 5 })
  const listening = askStream(sim)
  await listening.until('"sequence_number":4')
  await expect.poll(() => sim.invoice[0]!.ended).toBe('stall')
  listening.leave()
  await sim.gone(1)

  expect(sim.invoice[0]).toMatchObject({ ended: 'stall', cut: true, clientLeft: true, usage: { outputTokens: 3 } })
})

test.each(['cut', 'eof', 'reset'] as const)('with noHeaders a %s comes instead of the headers', async end => {
  await using sim = await openSim()
  sim.script({}, { end, noHeaders: true })
  const heard = await askStream(sim).heard

  expect(heard).toMatchObject({ status: 0, ending: 'broken', text: '' })
  expect(sim.invoice[0]).toMatchObject({ ended: end, cut: true, answered: false, clientLeft: false, usage: { inputTokens: 0 }, status: 0 })
})

test('a stream can be cut at any byte', async () => {
  await using sim = await openSim()
  for (const afterBytes of [1, 100, 101, 1500]) {
    sim.script({}, { ...sentence, end: 'eof', afterBytes })
    const { text } = await askStream(sim).heard
    expect(text.length).toBe(afterBytes)
    expect(sim.invoice.at(-1)).toMatchObject({ ended: 'eof', cut: true, answered: true })
  }
})

const framings: { script: Script; looks: (text: string) => boolean }[] = [
  { script: { doneMarker: true }, looks: text => text.endsWith('}\n\ndata: [DONE]\n\n') },
  { script: { comments: true }, looks: text => text.split(': ping\n\nevent: ').length === 11 && text.startsWith(': ping') },
  { script: { crlf: true }, looks: text => !/[^\r]\n/.test(text) && text.endsWith('\r\n\r\n') },
  { script: { crlf: true, doneMarker: true }, looks: text => text.endsWith('data: [DONE]\r\n\r\n') },
  { script: { omitEventLines: true }, looks: text => !text.includes('event:') && text.startsWith('data: ') },
  { script: {}, looks: text => !/\r|: ping|\[DONE\]/.test(text) && text.startsWith('event: response.created\ndata: {') },
]

test.each(framings)('the framing of $script is seen on the wire', async ({ script, looks }) => {
  const { heard, events } = await streamOf({ ...sentence, ...script })

  expect(looks(heard.text)).toBe(true)
  expect(events.map(event => event.type)).toEqual([...plainEvents, 'response.completed'])
})

test('chunkBytes cuts the stream wherever that is, even through a character', async () => {
  const { heard, events } = await streamOf({ text: 'ééééé', deltas: 1, chunkBytes: 7 })

  expect(Math.max(...heard.chunks.map(chunk => chunk.length))).toBe(7)
  expect(heard.chunks.some(chunk => chunk.toString('utf8').includes('\uFFFD'))).toBe(true)
  expect(events.find(event => event.type === 'response.output_text.delta')!.fields.delta).toBe('ééééé')
})

test('delays come before the headers, the first event and between events', async () => {
  await using sim = await openSim()
  sim.script({}, { ...sentence, headersAfterMs: 40, firstEventAfterMs: 40, betweenEventsMs: 10 })
  const startedMs = performance.now()
  await askStream(sim).heard

  expect(performance.now() - startedMs).toBeGreaterThanOrEqual(40 + 40 + 9 * 10 - 12) // A timer may be a millisecond early, twelve times.
})

test('an answer that lingers is complete before its connection ends, and leaving then is not leaving early', async () => {
  await using sim = await openSim()
  sim.script({}, { ...sentence, linger: 600_000 })
  const listening = askStream(sim)
  await listening.until('event: response.completed')
  expect(sim.invoice[0]).toMatchObject({ ended: 'completed', cut: false })
  listening.leave()
  await sim.idle()

  expect(sim.invoice[0]).toMatchObject({ ended: 'completed', clientLeft: false })
})

test('a client that does not read holds the stream back', async () => {
  await using sim = await openSim()
  sim.script({}, { hugeEventBytes: 40_000_000, text: 'x' })
  const listening = askStream(sim)
  await listening.until('response.created')
  listening.pauseReading()
  await new Promise(setImmediate)
  expect(sim.invoice[0]!.ended).toBe('running')
  listening.leave()
  await sim.gone(1)
  await sim.idle()

  expect(sim.invoice[0]).toMatchObject({ ended: 'left', cut: true, clientLeft: true })
})
