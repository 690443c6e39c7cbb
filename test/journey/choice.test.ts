import { describe, expect, test } from 'vitest'
import type { Condition } from '../../src/coordination/coordinator.ts'
import type { AccountDraft } from '../../src/directory/accounts.ts'
import { openStream, refusalOf, send } from '../client.ts'
import { gauge, inPoolLine, openWorld, until, type World } from '../world.ts'

/** SPEC 1.5, third: which account takes a call that is bound to none. */

const keys = ({ sim }: World) => sim.attempts.map(({ key }) => key)

const restsFor = (seconds: number) => (nowMs: number) => ({ restingUntilMs: nowMs + seconds * 1000 })
const modelRestsFor = (seconds: number) => (nowMs: number) => ({ modelRests: { sim: nowMs + seconds * 1000 } })
const isOut = (nowMs: number) => ({ outSinceMs: nowMs, probeAtMs: nowMs + 3_600_000 })

/** Makes so many calls that all stay under way, one after another; says how many each account has. */
async function holdCalls(world: World, count: number): Promise<{ counts: Record<string, number>; end(): Promise<void> }> {
  world.sim.script({}, { hold: 'all' })
  const calls: Promise<{ status: number }>[] = []
  for (let n = 1; n <= count; n++) {
    calls.push(send(world))
    await world.sim.gate('all').reached(n)
  }
  const counts: Record<string, number> = {}
  for (const key of keys(world)) counts[key] = (counts[key] ?? 0) + 1
  return {
    counts,
    async end() {
      world.sim.open('all')
      for (const { status } of await Promise.all(calls)) expect(status).toBe(200)
      await world.quiet()
    },
  }
}

const shares: readonly (readonly [string, readonly Partial<AccountDraft>[], Record<string, number>])[] = [
  ['equal accounts share alike', [{}, {}, {}], { 'up-a1': 3, 'up-a2': 3, 'up-a3': 3 }],
  ['a larger account takes its share', [{ concurrency: 2 }, { concurrency: 7 }], { 'up-a1': 2, 'up-a2': 7 }],
  [
    'a heavier account takes its share',
    [
      { weight: 1, concurrency: 100 },
      { weight: 2, concurrency: 100 },
    ],
    { 'up-a1': 3, 'up-a2': 6 },
  ],
  ['a priority that is full overflows to the next', [{ priority: 2 }, { priority: 1, concurrency: 4 }], { 'up-a1': 5, 'up-a2': 4 }],
  ['an account without a limit has no load', [{ concurrency: 100 }, { concurrency: 0 }], { 'up-a2': 9 }],
]

test.for(shares)('%s', async ([, accounts, wanted]) => {
  await using world = await openWorld({ accounts, user: { concurrency: 0 } })
  const held = await holdCalls(world, 9)
  expect(held.counts).toEqual(wanted)
  await held.end()
})

test('when the first priority has room again, it is used again', async () => {
  await using world = await openWorld({ accounts: [{ priority: 2 }, { priority: 1, concurrency: 1 }] })
  const held = await holdCalls(world, 2)
  await held.end()
  await send(world)
  expect(keys(world)).toEqual(['up-a2', 'up-a1', 'up-a2'])
})

const corrections: readonly (readonly [string, Partial<Condition>])[] = [
  ['is slow to begin', { firstEventMs: 10_000 }],
  ['fails often', { successRate: 0.85 }],
]

test.for(corrections)('an account that %s gets less', async ([, condition]) => {
  await using world = await openWorld({ accounts: [{ concurrency: 100 }, { concurrency: 100 }], user: { concurrency: 0 } })
  for (let n = 0; n < 2; n++) await send(world) // A record counts for an account that is in use.
  await world.headgate.gateway.coordinator.change(world.accounts[0]!.id, before => ({ ...before, ...condition }))
  world.sim.reset()
  const { counts, end } = await holdCalls(world, 9)
  expect(counts['up-a2']).toBeGreaterThan(counts['up-a1'] ?? 0)
  await end()
})

