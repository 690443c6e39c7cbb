import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { changeKey, findKey, type KeyDraft, removeKey } from '../../src/directory/keys.ts'
import { hashOf } from '../../src/directory/secrets.ts'
import { changeUser } from '../../src/directory/users.ts'
import { type Database, DatabaseAway, statement } from '../../src/storage/database.ts'
import { type Asked, refusalOf, send } from '../client.ts'
import { sharedWorld } from '../shared-world.ts'
import { openWorld, until, type World } from '../world.ts'

/** SPEC 1 and 1.1: where calls go, and who asks. */

const badRequest = { status: 400, type: 'invalid_request_error', code: null, param: null, retry: 'never' }
const queryKey = { ...badRequest, message: 'API key must not be sent in the query string' }
const badKey = {
  status: 401,
  type: 'authentication_error',
  code: 'invalid_api_key',
  param: null,
  message: 'Invalid API key',
  retry: 'never',
}
const denied = { status: 403, type: 'permission_error', code: null, param: null, message: 'Access denied', retry: 'never' }
const booksAway = {
  status: 503,
  type: 'api_error',
  code: 'billing_unavailable',
  param: null,
  message: 'Billing service temporarily unavailable. Please retry later.',
  retry: 'later',
}

describe('who asks', () => {
  let world: World
  const secrets = { disabled: '', expired: '', lasting: '', ofDisabledUser: '' }

  beforeAll(async () => {
    world = await openWorld()
    const secretOf = async (draft: Partial<KeyDraft>, user = world.user) => (await world.addKey(user, draft)).secret
    secrets.disabled = await secretOf({ disabled: true })
    secrets.expired = await secretOf({ expiresAtMs: Date.now() - 1 })
    secrets.lasting = await secretOf({ expiresAtMs: Date.now() + 600_000 })
    secrets.ofDisabledUser = await secretOf({}, await world.addUser({ disabled: true }))
  })

  afterAll(async () => {
    await world.quiet()
    await world[Symbol.asyncDispose]()
  })

  const withHeader = (headers: (own: string) => Asked['headers']) => (): Asked => ({ key: null, headers: headers(world.key) ?? {} })
  const withKey = (name: keyof typeof secrets) => (): Asked => ({ key: secrets[name] })

  test.for<[string, () => Asked, number | object]>([
    ['a key as Bearer', () => ({}), 200],
    ['a scheme in small letters', withHeader(own => ({ authorization: `bearer ${own}` })), 200],
    ['a key as x-api-key', withHeader(own => ({ 'x-api-key': own })), 200],
    ['a key as x-api-key, and a scheme that is not Bearer', withHeader(own => ({ authorization: 'Basic eDp5', 'x-api-key': own })), 200],
    ['a key that has not expired yet', withKey('lasting'), 200],
    ['no key', () => ({ key: null }), badKey],
    ['a scheme that is not Bearer', withHeader(own => ({ authorization: `Basic ${own}` })), badKey],
    ['a Bearer without a key', withHeader(() => ({ authorization: 'Bearer ' })), badKey],
    ['an empty x-api-key', withHeader(() => ({ 'x-api-key': '' })), badKey],
    ['an unknown key', () => ({ key: 'hg-unknown' }), badKey],
    ['a key and something behind it', withHeader(own => ({ authorization: `Bearer ${own} x` })), badKey],
    ['an unknown Bearer before a good x-api-key', withHeader(own => ({ authorization: 'Bearer x', 'x-api-key': own })), badKey],
    ['a disabled key', withKey('disabled'), badKey],
    ['an expired key', withKey('expired'), badKey],
    ['a key of a disabled user', withKey('ofDisabledUser'), badKey],
    ['a good key, and one in the query', () => ({ path: `/v1/responses?key=${world.key}` }), queryKey],
    ['only a key in the query', () => ({ key: null, path: `/v1/responses?api_key=${world.key}` }), queryKey],
    ['an unknown key, and one in the query', () => ({ key: 'x', path: '/v1/responses?api_key=x' }), queryKey],
    ['a key in the query behind others', () => ({ path: '/v1/responses?a=1&b=2&key=x' }), queryKey],
    ['a key in the query, spelled with escapes', () => ({ path: '/v1/responses?%61pi%5Fkey=x' }), queryKey],
    ['a key in the query that says nothing', () => ({ path: '/v1/responses?key' }), queryKey],
    ['a query that only looks like a key', () => ({ path: '/v1/responses?monkey=1&api_keys=2&x=key' }), 200],
  ])('%s', async ([, asked, expected]) => {
    const answer = await send(world, asked())
    if (typeof expected === 'number') expect(answer.status).toBe(expected)
    else expect(refusalOf(answer)).toEqual(expected)
  })
})

