import { describe, expect, test } from 'vitest'
import type { Group } from '../../src/directory/entities.ts'
import { makeGroup } from '../../src/directory/groups.ts'
import { makeSubscription, type SubscriptionDraft } from '../../src/directory/subscriptions.ts'
import { formatUsd, parseDecimal, parseUsd } from '../../src/ledger/money.ts'
import { type Database, DatabaseAway, type Step, statement } from '../../src/storage/database.ts'
import { openStream, refusalOf, send } from '../client.ts'
import { gauge, inLine, inPoolLine, openWorld, until, type World } from '../world.ts'

/** SPEC 1.4: money before the call. */

const noMoney = {
  status: 429,
  type: 'insufficient_quota',
  code: 'insufficient_quota',
  param: null,
  message: 'Insufficient balance',
  retry: 'never',
}
const booksAway = {
  status: 503,
  type: 'api_error',
  code: 'billing_unavailable',
  param: null,
  message: 'Billing service temporarily unavailable. Please retry later.',
  retry: 'later',
}
const windowUsed = (window: string, resetsAtMs: number) => ({
  ...noMoney,
  code: 'usage_limit_exceeded',
  message: `${window} usage limit exceeded, resets at ${new Date(resetsAtMs).toISOString()}`,
})

/** Nano-dollars for a token at the dearest: input that is written to the cache, and output. */
const inputNanos = 2_500n
const outputNanos = 10_000n

/** What is set aside for a body of text at the most: a token for two bytes, and the ceiling of the output. */
function mostOf(body: object, outputTokens: bigint): bigint {
  return BigInt(Math.ceil(JSON.stringify(body).length / 2)) * inputNanos + outputTokens * outputNanos
}

const small = { model: 'sim', input: 'x', max_output_tokens: 100 }
const smallMost = mostOf(small, 100n)

const holdsOf = (world: World) => world.database.report(statement('select id, state, amount from holds order by id'))
const entriesOf = (world: World) => world.database.report(statement(`select kind from entries where kind <> 'credit'`))

describe('a wallet', () => {
  test('that is empty is refused, and the refusal is on the record', async () => {
    await using world = await openWorld({ balance: '0' })
    expect(refusalOf(await send(world, { body: { ...small, stream: true } }))).toEqual(noMoney)
    expect(await world.rows()).toMatchObject([
      {
        fault: 'money_short',
        status: 429n,
        ended: 'refused',
        stream: 1n,
        requested_model: 'sim',
        account_id: null,
        held: 0n,
        cost: 0n,
        uncollected: 0n,
        attempts: 0n,
        basis: 'none',
      },
    ])
    expect(await holdsOf(world)).toEqual([])
    expect(await entriesOf(world)).toEqual([])
    expect(world.sim.attempts).toHaveLength(0)
    await world.quiet()
  })

  test.for<[string, object, bigint]>([
    ['the client’s own ceiling, when it is low', small, 100n],
    ['1,024 tokens of output, when the ceiling is higher', { ...small, max_output_tokens: 5_000 }, 1_024n],
    ['1,024 tokens of output, when there is no ceiling', { model: 'sim', input: 'x' }, 1_024n],
  ])('must pay for the input and %s', async ([, body, outputTokens]) => {
    const floor = mostOf(body, outputTokens)
    await using world = await openWorld({ balance: formatUsd(floor - 1n) })
    expect(refusalOf(await send(world, { body }))).toEqual(noMoney)
    const { ledger } = world.headgate.gateway
    await ledger.credit({ walletId: world.user.walletId, amount: 1n, reference: 'one', reason: 'test', author: 'test' })
    expect((await send(world, { body })).status).toBe(200)
    expect((await world.rows()).at(-1)).toMatchObject({ held: floor, uncollected: 0n })
    await world.quiet()
  })

  test('that has nothing can still pay for what is free', async () => {
    await using world = await openWorld({ balance: '0', group: { multiplier: parseDecimal('0') } })
    expect((await send(world)).status).toBe(200)
    expect(await world.rows()).toMatchObject([{ held: 0n, cost: 0n, basis: 'reported' }])
    await world.quiet()
  })

  test('counts what is held: money that another call may need is not there', async () => {
    await using world = await openWorld({ balance: formatUsd(2n * smallMost - 1n) })
    world.sim.script({}, [{ hold: 'first' }, {}])
    const first = send(world, { body: small })
    await world.sim.gate('first').reached()
    expect((await world.balance()).held).toBe(smallMost)
    expect(refusalOf(await send(world, { body: small }))).toEqual(noMoney)
    world.sim.open('first')
    expect((await first).status).toBe(200)
    expect((await send(world, { body: small })).status).toBe(200)
    await world.quiet()
  })

  test('that is empty is refused before the line, however long that is, and without a write', async () => {
    const commits: (readonly Step[])[] = []
    const wrapDatabase = (database: Database): Database => ({
      ...database,
      commit(steps, durability) {
        commits.push(steps)
        return database.commit(steps, durability)
      },
    })
    await using world = await openWorld({
      balance: formatUsd(smallMost),
      user: { concurrency: 1 },
      settings: { lineExtra: 0 },
      adapters: { wrapDatabase, holdsInBooks: true },
    })
    world.sim.script({}, { hold: 'first' })
    const first = send(world, { body: small })
    await world.sim.gate('first').reached()
    commits.length = 0
    expect(refusalOf(await send(world, { body: small }))).toEqual(noMoney)
    expect(await gauge(world, 'headgate_calls_waiting')).toBe(0)
    const written = commits.flat().map(({ statement }) => statement.sql)
    // Nothing but what a gateway writes without a call, and rows of refusals, which are written later.
    expect(written.filter(sql => !/insert into calls |leases|retention|lock_timeout/.test(sql))).toEqual([])
    world.sim.open('first')
    await first
    await world.quiet()
  })
})

