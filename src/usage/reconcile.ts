import { formatUsd } from '../ledger/money.ts'
import { type Amounts, type Counted, noAmounts, nothingCounted, sumOrNull, type Unknown } from './counted.ts'

/** What an upstream says of one account, model and day of UTC. Null: it does not say. Several of the same are added up. */
export interface Figure {
  readonly accountId: string
  /** As the price book names it. */
  readonly model: string
  readonly dayStartsAtMs: number
  readonly requests: bigint | null
  /** Cached ones included. */
  readonly inputTokens: bigint
  readonly cachedTokens: bigint | null
  readonly outputTokens: bigint
  /** Nano-dollars. */
  readonly cost: bigint | null
}

export type Theirs = Pick<Figure, keyof Amounts>

/** Both sides of one account, model and day, and why they differ. */
export interface Comparison {
  readonly accountId: string
  readonly model: string
  readonly dayStartsAtMs: number
  readonly ours: Amounts
  readonly theirs: Theirs
  /** Theirs less ours. */
  readonly difference: Theirs
  /** `explained`: the gap is no larger than what nobody could know for certain. */
  readonly verdict: 'agrees' | 'explained' | 'unexplained'
  /** For a person, one for each part that can make a gap; empty when both agree. */
  readonly causes: readonly string[]
  readonly parts: Counted
}

export interface ReconcileOptions {
  /** Nano-dollars by which the cost of one figure may be rounded. */
  readonly roundedTo: bigint
}

/** Holds our sums against an upstream's, by account, model and day, oldest first. Pure. What neither side has makes no line. */
export function reconcile(counted: readonly Counted[], figures: readonly Figure[], { roundedTo }: ReconcileOptions): Comparison[] {
  const died = counted.filter(one => one.accountId === null)
  const ours = new Map(counted.filter(isPlaced).map(one => [keyOf(one), one]))
  const theirs = Map.groupBy(figures, keyOf)
  const lines = [...new Set([...ours.keys(), ...theirs.keys()])].map(key => {
    const said = theirs.get(key) ?? []
    const place = said[0] ?? ours.get(key)!
    const known = ours.get(key) ?? nothingCounted(place)
    const deadHere = died.filter(one => one.dayStartsAtMs === place.dayStartsAtMs && (one.model === null || one.model === place.model))
    const parts = { ...known, died: deadHere.map(one => one.died).reduce(plusUnknown, known.died) }
    return compare(place, parts, { theirs: said.reduce(plusTheirs, nobodySaid), tolerance: roundedTo * BigInt(said.length) })
  })
  const withSomething = lines.filter(line => !isNothing(line.ours) || !isNothing(line.theirs))
  return withSomething.sort((a, b) => a.dayStartsAtMs - b.dayStartsAtMs || order(a.accountId, b.accountId) || order(a.model, b.model))
}

type Place = Pick<Figure, 'accountId' | 'model' | 'dayStartsAtMs'>

/** Whose account is known; the others are told with every account. */
function isPlaced(counted: Counted): counted is Counted & Place {
  return counted.accountId !== null && counted.model !== null
}

interface Said {
  readonly theirs: Theirs
  readonly tolerance: bigint
}

function compare({ accountId, model, dayStartsAtMs }: Place, parts: Counted, { theirs, tolerance }: Said): Comparison {
  const { reported, drained, estimated } = parts
  const ours = [drained, estimated].reduce(plusAmounts, reported)
  const difference = minus(theirs, ours)
  const line = { accountId, model, dayStartsAtMs, ours, theirs, difference, parts }
  if (agrees(difference, tolerance)) return { ...line, verdict: 'agrees', causes: [] }
  const rest = unexplained(difference, parts, tolerance)
  const causes = [...causesOf(parts), ...(rest === undefined ? [] : [`unexplained: ${rest}`])]
  return { ...line, verdict: rest === undefined ? 'explained' : 'unexplained', causes }
}

function agrees({ requests, inputTokens, cachedTokens, outputTokens, cost }: Theirs, tolerance: bigint): boolean {
  return [requests, inputTokens, cachedTokens, outputTokens].every(one => one === null || one === 0n) && within(cost, -tolerance, tolerance)
}

/**
 * What of a gap no part of ours can account for, in words; undefined when all of it can be. An attempt that nobody answered may
 * have been counted or not; an estimate may stand for nothing, or for as much as was held.
 */
