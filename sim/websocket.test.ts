import { once } from 'node:events'
import { connect } from 'node:net'
import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'
import OpenAI6 from 'openai6'
import { ResponsesWS as ResponsesWS6 } from 'openai6/resources/responses/ws'
import { expect, test } from 'vitest'
import { type Message, openHearing } from './hear-socket.ts'
import { ask } from './listen.ts'
import type { Script } from './script.ts'
import { openSim, type SimOptions } from './sim.ts'

type Options = { apiKey: string; baseURL: string }
const clients = [
  ['openai 7', (options: Options) => new ResponsesWS(new OpenAI(options))],
  ['openai 6', (options: Options) => new ResponsesWS6(new OpenAI6(options)) as unknown as ResponsesWS],
] as const

const create = (fields: object = {}) => ({ type: 'response.create', model: 'm', input: 'hello', ...fields })
const response = (message: Message) => message.response as Record<string, unknown> & { id: string; usage: Record<string, number> }
const errorOf = ({ status, error }: Message) => [status, (error as { code: unknown }).code]

test.each(clients)('%s is given the events of a stream, one message each', async (_, open) => {
  await using sim = await openSim()
  sim.script({}, { text: 'Hello there', reasoning: 4 })
  const ws = open({ apiKey: 'sk-real', baseURL: `${sim.url}/v1` })
  const types: string[] = []
  let final: OpenAI.Responses.Response | undefined
  for await (const event of ws.stream()) {
    if (event.type === 'open') ws.send({ type: 'response.create', model: 'gpt-5.4', input: 'hi', store: false })
    if (event.type !== 'message') continue
    types.push(event.message.type)
    if (event.message.type !== 'response.completed') continue
    final = event.message.response
    ws.close()
  }

  expect(types.slice(0, 3)).toEqual(['response.created', 'response.in_progress', 'response.output_item.added'])
  expect(final).toMatchObject({ status: 'completed', store: false, usage: { input_tokens: 1, output_tokens: 7 } })
  expect(sim.attempts.map(({ key, method, path }) => [key, method, path])).toEqual([
    ['sk-real', 'GET', '/v1/responses'],
    ['sk-real', 'MESSAGE', '/v1/responses'],
  ])
  expect(sim.invoice).toMatchObject([
    { of: 'websocket', responseId: final!.id, ended: 'completed', clientLeft: false, usageReported: true },
  ])
})

test('each response has numbers and a line of its own, and goes on from what only its socket remembers', async () => {
  await using sim = await openSim()
  sim.script({}, { text: 'one two three four' })
  const [one, other] = [await openHearing(sim), await openHearing(sim)]
  one.say(create({ store: false }))
  const first = response(await one.untilType('response.completed'))
  one.say(create({ store: false, previous_response_id: first.id }))
  const second = response(await one.untilType('response.completed', 2))
  other.say(create({ previous_response_id: first.id }))

  expect(second.usage.input_tokens).toBe(2 + 5 + 2)
  expect(one.messages.filter(message => message.type === 'response.created').map(message => message.sequence_number)).toEqual([0, 0])
  expect(await other.untilType('error')).toEqual({
    type: 'error',
    status: 400,
    error: {
      type: 'invalid_request_error',
      code: 'previous_response_not_found',
      message: `Previous response with id '${first.id}' not found.`,
      param: 'previous_response_id',
    },
  })
  expect(sim.invoice.map(line => [line.responseId, line.ended])).toEqual([
    [first.id, 'completed'],
    [second.id, 'completed'],
    [null, 'refused'],
  ])
})

test('a warm-up says nothing, costs its input, and can be gone on from', async () => {
  await using sim = await openSim({ prices: { m: { input: '0.001', output: '0.01' } } })
  const hearing = await openHearing(sim)
  hearing.say(create({ generate: false, input: 'x'.repeat(400) }))
  const warm = response(await hearing.untilType('response.completed'))
  hearing.say(create({ previous_response_id: warm.id }))
  const next = response(await hearing.untilType('response.completed', 2))

  expect(warm).toMatchObject({ output: [], usage: { input_tokens: 100, output_tokens: 0 } })
  expect(next.usage.input_tokens).toBe(102)
  expect(sim.invoice.map(line => line.costNanos)[0]).toBe(100n)
})

