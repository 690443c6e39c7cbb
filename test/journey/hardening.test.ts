import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { changeKey, findKey } from '../../src/directory/keys.ts'
import { parseUsd } from '../../src/ledger/money.ts'
import { openStream, send } from '../client.ts'
import { inLine, inPoolLine, openWorld, until } from '../world.ts'

/** What is really held, and not only waiting to be collected. */
function bytesHeld(): number {
  setFlagsFromString('--expose-gc')
  const gc: () => void = runInNewContext('gc')
  gc()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

test('a marker [DONE] without an end before it does not make a broken stream look complete', async () => {
  await using world = await openWorld()
  const begun =
    'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","model":"sim"}}\n\n'
  world.sim.script({}, { rawBody: `${begun}data: [DONE]\n\n`, headers: { 'content-type': 'text/event-stream' } })
  await using stream = openStream(world)
  const events = []
  for (let event = await stream.next(); event !== undefined; event = await stream.next()) events.push(event)
  expect(events.map(({ type }) => type)).toEqual(['response.created', 'response.failed'])
  expect(events[1]?.data).toMatchObject({ sequence_number: 1 })
  expect(stream.text).not.toContain('[DONE]')
  await world.quiet()
})

test('an event stream that nobody asked for is ended, not read for ever', async () => {
  await using world = await openWorld()
  const endless = 'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"more"}\n\n'.repeat(200_000)
  world.sim.script({}, { rawBody: endless, headers: { 'content-type': 'text/event-stream' } })
  expect((await send(world)).status).toBe(502)
  await world.sim.gone(1)
  await world.quiet()
})

test.for(['1e300', '99999999999', 'Fri, 31 Dec 9999 23:59:59 GMT'])(
  'an upstream that asks for a rest until %s is not believed',
  async asked => {
    await using world = await openWorld({ accounts: [{}] })
    world.sim.script({}, { status: 429, headers: { 'retry-after': asked } })
    expect((await send(world)).status).toBe(429)
    const [condition] = await world.conditions()
    expect(condition!.restingUntilMs - Date.now()).toBeLessThanOrEqual(24 * 3_600_000)
    const next = await send(world)
    expect([next.status, next.error.message]).toEqual([503, expect.stringMatching(/^No available accounts: resting until \S+Z$/)])
    await world.quiet()
  },
)

test.for(['', '0', '-5'])('a retry-after of "%s" says nothing: the account rests as it does without', async asked => {
  await using world = await openWorld({ accounts: [{}], settings: { rateRestMs: 50_000 } })
  world.sim.script({}, { status: 429, headers: { 'retry-after': asked } })
  await send(world)
  const [condition] = await world.conditions()
  expect(condition!.restingUntilMs - Date.now()).toBeGreaterThan(40_000)
})

test('a body that comes in a quarter of a million chunks weighs what it has', async () => {
  await using world = await openWorld()
  const body = JSON.stringify({ model: 'sim', input: 'x'.repeat(240_000) })
  const socket = connect(Number(new URL(world.url).port), '127.0.0.1')
  socket.write(`POST /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.key}\r\ntransfer-encoding: chunked\r\n\r\n`)
  const before = bytesHeld()
  for (let at = 0; at < body.length; at += 1000) {
    const piece = [...body.slice(at, at + 1000)].map(byte => `1\r\n${byte}\r\n`).join('')
    if (!socket.write(piece)) await once(socket, 'drain')
  }
  await until(() => world.headgate.gateway.bodies.takenBytes >= body.length, 'the body does not arrive')
  await until(() => bytesHeld() - before < 10 * 1024 * 1024, 'it weighs more')
  socket.write('0\r\n\r\n')
  const [answer] = await once(socket, 'data')
  expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /)
  socket.destroy()
  expect(world.sim.attempts[0]?.body.toString()).toBe(body)
  await world.quiet()
})

test('stopping does not wait for an upload that takes its time', async () => {
  await using world = await openWorld({ settings: { stopStreamsMs: 60_000 } })
  const upload = request(`${world.url}/v1/responses`, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.key}`, 'content-length': '1000000' },
  })
  const answered = once(upload, 'response')
  upload.write('{"model":')
  await until(() => world.headgate.gateway.bodies.takenBytes > 0, 'the upload does not begin')
  const stopped = world.headgate.stop()
  const [response] = await answered
  expect([response.statusCode, Number(response.headers['retry-after']) > 0]).toEqual([503, true])
  upload.destroy()
  await stopped
})

test('stopping waits for the last bytes of an answer', async () => {
  await using world = await openWorld()
  const text = 'y'.repeat(12_000_000)
  world.sim.script({}, { text })
  const asked = request(`${world.url}/v1/responses`, { method: 'POST', headers: { authorization: `Bearer ${world.key}` } })
  asked.end('{"model":"sim","input":"long"}')
  const [response] = await once(asked, 'response')
  response.pause()
  const stopped = world.headgate.stop()
  let bytes = 0
  for await (const chunk of response) bytes += chunk.length
  expect(response.complete).toBe(true)
  expect(bytes).toBeGreaterThan(text.length)
  await stopped
})

test('a client that reads nothing of a finished answer is cut', async () => {
  await using world = await openWorld({ settings: { stalledReaderMs: 300 } })
  world.sim.script({}, { text: 'z'.repeat(30_000_000) })
  const socket = connect(Number(new URL(world.url).port), '127.0.0.1')
  const body = '{"model":"sim","input":"long"}'
  socket.write(
    `POST /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  socket.pause()
  await until(async () => (await world.rows()).length === 1, 'it is not booked')
  await until(() => world.headgate.serving.calls.count === 0, 'it is held for ever')
  socket.destroy()
  await world.quiet()
})

