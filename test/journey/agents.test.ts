import { expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { resting } from '../../src/upstreams/rest.ts'
import { type Answer, type Asked, openStream, type Refusal, refusalOf, send } from '../client.ts'
import { openWorld, type World, type WorldOptions } from '../world.ts'
import { codex, letAsk, openCode, sdk } from './agent-clients.ts'

/** PROTOCOL.md 5.4, line by line: what each situation is answered with, and what the agents then do. */

interface Situation {
  readonly options?: WorldOptions
  /** Brings it about, and says what to ask. */
  readonly arrange: (world: World) => Promise<Asked> | Asked
  readonly told: Partial<Refusal>
  /** Requests until each gives up, or `for ever`. */
  readonly codex: number
  readonly sdk: number
  readonly openCode: number | 'for ever'
}

const forEver = 8
const asked: Asked = { body: { model: 'sim', input: 'hello', store: false } }

const everybodyRests = async ({ headgate, accounts }: World) => {
  const nowMs = Date.now()
  const rest = (before: Parameters<typeof resting>[0]) => resting(before, { nowMs, untilMs: nowMs + 30_000, why: 'test' })
  for (const { id } of accounts) await headgate.gateway.coordinator.change(id, rest)
  return asked
}

const situations: Readonly<Record<string, Situation>> = {
  'a key that is not known': {
    arrange: () => ({ ...asked, key: 'sk-nobody' }),
    told: { status: 401, type: 'authentication_error', code: 'invalid_api_key', retry: 'never' },
    ...{ codex: 6, sdk: 1, openCode: 'for ever' },
  },
  'a user without credit': {
    options: { balance: '0' },
    arrange: () => asked,
    told: { status: 429, type: 'insufficient_quota', code: 'insufficient_quota', retry: 'never' },
    ...{ codex: 1, sdk: 1, openCode: 'for ever' },
  },
  'the user’s rate limit': {
    options: { user: { requestsPerMinute: 1 } },
    async arrange(world) {
      await send(world, asked)
      return asked
    },
    told: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded', retry: 'later' },
    ...{ codex: 6, sdk: 3, openCode: 'for ever' },
  },
  'all accounts resting': {
    arrange: everybodyRests,
    told: { status: 503, type: 'api_error', code: null, retry: 'later' },
    ...{ codex: 6, sdk: 3, openCode: 'for ever' },
  },
  'all upstreams limited, heard by this very call': {
    arrange({ sim }) {
      sim.script({}, { status: 429, headers: { 'retry-after': '30' } })
      return asked
    },
    told: { status: 429, type: 'rate_limit_error', code: null, retry: 'later' },
    ...{ codex: 6, sdk: 3, openCode: 'for ever' },
  },
  'the client’s own error': {
    arrange({ sim }) {
      sim.script({}, { status: 400, error: { message: 'No tool output found for function call call_X.', param: 'input' } })
      return asked
    },
    told: {
      status: 400,
      type: 'invalid_request_error',
      code: null,
      message: 'No tool output found for function call call_X.',
      retry: 'unsaid',
    },
    ...{ codex: 1, sdk: 1, openCode: 1 },
  },
  'an error of the client that we see': {
    arrange: () => ({ body: '{"model":' }),
    told: { status: 400, type: 'invalid_request_error', code: null, retry: 'never' },
    ...{ codex: 1, sdk: 1, openCode: 1 },
  },
}

test.for(Object.keys(situations))('%s is answered so that agents do what is right', async name => {
  const { options = {}, arrange, told, ...asks } = situations[name]!
  for (const [agent, requests] of [
    [codex, asks.codex],
    [sdk, asks.sdk],
    [openCode, asks.openCode],
  ] as const) {
    await using world = await openWorld({ accounts: [{}, {}], ...options })
    const toAsk = await arrange(world)
    const answers = await letAsk(agent, world, toAsk, requests === 'for ever' ? forEver : requests + 1)
    expect(answers.length).toBe(requests === 'for ever' ? forEver : requests)
    expect(refusalOf(answers[0]!)).toMatchObject(told)
    for (const answer of answers) expectClean(answer)
    await world.quiet()
  }
})

/** Nothing of an upstream's own limits, name or state is told: Codex acts on all of it. */
function expectClean({ headers }: Pick<Answer, 'headers'>): void {
  const leaking = Object.keys(headers).filter(name =>
    /^x-codex-|^x-ratelimit|^x-oai|^x-models|^openai-(model|organization)|^cf-ray|^set-cookie/.test(name),
  )
  expect(leaking).toEqual([])
  const after = headers['retry-after']
  if (after !== undefined) expect(Number(after)).toSatisfy(seconds => Number.isInteger(seconds) && seconds >= 1 && seconds <= 60)
}

const tellsMuch = {
  'openai-model': 'sim-flagged',
  'openai-organization': 'org-1',
  'x-codex-turn-state': 'state',
  'x-codex-primary-used-percent': '99',
  'x-models-etag': 'etag',
  'x-oai-request-id': 'req',
  'x-ratelimit-remaining-requests': '0',
  'cf-ray': 'ray',
  'set-cookie': 'a=b',
}

test('an upstream that fails before the first byte is nobody’s business: another account answers', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  world.sim.script({ key: 'up-a1' }, { status: 500, headers: tellsMuch })
  world.sim.script({ key: 'up-a2' }, { headers: tellsMuch })
  const [answer, ...more] = await letAsk(codex, world, asked, 3)
  expect([answer!.status, more]).toEqual([200, []])
  expectClean(answer!)
  await world.quiet()
})