function unexplained(difference: Theirs, parts: Counted, tolerance: bigint): string | undefined {
  const { estimated, estimatedAtMost, unpriced } = parts
  const unknown = [parts.silent, parts.attempts, parts.died].reduce(plusUnknown)
  const { requests, cost } = difference
  if (requests !== null && requests > unknown.count) return `${many(requests - unknown.count, 'request')} that we never saw`
  if (requests !== null && requests < -estimated.requests)
    return `${many(-requests - estimated.requests, 'call')} of ours that they do not count`
  const isOpen = unknown.count + estimated.requests > 0n
  for (const [kind, words] of tokenKinds) {
    const apart = difference[kind]
    if (apart === null || apart === 0n || (isOpen && apart >= -estimated[kind])) continue
    return apart > 0n ? `${apart} ${words} more than ours` : `${-apart} ${words} fewer than ours`
  }
  if (within(cost, -tolerance, tolerance) || (unpriced > 0n && cost! > 0n)) return undefined
  const most = sumOrNull(estimatedAtMost, unknown.atMost)
  const isWithin = most === null ? cost! >= -estimated.cost : within(cost, -estimated.cost - tolerance, most - estimated.cost + tolerance)
  if (isOpen && isWithin) return undefined
  if (tokenKinds.every(([kind]) => !difference[kind]))
    return `the same tokens at another price, ${usd(cost!)} apart; compare \`headgate price list\``
  if (cost! < 0n) return `${usd(-cost!)} less, which is more than the estimates are worth`
  return `${usd(cost!)} is more than these can be worth`
}

const tokenKinds = [
  ['inputTokens', 'input tokens'],
  ['cachedTokens', 'cached tokens'],
  ['outputTokens', 'output tokens'],
] as const

function causesOf({ estimated, estimatedAtMost, silent, attempts, died, unpriced }: Counted): string[] {
  const causes: string[] = []
  if (estimated.requests > 0n)
    causes.push(`${many(estimated.requests, 'estimated call')} worth ${usd(estimated.cost)}${atMost(estimatedAtMost)}`)
  if (attempts.count > 0n) causes.push(`${many(attempts.count, 'attempt')} without an answer${atMost(attempts.atMost)}`)
  if (silent.count > 0n) causes.push(`${many(silent.count, 'answer')} that said no usage${atMost(silent.atMost)}`)
  if (died.count > 0n) causes.push(`${many(died.count, 'call')} whose gateway died${atMost(died.atMost)}`)
  if (unpriced > 0n) causes.push(`${many(unpriced, 'call')} without a price in the book`)
  return causes
}

function atMost(nanos: bigint | null): string {
  return nanos === null ? '' : `, at most ${usd(nanos)}`
}

function many(count: bigint, word: string): string {
  return `${count} ${word}${count === 1n ? '' : 's'}`
}

function usd(nanos: bigint): string {
  return `${formatUsd(nanos)} USD`
}

/** What is not said is in every range. */
function within(amount: bigint | null, least: bigint, most: bigint): boolean {
  return amount === null || (least <= amount && amount <= most)
}

const nobodySaid: Theirs = noAmounts

function plusTheirs(sum: Theirs, more: Theirs): Theirs {
  return {
    requests: sumOrNull(sum.requests, more.requests),
    inputTokens: sum.inputTokens + more.inputTokens,
    cachedTokens: sumOrNull(sum.cachedTokens, more.cachedTokens),
    outputTokens: sum.outputTokens + more.outputTokens,
    cost: sumOrNull(sum.cost, more.cost),
  }
}

function plusAmounts(sum: Amounts, more: Amounts): Amounts {
  return {
    requests: sum.requests + more.requests,
    inputTokens: sum.inputTokens + more.inputTokens,
    cachedTokens: sum.cachedTokens + more.cachedTokens,
    outputTokens: sum.outputTokens + more.outputTokens,
    cost: sum.cost + more.cost,
  }
}

function plusUnknown(a: Unknown, b: Unknown): Unknown {
  return { count: a.count + b.count, atMost: sumOrNull(a.atMost, b.atMost) }
}

function minus(theirs: Theirs, ours: Amounts): Theirs {
  return {
    requests: theirs.requests === null ? null : theirs.requests - ours.requests,
    inputTokens: theirs.inputTokens - ours.inputTokens,
    cachedTokens: theirs.cachedTokens === null ? null : theirs.cachedTokens - ours.cachedTokens,
    outputTokens: theirs.outputTokens - ours.outputTokens,
    cost: theirs.cost === null ? null : theirs.cost - ours.cost,
  }
}

function isNothing(amounts: Theirs): boolean {
  return Object.values(amounts).every(amount => amount === null || amount === 0n)
}

function keyOf({ accountId, model, dayStartsAtMs }: Place): string {
  return JSON.stringify([accountId, model, dayStartsAtMs])
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
