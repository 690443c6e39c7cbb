import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type AdminBed, openAdminBed, startMs } from '../admin/admin.fixture.ts'
import { heldCall, settledRowStep } from '../ledger/books.fixture.ts'
import { settleSteps } from '../ledger/steps.ts'
import { type SubscriptionFunds, subscriptionFunds, windowKinds } from '../ledger/subscription.ts'
import { newId } from '../lib/id.ts'
import { type Committed, type Step, statement } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type Code, findCode, type Gift, makeCode, type SubscriptionGift } from './codes.ts'
import type { Group, Subscription, User } from './entities.ts'
import { makeGroup } from './groups.ts'
import { redeemSteps } from './redeem.ts'
import {
  endSubscription,
  extendSubscription,
  findSubscription,
  limitSubscription,
  listSubscriptions,
  makeSubscription,
} from './subscriptions.ts'
import { makeUser } from './users.ts'

/** What several gateways do to the same books at once: their transactions meet in the database, and nothing else orders them. */
let bed: AdminBed
let group: Group
let user: User
let other: User
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterAll(() => bed[Symbol.asyncDispose]())
beforeEach(async () => {
  const handling = { unpriced: 'refuse', onClientLeft: 'drain', firstEventLimitMs: null } as const
  const policies = { pays: 'subscription', multiplier: { units: 1n, scale: 0 }, ...handling } as const
  const made = makeGroup({ name: 'team', ...policies }, startMs)
  const draft = { concurrency: 0, requestsPerMinute: null, tokensPerMinute: null, disabled: false }
  const users = ['dev@example.com', 'other@example.com'].map(email => makeUser({ ...draft, email }, startMs))
  await bed.commit([made, ...users].flatMap(({ steps }) => steps))
  group = made.entity
  ;[user, other] = users.map(({ entity }) => entity) as [User, User]
})
/** Whatever was done, and however it ended. */
afterEach(async () => {
  expect(await overlaps()).toEqual([])
  expect(await bed.ledger.check()).toEqual([])
  await bed.empty()
})

const dayMs = 86_400_000
const noLimits = { dailyLimit: null, weeklyLimit: null, monthlyLimit: null }
const draft = () => ({ userId: user.id, groupId: group.id, startsAtMs: startMs, endsAtMs: startMs + 30 * dayMs, ...noLimits })

const commit = (steps: readonly Step[]) => bed.database.commit(steps, 'synced')
const atOnce = (transactions: readonly (readonly Step[])[]) => Promise.all(transactions.map(commit))
const done = (ends: readonly Committed[]) => ends.filter(end => end.done).length
const guards = (ends: readonly Committed[]) => [...new Set(ends.flatMap(end => (end.done ? [] : [end.guard])))]
const spans = async () => (await all()).map(daysOf)
const daysOf = ({ startsAtMs, endsAtMs }: Subscription) => [(startsAtMs - startMs) / dayMs, (endsAtMs - startMs) / dayMs]

async function made(gives: Partial<Gift>): Promise<Code> {
  const gift = { kind: 'subscription', groupId: group.id, days: 30, ...noLimits, ...gives } as Gift
  const { entity, steps } = makeCode({ gives: gift, reason: 'r', author: 'a', expiresAtMs: null }, startMs)
  await bed.commit(steps)
  return entity
}

async function assigned(change: Partial<Subscription> = {}): Promise<Subscription> {
  const { entity, steps } = makeSubscription({ ...draft(), ...change }, startMs)
  await bed.commit(steps)
  return entity
}

const redeeming = (code: Code, by = user, nowMs = startMs) => redeemSteps({ code, user: by, author: 'a' }, nowMs)

/** Two of one user and group that run at the same time. */
async function overlaps() {
  return bed.database.report(
    statement(`select one.id from subscriptions as one join subscriptions as two
      on one.user_id = two.user_id and one.group_id = two.group_id and one.id <> two.id
      where one.starts_at < two.ends_at and two.starts_at < one.ends_at and one.starts_at < one.ends_at and two.starts_at < two.ends_at`),
  )
}