test('an upstream that fails after the first byte: response.failed with server_error and the next number, and then the end', async () => {
  await using world = await openWorld()
  world.sim.script({}, { end: 'cut', afterEvents: 5, headers: tellsMuch })
  await using stream = openStream(world)
  expectClean(await stream.begun)
  const events = await stream.rest()
  expect(events.at(-1)).toMatchObject({
    type: 'response.failed',
    data: { sequence_number: 5 },
    response: { error: { code: 'server_error' } },
  })
  await world.quiet()
})

/** Time passes only when the test says so; timers go by the system's. */
function clockByHand(): { readonly clock: Clock; pass(ms: number): void } {
  let nowMs = 10_000
  return { clock: { ...systemClock, elapsedMs: () => nowMs }, pass: ms => void (nowMs += ms) }
}

/** A world that counts how often the books are asked, by a user who has no money. */
async function openPoor(refusalsPerMinute: number) {
  const time = clockByHand()
  const asked = { books: 0 }
  const world = await openWorld({
    balance: '0',
    settings: { refusalsPerMinute },
    adapters: {
      clock: time.clock,
      wrapDatabase: database => ({
        ...database,
        read: (...query) => {
          // What a gateway asks by itself, once a second, is no call's doing.
          if (!/ from (installation|holds|background) ?/.test(query[0].sql)) asked.books += 1
          return database.read(...query)
        },
      }),
    },
  })
  await send(world) // The key is read from the books once.
  asked.books = 0
  return { world, time, asked }
}

async function braked({ headgate }: World): Promise<number> {
  const { values } = await headgate.gateway.metrics.braked.get()
  return values[0]?.value ?? 0
}

