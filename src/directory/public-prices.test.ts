import { findProvider, type ModelPrice } from '@pydantic/genai-prices'
import { describe, expect, test } from 'vitest'
import { formatUsd, parseDecimal, parseUsd } from '../ledger/money.ts'
import { costOf, openPriceBook, type PriceVersion, withoutDate } from '../ledger/price.ts'
import { lineOf } from './price-line.ts'
import { publicPrices } from './public-prices.ts'

const nowMs = Date.UTC(2026, 10, 25)
const placed = publicPrices(nowMs)
const versions: PriceVersion[] = placed.map(({ draft, span }, nth) => ({
  ...{ ...draft, id: String(nth), effectiveFromMs: span.fromMs, effectiveToMs: span.untilMs },
}))
const book = openPriceBook(versions)

describe('the public prices', () => {
  /** Model, tier, tokens of input, and USD: fresh, cached, written for 30 minutes, for 12 hours, output. */
  const cases = `
    gpt-6.2-sol    default   1       2.00  0.10    2.50   5.00  10.00   the page states 2.50 and 5 for what is written
    gpt-6.2-sol    default   272001  4.00  0.20    5.00   10.00 15.00   2 × 2, 2 × 0.10, 4 × 1.25, 4 × 2.5, 10 × 1.5
    gpt-6.2-sol    flex      1       1.00  0.05    1.25   2.50  5.00
    gpt-6.2-sol    batch     272001  2.00  0.10    2.50   5.00  7.50
    gpt-6.2-sol    fast      1       4.00  0.20    5.00   10.00 20.00
    gpt-6.2-sol    ultrafast 1       6.00  0.30    7.50   15.00 30.00
    gpt-6.1-terra  default   1       1.00  0.05    1.25   2.50  5.00
    gpt-6-luna     default   1       0.10  0.01    0.125  0.25  0.50
    gpt-6-luna     flex      1       0.05  0.005   0.0625 0.125 0.25
    gpt-6-astra    priority  272001  40.00 4.00    50.00  100.00 150.00 10 × 2 × 2, 50 × 2 × 1.5
    gpt-5.6-terra  fast      272001  8.00  0.80    10.00  20.00 36.00   OpenAI's page on fast mode states 8, 0.80 and 36
    gpt-5.6-luna   fast      272001  0.80  0.08    1.00   2.00  3.60    and 0.80, 0.08 and 3.60
    gpt-5.5        priority  1       12.50 1.25    12.50  12.50 75.00   before 5.6 a written token costs what a fresh one does
    gpt-5.5        default   272001  10.00 1.00    10.00  10.00 45.00
    gpt-5.5        flex      272001  5.00  0.50    5.00   5.00  22.50
    gpt-5.5-pro    default   1       30.00 30.00   30.00  30.00 180.00  nothing is cheaper for being cached
    gpt-5.4        default   272000  2.50  0.25    2.50   2.50  15.00
    gpt-5.4-mini   default   272001  0.75  0.075   0.75   0.75  4.50    its window has no room for more
    gpt-5.3-codex  fast      1       3.50  0.35    3.50   3.50  28.00
    gpt-5-mini     priority  1       0.45  0.045   0.45   0.45  3.60    not twice
    gpt-5-nano     flex      1       0.025 0.0025  0.025  0.025 0.20
    gpt-5-nano     priority  1       0.05  0.005   0.05   0.05  0.40    there is no such tier of it
    gpt-4.1        default   900000  2.00  0.50    2.00   2.00  8.00
    gpt-4o         fast      1       4.25  2.125   4.25   4.25  17.00
    gpt-4o-2024-08-06 default 1      2.50  1.25    2.50   2.50  10.00
    gpt-4o-2024-05-13 default 1      5.00  5.00    5.00   5.00  15.00   the one dated name that never cost what its model does
    o4-mini        batch     1       0.55  0.1375  0.55   0.55  2.20
  `
  test.each(lines(cases))('%s', line => {
    const [model, tier, tokens, ...rates] = line.split(/\s+/)
    const found = book.find({ model: model!, tier: tier!, contextTokens: Number(tokens), atMs: nowMs })!
    const usd = [found.input, found.cached, found.cacheWrite, found.cacheWrite12h, found.output].map(formatUsd)
    expect(usd).toEqual(rates.slice(0, 5))
  })

  test('the ultrafast rate rises after the last day of February 2027', () => {
    const at = (time: string) =>
      formatUsd(book.find({ model: 'gpt-6.2-sol', tier: 'ultrafast', contextTokens: 1, atMs: Date.parse(time) })!.output)
    expect([at('2027-02-28T23:59:59.999Z'), at('2027-03-01T00:00:00Z')]).toEqual(['30.00', '60.00'])
    const later = publicPrices(Date.UTC(2028, 0, 1)).filter(({ draft }) => draft.tier === 'ultrafast')
    expect(later.map(({ draft, span }) => [draft.contextOver, formatUsd(draft.output), span.untilMs])).toEqual([
      [0, '60.00', null],
      [272_000, '90.00', null],
    ])
  })

  test('each says where it is from, and each line stands once at any time', () => {
    for (const { draft } of placed) expect(draft.source).toMatch(/20\d\d-\d\d-\d\d/)
    const times = Map.groupBy(placed, ({ draft, span }) => `${lineOf(draft)} ${span.fromMs}`)
    expect([...times.values()].filter(each => each.length > 1)).toEqual([])
    expect(new Set(placed.map(({ draft }) => draft.model)).size).toBe(25)
  })

  test('what is not confirmed is not there', () => {
    for (const model of ['gpt-6.2-astra', 'gpt-6.1-sol', 'gpt-5.6-sol']) expect(book.resolve(model, nowMs)).toBeUndefined()
  })

  test('a hosted tool costs the same in every tier', () => {
    const usage = {
      ...{ inputTokens: 0, cachedTokens: 0, cacheWriteTokens: 0, cacheWrite12hTokens: 0, outputTokens: 0, reasoningTokens: 0 },
      ...{ webSearches: 1000, fileSearches: 1000 },
    }
    for (const version of versions) expect(formatUsd(costOf(usage, version, parseDecimal('1')))).toBe('12.50')
  })
})

