import { expect, test } from 'vitest'
import type { Script } from '../../sim/script.ts'
import { makeSubscription } from '../../src/directory/subscriptions.ts'
import { formatUsd } from '../../src/ledger/money.ts'
import { type Row, statement } from '../../src/storage/database.ts'
import { between, oneOf, randomFrom, seedsFrom } from '../chance.ts'
import type { Refusal } from '../client.ts'
import { inLine, openWorld, type World } from '../world.ts'
import { type EqualBodies, equalBodies, equalCall, floorTokens } from './equal-calls.ts'

/**
 * T4: charges never exceed the money.
 *
 * A thousand calls with the same ceiling of output come at once, half of them streams, on money for exactly k of them. When
 * every answer costs its whole hold, exactly k are served and the others refused. When answers cost less, what they give
 * back may serve more: at least k. Either way no call is served that cannot be paid, and nothing is ever taken twice.
 */
const calls = 1_000
const seeds = seedsFrom(0, process.env.HEADGATE_TEST_FULL === undefined ? 4 : 100)

test.for(seeds)(`T4: ${calls} calls at once on money for k spend no more than there is (HEADGATE_TEST_SEED=%i)`, async seed => {
  const plan = planOf(seed)
  await using world = await opened(plan)
  world.sim.script({}, plan.scripts)
  let looks = 0
  const hearing = Promise.all(
    Array.from({ length: calls }, async (_, number) => {
      const key = world.keys[number % world.keys.length]!
      const answer = await equalCall({ url: world.url, key }, plan.bodies, number)
      if (answer !== 'served') return answer
      await expectNeverOverdrawn(world, plan)
      looks += 1
      return answer
    }),
  )
  if (plan.concurrency > 0) await inLine(world, calls - plan.concurrency)
  world.sim.open(start)
  const heard = await hearing
  await world.quiet()

  const refusals = heard.filter(answer => answer !== 'served')
  const served = calls - refusals.length
  const spent = await expectBooks(world, plan, served)
  const { k, funds, answers, ceiling, keys, concurrency, money } = plan
  const limits = `${keys} keys, user concurrency ${concurrency}, ceiling ${ceiling}`
  console.log(
    `seed ${seed}: ${funds}, answers ${answers}, k ${k}: ${served} served, $${formatUsd(spent)} of $${formatUsd(money)} spent; ${limits}; looked ${looks} times`,
  )
  for (const refusal of refusals) expect(refusal).toEqual(plan.refusal)
  if (answers === 'cost all of their hold') expect(served).toBe(k)
  else expect(served).toBeGreaterThanOrEqual(k)
})

interface Plan {
  readonly k: number
  /** Nano-dollars: enough for k holds, and not for the floor of one more. */
  readonly money: bigint
  readonly ceiling: number
  /** Nano-dollars of one hold. */
  readonly hold: bigint
  readonly funds: 'wallet' | 'daily window'
  readonly answers: 'cost all of their hold' | 'cost less'
  readonly keys: number
  /** 0: nobody waits. Else it is below k: all look at the money while there is some, and only their holds can refuse them. */
  readonly concurrency: number
  readonly startsAtMs: number
  readonly bodies: EqualBodies['bodies']
  readonly scripts: readonly Script[]
  readonly refusal: Refusal
}

const dayMs = 86_400_000
/** Where there is a line, nobody is answered before everybody has come: the last shall see money too, and not get any. */
const start = 'start'

function planOf(seed: number): Plan {
  const chance = randomFrom(seed)
  const funds = seed % 2 === 0 ? 'wallet' : 'daily window'
  const answers = (seed >> 1) % 2 === 0 ? 'cost all of their hold' : 'cost less'
  const k = between(chance, 2, 300)
  const ceiling = oneOf(chance, [between(chance, 1, floorTokens), between(chance, floorTokens, 2_500)])
  const { bodies, input, cost } = equalBodies(ceiling)
  const hold = cost(ceiling)
  const tooLittle = cost(Math.min(ceiling, floorTokens)) - 1n
  const money = BigInt(k) * hold + oneOf(chance, [0n, tooLittle, BigInt(between(chance, 0, Number(tooLittle)))])
  const startsAtMs = Date.now() - dayMs / 2
  return {
    ...{ k, money, ceiling, hold, funds, answers, startsAtMs, bodies },
    keys: between(chance, 1, 5),
    concurrency: seed % 3 === 2 ? 0 : between(chance, Math.ceil(k / 8), k - 1),
    scripts: Array.from({ length: calls }, () => scriptOf(chance, answers, { ceiling, input })),
    refusal: funds === 'wallet' ? refused('insufficient_quota', 'Insufficient balance') : windowUsed(startsAtMs + dayMs),
  }
}

function refused(code: string, message: string): Refusal {
  return { status: 429, type: 'insufficient_quota', code, param: null, message, retry: 'never' }
}

