import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { type Answer, refusalOf, send } from '../client.ts'
import { openWorld, type World } from '../world.ts'

/** SPEC 3: everything that the Responses API has besides making a response, as the real client asks for it. */

function sdk({ url, key }: Pick<World, 'url' | 'key'>): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
}

const get = (path: string, key?: string) => ({ method: 'GET', path, ...(key !== undefined && { key }) })

/** A second user with a key, and a response that is the first one's. */
async function withStranger(options: Parameters<typeof openWorld>[0] = {}) {
  const world = await openWorld({ accounts: [{}, {}], ...options })
  const { secret } = await world.addKey(await world.addUser())
  const made = await sdk(world).responses.create({ model: 'sim', input: 'Who may open the gate?' })
  return { ...world, stranger: secret, made, at: world.sim.attempts[0]!.key }
}

describe('a response by its id', () => {
  test('is told, listed and deleted by the account that keeps it, and costs nothing more', async () => {
    await using world = await withStranger()
    const { responses } = sdk(world)
    const { balance } = await world.balance()
    expect(await responses.retrieve(world.made.id)).toMatchObject({ id: world.made.id, status: 'completed', model: 'sim' })
    const items = await responses.inputItems.list(world.made.id, { order: 'asc', limit: 1 })
    expect(items.data[0]).toMatchObject({ type: 'message', role: 'user' })
    expect(world.sim.attempts.at(-1)!.path).toBe(`/v1/responses/${world.made.id}/input_items?order=asc&limit=1`)
    await expect(responses.cancel(world.made.id)).rejects.toMatchObject({
      status: 400,
      message: '400 Cannot cancel a synchronous response.',
    })
    await responses.delete(world.made.id)
    await expect(responses.retrieve(world.made.id)).rejects.toMatchObject({ status: 404 })
    expect(new Set(world.sim.attempts.map(({ key }) => key))).toEqual(new Set([world.at]))
    expect(await world.balance()).toEqual({ balance, held: 0n })

    const [first, ...rows] = await world.rows()
    expect(first).toMatchObject({ basis: 'reported' })
    expect(rows.map(({ status, ended }) => `${status} ${ended}`)).toEqual([
      '200 completed',
      '200 completed',
      '400 refused',
      '200 completed',
      '404 refused',
    ])
    for (const row of rows) expect(row).toMatchObject({ cost: 0n, basis: 'none', held: 0n, attempts: 1n, account_id: first!.account_id })
    expect(await world.attempts()).toHaveLength(world.sim.attempts.length)
    await world.quiet()
  })

  test('stays its owner’s after it was deleted', async () => {
    await using world = await withStranger()
    await sdk(world).responses.delete(world.made.id)
    const owner = await world.headgate.gateway.owners.ownerOf(world.made.id)
    expect(owner).toMatchObject({ userId: world.user.id })
    await world.quiet()
  })

  test('under an alias it is told by the name that was asked for', async () => {
    await using world = await openWorld({ accounts: [{ models: { alias: 'sim' } }] })
    const { responses } = sdk(world)
    const made = await responses.create({ model: 'alias', input: 'hello' })
    expect((await responses.retrieve(made.id)).model).toBe('alias')
    await world.quiet()
  })
})

/** Each with an id of the first user's, told to the second; and with one that nobody has. */
const foreign: readonly (readonly [method: string, path: (ids: Ids) => string, kind: keyof Ids])[] = [
  ['GET', ({ response }) => `/v1/responses/${response}`, 'response'],
  ['GET', ({ response }) => `/v1/responses/${response}?stream=true`, 'response'],
  ['DELETE', ({ response }) => `/v1/responses/${response}`, 'response'],
  ['POST', ({ response }) => `/v1/responses/${response}/cancel`, 'response'],
  ['GET', ({ response }) => `/v1/responses/${response}/input_items`, 'response'],
  ['GET', ({ conversation }) => `/v1/conversations/${conversation}`, 'conversation'],
  ['POST', ({ conversation }) => `/v1/conversations/${conversation}`, 'conversation'],
  ['DELETE', ({ conversation }) => `/v1/conversations/${conversation}`, 'conversation'],
  ['GET', ({ conversation }) => `/v1/conversations/${conversation}/items`, 'conversation'],
  ['POST', ({ conversation }) => `/v1/conversations/${conversation}/items`, 'conversation'],
  ['GET', ({ conversation }) => `/v1/conversations/${conversation}/items/msg_1`, 'conversation'],
  ['DELETE', ({ conversation }) => `/v1/conversations/${conversation}/items/msg_1`, 'conversation'],
]

