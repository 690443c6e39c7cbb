import type { Command, Payer } from './commands.fixture.ts'
import { type SubscriptionTerms, type WindowKind, windowKinds, windowLengthMs } from './subscription.ts'

/**
 * What the ledger should do, reckoned from nothing but two lists: what was posted, and which calls there were. Everything is
 * added up anew for every question, so it cannot go wrong the way running sums can.
 */
export interface Model {
  readonly terms: SubscriptionTerms
  readonly postings: Map<string, bigint>
  readonly calls: Map<number, ModelCall>
  nowMs: number
  leaseUntilMs: number
}

export interface ModelCall {
  readonly payer: Payer
  readonly beganAtMs: number
  amount: bigint
  state: 'held' | 'settled' | 'released' | 'expired'
  settled: bigint
  refunded: bigint
}

export const leaseMs = 30_000

export function openModel(terms: SubscriptionTerms): Model {
  return { terms, postings: new Map(), calls: new Map(), nowMs: terms.startsAtMs, leaseUntilMs: terms.startsAtMs + leaseMs }
}

/** What the ledger must answer, in its own words; `undefined` when it answers nothing. */
export function answerOf(model: Model, each: Command): unknown {
  switch (each.op) {
    case 'credit':
      return posted(model, `credit ${each.reference}`, each.amount)
    case 'debit':
      return posted(model, `debit ${each.reference}`, -each.amount)
    case 'adjust':
      return posted(model, `adjust ${each.reference}`, each.amount)
    case 'hold':
      return held(model, each)
    case 'extend':
      return extended(model, each.call, each.to)
    case 'settle':
      return settled(model, model.calls.get(each.call), each)
    case 'late':
      return settled(model, model.calls.get(each.call) ?? lostCall(model, each.payer), each)
    case 'release':
      return released(model.calls.get(each.call))
    case 'refund':
      return refunded(model.calls.get(each.call), each.amount)
    case 'sleep':
      model.nowMs += each.seconds * 1000
      return undefined
    case 'renew':
      model.leaseUntilMs = model.nowMs + leaseMs
      return undefined
    case 'expire':
      return expired(model)
  }
}

/** Every sum that the books keep, as text: the wallet, and each window in which anything is used or held. */
export function sumsOf(model: Model): string[] {
  const sums = new Map<string, { used: bigint; held: bigint }>()
  for (const call of model.calls.values()) {
    if (call.payer === 'wallet') continue
    for (const kind of windowKinds) {
      const window = `${kind} ${startOf(model.terms, kind, call.beganAtMs)}`
      const sum = sums.get(window) ?? { used: 0n, held: 0n }
      sums.set(window, { used: sum.used + call.settled - call.refunded, held: sum.held + heldBy(call) })
    }
  }
  const windows = [...sums].filter(([, { used, held }]) => used + held > 0n).map(([window, { used, held }]) => `${window}: ${used} ${held}`)
  return [`wallet: ${balanceOf(model)} ${heldOf(model)}`, ...windows.sort()]
}

function posted(model: Model, cause: string, amount: bigint): unknown {
  const before = model.postings.get(cause)
  if (before !== undefined && before !== amount) return { refused: 'reference_used' }
  if (before !== undefined) return { balance: balanceOf(model), repeated: true }
  if (amount < 0n && -amount > balanceOf(model) - heldOf(model)) return { refused: 'short' }
  model.postings.set(cause, amount)
  return { balance: balanceOf(model), repeated: false }
}

function held(model: Model, { call, payer, floor, more, half }: Extract<Command, { op: 'hold' }>): unknown {
  const found = model.calls.get(call)
  if (found !== undefined) return found.state === 'held' ? { granted: found.amount } : 'ended'
  const beganAtMs = model.nowMs
  const free = freeFor(model, payer, beganAtMs)
  if (free < floor) return payer === 'wallet' ? { refused: 'short' } : fullest(model, beganAtMs)
  const most = half ? greatest(free / 2n, floor) : free
  const amount = least(floor + more, most)
  model.calls.set(call, { payer, beganAtMs, amount, state: 'held', settled: 0n, refunded: 0n })
  return { granted: amount }
}