describe('the hold', () => {
  test('is placed after the line of the user, never before', async () => {
    await using world = await openWorld({ user: { concurrency: 1 } })
    world.sim.script({}, { hold: 'all' })
    const answers = [send(world, { body: small }), send(world, { body: small })]
    await world.sim.gate('all').reached()
    await inLine(world, 1)
    expect((await world.balance()).held).toBe(smallMost)
    expect(await holdsOf(world)).toHaveLength(1)
    world.sim.open('all')
    for (const answer of answers) expect((await answer).status).toBe(200)
    await world.quiet()
  })

  test('stays while the call stands in the line of the pool', async () => {
    await using world = await openWorld({ accounts: [{ concurrency: 1 }] })
    world.sim.script({}, { hold: 'all' })
    const answers = [send(world, { body: small }), send(world, { body: small })]
    await inPoolLine(world, 1)
    expect((await world.balance()).held).toBe(2n * smallMost)
    world.sim.open('all')
    for (const answer of answers) expect((await answer).status).toBe(200)
    await world.quiet()
  })

  test('is given back when that line takes too long, and when its client leaves', async () => {
    await using world = await openWorld({ accounts: [{ concurrency: 1 }], settings: { lineTimeoutMs: 200 } })
    world.sim.script({}, { hold: 'first' })
    const first = send(world, { body: small })
    await world.sim.gate('first').reached()
    expect((await send(world, { body: small })).status).toBe(429)
    await until(async () => (await world.balance()).held === smallMost, 'the hold stays')
    await using leaving = openStream(world, { body: small })
    await inPoolLine(world, 1)
    leaving.leave()
    await until(async () => (await world.balance()).held === smallMost, 'the hold stays')
    world.sim.open('first')
    await first
    expect((await world.rows()).map(({ fault, cost }) => [fault, cost === 0n])).toEqual([
      [null, false],
      ['line_timeout_account', true],
      ['client_left', true],
    ])
    await world.quiet()
  })

  test('is refused when the money went while the call stood in line', async () => {
    await using world = await openWorld({ balance: formatUsd(2n * smallMost), user: { concurrency: 1 } })
    world.sim.script({}, { hold: 'first' })
    const first = send(world, { body: small })
    await world.sim.gate('first').reached()
    const second = send(world, { body: { ...small, input: 'y' } })
    await inLine(world, 1)
    const { ledger } = world.headgate.gateway
    await ledger.debit({ walletId: world.user.walletId, amount: smallMost, reference: 'gone', reason: 'test', author: 'test' })
    world.sim.open('first')
    expect((await first).status).toBe(200)
    expect(refusalOf(await second)).toEqual(noMoney)
    expect(world.sim.attempts).toHaveLength(1)
    await world.quiet()
  })

  test('is what the answer may cost: the upstream ends it at the lowered ceiling, and nothing is uncollected', async () => {
    await using world = await openWorld({ balance: '0.02' })
    world.sim.script({}, { outputTokens: 9_000 })
    const answer = await send(world, { body: { model: 'sim', input: 'x', max_output_tokens: 9_000 } })
    expect(answer.json).toMatchObject({ status: 'incomplete' })
    const [row] = await world.rows()
    expect(row).toMatchObject({ ended: 'incomplete', held: 20_000_000n, uncollected: 0n })
    expect(row!.cost).toBeLessThanOrEqual(20_000_000n)
    expect(row!.output_tokens).toBe(row!.output_lowered_to)
    await world.quiet()
  })
})