interface Ids {
  readonly response: string
  readonly conversation: string
}

test('a foreign id and an unknown one are answered alike, by us, whatever is asked of it', async () => {
  await using world = await withStranger()
  const conversation = await sdk(world).conversations.create()
  const mine: Ids = { response: world.made.id, conversation: conversation.id }
  const nobodys: Ids = { response: `resp_${'0'.repeat(32)}`, conversation: `conv_${'0'.repeat(32)}` }
  world.sim.reset()
  for (const [method, path, kind] of foreign) {
    const told = async (ids: Ids) =>
      comparable(await send(world, { method, path: path(ids), key: world.stranger, body: method === 'POST' ? '{}' : '' }), ids[kind])
    const theirs = await told(mine)
    expect(theirs).toEqual(await told(nobodys))
    const message = kind === 'response' ? "Response with id 'ID' not found." : "Conversation with id 'ID' not found."
    expect(theirs).toMatchObject({ status: 404, error: { type: 'invalid_request_error', code: null, param: null, message } })
  }
  // An id of one kind is none of the other.
  expect((await send(world, get(`/v1/conversations/${world.made.id}`))).status).toBe(404)
  expect(world.sim.attempts).toEqual([])
  expect(await sdk(world).responses.retrieve(world.made.id)).toMatchObject({ id: world.made.id })
  await world.quiet()
})

/** All that a client sees, but for the id that it sent, the call's own id and the time. */
function comparable({ status, headers, body, error }: Answer, id: string) {
  const { 'x-request-id': _, date: __, ...told } = headers
  expect(body).toContain(id)
  const message = String(error.message).replace(id, 'ID')
  return { status, error: { ...error, message }, headers: { ...told, 'content-length': Number(told['content-length']) - id.length } }
}

