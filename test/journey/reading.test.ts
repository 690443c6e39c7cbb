import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { defaultCapabilities } from '../../src/directory/entities.ts'
import { fieldNames } from '../../src/protocols/openai-responses.ts'
import type { Database } from '../../src/storage/database.ts'
import { type Asked, openStream, refusalOf, send } from '../client.ts'
import { sharedWorld } from '../shared-world.ts'
import { openWorld, until, type World } from '../world.ts'

/** SPEC 1.2: what they ask. What is changed on the way to the upstream is in splicing.test.ts. */

const badRequest = { status: 400, type: 'invalid_request_error', code: null, param: null, retry: 'never' }
const unreadable = { ...badRequest, message: 'Failed to read request body' }
const empty = { ...badRequest, message: 'Request body is empty' }
const unparsable = { ...badRequest, message: 'Failed to parse request body' }
const modelMissing = { ...badRequest, message: 'model is required' }
const encodingUnknown = { ...badRequest, status: 415, message: 'Unsupported content encoding' }
const tooLarge = (limit: string) => ({ ...badRequest, status: 413, message: `Request body too large, limit is ${limit}` })
const unserved = (why: string) => ({
  status: 503,
  type: 'api_error',
  code: null,
  param: null,
  message: `No available accounts: ${why}`,
  retry: 'never',
})
const unpriced = (model: string) => ({ ...badRequest, code: 'model_not_found', message: `Model ${model} has no price` })

/** A good body of exactly so many bytes. */
function bodyOf(bytes: number): Buffer {
  const frame = '{"model":"sim","input":""}'
  return Buffer.from(frame.replace('""', `"${'x'.repeat(bytes - frame.length)}"`))
}

const body = bodyOf(300)

describe('encodings', () => {
  const world = sharedWorld()

  test.for<[string | undefined, Buffer]>([
    [undefined, body],
    ['identity', body],
    ['', body],
    ['gzip', gzipSync(body)],
    ['GZip', gzipSync(body)],
    ['br', brotliCompressSync(body)],
    ['zstd', zstdCompressSync(body)],
  ])('%s is read, and the upstream gets an identity body', async ([encoding, bytes]) => {
    const headers = encoding === undefined ? {} : { 'content-encoding': encoding }
    expect((await send(world(), { headers, body: bytes })).status).toBe(200)
    expect((await send(world(), { headers, body: bytes, pieceBytes: 7 })).status).toBe(200)
    for (const { headers: sent, body: arrived } of world().sim.attempts.slice(-2)) {
      expect(arrived).toEqual(body)
      expect(sent).toMatchObject({ 'accept-encoding': 'identity', 'content-length': String(body.length) })
      expect(Object.keys(sent)).not.toContain('content-encoding')
    }
  })

  test.for<[string, Buffer]>([
    ['deflate', deflateSync(body)],
    ['x-gzip', gzipSync(body)],
    ['gzip, br', brotliCompressSync(gzipSync(body))],
    ['gzip, gzip', gzipSync(gzipSync(body))],
    ['utf-8', body],
  ])('%s is refused', async ([encoding, bytes]) => {
    expect(refusalOf(await send(world(), { headers: { 'content-encoding': encoding }, body: bytes }))).toEqual(encodingUnknown)
  })

  test.for<[string, string, Buffer]>([
    ['gzip', 'is none', body],
    ['gzip', 'is cut short', gzipSync(body).subarray(0, -9)],
    ['gzip', 'has a wrong sum', Buffer.concat([gzipSync(body).subarray(0, -8), Buffer.alloc(8, 1)])],
    ['br', 'is none', body],
    ['br', 'is cut short', brotliCompressSync(body).subarray(0, -2)],
    ['zstd', 'is none', body],
    ['zstd', 'is cut short', zstdCompressSync(body).subarray(0, -2)],
  ])('a body in %s that %s cannot be read', async ([encoding, , bytes]) => {
    expect(refusalOf(await send(world(), { headers: { 'content-encoding': encoding }, body: bytes }))).toEqual(unreadable)
  })

  test('what decodes to nothing is an empty body', async () => {
    const answer = await send(world(), { headers: { 'content-encoding': 'gzip' }, body: gzipSync('') })
    expect(refusalOf(answer)).toEqual(empty)
  })
})