describe('which address', () => {
  let plain: World
  let proxied: World

  beforeAll(async () => {
    // A socket that speaks IPv6 sees a client of IPv4 as ::ffff:127.0.0.1.
    plain = await openWorld({ settings: { listen: { host: '::', port: 0 } } })
    proxied = await openWorld({ settings: { trustedProxies: ['127.0.0.0/8', '10.0.0.0/8', '2001:db8:ffff::/48'] } })
  })

  afterAll(async () => {
    for (const world of [plain, proxied]) {
      await world.quiet()
      await world[Symbol.asyncDispose]()
    }
  })

  const cases: readonly {
    lists: Pick<Partial<KeyDraft>, 'allowAddresses' | 'denyAddresses'>
    forwarded?: string | readonly string[]
    from: string | 'denied'
    isProxied?: true
  }[] = [
    { lists: {}, from: '127.0.0.1' },
    { lists: { allowAddresses: ['127.0.0.1'] }, from: '127.0.0.1' },
    { lists: { allowAddresses: ['192.0.2.1', '127.0.0.0/8'] }, from: '127.0.0.1' },
    { lists: { allowAddresses: ['10.0.0.0/8'] }, from: 'denied' },
    { lists: { allowAddresses: ['::1'] }, from: 'denied' },
    { lists: { denyAddresses: ['127.0.0.1'] }, from: 'denied' },
    { lists: { denyAddresses: ['10.0.0.0/8'] }, from: '127.0.0.1' },
    { lists: { allowAddresses: ['127.0.0.0/8'], denyAddresses: ['127.0.0.1/32'] }, from: 'denied' },
    // Whoever is no configured proxy may write what they like.
    { lists: { allowAddresses: ['10.0.0.1'] }, forwarded: '10.0.0.1', from: 'denied' },
    { lists: { denyAddresses: ['10.0.0.1'] }, forwarded: '10.0.0.1', from: '127.0.0.1' },

    { lists: {}, isProxied: true, from: '127.0.0.1' },
    { lists: {}, isProxied: true, forwarded: '203.0.113.7', from: '203.0.113.7' },
    { lists: { allowAddresses: ['203.0.113.0/24'] }, isProxied: true, forwarded: '203.0.113.7', from: '203.0.113.7' },
    { lists: { denyAddresses: ['203.0.113.0/24'] }, isProxied: true, forwarded: '203.0.113.7', from: 'denied' },
    { lists: { allowAddresses: ['127.0.0.1'] }, isProxied: true, forwarded: '203.0.113.7', from: 'denied' },
    // What stands before the last address that is no proxy's, the client wrote itself.
    { lists: { allowAddresses: ['203.0.113.7'] }, isProxied: true, forwarded: '203.0.113.7, 198.51.100.9', from: 'denied' },
    { lists: {}, isProxied: true, forwarded: '203.0.113.7, 198.51.100.9, 10.1.2.3', from: '198.51.100.9' },
    { lists: {}, isProxied: true, forwarded: ['203.0.113.7', '198.51.100.9, 10.1.2.3'], from: '198.51.100.9' },
    { lists: {}, isProxied: true, forwarded: ' 198.51.100.9 ,10.1.2.3, ', from: '198.51.100.9' },
    { lists: {}, isProxied: true, forwarded: '198.51.100.9:4711', from: '198.51.100.9' },
    { lists: { allowAddresses: ['198.51.100.9'] }, isProxied: true, forwarded: '::ffff:198.51.100.9', from: '198.51.100.9' },
    { lists: { denyAddresses: ['198.51.100.9'] }, isProxied: true, forwarded: '::ffff:c633:6409', from: 'denied' },
    { lists: { allowAddresses: ['2001:db8::/32'] }, isProxied: true, forwarded: '2001:db8::5, 2001:db8:ffff::1', from: '2001:db8::5' },
    { lists: { denyAddresses: ['2001:db8::5'] }, isProxied: true, forwarded: '[2001:DB8:0::5]:443', from: 'denied' },
    { lists: { allowAddresses: ['198.51.100.0/24'] }, isProxied: true, forwarded: 'unknown', from: 'denied' },
    { lists: { denyAddresses: ['198.51.100.0/24'] }, isProxied: true, forwarded: 'unknown', from: 'denied' },
    { lists: {}, isProxied: true, forwarded: '10.1.2.3', from: '127.0.0.1' },
  ]

  test.for(cases)('%j', async ({ lists, forwarded, from, isProxied }) => {
    const world = isProxied ? proxied : plain
    const { secret } = await world.addKey(world.user, lists)
    const headers: Asked['headers'] = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
    const answer = await send({ url: world.url.replace('[::]', '127.0.0.1'), key: secret }, { headers })
    if (from === 'denied') expect(refusalOf(answer)).toEqual(denied)
    else expect(answer.status).toBe(200)
    const row = (await world.rows()).find(({ id }) => id === answer.headers['x-request-id'])
    if (from !== 'denied') expect(row).toMatchObject({ address: from, status: 200n })
    else expect(row).toMatchObject({ status: 403n, ended: 'refused', fault: 'address_denied', cost: 0n })
  })
})

