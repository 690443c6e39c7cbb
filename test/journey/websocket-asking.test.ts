import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { openHearing } from '../../sim/hear-socket.ts'
import { changeKey } from '../../src/directory/keys.ts'
import { inLine, type World } from '../world.ts'
import { capabilities, create, errorOf, expectBooks, openSocketWorld, response } from './sockets.ts'

/** Who may open a WebSocket, and what may be said over it. */

/** What an upgrade is refused with. */
async function refusalOf(world: World, { key = world.key, path = '/v1/responses' }: { key?: string; path?: string } = {}) {
  const ws = new WebSocket(world.url.replace('http', 'ws') + path, { headers: { authorization: `Bearer ${key}` } })
  ws.on('error', () => {}) // It is refused.
  const [, answer] = (await once(ws, 'unexpected-response')) as [unknown, IncomingMessage]
  let body = ''
  for await (const chunk of answer) body += chunk
  return { status: answer.statusCode, headers: answer.headers, error: JSON.parse(body).error }
}

test('an upgrade is refused as any call is', async () => {
  await using world = await openSocketWorld({ settings: { socketsPerUserMax: 1 } })
  const barred = await world.addKey(world.user, { denyAddresses: ['127.0.0.1'] })
  const first = await openHearing(world, world.key)

  expect(await refusalOf(world, { key: 'sk-unknown' })).toMatchObject({
    status: 401,
    headers: { 'x-should-retry': 'false' },
    error: { type: 'authentication_error', code: 'invalid_api_key', message: 'Invalid API key', param: null },
  })
  expect(await refusalOf(world, { key: barred.secret })).toMatchObject({ status: 403, error: { message: 'Access denied' } })
  expect(await refusalOf(world, { path: '/v1/responses?key=x' })).toMatchObject({ status: 400 })
  expect(await refusalOf(world, { path: '/v1/models' })).toMatchObject({ status: 426 })
  expect(await refusalOf(world)).toMatchObject({
    status: 429,
    headers: { 'retry-after': '5' },
    error: { type: 'rate_limit_error', message: 'Too many open WebSockets, the limit is 1 per user' },
  })
  first.close()
  await first.closed
  await world.quiet()
  expect(await world.rows()).toHaveLength(0)
})

test.for([
  ['no key', { 'sec-websocket-version': '13' }, 'Missing or invalid Sec-WebSocket-Key header'],
  [
    'another version',
    { 'sec-websocket-version': '7', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' },
    'Missing or invalid Sec-WebSocket-Version header',
  ],
] as const)('a handshake with %s is refused in the words of any refusal', async ([, headers, what]) => {
  await using world = await openSocketWorld()
  const asked = { connection: 'Upgrade', upgrade: 'websocket', authorization: `Bearer ${world.key}` }
  const [answer] = (await once(get(`${world.url}/v1/responses`, { headers: { ...asked, ...headers } }), 'response')) as [IncomingMessage]
  let body = ''
  for await (const chunk of answer) body += chunk
  const message = `${what}: a WebSocket is opened as RFC 6455 says, in its version 13`
  expect(answer).toMatchObject({ statusCode: 400, headers: { 'x-should-retry': 'false', 'x-request-id': expect.any(String) } })
  expect(JSON.parse(body).error).toEqual({ type: 'invalid_request_error', code: null, message, param: null })
})

test.for([
  ['none speaks it', { capabilities: { ...capabilities, websocket: false } }],
  ['the one that does is behind a proxy', { proxy: 'http://127.0.0.1:1' }],
] as const)('without an account for it, because %s, an upgrade is answered 426', async ([, account]) => {
  await using world = await openSocketWorld({ accounts: [account] })
  expect(await refusalOf(world)).toMatchObject({
    status: 426,
    headers: { upgrade: 'HTTP/1.1' },
    error: { type: 'invalid_request_error', code: null, param: null, message: 'WebSocket is not available here, use HTTP' },
  })
})

test.for<[string, object | string | Buffer, number, string | null, string]>([
  ['no JSON', '{', 400, null, 'Failed to parse request body'],
  ['nothing', '', 400, null, 'Request body is empty'],
  ['a binary frame', Buffer.from(JSON.stringify(create())), 400, null, 'Failed to parse request body'],
  [
    'an unknown type',
    create({ type: 'response.delete' }),
    400,
    'invalid_value',
    'The type of a message must be response.create or response.steer',
  ],
  ['no type', create({ type: undefined }), 400, 'invalid_value', 'The type of a message must be response.create or response.steer'],
  ['no model', create({ model: undefined }), 400, null, 'model is required'],
  ['a lane twice', '{"type":"response.create","model":"sim","stream_id":"a","stream_id":"b"}', 400, null, 'Failed to parse request body'],
  [
    'a lane with a bad name',
    create({ stream_id: 'a b' }),
    400,
    'invalid_value',
    'stream_id must be 1 to 256 letters, digits, dots, underscores and hyphens',
  ],
  ['the background', create({ background: true }), 400, 'unsupported_parameter', 'background is not supported over a WebSocket'],
  ['an unpriced model', create({ model: 'gold' }), 400, 'model_not_found', 'Model gold has no price'],
])('%s is refused, and the socket stays', async ([, message, status, code, text]) => {
  await using world = await openSocketWorld()
  const hearing = await openHearing(world, world.key)
  hearing.say(message)
  const refused = await hearing.untilType('error')
  expect(refused).toMatchObject({ status, error: { type: 'invalid_request_error', code, message: text } })
  hearing.say(create())
  await hearing.untilType('response.completed')
  hearing.close()
  await expectBooks(world, ['reported'])
  expect(await world.rows()).toHaveLength(2)
})

test('a message that is too large closes its socket', async () => {
  await using world = await openSocketWorld({ settings: { bodyBytesMax: 2_000 } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ input: 'x'.repeat(3_000) }))
  expect(await hearing.closed).toBe(1009)
  await world.quiet()
})