const dayMs = 86_400_000

/** A world whose group is paid by subscription, and whose user has one to it. Its key may use a second group, of the wallet, as well. */
async function subscribed(draft: Partial<SubscriptionDraft>, { second = 'none', balance = '0' } = {}) {
  const world = await openWorld({ group: { pays: 'subscription' }, balance })
  const startsAtMs = Date.now() - dayMs / 2
  const terms = { startsAtMs, endsAtMs: startsAtMs + 365 * dayMs, dailyLimit: null, weeklyLimit: null, monthlyLimit: null, ...draft }
  await world.commit(makeSubscription({ userId: world.user.id, groupId: world.group.id, ...terms }, Date.now()).steps)
  const other = await addGroup(world, 'second', 'balance')
  const groupIds = { none: [world.group.id], after: [world.group.id, other.id], before: [other.id, world.group.id] }[second]!
  const { secret: key } = await world.addKey(world.user, { groupIds })
  return { ...world, key, startsAtMs, other }
}

async function addGroup(world: World, name: string, pays: Group['pays']): Promise<Group> {
  const { multiplier, unpriced, onClientLeft, firstEventLimitMs } = world.group
  const made = makeGroup({ name, pays, multiplier, unpriced, onClientLeft, firstEventLimitMs }, Date.now())
  await world.commit(made.steps)
  const account = world.accounts[0]!
  await world.changeAccount(account, { groupIds: [...account.groupIds, made.entity.id] })
  return made.entity
}

describe('a subscription', () => {
  test('pays without any balance, and its calls are on its own account', async () => {
    await using world = await subscribed({ dailyLimit: parseUsd('1') })
    expect((await send(world, { body: small })).status).toBe(200)
    expect(await world.rows()).toMatchObject([{ held: smallMost, uncollected: 0n, fault: null }])
    expect(await entriesOf(world)).toEqual([])
    await world.quiet()
  })

  test.for<[string, Partial<SubscriptionDraft>, number]>([
    ['Daily', { dailyLimit: smallMost - 1n }, 1],
    ['Weekly', { weeklyLimit: smallMost - 1n }, 7],
    ['Monthly', { monthlyLimit: smallMost - 1n }, 30],
    ['Weekly', { dailyLimit: smallMost, weeklyLimit: smallMost - 1n, monthlyLimit: smallMost }, 7],
  ])('whose window is used up says so: %s', async ([window, limits, days]) => {
    await using world = await subscribed(limits)
    expect(refusalOf(await send(world, { body: small }))).toEqual(windowUsed(window, world.startsAtMs + days * dayMs))
    expect(await world.rows()).toMatchObject([{ fault: 'window_used', status: 429n, requested_model: 'sim', held: 0n, cost: 0n }])
    await world.quiet()
  })

  test('is used up by what its calls cost and by what is held for them', async () => {
    await using world = await subscribed({ dailyLimit: 2n * smallMost - 1n })
    world.sim.script({}, [{ hold: 'first', outputTokens: 90 }, {}])
    const first = send(world, { body: small })
    await world.sim.gate('first').reached()
    const used = windowUsed('Daily', world.startsAtMs + dayMs)
    expect(refusalOf(await send(world, { body: small }))).toEqual(used)
    world.sim.open('first')
    expect((await first).status).toBe(200)
    expect((await send(world, { body: small })).status).toBe(200)
    expect(refusalOf(await send(world, { body: small }))).toEqual(used)
    await world.quiet()
  })

  test.for<[string, Partial<SubscriptionDraft>]>([
    ['has ended', { endsAtMs: Date.now() - 1000 }],
    ['has not begun', { startsAtMs: Date.now() + dayMs }],
  ])('that %s is none', async ([, terms]) => {
    await using world = await subscribed(terms)
    expect(refusalOf(await send(world, { body: small }))).toEqual(noMoney)
    await world.quiet()
  })
})