/** Counts how often the books are asked whose key it is, and lets them go away. */
function watchedBooks() {
  const books = { lookUps: 0, areAway: false }
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    async read(statement, values) {
      if (books.areAway) throw new DatabaseAway('away')
      if (statement.sql.includes('from keys join users')) books.lookUps += 1
      return database.read(statement, values)
    },
    commit: (steps, durability) => (books.areAway ? Promise.reject(new DatabaseAway('away')) : database.commit(steps, durability)),
  })
  return { books, wrapDatabase }
}

test('an unknown key is looked up once, and not again while it is remembered', async () => {
  const { books, wrapDatabase } = watchedBooks()
  await using world = await openWorld({ adapters: { wrapDatabase }, settings: { unknownKeyMs: 600_000 } })
  const repeated = await Promise.all(Array.from({ length: 6 }, () => send(world, { key: 'hg-typo' })))
  repeated.push(await send(world, { key: 'hg-typo' }))
  expect(repeated.map(({ status }) => status)).toEqual(Array(7).fill(401))
  expect(books.lookUps).toBe(1)
  await send(world, { key: 'hg-other' })
  expect(books.lookUps).toBe(2)
  await world.quiet()
})

test('what is remembered of an unknown key is forgotten after a while, and at once when the books change', async () => {
  const { books, wrapDatabase } = watchedBooks()
  await using world = await openWorld({ adapters: { wrapDatabase }, settings: { unknownKeyMs: 50 } })
  await send(world, { key: 'hg-typo' })
  await until(async () => (await send(world, { key: 'hg-typo' })).status === 401 && books.lookUps >= 2, 'it is never looked up again')
  await world.quiet()
})

test('a known key is looked up once, and then again only when the books have changed', async () => {
  const { books, wrapDatabase } = watchedBooks()
  await using world = await openWorld({ adapters: { wrapDatabase } })
  await send(world)
  await send(world)
  expect(books.lookUps).toBe(1)
  await world.addKey(world.user)
  await send(world)
  expect(books.lookUps).toBe(2)
  await world.quiet()
})

test('while the books are away a key is never called bad', async () => {
  const { books, wrapDatabase } = watchedBooks()
  await using world = await openWorld({ adapters: { wrapDatabase }, settings: { unknownKeyMs: 600_000 } })
  const unused = await world.addKey(world.user)
  await send(world)
  books.areAway = true
  for (const key of [unused.secret, world.key, 'hg-unknown']) expect(refusalOf(await send(world, { key }))).toEqual(booksAway)
  // What can be told without the books is told.
  expect(refusalOf(await send(world, { key: null }))).toEqual(badKey)
  books.areAway = false
  expect((await send(world, { key: unused.secret })).status).toBe(200)
  expect(refusalOf(await send(world, { key: 'hg-unknown' }))).toEqual(badKey)
  await world.quiet()
})

