import { divideHalfUp } from '../../ledger/money.ts'
import { type Literal, NumberText, Unreadable } from './literal.ts'

/** A price that a file states, in nano-dollars per million tokens or per call. What it does not say, the book keeps. */
export interface Candidate {
  readonly model: string
  readonly tier: string
  readonly contextOver: number
  readonly input: bigint
  readonly cached: bigint
  readonly cacheWrite: bigint
  readonly cacheWrite12h: bigint
  readonly output: bigint
  readonly webSearch?: bigint
  readonly fileSearch?: bigint
  readonly maxOutput?: number
  readonly source: string
  /** When it is not from now on. */
  readonly fromMs?: number
  readonly untilMs?: number
}

/** What was found in a file: only OpenAI's models, only what the book can count. */
export interface Candidates {
  readonly prices: readonly Candidate[]
  /** What a person should know before accepting. */
  readonly notes: readonly string[]
  readonly leftOut: readonly { readonly model: string; readonly why: string }[]
}

/** Rates of one band of one tier, as far as a file says them. */
export interface StatedRates {
  readonly input: bigint | undefined
  readonly cached: bigint | undefined
  readonly cacheWrite: bigint | undefined
  readonly output: bigint | undefined
}

/** Undefined without input and output: then it is no price. What is cached or written costs as fresh ones when nothing is said. */
export function fullRates({ input, cached = input, cacheWrite = input, output }: StatedRates) {
  if (input === undefined || output === undefined) return undefined
  return { input, cached: cached!, cacheWrite: cacheWrite!, cacheWrite12h: rate12h(input, cacheWrite!), output }
}

/** No file says what twelve hours in the cache cost. By OpenAI's rule: 2.5 times the fresh rate, where writing costs anything. */
function rate12h(input: bigint, cacheWrite: bigint): bigint {
  return cacheWrite === input ? input : divideHalfUp(input * 5n, 2n)
}

const digitsMax = 40
const exponentMax = 30

/**
 * A number's text, in units of 10^`power` nano-dollars, exactly: "1.25e-06" USD per token are 1,250,000,000 nano-dollars per million
 * (power 15). What is no whole number of them is refused, not rounded.
 */
export function nanosOf(value: Literal | undefined, power: number, where: string): bigint | undefined {
  if (value === undefined || value === null) return undefined
  if (!(value instanceof NumberText)) throw new Unreadable(`${where} must be a number`)
  const [, whole = '', fraction = '', exponent = '0'] = /^(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i.exec(value.text) ?? []
  const digits = whole + fraction
  const shift = Number(exponent) - fraction.length + power
  if (digits === '' || digits.length > digitsMax || Math.abs(shift) > exponentMax + digitsMax)
    throw new Unreadable(`${where} is ${value.text.slice(0, 40)}; it must be a price of zero or more`)
  const units = BigInt(digits)
  if (shift >= 0) return units * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  if (units % divisor !== 0n) throw new Unreadable(`${where} is ${value.text}, which is no whole number of nano-dollars`)
  return units / divisor
}

export function countOf(value: Literal | undefined): number | undefined {
  const count = value instanceof NumberText ? Number(value.text) : undefined
  return count !== undefined && Number.isSafeInteger(count) && count > 0 ? count : undefined
}

export function objectAt(value: Literal | undefined, where: string): ReadonlyMap<string, Literal> {
  if (value instanceof Map) return value as ReadonlyMap<string, Literal>
  throw new Unreadable(`${where} must be an object`)
}

export function listAt(value: Literal | undefined, where: string): readonly Literal[] {
  if (Array.isArray(value)) return value as readonly Literal[]
  throw new Unreadable(`${where} must be a list`)
}

/** Names and notes are printed, kept and sent on: a file's text is shortened. */
export const nameCharsMax = 200
