import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Database } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { heldCall, manualClock, openBooks, settledRowStep, subscriptionSteps, userSteps } from './books.fixture.ts'
import { type Held, type Ledger, openLedger } from './ledger.ts'
import { type Funds, lateSettleSteps, readSettled, settleSteps } from './steps.ts'
import { type SubscriptionTerms, subscriptionFunds, windowKinds, windowLengthMs } from './subscription.ts'

/**
 * The ledger against a model that is nothing but a list: what was posted, and which holds there were. The model adds them up
 * anew for every question, so it cannot go wrong the way running sums can.
 */
const isFull = process.env.HEADGATE_TEST_FULL === '1'
const runs = isFull ? 8_000 : 40
const commandsPerRun = isFull ? 100 : 60
/** Reading all books is what takes long, and they grow with each run. */
const checkEveryRuns = isFull ? 500 : 1

const leaseMs = 30_000
const startMs = Date.UTC(2026, 9, 1)

const amount = fc.bigInt({ min: 0n, max: 120n })
const call = fc.nat({ max: 9 })
const payer = fc.constantFrom('wallet', 'subscription')
const command = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('credit', 'debit'), reference: fc.nat({ max: 20 }), amount }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('hold'), call, payer, floor: amount, more: amount, half: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('settle'), call, cost: amount, late: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('release'), call }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('die') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sleep'), hours: fc.nat({ max: 400 }) }) },
)
type Command = typeof command extends fc.Arbitrary<infer Made> ? Made : never

test('no sequence of commands makes the ledger differ from its model', { timeout: 1_200_000 }, async () => {
  await using books = await openBooks(openSqlite)
  let run = 0
  const property = fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: commandsPerRun, size: 'max' }), async commands => {
    const world = await openWorld(books.database, `run${run++}`)
    for (const each of commands) expect(await world.real(each), JSON.stringify(each, bigintText)).toEqual(world.model(each))
    expect(await world.realSums()).toEqual(world.modelSums())
    if (run % checkEveryRuns === 0) expect(await world.ledger.check()).toEqual([])
    await world.end()
  })
  await fc.assert(property, { numRuns: runs })
  expect(await openLedger(books.database, manualClock(startMs)).check()).toEqual([])
})

interface ModelHold {
  readonly payer: 'wallet' | 'subscription'
  readonly amount: bigint
  readonly beganAtMs: number
  state: 'held' | 'settled' | 'released' | 'expired'
  settled: bigint
}

/** A wallet and a subscription of their own, real and modelled, on one clock. */
async function openWorld(database: Database, name: string) {
  const clock = manualClock(startMs)
  const ledger = openLedger(database, clock)
  const terms = { id: name, startsAtMs: startMs, endsAtMs: startMs * 2, dailyLimit: 200n, weeklyLimit: 500n, monthlyLimit: 900n }
  await database.commit([...userSteps(name), ...subscriptionSteps(name, terms)], 'ordered')
  await ledger.renewLease(name, leaseMs)
  const world: World = { name, clock, ledger, database, terms, holds: new Map(), postings: new Map() }
  return {
    ledger,
    real: (each: Command) => runReal(world, each),
    model: (each: Command) => runModel(world, each),
    realSums: () => ledger.free(name),
    modelSums: () => ({ balance: balanceOf(world), held: heldOf(world) }),
    async end() {
      for (const [id, { payer, beganAtMs }] of world.holds) await ledger.release(id, fundsOf(world, payer, beganAtMs))
    },
  }
}

interface World {
  readonly name: string
  readonly clock: ReturnType<typeof manualClock>
  readonly ledger: Ledger
  readonly database: Database
  readonly terms: SubscriptionTerms
  readonly holds: Map<string, ModelHold>
  readonly postings: Map<string, bigint>
}

async function runReal(world: World, each: Command): Promise<unknown> {
  const { name, clock, ledger, database } = world
  const id = 'call' in each ? `${name}-${each.call}` : ''
  const known = world.holds.get(id)
  const funds = fundsOf(world, known?.payer ?? ('payer' in each ? each.payer : 'wallet'), known?.beganAtMs ?? clock.nowMs())
  if ('reference' in each) {
    if (each.amount === 0n) return 'nothing'
    const posting = { walletId: name, amount: each.amount, reference: `${name}-${each.reference}`, reason: null, author: null }
    return each.kind === 'credit' ? ledger.credit(posting) : ledger.debit(posting)
  }
  if ('floor' in each) {
    const { floor, more, half: halfOfFree } = each
    const request = { ...heldCall(known?.beganAtMs ?? clock.nowMs(), name), callId: id, funds, floor, want: floor + more, halfOfFree }
    return ledger.hold(request).catch(error => (String(error).includes('has ended') ? 'ended' : error))
  }
  if ('cost' in each) {
    const settle = { callId: id, cost: each.cost, atMs: clock.nowMs(), funds, entryId: `entry-${id}` }
    const steps = each.late ? lateSettleSteps(settle, heldCall(known?.beganAtMs ?? clock.nowMs(), name)) : settleSteps(settle)
    return readSettled(await database.commit([...steps, settledRowStep(id, each.cost)], 'ordered'))
  }
  if ('hours' in each) clock.advance(each.hours * 3_600_000)
  if (each.kind === 'release') return ledger.release(id, funds)
  if (each.kind === 'die') {
    await ledger.renewLease(name, leaseMs)
    clock.advance(leaseMs)
    await ledger.expireHolds({ graceUntilMs: 0 })
  }
  return ledger.renewLease(name, leaseMs)
}