test('a key that is disabled or removed, or whose user is disabled, stops working at once, and works again when it is enabled', async () => {
  await using world = await openWorld()
  const { id, secret } = await world.addKey(world.user)
  const statusNow = async () => (await send(world, { key: secret })).status
  expect(await statusNow()).toBe(200)
  const key = (await findKey(world.database, id))!
  await world.commit(changeKey({ ...key, disabled: true }))
  expect(await statusNow()).toBe(401)
  await world.commit(changeKey(key))
  expect(await statusNow()).toBe(200)
  await world.commit(changeUser({ ...world.user, disabled: true }))
  expect(await statusNow()).toBe(401)
  await world.commit(changeUser(world.user))
  expect(await statusNow()).toBe(200)
  await world.commit(removeKey(key))
  expect(await statusNow()).toBe(401)
  await world.quiet()
})

const insertKey = statement(`insert into keys (id, user_id, name, hash, hint, allow_addresses, deny_addresses, disabled, created_at)
  values ($1, $2, 'again', $3, '', '[]', '[]', 0, 0)`)
const insertKeyGroup = statement('insert into key_groups (key_id, group_id, position) values ($1, $2, 0)')

test('a key that is made works at once, even when it was tried before', async () => {
  await using world = await openWorld({ settings: { unknownKeyMs: 600_000 } })
  const { id, secret } = await world.addKey(world.user)
  const key = (await findKey(world.database, id))!
  await world.commit(removeKey(key))
  expect((await send(world, { key: secret })).status).toBe(401)
  await world.commit([
    { statement: insertKey, values: [key.id, key.userId, hashOf(secret)] },
    { statement: insertKeyGroup, values: [key.id, world.group.id] },
  ])
  expect((await send(world, { key: secret })).status).toBe(200)
  await world.quiet()
})

test('calls of known keys have a row whose id is their x-request-id; those of nobody are only counted', async () => {
  await using world = await openWorld()
  const { secret } = await world.addKey(world.user, { disabled: true })
  const known = [await send(world), await send(world, { key: secret }), await send(world, { body: '' })]
  const nobodys = [await send(world, { key: 'x' }), await send(world, { key: null }), await send(world, { path: '/v1/responses?key=x' })]
  const rows = await world.rows()
  expect(rows.map(({ id }) => id).sort()).toEqual(known.map(({ headers }) => headers['x-request-id']).sort())
  expect(rows.map(({ fault }) => fault)).toEqual([null, 'key_invalid', 'body_empty'])
  const counted = await world.headgate.gateway.metrics.unauthenticated.get()
  expect(Object.fromEntries(counted.values.map(({ labels, value }) => [labels.fault, value]))).toEqual({ key_invalid: 2, query_key: 1 })
  expect(new Set([...known, ...nobodys].map(({ headers }) => headers['x-request-id'])).size).toBe(6)
  await world.quiet()
})

test('no key is ever logged, least of all one in a query', async () => {
  const lines: unknown[] = []
  const write = (...said: unknown[]) => void lines.push(...said)
  await using world = await openWorld({ log: { debug: write, info: write, warn: write, error: write, fatal: write, call: write } })
  await send(world, { path: `/v1/responses?key=${world.key}` })
  await send(world, { path: `/v1/nothing?api_key=${world.key}` })
  await send(world)
  await world.headgate.stop()
  expect(lines.length).toBeGreaterThan(0)
  expect(JSON.stringify(lines)).not.toContain(world.key)
})

