import { describe, expect, test } from 'vitest'
import type { Settings } from '../../src/config/settings.ts'
import { changeKey, findKey } from '../../src/directory/keys.ts'
import { type OpenStream, openStream, refusalOf, type StreamEvent, send } from '../client.ts'
import { gauge, inLine, inPoolLine, openWorld, until, type World, type WorldOptions } from '../world.ts'

/** SPEC 1.3 and 1.7: what a client hears while it waits, and how it is told of a failure then. */

const often: Partial<Settings> = { waitingCommentMs: 20 }
const streamHeaders = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' }
const callId = /^[0-9a-f-]{36}$/

/** A world in which one call occupies the only slot of the user until the gate `first` opens, or of the account. */
async function occupied(
  whose: 'user' | 'account',
  options: WorldOptions = {},
): Promise<World & { readonly first: ReturnType<typeof send> }> {
  const accounts = [whose === 'account' ? { concurrency: 1 } : {}]
  const world = await openWorld({ accounts, ...options, user: { concurrency: whose === 'user' ? 1 : 5, ...options.user } })
  world.sim.script({}, [{ hold: 'first', outputTokens: 4_700 }, {}])
  const first = send(world)
  await world.sim.gate('first').reached()
  return { ...world, first }
}

async function close(world: Awaited<ReturnType<typeof occupied>>): Promise<void> {
  world.sim.open('first')
  expect((await world.first).status).toBe(200)
  await world.quiet()
}

/** The first thing that comes must be a comment, on an answer that has begun. */
async function firstComment(stream: OpenStream): Promise<string> {
  const { status, headers } = await stream.begun
  expect(status).toBe(200)
  expect(headers).toMatchObject({ ...streamHeaders, 'x-request-id': expect.stringMatching(callId) })
  expect(headers['retry-after']).toBeUndefined()
  expect(await stream.next()).toMatchObject({ type: 'comment', raw: ':' })
  return String(headers['x-request-id'])
}

const withoutComments = (events: readonly StreamEvent[]) => events.filter(({ type }) => type !== 'comment')

describe('comments', () => {
  test.for(['user', 'account'] as const)('a stream hears them while it waits for its %s, and then its whole answer', async whose => {
    await using world = await occupied(whose, { settings: often })
    await using stream = openStream(world)
    const id = await firstComment(stream)
    expect(await stream.next()).toMatchObject({ type: 'comment' })
    world.sim.open('first')
    const events = withoutComments(await stream.rest())
    expect(events[0]).toMatchObject({ type: 'response.created', data: { sequence_number: 0 } })
    expect(events.at(-1)?.type).toBe('response.completed')
    expect(stream.text).toMatch(/^(:\n\n)+event: response\.created\n/)
    expect((await world.rows()).find(row => row.id === id)).toMatchObject({ status: 200n, ended: 'completed', fault: null })
    await close(world)
  })

  test('a stream hears them while an attempt is made', async () => {
    await using world = await openWorld({ settings: { attemptCommentMs: 20 } })
    world.sim.script({}, { hold: 'slow' })
    await using stream = openStream(world)
    await firstComment(stream)
    world.sim.open('slow')
    expect(withoutComments(await stream.rest()).at(-1)?.type).toBe('response.completed')
    await world.quiet()
  })

  test('a call without a stream hears nothing until its answer', async () => {
    await using world = await occupied('user', { settings: often })
    const json = send(world)
    await inLine(world, 1)
    // Whoever hears comments has heard several before the other hears anything.
    await using stream = openStream(world)
    await firstComment(stream)
    for (let i = 0; i < 3; i++) await stream.next()
    world.sim.open('first')
    const answer = await json
    expect([answer.status, answer.headers['content-type'], answer.json.status]).toEqual([200, 'application/json', 'completed'])
    await stream.rest()
    await close(world)
  })

  test('at 0 there are none, and a failure has its own status', async () => {
    await using world = await occupied('user', { settings: { waitingCommentMs: 0, attemptCommentMs: 0, lineTimeoutMs: 300 } })
    const answer = await send(world, { body: { model: 'sim', input: 'x', stream: true } })
    expect(refusalOf(answer)).toMatchObject({
      status: 429,
      message: 'Concurrency limit exceeded for user, please retry later',
      retry: 'later',
    })
    await close(world)
  })
})

/** What makes the call fail while it waits, and what its client is told. */
interface Failure {
  readonly name: string
  readonly whose: 'user' | 'account'
  readonly options?: WorldOptions
  readonly happens?: (world: World, keyId: string) => Promise<unknown>
  readonly type: string
  readonly code: string | null
  readonly message: RegExp
  /** The code of the failed response, which must have one. */
  readonly failedCode: string
  readonly fault: string
}

