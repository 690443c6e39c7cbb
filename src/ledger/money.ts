/** Money is integers of nano-dollars (10⁻⁹ USD). Decimal text at every edge, floats nowhere. */
export const nanosPerDollar = 1_000_000_000n

// The books keep an amount in 64 bits: up to 9.2 billion USD. Beyond that one engine refuses it, and the other makes a float of it.

/** No call holds or costs more, in nano-dollars: a million USD. Whatever comes to more is an upstream's slip or a client's whim. */
export const callMost = 1_000_000n * nanosPerDollar

/** Nothing is added to a balance beyond this, in nano-dollars: nine billion USD. What is given back still fits above it. */
export const balanceMost = 9_000_000_000n * nanosPerDollar

/** `units` × 10^−`scale`, exactly as it was written. */
export interface Decimal {
  readonly units: bigint
  readonly scale: number
}

export class NotDecimal extends Error {
  override readonly name = 'NotDecimal'
}

const decimalDigitsMax = 30

/** Reads "12", "-0.75", "0.0050". Refuses exponents, signs other than "-", blanks and more digits than anybody owes. */
export function parseDecimal(text: string): Decimal {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text)
  if (match === null || text.length > decimalDigitsMax)
    throw new NotDecimal(`"${text.slice(0, 40)}" is not a decimal number such as "2.50"`)
  const [, sign, whole, fraction = ''] = match
  return { units: BigInt(`${sign}${whole}${fraction}`), scale: fraction.length }
}

/** USD as decimal text → nano-dollars. More than nine decimals are refused, not rounded: nobody is owed a guess. */
export function parseUsd(text: string): bigint {
  const { units, scale } = parseDecimal(text)
  if (scale > 9) throw new NotDecimal(`"${text}" has more than nine decimals; the smallest amount is 0.000000001`)
  return units * 10n ** BigInt(9 - scale)
}

/** Nano-dollars → USD as decimal text with at least two decimals: "5.00", "0.000123". Parsing it gives the same amount. */
export function formatUsd(nanos: bigint): string {
  const sign = nanos < 0n ? '-' : ''
  const size = nanos < 0n ? -nanos : nanos
  const decimals = (size % nanosPerDollar).toString().padStart(9, '0')
  let kept = decimals.length
  while (kept > 2 && decimals[kept - 1] === '0') kept -= 1
  return `${sign}${size / nanosPerDollar}.${decimals.slice(0, kept)}`
}

export function formatDecimal({ units, scale }: Decimal): string {
  if (scale === 0) return units.toString()
  const sign = units < 0n ? '-' : ''
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0')
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

/** Half up, away from nothing: for amounts of zero and more. */
export function divideHalfUp(amount: bigint, by: bigint): bigint {
  return (amount * 2n + by) / (by * 2n)
}

export function divideUp(amount: bigint, by: bigint): bigint {
  return (amount + by - 1n) / by
}