test('the creates of a lane follow one another, and lanes do not wait for each other', async () => {
  await using sim = await openSim()
  sim.script({ model: 'slow' }, { hold: 'weir' })
  const hearing = await openHearing(sim)
  hearing.say(create({ model: 'slow', stream_id: 'a' }))
  hearing.say(create({ stream_id: 'a' }))
  hearing.say(create({ stream_id: 'b' }))
  hearing.say(create())
  await hearing.untilType('response.completed', 2)
  expect(hearing.messages.map(message => message.stream_id)).not.toContain('a')
  sim.open('weir')
  await hearing.untilType('response.completed', 4)

  const completed = hearing.messages.filter(message => message.type === 'response.completed')
  const models = completed.map(message => [message.stream_id, response(message).model])
  expect(models.slice(2)).toEqual([
    ['a', 'slow'],
    ['a', 'm'],
  ])
  expect(new Set(models.slice(0, 2).map(([lane]) => lane))).toEqual(new Set(['b', undefined]))
  expect(hearing.messages.filter(message => message.stream_id === 'b').every(message => message.type !== 'error')).toBe(true)
})

const wrong: (readonly [string, object | string | Buffer, readonly unknown[]])[] = [
  ['no JSON', '{', [400, null]],
  ['a binary frame', Buffer.from('{}'), [400, null]],
  ['an unknown type', { type: 'response.delete' }, [400, 'invalid_value']],
  ['no model', { type: 'response.create' }, [400, 'missing_required_parameter']],
  ['a lane with a bad name', create({ stream_id: 'a b' }), [400, 'invalid_value']],
  ['the background', create({ background: true }), [400, 'unsupported_parameter']],
  ['an unknown conversation', create({ conversation: 'conv_x' }), [404, null]],
]

test.each(wrong)('%s is answered with an error, and the socket stays', async (_, message, expected) => {
  await using sim = await openSim()
  const hearing = await openHearing(sim)
  hearing.say(message)
  expect(errorOf(await hearing.untilType('error'))).toEqual(expected)
  hearing.say(create())
  await hearing.untilType('response.completed')
})

test('more lanes, and more in flight, than a socket may have are refused', async () => {
  await using sim = await openSim({ websocket: { lanesMax: 2, inFlightMax: 3 } })
  const hearing = await openHearing(sim)
  for (const stream_id of ['a', 'b', 'c']) hearing.say(create({ stream_id }))
  expect(await hearing.untilType('error')).toMatchObject({ status: 400, stream_id: 'c', error: { code: 'websocket_stream_limit_reached' } })
  await hearing.untilType('response.completed', 2)
  sim.script({}, { hold: 'weir' })
  for (let n = 0; n < 4; n++) hearing.say(create())
  await hearing.untilType('error', 2)
  expect(errorOf(hearing.messages.at(-1)!)).toEqual([400, 'websocket_stream_limit_reached'])
  sim.open('weir')
  await hearing.untilType('response.completed', 5)
})

test('a socket is closed when its time is up, and what it was being told is cut', async () => {
  await using sim = await openSim({ websocket: { connectionMs: 100 } })
  sim.script({}, { hold: { gate: 'weir', at: 3 } })
  const hearing = await openHearing(sim)
  hearing.say(create())

  expect(errorOf(await hearing.untilType('error'))).toEqual([400, 'websocket_connection_limit_reached'])
  expect(await hearing.closed).toBe(1000)
  await sim.idle()
  expect(sim.invoice).toMatchObject([{ ended: 'cut', cut: true, clientLeft: false, answered: true }])
})

const refusals: (readonly [SimOptions, Script, number])[] = [
  [{ websocket: false }, {}, 426],
  [{}, { status: 401 }, 401],
  [{}, { status: 429 }, 429],
]

test.each(refusals)('with %j and %j the upgrade is answered %i', async (options, script, status) => {
  await using sim = await openSim(options)
  sim.script({ route: 'websocket' }, script)

  await expect(openHearing(sim)).rejects.toThrow(`Unexpected server response: ${status}`)
  expect(sim.attempts.length).toBe(1)
  expect((await ask(sim).heard).status).toBe(200)
})