describe('an account’s own rates steer the choice', () => {
  test('requests per minute', async () => {
    await using world = await openWorld({
      accounts: [
        { priority: 1, requestsPerMinute: 2 },
        { priority: 2, requestsPerMinute: 1 },
      ],
    })
    for (let n = 0; n < 3; n++) expect((await send(world)).status).toBe(200)
    expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a2'])
    expect(refusalOf(await send(world))).toMatchObject({
      status: 503,
      type: 'api_error',
      message: expect.stringMatching(/^No available accounts: all resting until \S+$/),
      retry: 'later',
    })
    expect(world.sim.attempts.length).toBe(3)
    await world.quiet()
  })

  test('tokens per minute: a call too large for what is left goes elsewhere, a smaller one still fits', async () => {
    await using world = await openWorld({ accounts: [{ priority: 1, tokensPerMinute: 2000 }, { priority: 2 }] })
    const ask = (words: number) => send(world, { body: { model: 'sim', input: 'word '.repeat(words) } })
    for (const words of [600, 600, 10]) expect((await ask(words)).status).toBe(200)
    expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a1'])
    await world.quiet()
  })

  test('what an answer used beyond its estimate is taken afterwards', async () => {
    await using world = await openWorld({ accounts: [{ priority: 1, tokensPerMinute: 2000 }, { priority: 2 }] })
    world.sim.script({ key: 'up-a1' }, { outputTokens: 4000 })
    for (let n = 0; n < 2; n++) expect((await send(world)).status).toBe(200)
    expect(keys(world)).toEqual(['up-a1', 'up-a2'])
    await world.quiet()
  })

  test('they count for a call that stood in line, too', async () => {
    await using world = await openWorld({ accounts: [{ concurrency: 1, requestsPerMinute: 1 }] })
    world.sim.script({}, [{ hold: 'busy' }, {}])
    const first = send(world)
    await world.sim.gate('busy').reached()
    const second = send(world)
    await inPoolLine(world, 1)
    world.sim.open('busy')
    expect([(await first).status, (await second).status]).toEqual([200, 503])
    expect(world.sim.attempts.length).toBe(1)
    await world.quiet()
  })
})

describe('nobody can be asked', () => {
  const reasons: readonly (readonly [string, readonly ((nowMs: number) => Partial<Condition>)[], RegExp, number | undefined])[] = [
    ['all rest', [restsFor(40), restsFor(3600)], /^all resting until \S+Z$/, 40],
    ['all rest for long', [restsFor(3600), restsFor(3600)], /^all resting until \S+Z$/, undefined],
    ['the model rests', [modelRestsFor(40), modelRestsFor(3600)], /^all resting until \S+Z$/, 40],
    ['one is out of quota, one rests', [isOut, restsFor(40)], /^1 out of quota, 1 resting until \S+Z$/, 40],
    ['all are out of quota', [isOut, isOut], /^all out of quota$/, undefined],
  ]

  test.for(reasons)('%s', async ([, conditions, message, retryAfter]) => {
    await using world = await openWorld({ accounts: [{}, {}] })
    const nowMs = Date.now()
    for (const [i, { id }] of world.accounts.entries()) {
      await world.headgate.gateway.coordinator.change(id, before => ({ ...before, ...conditions[i]!(nowMs) }))
    }
    const { status, error, headers } = await send(world)
    expect({ status, ...error }).toEqual({ status: 503, type: 'api_error', message: expect.any(String), code: null, param: null })
    expect(String(error.message).replace('No available accounts: ', '')).toMatch(message)
    expect(headers['x-should-retry']).toBeUndefined()
    const lateS = (Date.now() - nowMs) / 1000
    if (retryAfter === undefined) expect(headers['retry-after']).toBeUndefined()
    else expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(retryAfter - lateS)
    const [row] = await world.rows()
    expect(row).toMatchObject({ status: 503n, ended: 'refused', fault: 'accounts_unavailable', attempts: 0n, cost: 0n })
    expect(world.sim.attempts.length).toBe(0)
    await world.quiet()
  })

  test('all are disabled', async () => {
    await using world = await openWorld({ accounts: [{ disabled: true }] })
    expect(refusalOf(await send(world))).toMatchObject({ status: 503, message: 'No available accounts: disabled' })
    await world.quiet()
  })
})

describe('what an operator changes meanwhile', () => {
  test('a disabled account finishes what it runs, and gets nothing new', async () => {
    await using world = await openWorld({ accounts: [{ priority: 1 }, { priority: 2 }] })
    world.sim.script({ key: 'up-a1' }, { hold: { gate: 'middle', at: 5 } })
    await using stream = openStream(world)
    await stream.until('response.created')
    await world.changeAccount(world.accounts[0]!, { disabled: true })
    expect((await send(world)).status).toBe(200)
    world.sim.open('middle')
    await stream.until('response.completed')
    expect(keys(world)).toEqual(['up-a1', 'up-a2'])
    await world.quiet()
  })

  test('a lowered limit binds new slots only', async () => {
    await using world = await openWorld({ accounts: [{ concurrency: 3 }] })
    world.sim.script({}, [{ hold: 'one' }, { hold: 'two' }, { hold: 'two' }, {}])
    const first = send(world)
    await world.sim.gate('one').reached()
    const others = [send(world), send(world)]
    await world.sim.gate('two').reached(2)
    await world.changeAccount(world.accounts[0]!, { concurrency: 1 })
    const late = send(world)
    await inPoolLine(world, 1)
    world.sim.open('one')
    expect((await first).status).toBe(200)
    await until(async () => (await gauge(world, 'headgate_account_slots_taken')) === 2, 'the first slot is not given back')
    expect(await gauge(world, 'headgate_account_line')).toBe(1)
    world.sim.open('two')
    for (const { status } of await Promise.all([...others, late])) expect(status).toBe(200)
    await world.quiet()
  })
})