function extended(model: Model, number: number, to: bigint): unknown {
  const call = model.calls.get(number)
  if (call?.state !== 'held') return { refused: 'ended' }
  const most = call.amount + freeFor(model, call.payer, call.beganAtMs)
  call.amount = greatest(call.amount, least(to, most))
  return { granted: call.amount }
}

function settled(model: Model, call: ModelCall | undefined, { call: number, cost }: { call: number; cost: bigint }): unknown {
  if (call === undefined || call.state === 'settled' || call.state === 'released') return undefined
  const charged = least(cost, heldBy(call) + freeFor(model, call.payer, call.beganAtMs))
  model.calls.set(number, { ...call, state: 'settled', settled: charged })
  return { charged, isLate: call.state !== 'held' }
}

/** Of this one a power cut has left nothing but the journal's line. */
function lostCall({ nowMs }: Model, payer: Payer): ModelCall {
  return { payer, beganAtMs: nowMs, amount: 0n, state: 'expired', settled: 0n, refunded: 0n }
}

function released(call: ModelCall | undefined): undefined {
  if (call?.state === 'held') call.state = 'released'
}

function refunded(call: ModelCall | undefined, asked: bigint): unknown {
  if (call === undefined) return { refused: 'call_unknown' }
  const charged = call.settled
  if (charged === 0n) return { refused: 'not_charged' }
  const amount = asked === 0n ? charged : asked
  if (amount > charged) return { refused: 'too_much', charged }
  if (call.refunded > 0n && call.refunded !== amount) return { refused: 'refunded_already', refunded: call.refunded }
  const repeated = call.refunded > 0n
  call.refunded = amount
  return { refunded: amount, charged, repeated }
}

function expired(model: Model): number {
  if (model.leaseUntilMs > model.nowMs) return 0
  const due = [...model.calls.values()].filter(call => call.state === 'held')
  for (const call of due) call.state = 'expired'
  return due.length
}

function balanceOf({ postings, calls }: Model): bigint {
  const paid = [...calls.values()].filter(call => call.payer === 'wallet')
  const charged = paid.reduce((sum, call) => sum + call.settled - call.refunded, 0n)
  return [...postings.values()].reduce((sum, amount) => sum + amount, 0n) - charged
}

function heldOf({ calls }: Model): bigint {
  return [...calls.values()].reduce((sum, call) => sum + (call.payer === 'wallet' ? heldBy(call) : 0n), 0n)
}

function heldBy(call: ModelCall): bigint {
  return call.state === 'held' ? call.amount : 0n
}

function freeFor(model: Model, payer: Payer, atMs: number): bigint {
  if (payer === 'wallet') return balanceOf(model) - heldOf(model)
  return roomsOf(model, atMs).reduce((most, { room }) => least(most, room), 10n ** 18n)
}

function fullest(model: Model, atMs: number): unknown {
  const room = freeFor(model, 'subscription', atMs)
  const { kind, startsAtMs } = roomsOf(model, atMs).findLast(window => window.room === room)!
  const window = { daily: 'Daily', weekly: 'Weekly', monthly: 'Monthly' }[kind]
  return { refused: 'window', window, resetsAtMs: startsAtMs + windowLengthMs[kind] }
}

/** What is left in each window that has this moment in it, found by looking at every call. */
function roomsOf({ terms, calls }: Model, atMs: number) {
  const limits = { daily: terms.dailyLimit!, weekly: terms.weeklyLimit!, monthly: terms.monthlyLimit! }
  return windowKinds.map(kind => {
    const startsAtMs = startOf(terms, kind, atMs)
    const inIt = [...calls.values()].filter(
      ({ payer, beganAtMs }) => payer === 'subscription' && startsAtMs <= beganAtMs && beganAtMs < startsAtMs + windowLengthMs[kind],
    )
    return { kind, startsAtMs, room: limits[kind] - inIt.reduce((sum, call) => sum + call.settled - call.refunded + heldBy(call), 0n) }
  })
}

/** By walking from one window to the next. */
function startOf(terms: SubscriptionTerms, kind: WindowKind, atMs: number): number {
  let startsAtMs = terms.startsAtMs
  while (startsAtMs + windowLengthMs[kind] <= atMs) startsAtMs += windowLengthMs[kind]
  return startsAtMs
}

function least(one: bigint, other: bigint): bigint {
  return one < other ? one : other
}

function greatest(one: bigint, other: bigint): bigint {
  return one > other ? one : other
}