describe('conversations', () => {
  test('are made, changed, filled, read and deleted at the account that was chosen for them', async () => {
    await using world = await openWorld({ accounts: [{ priority: 60 }, {}, { priority: 1, disabled: true }] })
    const { conversations, responses } = sdk(world)
    const made = await conversations.create({ metadata: { topic: 'gates' }, items: [{ type: 'message', role: 'user', content: 'hello' }] })
    expect(await world.headgate.gateway.owners.ownerOf(made.id)).toMatchObject({ kind: 'conversation', userId: world.user.id })
    expect(await conversations.retrieve(made.id)).toMatchObject({ id: made.id, metadata: { topic: 'gates' } })
    expect(await conversations.update(made.id, { metadata: { topic: 'canals' } })).toMatchObject({ metadata: { topic: 'canals' } })
    const added = await conversations.items.create(made.id, { items: [{ type: 'message', role: 'user', content: 'and more' }] })
    const itemId = (added.data[0] as { id: string }).id
    expect(await conversations.items.retrieve(itemId, { conversation_id: made.id })).toMatchObject({ id: itemId })
    expect((await conversations.items.list(made.id)).data).toHaveLength(2)
    await conversations.items.delete(itemId, { conversation_id: made.id })
    const answer = await responses.create({ model: 'sim', input: 'go on', conversation: made.id })
    expect(answer.conversation).toMatchObject({ id: made.id })
    expect(await conversations.delete(made.id)).toMatchObject({ deleted: true })
    await expect(conversations.retrieve(made.id)).rejects.toMatchObject({ status: 404 })
    expect(new Set(world.sim.attempts.map(({ key }) => key))).toEqual(new Set(['up-a2']))
    await world.quiet()
  })

  test('another account is asked while none has been made', async () => {
    await using world = await openWorld({ accounts: [{ priority: 1 }, {}] })
    world.sim.script({ key: 'up-a1' }, { status: 500 })
    world.sim.script({ key: 'up-a1', route: 'conversations' }, { status: 500 })
    const made = await sdk(world).conversations.create()
    expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a1', 'up-a2'])
    expect(await world.headgate.gateway.owners.ownerOf(made.id)).toMatchObject({ accountId: world.accounts[1]!.id })
    const [row] = await world.rows()
    expect(row).toMatchObject({ status: 200n, attempts: 2n, cost: 0n, account_id: world.accounts[1]!.id })
    await world.quiet()
  })

  test('what they are given by its id must be their owner’s, and at their account', async () => {
    await using world = await withStranger()
    const { conversations } = sdk(world)
    const [{ id: item }] = world.made.output as unknown as [{ id: string }]
    const theirs = (await sdk({ ...world, key: world.stranger }).conversations.create()).id
    const attempts = world.sim.attempts.length
    const withFile = { role: 'user', content: [{ type: 'input_file', file_id: 'file-1' }] }
    for (const path of ['/v1/conversations', `/v1/conversations/${theirs}/items`]) {
      const told = async (body: string) => refusalOf(await send(world, { path, body, key: world.stranger }))
      expect(await told(JSON.stringify({ items: [{ type: 'item_reference', id: item }] }))).toMatchObject({
        status: 400,
        message: expect.stringContaining(`Item with id '${item}' not found.`),
      })
      expect(await told(JSON.stringify({ items: [withFile] }))).toMatchObject({ status: 404, message: "File with id 'file-1' not found." })
      expect(await told('{"items":[],"items":[]}')).toMatchObject({ status: 400, message: 'Failed to parse request body' })
    }
    expect(world.sim.attempts).toHaveLength(attempts)

    const reference = { items: [{ type: 'item_reference' as const, id: item }] }
    const elsewhere = world.accounts.find((_, i) => `up-a${i + 1}` !== world.at)!
    const owner = { kind: 'conversation', userId: world.user.id, accountId: elsewhere.id, contextTokens: 0, atMs: 0 }
    await world.headgate.gateway.owners.keep({ ...owner, id: 'conv_elsewhere' })
    expect(refusalOf(await send(world, { path: '/v1/conversations/conv_elsewhere/items', body: JSON.stringify(reference) }))).toMatchObject(
      {
        message: 'The ids in this request belong to different upstream accounts and cannot be used together',
      },
    )
    for (let i = 0; i < 4; i += 1) await conversations.create(reference).catch(() => {})
    expect(world.sim.attempts.slice(attempts).map(({ key }) => key)).toEqual([world.at, world.at, world.at, world.at])
    await world.quiet()
  })

  test('where no account keeps any, that is said', async () => {
    await using world = await openWorld()
    await world.changeAccount(world.accounts[0]!, { capabilities: { ...world.accounts[0]!.capabilities, stateful: false } })
    expect(refusalOf(await send(world, { path: '/v1/conversations', body: '{}' }))).toMatchObject({
      status: 503,
      message: 'No available accounts: no account of the groups of this key keeps conversations',
    })
    await world.quiet()
  })

  test('what grows in them is in the hold of the next call', async () => {
    await using world = await openWorld()
    const { conversations, responses } = sdk(world)
    const made = await conversations.create()
    const held: bigint[] = []
    for (const words of ['short', 'long '.repeat(400)]) {
      await responses.create({ model: 'sim', input: 'go on', conversation: made.id, max_output_tokens: 100 })
      held.push((await world.rows()).at(-1)!.held as bigint)
      await conversations.items.create(made.id, { items: [{ type: 'message', role: 'user', content: words }] })
    }
    await responses.create({ model: 'sim', input: 'go on', conversation: made.id, max_output_tokens: 100 })
    const last = (await world.rows()).at(-1)!
    expect(held[1]).toBeGreaterThan(held[0]!)
    expect((last.held as bigint) - held[1]!).toBeGreaterThan(2_000n * 900n)
    expect(last).toMatchObject({ uncollected: 0n, cost: world.sim.invoice.at(-1)!.costNanos })
    await world.quiet()
  })
})

