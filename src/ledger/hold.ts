import { callMost, divideUp } from './money.ts'
import { dearestInput, type Multiplier, type PriceVersion, perMillion, perMillionTimes } from './price.ts'

/** What is known of a call before it is sent. */
export interface HoldQuestion {
  /** An upper estimate of the whole input. */
  readonly inputTokens: number
  /** The client's own `max_output_tokens`, or undefined when it sent none. */
  readonly ceiling: number | undefined
  /** How many answers there will be, each of them up to the ceiling. Default: one. */
  readonly answers?: number
  /** The dearest lines of every name under which it may be served. None: nobody gives it a price, and it is free. */
  readonly prices: readonly PriceVersion[]
  readonly multiplier: Multiplier
  /** The client asks that what is written to the cache stays for twelve hours. */
  readonly cachesFor12h?: boolean
  /** Default: those of this file. */
  readonly limits?: HoldLimits
}

/** Output tokens. */
export interface HoldLimits {
  /** What an answer must have room for. A client that wants fewer says so by its ceiling. */
  readonly holdFloorTokens: number
  /** What a model may make of which nobody said how many it can. */
  readonly holdOutputTokens: number
}

/** How much to set aside, in nano-dollars, and what it was reckoned from. */
export interface HoldSize extends HoldQuestion {
  /** Less than this is not worth beginning: the input, and a first thousand tokens of output. */
  readonly floor: bigint
  /** The most that the call can cost, but for hosted tools: how often they will be called cannot be known. */
  readonly want: bigint
  /** The client named no ceiling, so its call may take half of what is free and leaves the rest to its others. */
  readonly halfOfFree: boolean
}

export const holdLimits: HoldLimits = { holdFloorTokens: 1_024, holdOutputTokens: 128_000 }

export function sizeHold(question: HoldQuestion): HoldSize {
  const most = ceilingOf(question)
  const { holdFloorTokens } = question.limits ?? holdLimits
  return {
    ...question,
    floor: dearestCost(question, Math.min(holdFloorTokens, most) * answersOf(question)),
    want: dearestCost(question, most * answersOf(question)),
    halfOfFree: question.ceiling === undefined,
  }
}

/**
 * What `max_output_tokens` must say so that the answer stays within what was granted; the upstream itself keeps us inside.
 * Undefined: leave it as it is. Never more than the client's own ceiling, never less than the floor that was granted.
 */
export function outputCeilingFor(granted: bigint, size: HoldSize): number | undefined {
  if (granted >= size.want) return undefined
  const { units } = size.multiplier
  const exact = granted * perMillionTimes(size.multiplier)
  let most = BigInt(ceilingOf(size))
  for (const price of size.prices) {
    const perToken = price.output * units * BigInt(answersOf(size))
    const left = exact - BigInt(size.inputTokens) * dearestInput(price, size.cachesFor12h) * units
    if (perToken > 0n && left / perToken < most) most = left / perToken
  }
  return Number(most)
}

function answersOf({ answers = 1 }: HoldQuestion): number {
  return answers
}

/** Tools that upstreams run themselves and bill by the call. */
export type HostedTool = 'webSearch' | 'fileSearch'

/**
 * How much more to set aside when a hosted tool was called, in nano-dollars, rounded up: the tool's price, and the estimated input
 * read once more at the dearest, because the model goes on with what the tool found.
 */
export function toolCallCost({ inputTokens, prices, multiplier, cachesFor12h }: HoldQuestion, tool: HostedTool): bigint {
  const costs = prices.map(price => (price[tool] ?? 0n) * perMillion + BigInt(inputTokens) * dearestInput(price, cachesFor12h))
  const dearest = costs.reduce((most, cost) => (cost > most ? cost : most), 0n)
  return scaled(dearest, multiplier)
}

/** The most output tokens that each answer can have: what the client said, else what the price book or the limits say. */
export function ceilingOf({ ceiling, prices, limits = holdLimits }: Pick<HoldQuestion, 'ceiling' | 'prices' | 'limits'>): number {
  if (ceiling !== undefined) return ceiling
  return prices.length === 0 ? limits.holdOutputTokens : Math.max(...prices.map(price => price.maxOutput ?? limits.holdOutputTokens))
}

function dearestCost({ inputTokens, prices, multiplier, cachesFor12h }: HoldQuestion, outputTokens: number): bigint {
  const input = BigInt(inputTokens)
  const output = BigInt(outputTokens)
  let dearest = 0n
  for (const price of prices) {
    const cost = input * dearestInput(price, cachesFor12h) + output * price.output
    if (cost > dearest) dearest = cost
  }
  return scaled(dearest, multiplier)
}

/** From nano-dollars × 10⁶ to nano-dollars, and no more than a call can be charged: a client may name any ceiling. */
function scaled(cost: bigint, multiplier: Multiplier): bigint {
  const nanos = divideUp(cost * multiplier.units, perMillionTimes(multiplier))
  return nanos < callMost ? nanos : callMost
}
