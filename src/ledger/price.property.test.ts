import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sizeHold } from './hold.ts'
import { formatDecimal, parseDecimal } from './money.ts'
import { costOf, openPriceBook, type PriceVersion, type Usage } from './price.ts'

/** T7 once more, for what nobody thought of. */

const rate = fc.bigInt({ min: 0n, max: 10n ** 11n })
const multiplier = fc.record({ units: fc.bigInt({ min: 0n, max: 10n ** 12n }), scale: fc.nat({ max: 12 }) })
const tiers = ['default', 'flex', 'priority', 'fast', 'ultrafast'] as const
const bands = [0, 100, 272_000] as const

const line = fc
  .record({
    ...{ tier: fc.constantFrom(...tiers), contextOver: fc.constantFrom(...bands), input: rate, cached: rate, cacheWrite: rate },
    ...{ cacheWrite12h: rate, output: rate, effectiveFromMs: fc.nat({ max: 9 }), lastsMs: fc.option(fc.integer({ min: 1, max: 9 })) },
  })
  .map(({ lastsMs, ...given }) => ({ ...given, effectiveToMs: lastsMs === null ? null : given.effectiveFromMs + lastsMs }))

/** Lines of two models, one of which is the other with a date. */
const versions = fc.array(fc.tuple(fc.constantFrom('m', 'm-2026-01-31'), line), { maxLength: 14 }).map(given =>
  given.map(([model, each], index): PriceVersion => {
    const id = String(index).padStart(2, '0')
    return { ...each, id, model, webSearch: null, fileSearch: null, maxOutput: null, aliases: [], source: null }
  }),
)

test('a decimal is what it was, written and read again', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 27n), max: 10n ** 27n }), fc.nat({ max: 20 }), (units, scale) => {
      expect(parseDecimal(formatDecimal({ units, scale }))).toEqual({ units, scale })
    }),
    { numRuns: 1_000, seed: 7 },
  )
})

test('one more token or tool of any kind never makes a call cheaper', () => {
  const count = fc.nat({ max: 1_000_000 })
  const usage = fc.record({ fresh: count, cached: count, written: count, written12h: count, output: count, web: count, file: count })
  type Kinds = Record<'fresh' | 'cached' | 'written' | 'written12h' | 'output' | 'web' | 'file', number>
  const usageOf = ({ fresh, cached, written, written12h, output, web, file }: Kinds): Usage => ({
    ...{ inputTokens: fresh + cached + written + written12h, cachedTokens: cached, cacheWriteTokens: written + written12h },
    ...{ cacheWrite12hTokens: written12h, outputTokens: output, reasoningTokens: 0, webSearches: web, fileSearches: file },
  })
  const price = fc.tuple(line, fc.option(rate), fc.option(rate))
  fc.assert(
    fc.property(usage, price, multiplier, (used, [given, webSearch, fileSearch], times) => {
      const version = { ...given, id: 'p', model: 'm', webSearch, fileSearch, maxOutput: null, aliases: [], source: null }
      const cost = costOf(usageOf(used), version, times)
      for (const kind of Object.keys(used) as (keyof Kinds)[])
        expect(costOf(usageOf({ ...used, [kind]: used[kind] + 1 }), version, times)).toBeGreaterThanOrEqual(cost)
    }),
    { numRuns: 1_000, seed: 7 },
  )
})

test('a book has one line for whatever a model that has a price is served as, in whatever order it was read', () => {
  const asked = fc.record({
    model: fc.constantFrom('m', 'm-2026-01-31', 'm-2026-02-28', 'm-2026-02-30', 'm-mini'),
    tier: fc.constantFrom(...tiers, 'scale'),
    contextTokens: fc.constantFrom(0, 1, 100, 101, 272_000, 272_001),
    atMs: fc.nat({ max: 20 }),
  })
  fc.assert(
    fc.property(versions, asked, (given, question) => {
      const book = openPriceBook(given)
      const found = book.find(question)
      const model = book.resolve(question.model, question.atMs)
      expect(found?.model).toBe(model)
      expect(openPriceBook(given.toReversed()).find(question)).toBe(found)
      if (found === undefined) return
      expect(found.effectiveFromMs).toBeLessThanOrEqual(question.atMs)
      expect(found.effectiveToMs ?? Infinity).toBeGreaterThan(question.atMs)
      expect(found.contextOver === 0 || found.contextOver < question.contextTokens).toBe(true)
    }),
    { numRuns: 3_000, seed: 7 },
  )
})

/** A model of which every call has a price. */
const whole = fc.tuple(versions, line).map(([given, first]): PriceVersion[] => {
  const always = { tier: 'default', contextOver: 0, effectiveFromMs: 0, effectiveToMs: null }
  const plain = { id: '99', model: 'm', webSearch: null, fileSearch: null, maxOutput: null, aliases: [], source: null }
  return [...given, { ...first, ...always, ...plain }]
})

test('no mix of tier, band and kinds of the same tokens costs more than what is held', () => {
  const asked = fc.record({
    tier: fc.constantFrom(...tiers),
    estimate: fc.constantFrom(1, 100, 101, 5_000, 272_000, 272_001, 900_000),
    outputTokens: fc.nat({ max: 200_000 }),
    multiplier,
    cachesFor12h: fc.boolean(),
  })
  /** Shares of the input, and of the ceiling, in thousandths; and whether the upstream lowered it to its default tier. */
  const share = fc.nat({ max: 1_000 })
  const served = fc.record({ input: share, cached: share, written: share, for12h: share, output: share, isLowered: fc.boolean() })
  const part = (of: number, thousandths: number) => Math.floor((of * thousandths) / 1_000)
  fc.assert(
    fc.property(whole, asked, served, (given, { tier, estimate, outputTokens, multiplier, cachesFor12h }, shares) => {
      const book = openPriceBook(given)
      const question = { model: 'm', atMs: 5 }
      const prices = book.dearest({ ...question, tiers: [tier], contextTokens: estimate })
      const size = sizeHold({ inputTokens: estimate, ceiling: outputTokens, prices, multiplier, cachesFor12h })
      const inputTokens = part(estimate, shares.input)
      const cachedTokens = part(inputTokens, shares.cached)
      const cacheWriteTokens = part(inputTokens - cachedTokens, shares.written)
      const usage: Usage = {
        ...{ inputTokens, cachedTokens, cacheWriteTokens, outputTokens: part(outputTokens, shares.output), reasoningTokens: 0 },
        ...{ cacheWrite12hTokens: cachesFor12h ? part(cacheWriteTokens, shares.for12h) : 0, webSearches: 0, fileSearches: 0 },
      }
      const line = book.find({ ...question, tier: shares.isLowered ? 'default' : tier, contextTokens: inputTokens })!
      expect(costOf(usage, line, multiplier)).toBeLessThanOrEqual(size.want)
    }),
    { numRuns: 5_000, seed: 7 },
  )
})