test('a client that asks at once and for ever costs a bounded number of looks at the books, and of rows', async () => {
  const { world, asked: seen } = await openPoor(20)
  await using _ = world
  const answers = await letAsk((_, tries) => (tries < 300 ? 0 : 'stops'), world, { body: 'x'.repeat(100) }, 300)
  // With the one that the world was opened with these are one more than are let through. From then on no body is read.
  expect(answers.map(({ status }) => status)).toEqual([...Array(20).fill(400), ...Array(280).fill(429)])
  expect(refusalOf(answers.at(-1)!)).toEqual({
    ...{ status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded', param: null, retry: 'later' },
    message: 'Too many refused requests with this key, the last of them because: Failed to parse request body; please retry later',
  })
  expect(seen.books).toBe(0)
  const rows = await world.rows()
  expect(rows.map(({ fault }) => fault)).toEqual(['money_short', ...Array(20).fill('body_unparsable'), 'looping'])
  expect(rows.at(-1)).toMatchObject({ status: 429n, ended: 'refused', cost: 0n, requested_model: null })
  expect(await braked(world)).toBe(280)
  await world.quiet()
})

test('it waits longer each time; another key of the user does not wait; and one served call ends it', async () => {
  const { world, time } = await openPoor(5)
  await using _ = world
  for (let n = 0; n < 5; n++) await send(world)
  const waits: number[] = []
  for (let n = 0; n < 8; n++) {
    const { headers, status } = await send(world)
    waits.push(Number(headers['retry-after']))
    expect(status).toBe(429)
    time.pass(waits.at(-1)! * 1000)
    expect((await send(world)).error['code']).toBe('insufficient_quota')
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60])
  const other = await world.addKey(world.user)
  expect((await send({ url: world.url, key: other.secret })).error['code']).toBe('insufficient_quota')

  const { ledger } = world.headgate.gateway
  await ledger.credit({ walletId: world.user.walletId, amount: 1_000_000_000n, reference: 'r', reason: 'test', author: 'test' })
  expect((await send(world)).error['code']).toBe('rate_limit_exceeded')
  time.pass(60_000)
  expect((await send(world)).status).toBe(200)
  world.sim.script({}, { status: 400 })
  for (let n = 0; n < 5; n++) expect((await send(world)).status).toBe(400)
  world.sim.script({}, {})
  expect((await send(world)).status).toBe(200)
  // What an upstream refuses counts like what we refuse.
  world.sim.script({}, { status: 400 })
  for (let n = 0; n < 6; n++) expect((await send(world)).status).toBe(400)
  expect((await send(world)).error['message']).toContain('the upstream answered 400')
  await world.quiet()
})

test('forty OpenCodes that ask for ever, on a key without money, for ten minutes', async () => {
  const { world, time, asked: seen } = await openPoor(120)
  await using _ = world
  const minutes = 10
  /** When each asks next, in seconds, and how often it did. */
  const sessions = Array.from({ length: 40 }, (_, n) => ({ atSeconds: n / 40, tries: 0 }))
  let nowSeconds = 0
  let requests = 0
  for (;;) {
    const next = sessions.reduce((first, one) => (one.atSeconds < first.atSeconds ? one : first))
    if (next.atSeconds > minutes * 60) break
    time.pass((next.atSeconds - nowSeconds) * 1000)
    nowSeconds = next.atSeconds
    const answer = await send(world)
    requests += 1
    next.tries += 1
    expect(answer.status).toBe(429)
    const wait = openCode(answer, next.tries)
    if (wait === 'stops') throw new Error('it stopped')
    next.atSeconds += wait
  }
  const rows = await world.rows()
  // A tenth: those of the first minutes that were let through, then one a minute, and as many rows of the brake's own.
  expect({ requests, books: seen.books, rows: rows.length }).toEqual({ requests: 1600, books: 162, rows: 173 })
  expect(await braked(world)).toBe(requests - seen.books)
  await world.quiet()
})

test('what is our own doing slows no key down', async () => {
  await using world = await openWorld({ settings: { refusalsPerMinute: 2 } })
  await everybodyRests(world)
  for (let n = 0; n < 5; n++) expect((await send(world)).status).toBe(503)
  await world.quiet()
})

test('an SDK is told to come back when the brake is let go', async () => {
  const { world } = await openPoor(1)
  await using _ = world
  await send(world)
  const [answer, ...more] = await letAsk(sdk, world, {}, 5)
  expect([answer!.headers['retry-after'], answer!.headers['x-should-retry'], more.length]).toEqual(['1', undefined, 2])
  await world.quiet()
})