describe('sizes', () => {
  const world = sharedWorld({ settings: { bodyBytesMax: 1000 } })
  const gzip = { 'content-encoding': 'gzip' }

  test.for<[string, Asked]>([
    ['at once', {}],
    ['in pieces of unknown number', { pieceBytes: 100 }],
    ['compressed', { headers: gzip }],
  ])('a body %s may be as large as the limit, and no larger', async ([, how]) => {
    const asked = (bytes: number) => ({ ...how, body: how.headers === gzip ? gzipSync(bodyOf(bytes)) : bodyOf(bytes) })
    expect((await send(world(), asked(1000))).status).toBe(200)
    expect(refusalOf(await send(world(), asked(1001)))).toEqual(tooLarge('1000B'))
  })

  test('a bomb is refused when it passes the limit, before all of it has come', async () => {
    const bomb = gzipSync(Buffer.alloc(20_000_000))
    const socket = await begin(world(), { ...gzip, 'content-length': String(bomb.length) })
    socket.write(bomb.subarray(0, 1000))
    expect(await firstAnswer(socket)).toContain('"message":"Request body too large, limit is 1000B"')
  })

  test.for<[number, string]>([
    [1_048_575, '1048575B'],
    [1_048_576, '1MB'],
    [2_621_440, '2MB'],
    [104_857_600, '100MB'],
  ])('a limit of %i bytes is called %s', async ([bodyBytesMax, limit]) => {
    await using world = await openWorld({ settings: { bodyBytesMax } })
    // The length alone says enough: nobody has to send so much to be refused.
    const socket = await begin(world, { 'content-length': String(bodyBytesMax + 1) })
    const said = await firstAnswer(socket)
    expect(said).toMatch(/^HTTP\/1\.1 413 /)
    expect(said).toContain(`"message":"Request body too large, limit is ${limit}"`)
    await world.quiet()
  })

  test('a large body passes byte for byte', async () => {
    await using world = await openWorld()
    const large = bodyOf(6_000_000)
    const gzipped = await send(world, { headers: gzip, body: gzipSync(large) })
    expect([gzipped.status, (await send(world, { body: large })).status]).toEqual([200, 200])
    expect(world.sim.attempts.map(({ body }) => body.equals(large))).toEqual([true, true])
    expect(refusalOf(await send(world, { body: large.subarray(0, -1) }))).toEqual(unparsable)
    expect(refusalOf(await send(world, { body: large.toString().replace('model', 'Model') }))).toEqual(modelMissing)
    await world.quiet()
  })

  test('all bodies together are bounded, and room comes back when a call ends', async () => {
    await using world = await openWorld({ settings: { bodyBytesMax: 800_000, bodiesBytesMax: 1_000_000 } })
    world.sim.script({}, { hold: 'first' })
    const first = send(world, { body: bodyOf(600_000) })
    await world.sim.gate('first').reached()
    for (const how of [{}, { pieceBytes: 50_000 }]) {
      expect(refusalOf(await send(world, { body: bodyOf(600_000), ...how }))).toEqual({
        status: 503,
        type: 'api_error',
        code: null,
        param: null,
        message: 'Too many request bodies are being read, please retry later',
        retry: 'later',
      })
    }
    world.sim.open('first')
    expect((await first).status).toBe(200)
    expect((await send(world, { body: bodyOf(600_000) })).status).toBe(200)
    await world.quiet()
  })
})