describe('against @pydantic/genai-prices 0.1.8', () => {
  const theirs = findProvider({ providerId: 'openai' })!.models
  const models = [...new Set(placed.map(({ draft }) => draft.model))]

  /** Of ours, what theirs does not say or says otherwise; docs/prices.md tells each. */
  test('every rate of theirs is ours, but for what is told', () => {
    const differences = models.flatMap(model => {
      const found = theirs.find(({ id }) => id === model)
      return found === undefined ? [`${model}: not there`] : differencesOf(model, pricesNow(found.prices))
    })
    expect(differences).toEqual([
      'gpt-6.2-sol: not there',
      'gpt-6.1-terra: not there',
      ...['gpt-6-astra', 'gpt-5.6-terra', 'gpt-5.6-luna', 'gpt-5.5', 'gpt-5.5-pro', 'gpt-5.4'].map(model => `${model}: long from 272000`),
    ])
  })

  test('every dated name of theirs costs what its model does here', () => {
    const names = theirs.flatMap(model => namesOf(model.match).map(name => ({ name, model })))
    const dated = names.filter(({ name }) => models.includes(withoutDate(name) ?? ''))
    expect(dated.length).toBeGreaterThan(15)
    const others = dated.filter(({ name, model }) => {
      const { input_mtok } = pricesNow(model.prices)
      const ours = book.find({ model: name, tier: 'default', contextTokens: 1, atMs: nowMs })!
      return formatUsd(ours.input) !== formatUsd(usd(baseOf(input_mtok)))
    })
    expect(others.map(({ name }) => name)).toEqual([])
  })

  function differencesOf(model: string, price: ModelPrice): string[] {
    const found: string[] = []
    const short = book.find({ model, tier: 'default', contextTokens: 272_000, atMs: nowMs })!
    const long = book.find({ model, tier: 'default', contextTokens: 272_001, atMs: nowMs })!
    const kinds = { input_mtok: 'input', cache_read_mtok: 'cached', cache_write_mtok: 'cacheWrite', output_mtok: 'output' } as const
    for (const [key, kind] of Object.entries(kinds)) {
      const rate = price[key]
      if (rate === undefined) continue
      if (usd(baseOf(rate)) !== short[kind]) found.push(`${model}: ${kind} ${baseOf(rate)}`)
      const tier = typeof rate === 'number' ? undefined : rate.tiers[0]
      if (usd(tier?.price ?? baseOf(rate)) !== long[kind]) found.push(`${model}: long ${kind}`)
      // A tier of theirs begins above its start: 271,999 is one token before ours.
      if (tier !== undefined && tier.start !== long.contextOver) found.push(`${model}: long from ${tier.start + 1}`)
    }
    return [...new Set(found)]
  }

  function pricesNow(prices: (typeof theirs)[number]['prices']): ModelPrice {
    return Array.isArray(prices) ? prices.at(-1)!.prices : prices
  }

  function baseOf(rate: ModelPrice[string]): number {
    return typeof rate === 'object' ? rate.base : rate!
  }

  /** For comparing only: no float becomes a price. */
  function usd(rate: number): bigint {
    return parseUsd(String(rate))
  }

  function namesOf(match: unknown): string[] {
    if (typeof match !== 'object' || match === null) return []
    return Object.entries(match).flatMap(([key, value]) =>
      key === 'equals' ? [String(value)] : Array.isArray(value) ? value.flatMap(namesOf) : [],
    )
  }
})

function lines(table: string): string[] {
  return table
    .trim()
    .split('\n')
    .map(line => line.trim())
}