describe('paths', () => {
  const shared = sharedWorld()
  let world: World
  beforeAll(() => {
    world = shared()
  })

  test.for(['/v1/responses', '/responses', '/openai/v1/responses'])('%s is the main path', async path => {
    const answer = await send(world, { path })
    expect(answer.status).toBe(200)
    expect((await world.rows()).at(-1)).toMatchObject({ id: answer.headers['x-request-id'], path })
    expect(world.sim.attempts.at(-1)?.path).toBe('/v1/responses')
  })

  test.for(['', '?', '?api-version=2025-04-01-preview', '?a=1&a=2&b=%20%2B+x&c=%C3%bc&%5B%5D=', '?x=/v1?y=1&&', '?{"a"|b}'])(
    'the query %s passes unchanged',
    async query => {
      const path = `/v1/responses${query}`
      expect((await send(world, { path })).status).toBe(200)
      expect(world.sim.attempts.at(-1)?.path).toBe(path)
    },
  )

  test.for<[string, string, number, string, string | null]>([
    ['POST', '/v1/nothing', 404, 'Invalid URL (POST /v1/nothing)', null],
    ['GET', '/v1/nothing?x=1', 404, 'Invalid URL (GET /v1/nothing)', null],
    ['POST', '/v1/responses/', 404, 'Invalid URL (POST /v1/responses/)', null],
    ['POST', '/v1/Responses', 404, 'Invalid URL (POST /v1/Responses)', null],
    ['DELETE', '/v1', 404, 'Invalid URL (DELETE /v1)', null],
    ['GET', '/v1/responses', 405, 'Not allowed to GET on /v1/responses', 'method_not_supported'],
    ['PUT', '/responses', 405, 'Not allowed to PUT on /responses', 'method_not_supported'],
  ])('%s %s is answered %i, in the shape of OpenAI, key or no key', async ([method, path, status, message, code]) => {
    for (const key of [world.key, null]) {
      expect(refusalOf(await send(world, { method, path, key }))).toEqual({ ...badRequest, status, message, code })
    }
  })

  test.for(['websocket', 'h2c'])('an upgrade to %s is answered 426, and the connection closed', async protocol => {
    const { hostname, port } = new URL(world.url)
    const socket = connect(Number(port), hostname)
    socket.write(
      `GET /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.key}\r\nconnection: Upgrade\r\nupgrade: ${protocol}\r\n\r\n`,
    )
    let said = ''
    for await (const chunk of socket) said += chunk
    const [head = '', body = ''] = said.split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n/)
    expect(head).toMatch(/\r\nx-request-id: [0-9a-f-]{36}\r\n/)
    expect(JSON.parse(body)).toEqual({
      error: { type: 'invalid_request_error', code: null, param: null, message: 'WebSocket is not available here, use HTTP' },
    })
  })

  test('an upgrade by HEAD is refused without a body, as nobody would expect one', async () => {
    const upgrade = { method: 'HEAD', headers: { connection: 'upgrade', upgrade: 'websocket' } }
    expect(await send(world, upgrade)).toMatchObject({ status: 426, body: '', ending: 'whole' })
  })

  test('an expectation that nobody knows is overlooked', async () => {
    expect(await send(world, { headers: { expect: 'nothing' } })).toMatchObject({ status: 200, ending: 'whole' })
  })
})

test('checks run in order: of two faults the earlier is told', async () => {
  await using world = await openWorld({ settings: { bodyBytesMax: 2000 } })
  const barred = await world.addKey(world.user, { denyAddresses: ['127.0.0.1'] })
  const dead = await world.addKey(world.user, { denyAddresses: ['127.0.0.1'], disabled: true })
  const poor = await world.addKey(await world.addUser({}, '0'))
  const orphaned = { input: [{ type: 'function_call_output', output: 'x' }] }
  const large = 'x'.repeat(3000)
  const answers: readonly [Asked, string][] = [
    [{ path: '/v1/responses?key=x', key: 'x' }, 'API key must not be sent in the query string'],
    [{ key: dead.secret }, 'Invalid API key'],
    [{ key: 'x', headers: { 'content-encoding': 'lzw' } }, 'Invalid API key'],
    [{ key: barred.secret, body: '' }, 'Access denied'],
    [{ headers: { 'content-encoding': 'lzw' }, body: large }, 'Unsupported content encoding'],
    [{ headers: { 'content-encoding': 'lzw' }, body: '' }, 'Unsupported content encoding'],
    [{ body: large }, 'Request body too large, limit is 2000B'],
    [{ headers: { 'content-encoding': 'gzip' }, body: 'no gzip' }, 'Failed to read request body'],
    [{ body: '' }, 'Request body is empty'],
    [{ body: '{"model":1,"model":2}' }, 'Failed to parse request body'],
    [{ body: { model: '', ...orphaned } }, 'model is required'],
    [{ key: poor.secret, body: {} }, 'model is required'],
    [{ body: { model: 'unpriced', ...orphaned } }, 'Model unpriced has no price'],
    [
      { key: poor.secret, body: { model: 'sim', ...orphaned } },
      'function_call_output requires call_id or previous_response_id; if relying on history, ensure store=true and reuse previous_response_id',
    ],
    [{ key: poor.secret }, 'Insufficient balance'],
  ]
  for (const [asked, message] of answers) expect((await send(world, asked)).error.message).toBe(message)
  expect(world.sim.attempts).toHaveLength(0)
  await world.quiet()
})