test('what refuses an upgrade is JSON in the shape of OpenAI', async () => {
  await using sim = await openSim({ websocket: false })
  const socket = connect(sim.port, '127.0.0.1')
  socket.write(
    'GET /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk))
  await once(socket, 'close')

  expect(text).toMatch(/^HTTP\/1\.1 426 .*\r\n/)
  expect(JSON.parse(text.split('\r\n\r\n')[1]!).error.type).toBe('invalid_request_error')
})

/** 'hello' in: 2 tokens; each of two pieces out: 2 or 3 tokens. Input costs 1, output 10 a token. */
const faults: { script: Script; ended: string; nanos: bigint; closed?: number; last?: object }[] = [
  { script: { end: 'cut', afterEvents: 5 }, ended: 'cut', nanos: 32n, closed: 1006 },
  { script: { end: 'reset', afterEvents: 5 }, ended: 'reset', nanos: 32n, closed: 1006 },
  { script: { end: 'eof', afterEvents: 1 }, ended: 'eof', nanos: 2n, closed: 1000 },
  { script: { end: 'cut', noHeaders: true }, ended: 'cut', nanos: 0n, closed: 1006 },
  { script: { end: 'failed', afterEvents: 5 }, ended: 'failed', nanos: 32n, last: { type: 'response.failed', sequence_number: 5 } },
  {
    script: { end: 'error', afterEvents: 5 },
    ended: 'error',
    nanos: 32n,
    last: { type: 'error', code: 'server_error', sequence_number: 5 },
  },
  { script: { errorFirst: true }, ended: 'error', nanos: 0n, last: { type: 'error', sequence_number: 0 } },
  {
    script: { status: 429, headers: { 'retry-after': '7' } },
    ended: 'refused',
    nanos: 0n,
    last: { type: 'error', status: 429, error: { code: 'rate_limit_exceeded', headers: { 'retry-after': '7' } } },
  },
]

test.each(faults)('the script $script is billed $nanos', async ({ script, ended, nanos, closed, last }) => {
  await using sim = await openSim({ prices: { m: { input: '0.001', output: '0.01' } } })
  sim.script({}, [{ text: 'one two three four', deltas: 2, ...script }, {}])
  const hearing = await openHearing(sim)
  hearing.say(create())
  if (closed !== undefined) expect(await hearing.closed).toBe(closed)
  await sim.seen(2)
  await sim.idle()
  if (last !== undefined) {
    await hearing.until(message => message.type === (last as Message).type)
    expect(hearing.messages.at(-1)).toMatchObject(last)
    hearing.say(create())
    await hearing.untilType('response.completed')
  }

  expect(sim.invoice[0]).toMatchObject({ ended, costNanos: nanos, clientLeft: false, modelAsked: 'm' })
})

test('a client that leaves is charged what it was told, on every lane', async () => {
  await using sim = await openSim({ prices: { m: { input: '0.001', output: '0.01' } } })
  sim.script({}, [
    { text: 'one two three four', deltas: 2, hold: { gate: 'weir', at: 5 } },
    { end: 'stall', afterEvents: 2 },
  ])
  const hearing = await openHearing(sim)
  hearing.say(create({ stream_id: 'a' }))
  await sim.gate('weir').reached()
  hearing.say(create({ stream_id: 'b' }))
  await hearing.until(message => message.stream_id === 'b' && message.sequence_number === 1)
  hearing.leave()
  await sim.gone(1)
  await sim.idle()

  expect(sim.invoice.map(line => [line.costNanos, line.clientLeft, line.cut])).toEqual([
    [32n, true, true],
    [2n, true, true],
  ])
  expect(sim.gate('weir').waiting).toBe(0)
})

test('a client that closes its socket in the middle has left, and what stood behind in the lane is not begun', async () => {
  await using sim = await openSim({ prices: { m: { input: '1', output: '1' } } })
  sim.script({}, { outputTokens: 4000, deltas: 2000, betweenEventsMs: 1 })
  const hearing = await openHearing(sim)
  hearing.say(create())
  hearing.say(create())
  await hearing.untilType('response.output_text.delta')
  hearing.close()
  await sim.gone(1)
  await sim.idle()

  expect(sim.invoice.map(line => [line.ended, line.clientLeft, line.usage.outputTokens > 0])).toEqual([['left', true, true]])
  expect(sim.attempts.length).toBe(3)
})

test('closing ends open sockets', async () => {
  const sim = await openSim()
  sim.script({}, { hold: 'weir' })
  const hearing = await openHearing(sim)
  hearing.say(create())
  await sim.gate('weir').reached()
  await sim.close()

  expect(await hearing.closed).toBe(1006)
  expect(sim.invoice.some(line => line.clientLeft)).toBe(false)
})
