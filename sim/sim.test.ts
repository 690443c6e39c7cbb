import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { ask, askStream } from './listen.ts'
import { openSim } from './sim.ts'

test('an attempt keeps the exact bytes, the path with its query, and the key of either header', async () => {
  await using sim = await openSim()
  const body = '{ "model":"m",  "input":"ä", "big":12345678901234567890 }'
  await ask(sim, { path: '/responses?api-version=1&a=%20', body, headers: { authorization: '', 'api-key': 'azure-1', 'x-odd': 'yes' } })
    .heard
  const [attempt] = sim.attempts

  expect(attempt!.body).toEqual(Buffer.from(body))
  expect(attempt).toMatchObject({
    key: 'azure-1',
    path: '/responses?api-version=1&a=%20',
    method: 'POST',
    isWhole: true,
    headers: { 'x-odd': 'yes' },
  })
  expect(sim.invoice[0]).toMatchObject({ key: 'azure-1', ended: 'completed' })
})

test('a body that breaks off is an attempt, and no call', async () => {
  await using sim = await openSim()
  const socket = connect(sim.port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write('POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model"')
  socket.end()
  const attempt = await sim.seen(1)

  expect(attempt).toMatchObject({ isWhole: false, body: Buffer.from('{"model"') })
  expect(sim.invoice).toEqual([])
  socket.destroy()
})

test('unknown paths get the 404 of OpenAI, and health is no attempt', async () => {
  await using sim = await openSim({ models: ['m'] })
  const unknown = await ask(sim, { path: '/v1/chat/nothing?x=1' }).heard
  const health = await ask(sim, { path: '/healthz', method: 'GET' }).heard
  const models = await ask(sim, { path: '/v1/models', method: 'GET' }).heard

  expect(unknown.status).toBe(404)
  expect(JSON.parse(unknown.text)).toEqual({
    error: { message: 'Invalid URL (POST /v1/chat/nothing)', type: 'invalid_request_error', param: null, code: null },
  })
  expect(health).toMatchObject({ status: 200, text: 'ok' })
  expect(JSON.parse(models.text)).toMatchObject({ object: 'list', data: [{ id: 'm', object: 'model' }] })
  expect(sim.attempts.map(attempt => attempt.path)).toEqual(['/v1/chat/nothing?x=1', '/v1/models'])
  expect(sim.invoice).toEqual([])
})

test('the closest script answers, and a list is used up call by call', async () => {
  await using sim = await openSim()
  sim.script({}, { text: 'anybody' })
  sim.script({ model: 'm' }, { text: 'by model' })
  sim.script({ key: 'a' }, [{ text: 'first of a' }, { status: 500 }, { text: 'last of a' }])
  sim.script({ key: 'a', model: 'm' }, { text: 'a and m' })
  const say = async (key: string, model: string) => {
    const { status, text } = await ask(sim, { key, body: { model, input: 'x' } }).heard
    return status === 200 ? JSON.parse(text).output[0].content[0].text : status
  }

  expect([await say('b', 'x'), await say('b', 'm'), await say('a', 'm')]).toEqual(['anybody', 'by model', 'a and m'])
  expect([await say('a', 'x'), await say('a', 'x'), await say('a', 'x'), await say('a', 'x')]).toEqual([
    'first of a',
    500,
    'last of a',
    'last of a',
  ])
  sim.script({ key: 'a' }, { text: 'anew' })
  expect(await say('a', 'x')).toBe('anew')
})

const places = [
  { at: 'headers', seen: '' },
  { at: 'firstEvent', seen: '' },
  { at: 0, seen: '' },
  { at: 3, seen: '"sequence_number":2' },
] as const

test.each(places)('a call is held at $at until its gate opens', async ({ at, seen }) => {
  await using sim = await openSim()
  sim.script({}, { hold: [{ gate: 'weir', at }] })
  const listening = askStream(sim)
  await sim.gate('weir').reached()
  await listening.until(seen)
  expect(sim.invoice[0]).toMatchObject({ ended: 'running', answered: seen !== '', status: at === 'headers' ? 0 : 200 })
  sim.open('weir')
  const heard = await listening.heard

  expect(heard.text).toContain('event: response.completed')
  expect(sim.gate('weir').waiting).toBe(0)
})

test('an open gate lets all through until it is shut again', async () => {
  await using sim = await openSim()
  sim.script({}, { hold: 'weir' })
  sim.open('weir')
  await ask(sim).heard
  sim.gate('weir').shut()
  const [one, two] = [ask(sim), ask(sim)]
  await sim.gate('weir').reached(2)
  sim.open('weir')

  expect([(await one.heard).status, (await two.heard).status]).toEqual([200, 200])
})

test('a client that leaves while it is held is gone, charged nothing, and waits no longer', async () => {
  await using sim = await openSim({ prices: { 'gpt-5.4': { input: '1', output: '1' } } })
  sim.script({}, { hold: 'weir' })
  const listening = ask(sim)
  await sim.gate('weir').reached()
  listening.leave()
  await sim.gone(1)
  await sim.idle()

  expect(sim.gate('weir').waiting).toBe(0)
  expect(sim.invoice[0]).toMatchObject({ ended: 'left', cut: true, clientLeft: true, answered: false, costNanos: 0n, priced: true })
})

test('one can wait for a number of requests and for one in particular', async () => {
  await using sim = await openSim()
  const third = sim.seen(3)
  const special = sim.seen(attempt => attempt.key === 'sk-special')
  for (const key of ['a', 'sk-special', 'c']) await ask(sim, { key }).heard

  expect((await special).key).toBe('sk-special')
  expect((await third).key).toBe('c')
  expect(await sim.seen(1)).toBe(sim.attempts[0])
})

test('reset empties the books, and calls under way keep their lines', async () => {
  await using sim = await openSim()
  await ask(sim).heard
  sim.reset()
  expect([sim.invoice, sim.attempts]).toEqual([[], []])
  await ask(sim).heard

  expect([sim.invoice.length, sim.attempts.length]).toEqual([1, 1])
})

test('with record false nothing is kept, and calls are answered', async () => {
  await using sim = await openSim({ record: false })

  expect((await ask(sim).heard).status).toBe(200)
  expect([sim.invoice, sim.attempts]).toEqual([[], []])
})

test('closing ends what is held, stalled or lingering, tells those who wait, and is safe twice', async () => {
  const sim = await openSim()
  const scripts = [{ hold: 'weir' }, { end: 'stall' as const }, { linger: 600_000 }, { headersAfterMs: 600_000 }]
  sim.script({}, scripts)
  const calls = []
  for (const [n] of scripts.entries()) {
    calls.push(askStream(sim).heard)
    await sim.seen(n + 1)
  }
  const never = sim.gone(1)
  await sim.close()
  await sim.close()

  expect((await Promise.all(calls)).map(heard => heard.ending)).toEqual(['broken', 'broken', 'broken', 'broken'])
  await expect(never).rejects.toThrow('closed before')
  expect(sim.invoice.some(line => line.clientLeft)).toBe(false)
})

test('clients that leave at any moment do no harm', async () => {
  await using sim = await openSim()
  const leaving = []
  for (const [n, fast] of Array.from({ length: 80 }, (_, each) => [each, each % 2 === 0] as const)) {
    sim.script({}, { outputTokens: 400, deltas: 100, fast })
    const listening = askStream(sim)
    const moment = ['', 'response.created', `"sequence_number":${n}`, 'response.completed'][n % 4]!
    leaving.push(listening.until(moment).then(listening.leave))
  }
  await Promise.all(leaving)
  await sim.idle()

  expect((await ask(sim).heard).status).toBe(200)
  expect(sim.invoice.filter(line => line.ended === 'running')).toEqual([])
})