const failures: readonly Failure[] = [
  {
    name: 'the user’s line takes too long',
    whose: 'user',
    options: { settings: { ...often, lineTimeoutMs: 300 } },
    type: 'rate_limit_error',
    code: null,
    message: /^Concurrency limit exceeded for user, please retry later\. Please try again in \d+ s\.$/,
    failedCode: 'rate_limit_exceeded',
    fault: 'line_timeout_user',
  },
  {
    name: 'the pool’s line takes too long',
    whose: 'account',
    options: { settings: { ...often, lineTimeoutMs: 300 } },
    type: 'rate_limit_error',
    code: null,
    message: /^Concurrency limit exceeded for account, please retry later\. Please try again in \d+ s\.$/,
    failedCode: 'rate_limit_exceeded',
    fault: 'line_timeout_account',
  },
  {
    name: 'the key is revoked',
    whose: 'user',
    happens: async (world, keyId) => world.commit(changeKey({ ...(await findKey(world.database, keyId))!, disabled: true })),
    type: 'authentication_error',
    code: 'invalid_api_key',
    message: /^Invalid API key$/,
    failedCode: 'invalid_api_key',
    fault: 'key_invalid',
  },
  {
    name: 'the money is gone',
    whose: 'user',
    async happens(world) {
      const { ledger } = world.headgate.gateway
      // The first call was granted half of the ten cents, and uses nearly all of it.
      const { balance, held } = await world.balance()
      await ledger.debit({ walletId: world.user.walletId, amount: balance - held, reference: 'all', reason: 'test', author: 'test' })
      world.sim.open('first')
    },
    options: { settings: often, balance: '0.1' },
    type: 'insufficient_quota',
    code: 'insufficient_quota',
    message: /^Insufficient balance$/,
    failedCode: 'insufficient_quota',
    fault: 'money_short',
  },
  {
    name: 'the gateway stops',
    whose: 'user',
    async happens(world) {
      void world.headgate.stop()
      await until(() => world.headgate.gateway.closing.aborted, 'it does not stop')
    },
    type: 'api_error',
    code: null,
    message: /^Gateway is restarting, please retry later\. Please try again in \d+ s\.$/,
    failedCode: 'server_error',
    fault: 'stopping',
  },
]

describe('a failure after comments is told inside the stream', () => {
  test.for(failures)('$name', async failure => {
    await using world = await occupied(failure.whose, { settings: often, ...failure.options })
    const { id: keyId, secret } = await world.addKey(world.user)
    await using stream = openStream(world, { key: secret })
    const id = await firstComment(stream)
    await failure.happens?.(world, keyId)
    const [error, failed, ...more] = withoutComments(await stream.rest())
    const { type, code, message, failedCode } = failure
    expect(error).toEqual({
      name: 'error',
      type: 'error',
      data: {
        type: 'error',
        sequence_number: 0,
        code,
        message: expect.stringMatching(message),
        param: null,
        error: { type, message: expect.stringMatching(message) },
      },
      response: {},
      raw: expect.stringMatching(/^event: error\ndata: \{.*\}$/),
    })
    expect(failed).toMatchObject({
      name: 'response.failed',
      data: { type: 'response.failed', sequence_number: 1 },
      response: {
        id: `resp_hg_${id}`,
        object: 'response',
        status: 'failed',
        model: 'sim',
        error: { code: failedCode, message: expect.stringMatching(message) },
        output: [],
      },
    })
    expect(more).toEqual([])
    if (failure.fault !== 'stopping') {
      // The row says what the client saw: 200, and why it failed all the same.
      const row = (await world.rows()).find(one => one.id === id)
      expect(row).toMatchObject({ status: 200n, ended: 'refused', fault: failure.fault, stream: 1n, cost: 0n, attempts: 0n })
      await close(world)
    } else {
      world.sim.open('first')
      await world.first
    }
  })
})

test('a client that leaves after comments gives up its place', async () => {
  for (const whose of ['user', 'account'] as const) {
    await using world = await occupied(whose, { settings: often })
    await using stream = openStream(world)
    await firstComment(stream)
    await (whose === 'user' ? inLine(world, 1) : inPoolLine(world, 1))
    stream.leave()
    await (whose === 'user' ? inLine(world, 0) : inPoolLine(world, 0))
    await until(async () => (await gauge(world, 'headgate_calls_running')) === 1, 'the slot is not given back')
    await until(async () => (await world.rows()).length === 1, 'there is no row')
    expect(await world.rows()).toMatchObject([{ fault: 'client_left', ended: 'client_left', status: 200n, attempts: 0n, cost: 0n }])
    await close(world)
  }
})