describe('the groups of a key', () => {
  const groupsUsed = async (world: World) => (await world.rows()).map(({ group_id }) => group_id)

  test('are asked in their order: when a window is used up the wallet pays', async () => {
    await using world = await subscribed({ dailyLimit: smallMost }, { second: 'after', balance: '1' })
    world.sim.script({}, { outputTokens: 90 })
    for (let i = 0; i < 2; i++) expect((await send(world, { body: small })).status).toBe(200)
    expect(await groupsUsed(world)).toEqual([world.group.id, world.other.id])
    expect(await entriesOf(world)).toHaveLength(1)
    await world.quiet()
  })

  test('are asked in their order: when the wallet is empty the subscription pays', async () => {
    await using world = await subscribed({}, { second: 'before' })
    expect((await send(world, { body: small })).status).toBe(200)
    expect(await groupsUsed(world)).toEqual([world.group.id])
    await world.quiet()
  })

  test('that all refuse are heard by their last', async () => {
    await using after = await subscribed({ dailyLimit: 0n }, { second: 'after' })
    expect(refusalOf(await send(after, { body: small }))).toEqual(noMoney)
    await using before = await subscribed({ dailyLimit: 0n }, { second: 'before' })
    expect(refusalOf(await send(before, { body: small }))).toEqual(windowUsed('Daily', before.startsAtMs + dayMs))
    await after.quiet()
    await before.quiet()
  })

  test('are passed over when they do not list the model', async () => {
    await using world = await openWorld({ accounts: [{ models: { other: 'sim' } }, { groupIds: [] }] })
    const second = makeGroup({ ...world.group, name: 'second' }, Date.now())
    await world.commit(second.steps)
    await world.changeAccount(world.accounts[1]!, { groupIds: [second.entity.id] })
    const { secret: key } = await world.addKey(world.user, { groupIds: [world.group.id, second.entity.id] })
    expect((await send(world, { key })).status).toBe(200)
    expect((await send(world, { key, body: { model: 'other' } })).status).toBe(200)
    expect(await groupsUsed(world)).toEqual([second.entity.id, world.group.id])
    await world.quiet()
  })

  test('are asked again after the line: what had room before it may have none after it', async () => {
    await using world = await subscribed({ dailyLimit: smallMost }, { second: 'after', balance: '1' })
    await world.commit([{ statement: statement('update users set concurrency = 1 where id = $1'), values: [world.user.id] }])
    const { secret: other } = await world.addKey(world.user, { groupIds: [world.other.id] })
    world.sim.script({}, [{ hold: '1' }, { hold: '2', outputTokens: 90 }, {}])
    const first = send(world, { key: other, body: small })
    await world.sim.gate('1').reached()
    const second = send(world, { body: small })
    await inLine(world, 1)
    const third = send(world, { body: small })
    await inLine(world, 2)
    world.sim.open('1')
    world.sim.open('2')
    for (const answer of [first, second, third]) expect((await answer).status).toBe(200)
    expect(await groupsUsed(world)).toEqual([world.other.id, world.group.id, world.other.id])
    await world.quiet()
  })
})

describe('the books are away', () => {
  const sabotage = { reads: false, holds: 'work' as 'work' | 'fail' | 'fail afterwards' }
  const isHold = (steps: readonly Step[]) => steps.some(({ statement: { sql } }) => /insert into holds/.test(sql))
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    async read(statement, values) {
      if (sabotage.reads) throw new DatabaseAway('away')
      return database.read(statement, values)
    },
    async commit(steps, durability) {
      if (!isHold(steps) || sabotage.holds === 'work') return database.commit(steps, durability)
      if (sabotage.holds === 'fail afterwards') await database.commit(steps, durability)
      throw new DatabaseAway('away')
    },
  })

  const ways: readonly [string, Partial<typeof sabotage>][] = [
    ['at the first look', { reads: true }],
    ['at the hold', { holds: 'fail' }],
    ['after a hold that they did place', { holds: 'fail afterwards' }],
  ]

  test.for(ways)('%s: nothing is spent, and it never looks like a bad key', async ([, broken]) => {
    await using world = await openWorld({ adapters: { wrapDatabase, holdsInBooks: true } })
    await send(world, { method: 'GET', path: '/v1/models' }) // Their key is known from here on, but nobody has looked into their wallet.
    const { balance } = await world.balance()
    Object.assign(sabotage, broken)
    const answer = await send(world, { body: small })
    Object.assign(sabotage, { reads: false, holds: 'work' })
    expect(refusalOf(answer)).toEqual(booksAway)
    expect(world.sim.attempts).toHaveLength(0)
    await until(async () => (await world.balance()).held === 0n, 'money is held for a call that was refused')
    expect((await world.balance()).balance).toBe(balance)
    expect((await world.rows()).at(-1)).toMatchObject({ fault: 'books_away', status: 503n, cost: 0n, attempts: 0n })
    expect((await send(world, { body: small })).status).toBe(200)
    await world.quiet()
  })
})