describe('what the account of a response does', () => {
  test.each([
    [{ status: 401 }, 502, 'Upstream authentication failed, please contact administrator', 'auth', 'rests'],
    [{ status: 403 }, 502, 'Upstream access forbidden, please contact administrator', 'forbidden', 'rests'],
    [{ status: 429 }, 429, 'Upstream rate limit exceeded, please retry later', 'limited', 'rests'],
    [{ status: 529 }, 503, 'Upstream service overloaded, please retry later', 'overloaded', 'rests'],
    [{ status: 500 }, 502, 'Upstream service temporarily unavailable', 'server', 'failed'],
    [{ status: 503 }, 502, 'Upstream service temporarily unavailable', 'overloaded', 'rests'],
    [{ end: 'reset', noHeaders: true }, 502, 'Upstream request failed', 'reset', 'failed'],
    [{ end: 'cut' }, 502, 'Upstream request failed', 'body_cut', 'failed'],
    [{ rawBody: 'no JSON' }, 502, 'Upstream request failed', 'body_malformed', 'failed'],
  ] as const)('%j is told as %i, and counts against it; nobody else is asked', async (script, status, message, fault, blame) => {
    await using world = await withStranger()
    world.sim.script({ route: 'retrieve' }, script)
    world.sim.reset()
    expect(refusalOf(await send(world, get(`/v1/responses/${world.made.id}`)))).toMatchObject({ status, message })
    expect(world.sim.attempts.map(({ key }) => key)).toEqual([world.at])
    const [condition] = (await world.conditions()).filter((_, i) => `up-a${i + 1}` === world.at)
    if (blame === 'failed') expect(condition!.failures).toBe(1)
    else expect(condition!.restingUntilMs).toBeGreaterThan(Date.now())
    expect((await world.attempts()).at(-1)).toMatchObject({ fault, answered: 0n })
    expect((await world.rows()).at(-1)).toMatchObject({ status: BigInt(status), ended: 'refused', cost: 0n })
    // It rests, and is asked all the same; that it tells says nothing of why it rests.
    world.sim.script({ route: 'retrieve' }, {})
    expect((await send(world, get(`/v1/responses/${world.made.id}`))).status).toBe(200)
    const after = (await world.conditions()).find((_, i) => `up-a${i + 1}` === world.at)!
    expect(after.failures).toBe(0)
    if (blame === 'rests') expect(after.restingUntilMs).toBeGreaterThan(Date.now())
    await world.quiet()
  })

  test.each([
    ['is disabled', { disabled: true }],
    ['is in none of the key’s groups any more', { groupIds: [] }],
  ])('when it %s, that is said', async (_, change) => {
    await using world = await withStranger()
    for (const account of world.accounts) await world.changeAccount(account, change)
    world.sim.reset()
    expect(refusalOf(await send(world, get(`/v1/responses/${world.made.id}`)))).toMatchObject({
      status: 503,
      message: 'No available accounts: the account that holds what this call refers to no longer serves this key',
    })
    expect(world.sim.attempts).toEqual([])
    await world.quiet()
  })
})

describe('limits', () => {
  test.each([
    '/v1/responses/..',
    '/v1/responses/%2e%2e%2fmodels',
    '/v1/responses/resp_1%2Fcancel',
    '/v1/responses/resp_%00',
    '/v1/responses/%',
    `/v1/responses/${'r'.repeat(257)}`,
    '/v1/conversations/conv_1/items/%2e%2e',
  ])('%s is no id, and nobody is asked', async path => {
    await using world = await openWorld()
    const { status, message } = refusalOf(await send(world, get(path)))
    expect(status).toBe(400)
    expect(message).toMatch(/^The id '/)
    expect(message).toContain(
      "' in the path is no id: it takes 1 to 256 letters, digits and signs of _ - . : ~ = +, a letter or digit first",
    )
    expect(world.sim.attempts).toEqual([])
    await world.quiet()
  })

  test('who asks in a loop is slowed by their requests per minute, also for what nobody has', async () => {
    await using world = await openWorld({ user: { requestsPerMinute: 3 } })
    const statuses: number[] = []
    for (let n = 0; n < 5; n++) statuses.push((await send(world, get('/v1/responses/resp_unknown'))).status)
    expect(statuses).toEqual([404, 404, 404, 429, 429])
    await world.quiet()
  })

  test('one user makes so many such requests at once, without a line', async () => {
    await using world = await withStranger({ settings: { keptAtOnceMax: 2 } })
    world.sim.script({ route: 'retrieve' }, { hold: 'slow' })
    const asked = [1, 2].map(() => send(world, get(`/v1/responses/${world.made.id}`)))
    await world.sim.gate('slow').reached(2)
    expect(refusalOf(await send(world, get(`/v1/responses/${world.made.id}`)))).toMatchObject({ status: 429, retry: 'later' })
    expect((await send(world, get('/v1/responses/resp_other', world.stranger))).status).toBe(404)
    world.sim.open('slow')
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([200, 200])
    expect((await send(world, get(`/v1/responses/${world.made.id}`))).status).toBe(200)
    await world.quiet()
  })

  test('an account that does not tell in time is given up', async () => {
    await using world = await withStranger({ settings: { keptTimeoutMs: 50 } })
    world.sim.script({ route: 'retrieve' }, { hold: 'never' })
    expect((await send(world, get(`/v1/responses/${world.made.id}`))).status).toBe(502)
    expect((await world.attempts()).at(-1)).toMatchObject({ fault: 'headers_timeout' })
    await world.quiet()
  })
})