function windowUsed(resetsAtMs: number): Refusal {
  return refused('usage_limit_exceeded', `Daily usage limit exceeded, resets at ${new Date(resetsAtMs).toISOString()}`)
}

type Most = { readonly ceiling: number; readonly input: number }

/** How long the upstream takes, and what it uses: all that was held for, of the dearest kind, or some of it. */
function scriptOf(chance: () => number, answers: Plan['answers'], { ceiling, input }: Most): Script {
  const pace = { headersAfterMs: between(chance, 0, 30), firstEventAfterMs: between(chance, 0, 30), betweenEventsMs: between(chance, 0, 3) }
  const isAll = answers === 'cost all of their hold'
  const inputTokens = isAll ? input : between(chance, 1, input)
  return {
    ...pace,
    hold: start,
    outputTokens: isAll ? ceiling : between(chance, 1, ceiling),
    cacheWriteTokens: isAll ? inputTokens : between(chance, 0, inputTokens),
    usage: { input_tokens: inputTokens },
  }
}

/** Only money refuses anybody: there is a place in the line for everyone, and a busy machine may take long. */
const patient = {
  refusalsPerMinute: 0,
  lineExtra: calls,
  lineTimeoutMs: 120_000,
  booksTimeoutMs: 120_000,
  waitingCommentMs: 0,
  attemptCommentMs: 0,
}

async function opened({ funds, money, keys, concurrency, startsAtMs }: Plan): Promise<World & { readonly keys: readonly string[] }> {
  const isWallet = funds === 'wallet'
  const world = await openWorld({
    accounts: [{ concurrency: 0 }],
    group: { pays: isWallet ? 'balance' : 'subscription' },
    user: { concurrency },
    balance: isWallet ? formatUsd(money) : '0',
    settings: patient,
  })
  const limits = { dailyLimit: money, weeklyLimit: money * 2n, monthlyLimit: money * 5n }
  const term = { userId: world.user.id, groupId: world.group.id, startsAtMs, endsAtMs: startsAtMs + 60 * dayMs }
  if (!isWallet) await world.commit(makeSubscription({ ...term, ...limits }, Date.now()).steps)
  const secrets = [world.key]
  while (secrets.length < keys) secrets.push((await world.addKey(world.user)).secret)
  return { ...world, keys: secrets }
}

/** In the middle of it all: what is spent and what is held, together, are never more than the money. */
async function expectNeverOverdrawn(world: World, { funds, money }: Plan): Promise<void> {
  if (funds === 'wallet') {
    const { balance, held } = await world.balance()
    expect(balance).toBeGreaterThanOrEqual(0n)
    expect(held).toBeLessThanOrEqual(balance)
    expect(balance).toBeLessThanOrEqual(money)
  } else {
    for (const { used, held } of await world.database.read(readWindows))
      expect((used as bigint) + (held as bigint)).toBeLessThanOrEqual(money)
  }
}

/** What the books say when all is over. Returns what was spent. */
async function expectBooks(world: World, { funds, money, hold, refusal, answers }: Plan, served: number): Promise<bigint> {
  const rows = await world.rows()
  expect(rows.length).toBe(calls)
  expect(rows.map(({ uncollected }) => uncollected).filter(amount => amount !== 0n)).toEqual([])
  const paid = rows.filter(({ fault }) => fault === null)
  expect(paid.length).toBe(served)
  expect(world.sim.attempts.length).toBe(served)
  for (const row of paid) {
    expect(row).toMatchObject({ basis: 'reported', ended: expect.stringMatching(/^(completed|incomplete)$/) })
    expect(row.cost).toBeLessThanOrEqual(row.held as bigint)
    expect(row.held).toBeLessThanOrEqual(hold)
    if (answers === 'cost all of their hold') expect(row).toMatchObject({ ended: 'completed', held: hold, cost: hold })
  }
  const fault = refusal.code === 'insufficient_quota' ? 'money_short' : 'window_used'
  for (const row of rows) if (row.fault !== null) expect(row).toMatchObject({ fault, status: 429n, held: 0n, cost: 0n, attempts: 0n })

  const spent = sum(rows, 'cost')
  expect(spent).toBeLessThanOrEqual(money)
  expect(spent).toBe(world.sim.invoice.reduce((total, { costNanos }) => total + costNanos, 0n))
  if (funds === 'wallet') {
    expect(await world.balance()).toEqual({ balance: money - spent, held: 0n })
    expect(sum(await world.database.report(readCharges), 'amount')).toBe(-spent)
  } else {
    const windows = await world.database.report(readWindows)
    expect(windows.map(({ used, held }) => ({ used, held }))).toEqual(Array(3).fill({ used: spent, held: 0n }))
  }
  return spent
}

function sum(rows: readonly Row[], column: string): bigint {
  return rows.reduce((total, row) => total + (row[column] as bigint), 0n)
}

const readWindows = statement('select used, held from windows')
const readCharges = statement(`select amount from entries where kind = 'charge'`)