describe('at once', () => {
  test('fifty redemptions of one code for credit, by two users: one of them has it, once', async () => {
    const code = await made({ kind: 'credit', amount: 5n })
    const ends = await atOnce(Array.from({ length: 50 }, (_, n) => redeeming(code, n % 2 === 0 ? other : user)))
    expect([done(ends), guards(ends)]).toEqual([1, ['This code was redeemed before; a code is good once.']])
    const balances = await Promise.all([user, other].map(async ({ walletId }) => (await bed.ledger.free(walletId))!.balance))
    expect(balances.toSorted()).toEqual([0n, 5n])
    const { redeemed } = (await findCode(bed.database, code.id))!
    const { entries } = await bed.ledger.entriesOf(redeemed!.userId, { limit: 10, cursor: null })
    expect(entries).toMatchObject([{ id: redeemed!.entryId, kind: 'redeem', reference: code.id, amount: 5n }])
  })

  test('fifty redemptions of one code for a subscription: one subscription', async () => {
    const code = await made({})
    const ends = await atOnce(Array.from({ length: 50 }, () => redeeming(code)))
    expect([done(ends), await spans()]).toEqual([1, [[0, 30]]])
  })

  test('two codes with the same limits: the days of both', async () => {
    const codes = [await made({}), await made({ days: 7 })]
    expect(done(await atOnce(codes.map(code => redeeming(code))))).toBe(2)
    expect(await spans()).toEqual([[0, 37]])
    const came = await Promise.all(codes.map(async ({ id }) => (await findCode(bed.database, id))?.redeemed?.subscriptionId))
    expect(new Set(came).size).toBe(1)
  })

  test('two codes with other limits: one begins when the other ends', async () => {
    const codes = [await made({}), await made({ days: 7, dailyLimit: 1n })]
    expect(done(await atOnce(codes.map(code => redeeming(code))))).toBe(2)
    expect((await spans()).flat()).toEqual([0, 30, 30, 37])
  })

  test('two extensions: both', async () => {
    const subscription = await assigned()
    expect(done(await atOnce([3, 4].map(days => extendSubscription(subscription, { byMs: days * dayMs }, startMs))))).toBe(2)
    expect(await spans()).toEqual([[0, 37]])
  })

  test('two assignments of the same time: one', async () => {
    const ends = await atOnce([0, 1].map(() => makeSubscription(draft(), startMs).steps))
    expect([done(ends), await spans()]).toEqual([1, [[0, 30]]])
  })

  test('an end and an extension of one: it has ended, whichever came first', async () => {
    for (const order of [1, -1]) {
      const subscription = await assigned()
      const nowMs = startMs + dayMs
      const both = [endSubscription(subscription, nowMs), extendSubscription(subscription, { byMs: dayMs }, nowMs)]
      await atOnce(order === 1 ? both : both.reverse())
      expect(await spans()).toEqual([[0, 1]])
      await bed.commit([{ statement: statement('delete from subscriptions'), values: [] }])
    }
  })

  test('whatever operators do at once, no two of one user and group ever run together, and no code gives twice', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.array(deed, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 }), runDeeds), {
      numRuns: 40,
    })
  }, 60_000)
})

interface Deed {
  readonly what: 'assign' | 'extend' | 'until' | 'end' | 'redeem'
  /** Days from the start, or for which. */
  readonly from: number
  readonly days: number
  readonly limited: boolean
}

const deed: fc.Arbitrary<Deed> = fc.record({
  what: fc.constantFrom('assign', 'extend', 'until', 'end', 'redeem'),
  from: fc.nat({ max: 40 }),
  days: fc.integer({ min: 1, max: 20 }),
  limited: fc.boolean(),
})

/** Each round is done at once, a day after the one before it, to what the round before it left. */
async function runDeeds(rounds: readonly (readonly Deed[])[]): Promise<void> {
  await bed.commit(['codes', 'subscriptions'].map(table => ({ statement: statement(`delete from ${table}`), values: [] })))
  for (const [day, deeds] of rounds.entries()) {
    const nowMs = startMs + day * dayMs
    const before = await all()
    const codes = await Promise.all(deeds.map(({ days, limited }) => made({ days, dailyLimit: limited ? 1n : null })))
    const codeOf = ({ from }: Deed) => codes[from % codes.length]!
    const ends = await atOnce(deeds.map(one => stepsOf(one, { code: codeOf(one), present: before, nowMs })))
    expect(await overlaps()).toEqual([])

    const landed = deeds.filter((_, index) => ends[index]!.done)
    const redeemed = landed.filter(({ what }) => what === 'redeem').map(codeOf)
    expect(new Set(redeemed).size).toBe(redeemed.length)
    // Where nothing was ended or given a date, every day that was given is there.
    if (landed.some(({ what }) => what === 'end' || what === 'until')) continue
    const given = landed.map(one => (one.what === 'redeem' ? (codeOf(one).gives as SubscriptionGift).days : one.days))
    expect(total(await all()) - total(before)).toBe(given.reduce((sum, days) => sum + days, 0))
  }
}

interface Around {
  readonly code: Code
  readonly present: readonly Subscription[]
  readonly nowMs: number
}

function stepsOf({ what, from, days, limited }: Deed, { code, present, nowMs }: Around): readonly Step[] {
  if (what === 'redeem') return redeeming(code, user, nowMs)
  const startsAtMs = startMs + from * dayMs
  const terms = { startsAtMs, endsAtMs: startsAtMs + days * dayMs, dailyLimit: limited ? 1n : null }
  if (what === 'assign') return makeSubscription({ ...draft(), ...terms }, nowMs).steps
  // When there is none yet, one that nobody knows: it is refused.
  const subscription = present[from % present.length] ?? { ...draft(), id: 'none' }
  if (what === 'end') return endSubscription(subscription, nowMs)
  return extendSubscription(subscription, what === 'extend' ? { byMs: days * dayMs } : { untilMs: startsAtMs }, nowMs)
}

