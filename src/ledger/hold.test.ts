import fc from 'fast-check'
import { expect, test } from 'vitest'
import { holdLimits, outputCeilingFor, sizeHold, toolCallCost } from './hold.ts'
import { parseDecimal } from './money.ts'
import { costOf, type PriceVersion } from './price.ts'

const once = parseDecimal('1')
/** One nano-dollar a token of input, four a token of output. */
const simple = price({ input: 1_000_000n, output: 4_000_000n })

/** Input tokens, the client's ceiling, the model's most output; then the floor, what is wanted, and whether half of what is free will do. */
const sizes = `
  100   5000   -       |  4196    20100  whole
  100   500    -       |  2100     2100  whole   a client that wants fewer has a lower floor
  100   0      -       |   100      100  whole
  100   -      -       |  4196   512100  half    128,000 tokens when nobody said
  100   -      8000    |  4196    32100  half
  100   -      1000    |  4100     4100  half
  100   9000   8000    |  4196    36100  whole   the client's word, even beyond what the model can do
`
test.each(lines(sizes))('the hold of %s', line => {
  const [asked, wanted] = line.split('|').map(part => part.trim().split(/\s+/))
  const [inputTokens, ceiling, maxOutput] = asked!.map(number => (number === '-' ? undefined : Number(number)))
  const size = sizeHold({ inputTokens: inputTokens!, ceiling, prices: [{ ...simple, maxOutput: maxOutput ?? null }], multiplier: once })
  expect([`${size.floor}`, `${size.want}`, size.halfOfFree ? 'half' : 'whole']).toEqual(wanted!.slice(0, 3))
})

test('holds round up', () => {
  const size = sizeHold({ inputTokens: 1, ceiling: 1, prices: [price({ input: 1n, output: 1n })], multiplier: once })
  expect([size.floor, size.want]).toEqual([1n, 1n])
})

test('a call of a hosted tool costs its price and one more reading of the input, at the dearest, rounded up', () => {
  const searched = price({ input: 1_000_000n, cacheWrite: 2_000_000n, webSearch: 500n })
  const question = { inputTokens: 100, ceiling: undefined, prices: [searched, simple], multiplier: parseDecimal('1.5') }
  expect(toolCallCost(question, 'webSearch')).toBe(1_050n) // (500 + 100 × 2) × 1.5
  expect(toolCallCost(question, 'fileSearch')).toBe(300n) // nothing for the tool, 100 × 2 × 1.5 for the input
  expect(toolCallCost({ ...question, inputTokens: 1, prices: [price({ input: 1n })] }, 'webSearch')).toBe(1n)
  expect(toolCallCost({ ...question, prices: [] }, 'webSearch')).toBe(0n)
})

test('a multiplier of zero and a model without a price hold nothing and lower nothing', () => {
  const question = { inputTokens: 1000, ceiling: undefined }
  for (const size of [
    sizeHold({ ...question, prices: [simple], multiplier: parseDecimal('0') }),
    sizeHold({ ...question, prices: [], multiplier: once }),
  ]) {
    expect([size.floor, size.want]).toEqual([0n, 0n])
    expect(outputCeilingFor(0n, size)).toBeUndefined()
  }
})

test('input is held at the dearest it may turn out: fresh, cached or written', () => {
  const want = (rates: Partial<PriceVersion>) =>
    sizeHold({ inputTokens: 1_000_000, ceiling: 0, prices: [price(rates)], multiplier: once }).want
  expect(want({ input: 8n, cached: 1n, cacheWrite: 10n })).toBe(10n)
  expect(want({ input: 8n, cached: 9n, cacheWrite: 0n })).toBe(9n)
})