test.for([
  ['the answer is cut', 'connection: close\r\n', false],
  ['it is refused after it', '', true],
] as const)('what comes after the end of a request is not answered in the middle of its answer: %s', async ([, more, isPlain]) => {
  await using world = await openWorld()
  world.sim.script({}, { hold: { gate: 'middle', at: 4 } })
  const body = '{"model":"sim","input":"x","stream":true}'
  const socket = connect(Number(new URL(world.url).port), '127.0.0.1')
  let said = ''
  socket.on('data', chunk => {
    said += chunk
  })
  socket.write(
    `POST /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.key}\r\n${more}content-length: ${body.length}\r\n\r\n${body}`,
  )
  await until(() => said.includes('response.in_progress'), 'the answer does not begin')
  socket.write('stray bytes that are no request\r\n\r\n')
  if (isPlain) world.sim.open('middle')
  await once(socket, 'close')
  expect(said.split('400 Bad Request').length).toBe(isPlain ? 2 : 1)
  if (isPlain) expect(said).toMatch(/response\.completed[\s\S]*\r\n0\r\n\r\nHTTP\/1\.1 400 Bad Request/)
  world.sim.open('middle')
  await world.quiet()
})

test('an account that is disabled while a call stands in line is not asked any more', async () => {
  await using world = await openWorld({ accounts: [{}, {}], user: { concurrency: 1 } })
  world.sim.script({}, [{ hold: 'first' }, {}])
  const first = send(world)
  await world.sim.gate('first').reached()
  const second = send(world)
  await inLine(world, 1)
  const [used, other] = world.sim.attempts[0]!.key === 'up-a1' ? world.accounts : [...world.accounts].reverse()
  await world.changeAccount(used!, { disabled: true })
  await world.changeAccount(other!, { apiKey: 'up-new' })
  world.sim.open('first')
  expect([(await first).status, (await second).status]).toEqual([200, 200])
  expect(world.sim.attempts[1]?.key).toBe('up-new')
  await world.quiet()
})

test('a key that is revoked while its call stands in the pool’s line is refused when its turn comes', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }] })
  world.sim.script({}, [{ hold: 'first' }, {}])
  const first = send(world)
  await world.sim.gate('first').reached()
  const other = await world.addKey(world.user)
  const second = send(world, { key: other.secret })
  await inPoolLine(world, 1)
  const key = await findKey(world.database, other.id)
  await world.commit(changeKey({ ...key!, disabled: true }))
  world.sim.open('first')
  expect([(await first).status, (await second).status]).toEqual([200, 401])
  expect(world.sim.attempts).toHaveLength(1)
  await world.quiet()
})

test('what its group gives away is not charged by what it turned out to be', async () => {
  await using world = await openWorld({ group: { unpriced: 'free' }, accounts: [{ models: { gift: 'unpriced' } }] })
  world.sim.script({}, { model: 'sim' })
  expect((await send(world, { body: '{"model":"gift","input":"x"}' })).status).toBe(200)
  expect((await world.rows())[0]).toMatchObject({ cost: 0n, uncollected: 0n, served_model: 'sim' })
  expect((await world.balance()).balance).toBe(parseUsd('100'))
})

test('the name of a model is not kept at any length', async () => {
  await using world = await openWorld({ balance: '0' })
  await send(world, { body: JSON.stringify({ model: 'm'.repeat(1_000_000), input: 'x' }) })
  expect(String((await world.rows())[0]?.['requested_model'])).toHaveLength(200)
})

test('what calls ask for by very long names is forgotten', async () => {
  await using world = await openWorld()
  const ask = (name: string) => send(world, { body: JSON.stringify({ model: name, input: 'x' }) })
  await ask('warm')
  const before = bytesHeld()
  for (let n = 0; n < 8; n++) expect((await ask(`${n}${'m'.repeat(4_000_000)}`)).error.code).toBe('model_not_found')
  await until(() => bytesHeld() - before < 8_000_000, 'they are kept')
})

test('files of nobody’s and of somebody else’s are refused alike, and never reach an upstream', async () => {
  await using world = await openWorld()
  const content = [{ type: 'input_file', file_id: 'file-unknown' }]
  const refused = await send(world, { body: JSON.stringify({ model: 'sim', input: [{ role: 'user', content }] }) })
  expect([refused.status, refused.error.message]).toEqual([404, "File with id 'file-unknown' not found."])
  expect(world.sim.attempts).toHaveLength(0)
})

test('more ids than can be looked up are refused before any is', async () => {
  await using world = await openWorld()
  const input = Array.from({ length: 5001 }, (_, n) => ({ type: 'item_reference', id: `msg_${n}` }))
  const refused = await send(world, { body: JSON.stringify({ model: 'sim', input }) })
  expect([refused.status, refused.error.message]).toEqual([400, 'The request refers to 5001 ids, the limit is 5000'])
})
