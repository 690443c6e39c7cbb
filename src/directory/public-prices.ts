import assert from 'node:assert/strict'
import { parseUsd } from '../ledger/money.ts'
import type { PriceDraft, Span } from './price-line.ts'

/** A price and when it holds. */
export interface PlacedPrice {
  readonly draft: PriceDraft
  readonly span: Span
}

/**
 * OpenAI's public prices, as far as they are confirmed, from `nowMs` on. docs/prices.md says where they are from, by which rules
 * tiers and bands are worked out, and what is left out because it is not confirmed.
 */
export function publicPrices(nowMs: number): PlacedPrice[] {
  return table.flatMap(line => placedOf(modelOf(line), nowMs))
}

/**
 * USD per million tokens: fresh input, cached, output; the same for the tier that is called fast or priority, where it is not
 * `twice` the default one or not to be had; and what else is to know of the model:
 * - `page` or `genai`: whence the rates are;
 * - `long`: beyond 272,000 tokens of input the whole call costs more; `fast-long`: the fast tier takes such calls too;
 * - `writes`: from 5.6 on, writing into the cache costs more than reading afresh. Before, it costs as much;
 * - `ultrafast`: there is such a tier.
 */
const table = `
  gpt-6.2-sol        2     0.10   10    | twice               | page long fast-long writes ultrafast
  gpt-6.1-terra      1     0.05   5     | twice               | page long fast-long writes
  gpt-6-astra        10    1      50    | twice               | genai long fast-long writes
  gpt-6-sol          2     0.20   10    | twice               | genai long fast-long writes
  gpt-6-luna         0.10  0.01   0.50  | twice               | genai long fast-long writes
  gpt-5.6-terra      2     0.20   12    | 4     0.40   24     | genai long fast-long writes
  gpt-5.6-luna       0.20  0.02   1.20  | 0.40  0.04   2.40   | genai long fast-long writes
  gpt-5.5            5     0.50   30    | 12.50 1.25   75     | genai long
  gpt-5.5-pro        30    30     180   |                     | genai long
  gpt-5.4            2.50  0.25   15    | 5     0.50   30     | genai long
  gpt-5.4-mini       0.75  0.075  4.50  | 1.50  0.15   9      | genai
  gpt-5.4-nano       0.20  0.02   1.25  |                     | genai
  gpt-5.3-codex      1.75  0.175  14    | twice               | genai
  gpt-5.2            1.75  0.175  14    | 3.50  0.35   28     | genai
  gpt-5.1            1.25  0.125  10    | 2.50  0.25   20     | genai
  gpt-5              1.25  0.125  10    | 2.50  0.25   20     | genai
  gpt-5-mini         0.25  0.025  2     | 0.45  0.045  3.60   | genai
  gpt-5-nano         0.05  0.005  0.40  |                     | genai
  gpt-4.1            2     0.50   8     | 3.50  0.875  14     | genai
  gpt-4.1-mini       0.40  0.10   1.60  | 0.70  0.175  2.80   | genai
  gpt-4o             2.50  1.25   10    | 4.25  2.125  17     | genai
  gpt-4o-2024-05-13  5     5      15    | 8.75  8.75   26.25  | genai
  gpt-4o-mini        0.15  0.075  0.60  | 0.25  0.125  1      | genai
  o3                 2     0.50   8     | 3.50  0.875  14     | genai
  o4-mini            1.10  0.275  4.40  | 2     0.50   8      | genai
`
  .trim()
  .split('\n')

const sources = {
  page: 'OpenAI’s price page, excerpt of 2026-11-22',
  genai: '@pydantic/genai-prices 0.1.8 of 2026-09-23',
  modifiers: 'by the modifiers of OpenAI’s price page as noted on 2026-11-22',
  fastPage: 'OpenAI’s page on fast mode (priority processing), stored copy read on 2026-11-25',
}

/** USD per call, whatever the model and the tier: OpenAI's price page as noted on 2026-11-22. */
const tools = { webSearch: parseUsd('0.01'), fileSearch: parseUsd('0.0025') }