test('a large message is read beside the streams, and passes byte for byte', async () => {
  await using world = await openSocketWorld()
  const hearing = await openHearing(world, world.key)
  const message = `{ "stream_id" : "a", "model":"sim" ,"input":"${'x'.repeat(400_000)}","odd":12345678901234567890,"type":"response.create"}`
  hearing.say(message)
  expect(await hearing.untilType('response.completed')).toMatchObject({ stream_id: 'a' })
  expect(world.sim.attempts.at(-1)!.body.toString()).toBe(message)
  hearing.close()
  await expectBooks(world, ['reported'])
})

test('under an alias the upstream is asked by its own name, and the client hears the one it knows', async () => {
  await using world = await openSocketWorld({ accounts: [{ models: { fast: 'sim' } }] })
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ model: 'fast' }))
  const models = [await hearing.untilType('response.created'), await hearing.untilType('response.completed')].map(response)
  expect(models.map(({ model }) => model)).toEqual(['fast', 'fast'])
  expect(JSON.parse(world.sim.attempts.at(-1)!.body.toString())).toMatchObject({ type: 'response.create', model: 'sim' })
  hearing.close()
  await expectBooks(world, ['reported'])
})

test('there are limits to calls and lanes', async () => {
  await using world = await openSocketWorld({ settings: { socketCallsMax: 2, socketLanesMax: 1 } })
  world.sim.script({}, [{ hold: { gate: 'weir', at: 3 } }, {}])
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ stream_id: 'a' }))
  await hearing.untilType('response.created')
  hearing.say(create({ stream_id: 'b' }))
  const lanes = await hearing.untilType('error')
  hearing.say(create({ stream_id: 'a' }))
  hearing.say(create({ stream_id: 'a' }))
  const calls = await hearing.untilType('error', 2)
  world.sim.open('weir')
  await hearing.untilType('response.completed', 2)

  const limit = { type: 'invalid_request_error', code: 'websocket_stream_limit_reached' }
  expect(lanes).toMatchObject({ stream_id: 'b', error: { ...limit, message: 'Too many lanes on this WebSocket, the limit is 1' } })
  expect(calls).toMatchObject({ stream_id: 'a', error: { ...limit, message: 'Too many calls on this WebSocket, the limit is 2' } })
  hearing.close()
  await expectBooks(world, ['reported', 'reported'])
})

test('a socket that is too old takes nothing new, and is closed when what runs has ended', async () => {
  await using world = await openSocketWorld({ settings: { socketAgeMaxMs: 300 } })
  world.sim.script({}, { hold: { gate: 'weir', at: 3 } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create())
  const old = await hearing.untilType('error')
  hearing.say(create({ stream_id: 'b' }))
  await hearing.untilType('error', 2)
  world.sim.open('weir')
  await hearing.untilType('response.completed')
  expect(await hearing.closed).toBe(1000)

  expect(errorOf(old)).toMatchObject({
    code: 'websocket_connection_limit_reached',
    message: 'This WebSocket has been open for 0 minutes, the longest there is; open a new one to go on',
  })
  await expectBooks(world, ['reported'])
})

test('money, line and key are looked at for each call', async () => {
  await using world = await openSocketWorld({ user: { concurrency: 1 }, settings: { lineExtra: 0, socketCallsMax: 5 } })
  const poor = await world.addKey(await world.addUser({}, '0'))
  const [rich, broke] = [await openHearing(world, world.key), await openHearing(world, poor.secret)]
  broke.say(create())
  expect(await broke.untilType('error')).toMatchObject({
    status: 429,
    error: { type: 'insufficient_quota', code: 'insufficient_quota', headers: { 'x-should-retry': 'false' } },
  })

  rich.say(create())
  await rich.untilType('response.completed')
  world.sim.script({}, [{ hold: { gate: 'weir', at: 3 } }, {}])
  for (const lane of ['a', 'b']) rich.say(create({ stream_id: lane }))
  await inLine(world, 1)
  rich.say(create({ stream_id: 'c' }))
  expect(await rich.untilType('error')).toMatchObject({ status: 429, stream_id: 'c', error: { headers: { 'retry-after': '5' } } })
  world.sim.open('weir')
  await rich.untilType('response.completed', 3)

  const principal = await world.headgate.gateway.directory.principalOf(world.key)
  if (principal === 'unknown') throw new Error('the key is not known')
  await world.commit(changeKey({ ...principal.key, disabled: true }))
  rich.say(create())
  expect(await rich.untilType('error', 2)).toMatchObject({ status: 401, error: { message: 'Invalid API key' } })
  for (const one of [rich, broke]) one.close()
  await expectBooks(world, ['reported', 'reported', 'reported'])
})
