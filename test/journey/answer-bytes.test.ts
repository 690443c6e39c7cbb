import { describe, expect, test } from 'vitest'
import type { Script } from '../../sim/script.ts'
import { openSim } from '../../sim/sim.ts'
import { openStream, send } from '../client.ts'
import { sharedWorld } from '../shared-world.ts'
import { openWorld } from '../world.ts'

/** SPEC 1.7: what the upstream sends is what the client gets, to the byte and event by event. */

const world = sharedWorld({
  accounts: [{}, { name: 'alias', apiKey: 'up-alias', models: { fast: 'sim' } }],
  settings: { silenceCommentMs: 0 },
})

/** What a scripted upstream sends for this script. */
async function streamOf(script: Script): Promise<string> {
  await using sim = await openSim()
  sim.script({}, script)
  await using stream = openStream({ url: sim.url, key: 'up' })
  await stream.begun
  await stream.rest()
  return stream.text
}

/** The gateway's answer when the upstream sends exactly these bytes, in chunks of so many. */
async function relayed(bytes: string, { chunkBytes, model = 'sim' }: { chunkBytes?: number | undefined; model?: string } = {}) {
  const script: Script = { rawBody: bytes, headers: { 'content-type': 'text/event-stream' }, ...(chunkBytes && { chunkBytes }) }
  world().sim.script({}, script)
  await using stream = openStream(world(), { body: { model } })
  const { status, headers } = await stream.begun
  await stream.rest()
  expect([status, headers['content-type']]).toEqual([200, 'text/event-stream'])
  return stream.text
}

const shapes: Readonly<Record<string, Script>> = {
  'a plain answer': {},
  'text in many scripts': { text: '水は低きに流れる 🌊 “größe” \u2028 ö'.repeat(4), deltas: 100 },
  'CR LF': { crlf: true },
  'no event lines': { omitEventLines: true },
  '[DONE] at the end': { doneMarker: true },
  'reasoning, a search, a picture, a text and a tool': {
    reasoning: 30,
    webSearches: 1,
    hugeEventBytes: 5000,
    text: 'Yes.',
    toolCall: { name: 'open_gate', arguments: '{"width":3}' },
  },
  'an incomplete answer': { end: 'incomplete', afterEvents: 6 },
  'a failed answer': { end: 'failed', afterEvents: 6 },
}

const chunks = [undefined, 1, 7, 4096] as const

test.for(Object.keys(shapes).flatMap(name => chunks.map(chunkBytes => ({ name, chunkBytes }))))(
  '$name, in chunks of $chunkBytes bytes, is passed untouched',
  async ({ name, chunkBytes }) => {
    const bytes = await streamOf(shapes[name]!)
    expect(await relayed(bytes, { chunkBytes })).toBe(bytes)
  },
)

test('what is no event of a response passes as it came: comments, other fields, unknown types, several lines of data', async () => {
  const plain = await streamOf({})
  const odd =
    ': a comment\n\nid: 7\nretry: 10\n\nevent: response.something_new\ndata: {"type":"response.something_new",\ndata: "sequence_number":2}\n\n' +
    'event: keepalive\ndata: {"type":"keepalive","sequence_number":3}\n\ndata: not JSON\n\n:\n\n'
  const at = plain.indexOf('event: response.output_item.added')
  const bytes = plain.slice(0, at) + odd + plain.slice(at)
  for (const chunkBytes of chunks) expect(await relayed(bytes, { chunkBytes })).toBe(bytes)
})

test('an upstream’s comments before its first event are silence', async () => {
  const plain = await streamOf({})
  expect(await relayed(`: one\n\n: two\n\n${plain}`)).toBe(plain)
})

test('under an alias the model’s name is changed in lifecycle events, and nothing else is', async () => {
  const text = 'they say "model":"sim" in {"response":{"model":"sim"}}'
  const plain = await streamOf({ text, model: 'sim-2026-03-05' })
  const wanted = plain
    .split(/(?<=\n\n)/)
    .map(event =>
      /^event: response\.(created|in_progress|completed)/.test(event) ? event.replace('"model":"sim-2026-03-05"', '"model":"fast"') : event,
    )
    .join('')
  expect(wanted).not.toBe(plain)
  for (const chunkBytes of chunks) expect(await relayed(plain, { chunkBytes, model: 'fast' })).toBe(wanted)
})

describe('JSON', () => {
  const odd =
    '{\n  "id": "resp_1",\t"model" : "sim", "n": 12345678901234567890, "f": 1.0, "s": "\\u00e9\\/", "output":[ ],\n "status":"completed", "usage":{"input_tokens":3,"output_tokens":1},"model2":"sim"}\n'

  test.for([
    ['sim', odd],
    ['fast', odd.replace('"model" : "sim"', '"model" : "fast"')],
  ])('for %s is passed untouched, but for an alias’s name', async ([model, wanted]) => {
    world().sim.script({}, { rawBody: odd })
    const { body, headers } = await send(world(), { body: { model, input: 'hello' } })
    expect(body).toBe(wanted)
    expect(headers['content-length']).toBe(String(Buffer.byteLength(wanted!)))
  })
})

test('every event comes as soon as it was sent, and the last one when the answer is whole', async () => {
  const events = (await streamOf({})).split('\n\n').slice(0, -1)
  const { sim } = world()
  sim.script({}, { hold: events.map((_, n) => ({ gate: `event ${n}`, at: n })) })
  await using stream = openStream(world())
  for (const [n, event] of events.entries()) {
    await sim.gate(`event ${n}`).reached()
    sim.open(`event ${n}`)
    expect((await stream.next())?.name).toBe(/^event: (.*)/.exec(event)?.[1])
  }
  expect(await stream.next()).toBeUndefined()
})

test('nothing is compressed, whatever the client would take', async () => {
  const { sim } = world()
  sim.script({}, {})
  const headers = { 'accept-encoding': 'gzip, deflate, br, zstd' }
  const json = await send(world(), { headers })
  await using stream = openStream(world(), { headers })
  const begun = await stream.begun
  await stream.until('response.completed')
  expect([json.headers['content-encoding'], begun.headers['content-encoding']]).toEqual([undefined, undefined])
  expect(sim.attempts.slice(-2).map(attempt => attempt.headers['accept-encoding'])).toEqual(['identity', 'identity'])
})

test('a silence is filled with comments, and with nothing else', async () => {
  await using quiet = await openWorld({ settings: { silenceCommentMs: 20 } })
  quiet.sim.script({}, { hold: { gate: 'middle', at: 5 } })
  await using stream = openStream(quiet)
  await quiet.sim.gate('middle').reached()
  for (let comments = 0; comments < 3; ) if ((await stream.next())?.type === 'comment') comments += 1
  quiet.sim.open('middle')
  const rest = await stream.rest()
  expect(rest.at(-1)?.type).toBe('response.completed')
  expect(rest.filter(({ type }) => /keepalive|ping/.test(type))).toEqual([])
  expect(stream.text.split('\n\n').filter(block => block.startsWith(':'))).toEqual(expect.arrayContaining([':', ':', ':']))
  const numbers = [...stream.text.matchAll(/"sequence_number":(\d+)/g)].map(([, number]) => Number(number))
  expect(numbers).toEqual(numbers.map((_, n) => n))
  await quiet.quiet()
})