/** Nano-dollars per million tokens. */
type Rates = readonly [input: bigint, cached: bigint, output: bigint]

/** A fraction, so that nothing is rounded. */
type Times = readonly [bigint, bigint]

interface Model {
  readonly name: string
  readonly rates: Rates
  readonly fast: Rates | 'twice' | undefined
  readonly is: ReadonlySet<string>
}

function modelOf(line: string): Model {
  const [standard, fast, words] = line.split('|').map(part => part.trim().split(/\s+/))
  const [name, ...rates] = standard!
  return {
    name: name!,
    rates: ratesOf(rates),
    fast: fast![0] === '' ? undefined : fast![0] === 'twice' ? 'twice' : ratesOf(fast!),
    is: new Set(words),
  }
}

function ratesOf([input, cached, output]: readonly string[]): Rates {
  return [parseUsd(input!), parseUsd(cached!), parseUsd(output!)]
}

interface Tier {
  readonly name: string
  readonly rates: Rates
  readonly times: Times
  readonly source: string
  readonly isLong: boolean
  readonly span: { readonly fromMs: number; readonly untilMs: number | null }
}

/** The lower ultrafast rate holds until 28 February 2027, which is read as: that day included. */
const ultrafastRisesMs = Date.UTC(2027, 2, 1)
const always = { fromMs: 0, untilMs: null }

function* tiersOf({ rates, fast, is }: Model): Generator<Tier> {
  const source = is.has('page') ? sources.page : sources.genai
  const plain = { name: 'default', rates, times: [1n, 1n], source, isLong: is.has('long'), span: always } as const
  const derived = (name: string, times: Times): Tier => ({ ...plain, name, times, source: `${source}; ${sources.modifiers}` })
  yield plain
  yield derived('flex', [1n, 2n])
  yield derived('batch', [1n, 2n])
  const isLong = is.has('fast-long')
  if (fast === 'twice') yield { ...derived('fast', [2n, 1n]), isLong }
  else if (fast !== undefined) yield { ...plain, name: 'fast', rates: fast, source: sources.fastPage, isLong }
  if (is.has('ultrafast')) {
    yield { ...derived('ultrafast', [3n, 1n]), span: { fromMs: 0, untilMs: ultrafastRisesMs } }
    yield { ...derived('ultrafast', [6n, 1n]), span: { fromMs: ultrafastRisesMs, untilMs: null } }
  }
}

/** Beyond 272,000 tokens input and cache cost twice, output one and a half times, for the whole call. */
const bands = [
  { over: 0, input: [1n, 1n], output: [1n, 1n] },
  { over: 272_000, input: [2n, 1n], output: [3n, 2n] },
] as const

function placedOf(model: Model, nowMs: number): PlacedPrice[] {
  return [...tiersOf(model)]
    .filter(({ span }) => span.untilMs === null || span.untilMs > nowMs)
    .flatMap(tier => {
      const span = { fromMs: Math.max(nowMs, tier.span.fromMs), untilMs: tier.span.untilMs }
      return bands.filter(({ over }) => over === 0 || tier.isLong).map(band => ({ draft: draftOf(model, tier, band), span }))
    })
}

function draftOf({ name, is }: Model, tier: Tier, band: (typeof bands)[number]): PriceDraft {
  const [fresh, cached, output] = tier.rates
  const input = times(times(fresh, tier.times), band.input)
  return {
    ...{ model: name, tier: tier.name, contextOver: band.over, source: tier.source, aliases: [], ...tools },
    input,
    cached: times(times(cached, tier.times), band.input),
    cacheWrite: is.has('writes') ? times(input, [5n, 4n]) : input,
    cacheWrite12h: is.has('writes') ? times(input, [5n, 2n]) : input,
    output: times(times(output, tier.times), band.output),
    // 922,000 tokens in and 128,000 out is what these models take, says the price page.
    maxOutput: is.has('long') ? 128_000 : null,
  }
}

function times(rate: bigint, [by, over]: Times): bigint {
  assert((rate * by) % over === 0n, `${rate} × ${by}/${over} is no whole number of nano-dollars`)
  return (rate * by) / over
}