/** Runs after the real command, so the clock has moved already. */
function runModel(world: World, each: Command): unknown {
  const id = 'call' in each ? `${world.name}-${each.call}` : ''
  const found = world.holds.get(id)
  if ('reference' in each) return postModel(world, each.kind === 'credit', `${each.kind} ${each.reference}`, each.amount)
  if ('floor' in each) return holdModel(world, id, each)
  if ('cost' in each) {
    const nowMs = world.clock.nowMs()
    const hold =
      found ?? (each.late ? { payer: 'wallet' as const, amount: 0n, beganAtMs: nowMs, state: 'expired' as const, settled: 0n } : undefined)
    if (hold === undefined || hold.state === 'settled' || hold.state === 'released') return undefined
    const most = (hold.state === 'held' ? hold.amount : 0n) + freeOf(world, hold.payer, hold.beganAtMs)
    world.holds.set(id, { ...hold, state: 'settled', settled: least(each.cost, most) })
    return { charged: least(each.cost, most) }
  }
  if (each.kind === 'release' && found?.state === 'held') found.state = 'released'
  if (each.kind === 'die') for (const hold of world.holds.values()) if (hold.state === 'held') hold.state = 'expired'
  return undefined
}

function postModel(world: World, isCredit: boolean, reference: string, amount: bigint): unknown {
  if (amount === 0n) return 'nothing'
  const signed = isCredit ? amount : -amount
  const before = world.postings.get(reference)
  if (before !== undefined && before !== signed) return { refused: 'reference_used' }
  if (before !== undefined) return { balance: balanceOf(world), repeated: true }
  if (!isCredit && amount > balanceOf(world) - heldOf(world)) return { refused: 'short' }
  world.postings.set(reference, signed)
  return { balance: balanceOf(world), repeated: false }
}

function holdModel(world: World, id: string, each: Extract<Command, { floor: bigint }>): Held | 'ended' {
  const found = world.holds.get(id)
  if (found !== undefined) return found.state === 'held' ? { granted: found.amount } : 'ended'
  const beganAtMs = world.clock.nowMs()
  const free = freeOf(world, each.payer, beganAtMs)
  const want = each.floor + each.more
  if (free < each.floor && each.payer === 'wallet') return { refused: 'short' }
  if (free < each.floor) {
    const { kind, endsAtMs } = roomsOf(world, beganAtMs).findLast(({ room }) => room === free)!
    return { refused: 'window', window: ({ daily: 'Daily', weekly: 'Weekly', monthly: 'Monthly' } as const)[kind], resetsAtMs: endsAtMs }
  }
  const half = free / 2n > each.floor ? free / 2n : each.floor
  const granted = least(want, each.half ? half : free)
  world.holds.set(id, { payer: each.payer, amount: granted, beganAtMs, state: 'held', settled: 0n })
  return { granted }
}

function freeOf(world: World, payer: 'wallet' | 'subscription', atMs: number): bigint {
  if (payer === 'wallet') return balanceOf(world) - heldOf(world)
  return roomsOf(world, atMs).reduce((most, { room }) => least(most, room), 10n ** 18n)
}

/** What is left in each window that has this moment in it, found by looking at every call. */
function roomsOf({ terms, holds }: World, atMs: number) {
  const limits = { daily: terms.dailyLimit!, weekly: terms.weeklyLimit!, monthly: terms.monthlyLimit! }
  return windowKinds.map(kind => {
    let startsAtMs = terms.startsAtMs
    while (startsAtMs + windowLengthMs[kind] <= atMs) startsAtMs += windowLengthMs[kind]
    const endsAtMs = startsAtMs + windowLengthMs[kind]
    const inIt = [...holds.values()].filter(
      hold => hold.payer === 'subscription' && startsAtMs <= hold.beganAtMs && hold.beganAtMs < endsAtMs,
    )
    const taken = inIt.reduce((sum, hold) => sum + hold.settled + (hold.state === 'held' ? hold.amount : 0n), 0n)
    return { kind, endsAtMs, room: limits[kind] - taken }
  })
}

function balanceOf({ postings, holds }: World): bigint {
  const charged = [...holds.values()].reduce((sum, hold) => sum + (hold.payer === 'wallet' ? hold.settled : 0n), 0n)
  return [...postings.values()].reduce((sum, posted) => sum + posted, 0n) - charged
}

function heldOf({ holds }: World): bigint {
  const open = [...holds.values()].filter(hold => hold.payer === 'wallet' && hold.state === 'held')
  return open.reduce((sum, hold) => sum + hold.amount, 0n)
}

function fundsOf({ name, terms }: World, payer: 'wallet' | 'subscription', beganAtMs: number): Funds {
  return payer === 'wallet' ? { kind: 'wallet', walletId: name } : subscriptionFunds(terms, beganAtMs)
}

function least(one: bigint, other: bigint): bigint {
  return one < other ? one : other
}

function bigintText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