/** A socket on which the head of a call has been sent, and nothing of its body. */
async function begin(world: World, headers: Readonly<Record<string, string>>): Promise<Socket> {
  const { hostname, port } = new URL(world.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {}) // Seen by whoever reads it.
  await once(socket, 'connect')
  const lines = Object.entries({ host: hostname, authorization: `Bearer ${world.key}`, ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  )
  socket.write(`POST /v1/responses HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
  return socket
}

function connectionsOf({ headgate }: World): Promise<number> {
  return new Promise((resolve, reject) =>
    headgate.serving.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )
}

/** Up to the end of a refusal; the connection need not end. */
async function firstAnswer(socket: Socket): Promise<string> {
  let said = ''
  for await (const chunk of socket) if ((said += chunk).includes('}}')) break
  return said
}

describe('bodies that do not come', () => {
  test.for<[string, object]>([
    ['stops', { bodyIdleTimeoutMs: 100 }],
    ['is slower than it may be', { bodyIdleTimeoutMs: 150, bodyRateMin: 1_000_000 }],
  ])('a body that %s is not waited for', async ([how, settings]) => {
    await using world = await openWorld({ settings })
    const socket = await begin(world, { 'content-length': '1000' })
    const trickle = setInterval(() => how !== 'stops' && socket.write('x'), 10)
    socket.write('{"model"')
    const said = await firstAnswer(socket)
    clearInterval(trickle)
    expect(said).toMatch(/^HTTP\/1\.1 400 /)
    expect(said).toContain('"message":"Failed to read request body"')
    expect(await world.rows()).toMatchObject([{ fault: 'body_unreadable', ended: 'refused', status: 400n, requested_model: null }])
    await world.quiet()
  })

  test('a client that leaves in the middle of its body is on the record as gone', async () => {
    await using world = await openWorld()
    const socket = await begin(world, { 'content-length': '1000' })
    socket.write('{"model"')
    await until(() => world.headgate.gateway.bodies.takenBytes > 0, 'the body is not being read')
    socket.destroy()
    await until(async () => (await world.rows()).length === 1, 'there is no row')
    expect(await world.rows()).toMatchObject([{ fault: 'client_left', ended: 'client_left', attempts: 0n, cost: 0n }])
    expect(world.sim.attempts).toHaveLength(0)
    await world.quiet()
  })

  test('a client that leaves while its key is being looked up is not waited for', async () => {
    const looking = Promise.withResolvers<void>()
    const found = Promise.withResolvers<void>()
    const wrapDatabase = (database: Database): Database => ({
      ...database,
      async read(statement, values) {
        if (statement.sql.includes('from keys join users')) {
          looking.resolve()
          await found.promise
        }
        return database.read(statement, values)
      },
    })
    await using world = await openWorld({ adapters: { wrapDatabase } })
    const socket = await begin(world, { 'content-length': '1000' })
    await looking.promise
    socket.destroy()
    await until(async () => (await connectionsOf(world)) === 0, 'the connection is still open')
    found.resolve()
    await world.quiet()
  })

  test('a body that is broken as HTTP is refused', async () => {
    await using world = await openWorld()
    const socket = await begin(world, { 'transfer-encoding': 'chunked' })
    socket.write('5\r\n{"mod\r\nnothing\r\n')
    const said = await firstAnswer(socket)
    expect(said).toMatch(/^HTTP\/1\.1 400 /)
    expect(said).toMatch(/\r\nx-request-id: [0-9a-f-]{36}\r\n/)
    expect(said).toContain('"message":"Failed to read request body"')
    await world.quiet()
  })
})

describe('what is JSON', () => {
  const world = sharedWorld()
  const sim = (rest: string) => `{"model":"sim","input":"x"${rest}}`

  test.for<[string | Buffer, object]>([
    ['', empty],
    [' \r\n\t ', empty],
    ['null', unparsable],
    ['[]', unparsable],
    ['[{"model":"sim"}]', unparsable],
    ['"sim"', unparsable],
    ['1', unparsable],
    ['{', unparsable],
    ['{"model":"sim"', unparsable],
    ['{"model":"sim",}', unparsable],
    ['{"model":"sim"} {}', unparsable],
    ["{'model':'sim'}", unparsable],
    ['{"model":"sim","temperature":NaN}', unparsable],
    ['{"model":"sim" /* no */}', unparsable],
    [sim(',"x":[1,2'), unparsable],
    [sim(',"x":"\t"'), unparsable],
    [Buffer.from([0xef, 0xbb, 0xbf, ...Buffer.from(sim(''))]), unparsable],
    [Buffer.concat([Buffer.from('{"model":"sim","input":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]), unparsable],
    [sim(`,"x":${'['.repeat(20_000)}${']'.repeat(20_000)}`), unparsable],
    ['{}', modelMissing],
    ['{"model":""}', modelMissing],
    ['{"model":null}', modelMissing],
    ['{"model":5}', modelMissing],
    ['{"model":["sim"]}', modelMissing],
    ['{"model":{"id":"sim"}}', modelMissing],
    ['{"Model":"sim"}', modelMissing],
    ['{"metadata":{"model":"sim"}}', modelMissing],
  ])('%j is refused', async ([content, expected]) => {
    expect(refusalOf(await send(world(), { body: content }))).toEqual(expected)
  })

  test.for(fieldNames)('the field %s may not stand twice, however it is spelled', async name => {
    const escaped = `\\u${name.charCodeAt(0).toString(16).padStart(4, '0')}${name.slice(1)}`
    const others = name === 'model' ? '"input":"x"' : '"model":"sim"'
    for (const [first, second] of [
      [name, name],
      [name, escaped],
      [escaped, name],
    ]) {
      const content = `{"${first}":null,${others},"${second}":"sim"}`
      expect(refusalOf(await send(world(), { body: content }))).toEqual(unparsable)
    }
  })

  test.for([
    sim(',"x":1,"x":2'),
    sim(',"metadata":{"model":"a","model":"b","input":1}'),
    sim(',"mod":1,"models":[{"model":"a","model":"b"}]'),
    ` \n${sim('')}\r\n`,
    sim(`,"x":${'['.repeat(200)}${']'.repeat(200)}`),
    '{"mod\\u0065l":"s\\u0069m","input":"x"}',
  ])('%s is not', async content => {
    expect((await send(world(), { body: content })).status).toBe(200)
    expect(world().sim.attempts.at(-1)?.body.toString()).toBe(content)
  })
})

describe('which model', () => {
  test('a model that no account lists is refused for ever, and the reason names group and model', async () => {
    await using world = await openWorld({ accounts: [{ models: { sim: 'sim' } }] })
    const why = 'no account of group default lists the model other'
    expect(refusalOf(await send(world, { body: { model: 'other' } }))).toEqual(unserved(why))
    expect(refusalOf(await send(world, { body: { model: 'constructor' } })).status).toBe(503)
    await world.quiet()
  })

  test('a group without accounts, and a key without groups, say so', async () => {
    await using world = await openWorld({ accounts: [] })
    expect(refusalOf(await send(world))).toEqual(unserved('group default is empty'))
    const { secret } = await world.addKey(world.user, { groupIds: [] })
    expect(refusalOf(await send(world, { key: secret }))).toEqual(unserved('the key has no group'))
    await world.quiet()
  })

  test('what no account can do is refused for ever, and the reason says what', async () => {
    const capabilities = { ...defaultCapabilities, serviceTiers: false, hostedTools: false }
    await using world = await openWorld({ accounts: [{ capabilities }] })
    const asked = { model: 'sim', input: 'x' }
    const tier = await send(world, { body: { ...asked, service_tier: 'flex' } })
    expect(refusalOf(tier)).toEqual(unserved('a1 has no service tier flex'))
    const tools = await send(world, { body: { ...asked, tools: [{ type: 'web_search' }] } })
    expect(refusalOf(tools)).toEqual(unserved('a1 runs no hosted tools'))
    await world.quiet()
  })

  test('a model that accounts list and nothing gives a price is refused by its name', async () => {
    await using world = await openWorld({ accounts: [{ models: { luxury: 'gold', sim: 'sim' } }] })
    expect(refusalOf(await send(world, { body: { model: 'luxury' } }))).toEqual(unpriced('luxury'))
    expect(await world.rows()).toMatchObject([{ fault: 'model_unpriced', requested_model: 'luxury', stream: 0n, cost: 0n, status: 400n }])
    await world.quiet()
  })

  test('a group may say that what has no price is free, and then it needs no money', async () => {
    await using world = await openWorld({ group: { unpriced: 'free' }, balance: '0' })
    expect((await send(world, { body: { model: 'gold', input: 'x' } })).status).toBe(200)
    expect((await send(world)).status).toBe(429)
    expect(await world.rows()).toMatchObject([
      { requested_model: 'gold', cost: 0n, held: 0n, price_id: null, basis: 'reported' },
      { fault: 'money_short' },
    ])
    await world.quiet()
  })

  test('background counts only when it is boolean true', async () => {
    await using world = await openWorld()
    for (const background of ['true', 1, null, false]) {
      expect((await send(world, { body: { model: 'sim', input: 'x', background } })).json.status).toBe('completed')
    }
    expect((await world.rows()).map(({ basis }) => basis)).toEqual(['reported', 'reported', 'reported', 'reported'])
    await world.quiet()
  })
})

describe('stream', () => {
  const world = sharedWorld()

  test.for([
    [true, 'text/event-stream'],
    [false, 'application/json'],
    [null, 'application/json'],
    ['true', 'application/json'],
    [1, 'application/json'],
    [[true], 'application/json'],
    [undefined, 'application/json'],
  ])('stream: %j is answered with %s, whatever is accepted', async ([stream, type]) => {
    for (const accept of ['application/json', 'text/event-stream']) {
      const asked = { headers: { accept }, body: { model: 'sim', input: 'x', stream } }
      await using answer = openStream(world(), asked)
      expect((await answer.begun).headers['content-type']).toBe(type)
      await answer.rest()
      expect((await world().rows()).at(-1)).toMatchObject({ stream: stream === true ? 1n : 0n, status: 200n })
      expect(JSON.parse(world().sim.attempts.at(-1)!.body.toString())).toEqual(JSON.parse(JSON.stringify(asked.body)))
    }
  })
})