const all = () => listSubscriptions(bed.database, { after: undefined, limit: 500 })

function total(subscriptions: readonly Subscription[]): number {
  return subscriptions.reduce((sum, { startsAtMs, endsAtMs }) => sum + (endsAtMs - startsAtMs) / dayMs, 0)
}

test('whoever changes what a user has locks the user before looking at it: elsewhere transactions overlap', async () => {
  const subscription = await assigned()
  const changes = {
    assign: makeSubscription(draft(), startMs).steps,
    extend: extendSubscription(subscription, { byMs: dayMs }, startMs),
    until: extendSubscription(subscription, { untilMs: startMs + 90 * dayMs }, startMs),
    limit: limitSubscription(subscription, { ...noLimits, dailyLimit: 1n }, startMs),
    end: endSubscription(subscription, startMs),
    redeem: redeeming(await made({})),
  }
  const [lock] = changes.end
  for (const [what, steps] of Object.entries(changes)) {
    const looks = steps.findIndex(({ statement: { sql } }) => /\b(from|into|update) subscriptions\b/.test(sql))
    const locks = steps.findIndex(({ statement: { sql } }) => sql === lock!.statement.sql)
    expect({ what, locks: locks >= 0 && locks < looks }).toEqual({ what, locks: true })
  }
})

describe('a call that began before', () => {
  /** Held for 50, so much later settled for 20. */
  async function held(
    subscription: Subscription,
    beganAtMs: number,
  ): Promise<{ readonly callId: string; readonly funds: SubscriptionFunds }> {
    const callId = newId(beganAtMs)
    const funds = subscriptionFunds(subscription, beganAtMs)
    const granted = await bed.ledger.hold({ ...heldCall(beganAtMs), callId, funds, floor: 1n, want: 50n, halfOfFree: false })
    expect(granted).toEqual({ granted: 50n })
    return { callId, funds }
  }

  const settle = (callId: string, funds: SubscriptionFunds, atMs: number) =>
    bed.commit([...settleSteps({ callId, cost: 20n, funds, atMs, entryId: newId(atMs) }), settledRowStep(callId, 20n)])

  const windows = async (subscription: Subscription, atMs: number) =>
    (await bed.ledger.windows(subscriptionFunds(subscription, atMs))).map(({ used, held }) => [used, held])

  const same = windowKinds.map(() => [20n, 0n])
  const meanwhile: Readonly<Record<string, (subscription: Subscription, nowMs: number) => Promise<void>>> = {
    'an extension': (subscription, nowMs) => bed.commit(extendSubscription(subscription, { byMs: 30 * dayMs }, nowMs)),
    'a redeemed code': async (_, nowMs) => bed.commit(redeeming(await made({ dailyLimit: 100n }), user, nowMs)),
    'its end': (subscription, nowMs) => bed.commit(endSubscription(subscription, nowMs)),
    'its end and another in its place': async (subscription, nowMs) => {
      await bed.commit(endSubscription(subscription, nowMs))
      await assigned({ startsAtMs: nowMs, endsAtMs: nowMs + dayMs })
    },
  }

  test.for(Object.entries(meanwhile))('belongs to the windows in which it began: %s', async ([, change]) => {
    const subscription = await assigned({ dailyLimit: 100n })
    const beganAtMs = startMs + dayMs - 1
    const { callId, funds } = await held(subscription, beganAtMs)
    const endsAtMs = beganAtMs + 2 * dayMs
    expect(await windows(subscription, beganAtMs)).toEqual(windowKinds.map(() => [0n, 50n]))
    await change(subscription, endsAtMs - 1)
    expect(await bed.ledger.check()).toEqual([])
    await settle(callId, funds, endsAtMs)
    expect(await windows(subscription, beganAtMs)).toEqual(same)
    expect(await windows(subscription, endsAtMs)).toEqual([[0n, 0n], ...same.slice(1)])
    for (const one of await listSubscriptions(bed.database, { after: subscription.id, limit: 9 })) {
      expect(await windows(one, one.startsAtMs)).toEqual(windowKinds.map(() => [0n, 0n]))
    }
  })

  test('in the last moment before an end is charged in full, and nothing is left of its hold', async () => {
    const subscription = await assigned({ dailyLimit: 50n })
    const { callId, funds } = await held(subscription, startMs + 5)
    await bed.commit(endSubscription(subscription, startMs + 6))
    expect((await findSubscription(bed.database, subscription.id))?.endsAtMs).toBe(startMs + 6)
    await settle(callId, funds, startMs + 3 * dayMs)
    expect(await bed.ledger.room(funds)).toMatchObject({ room: 30n })
  })
})