test('of several names under which it may be served the dearest is held, for this very call', () => {
  const dearInput = price({ input: 10_000_000n, output: 1_000_000n, maxOutput: 2_000 })
  const held = (inputTokens: number, ceiling: number | undefined) =>
    sizeHold({ inputTokens, ceiling, prices: [simple, dearInput], multiplier: once }).want
  expect(held(10, 1000)).toBe(4010n)
  expect(held(1000, 10)).toBe(10_010n)
  expect(held(10, undefined)).toBe(10n + 4n * BigInt(holdLimits.holdOutputTokens))
})

/** The same call, what was granted, and what `max_output_tokens` must say. */
const ceilings = `
  100   5000  | 20100  -      all of it fits: the client's own stays
  100   5000  | 20099  4999
  100   5000  | 4196   1024   the floor
  100   500   | 2100   -
  100   -     | 512100 -      nothing need be written
  100   -     | 512099 127999
  100   -     | 4199   1024
`
test.each(lines(ceilings))('the ceiling of %s', line => {
  const [asked, wanted] = line.split('|').map(part => part.trim().split(/\s+/))
  const [inputTokens, ceiling] = asked!.map(number => (number === '-' ? undefined : Number(number)))
  const size = sizeHold({ inputTokens: inputTokens!, ceiling, prices: [simple], multiplier: once })
  expect(`${outputCeilingFor(BigInt(wanted![0]!), size) ?? '-'}`).toBe(wanted![1])
})

test('whatever is granted between floor and want, an answer within its ceiling costs no more', () => {
  const nanos = fc.bigInt({ min: 0n, max: 10n ** 9n })
  const rates = fc.record({ input: nanos, cached: nanos, cacheWrite: nanos, output: nanos })
  const question = fc.record({
    inputTokens: fc.nat({ max: 100_000 }),
    ceiling: fc.option(fc.nat({ max: 200_000 }), { nil: undefined }),
    prices: fc.array(rates.map(price), { minLength: 1, maxLength: 3 }),
    multiplier: fc.record({ units: fc.bigInt({ min: 0n, max: 5_000n }), scale: fc.nat({ max: 4 }) }),
  })
  fc.assert(
    fc.property(question, fc.nat({ max: 1000 }), fc.nat({ max: 100 }), (asked, share, cachedPercent) => {
      const size = sizeHold(asked)
      const granted = size.floor + ((size.want - size.floor) * BigInt(share)) / 1000n
      const outputTokens = outputCeilingFor(granted, size) ?? asked.ceiling ?? holdLimits.holdOutputTokens
      expect(outputTokens).toBeGreaterThanOrEqual(Math.min(1024, asked.ceiling ?? 1024))
      expect(outputTokens).toBeLessThanOrEqual(asked.ceiling ?? holdLimits.holdOutputTokens)
      const cachedTokens = Math.floor((asked.inputTokens * cachedPercent) / 100)
      for (const served of asked.prices) {
        const usage = {
          ...noTools,
          inputTokens: asked.inputTokens,
          cachedTokens,
          cacheWriteTokens: asked.inputTokens - cachedTokens,
          outputTokens,
        }
        expect(costOf(usage, served, asked.multiplier)).toBeLessThanOrEqual(granted)
        expect(costOf({ ...usage, cacheWriteTokens: 0 }, served, asked.multiplier)).toBeLessThanOrEqual(granted)
      }
    }),
    { numRuns: 2_000 },
  )
})

const noTools = { cacheWrite12hTokens: 0, reasoningTokens: 0, webSearches: 0, fileSearches: 0 }

function price(given: Partial<PriceVersion>): PriceVersion {
  return {
    ...{ id: 'p', model: 'm', tier: 'default', contextOver: 0, maxOutput: null, aliases: [], source: null, effectiveFromMs: 0 },
    ...{ effectiveToMs: null, input: 0n, cached: 0n, cacheWrite: 0n, cacheWrite12h: 0n, output: 0n, webSearch: null, fileSearch: null },
    ...given,
  }
}

function lines(table: string): string[] {
  return table
    .trim()
    .split('\n')
    .map(line => line.trim())
}
