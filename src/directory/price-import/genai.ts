import { type Candidate, type Candidates, countOf, fullRates, listAt, nameCharsMax, nanosOf, objectAt } from './candidates.ts'
import { writes12h } from './litellm.ts'
import { type Literal, NumberText, readLiteral, Unreadable } from './literal.ts'

/**
 * Reads the data of `@pydantic/genai-prices`, as JSON or out of the package's JavaScript (its first list of data): USD per million tokens,
 * by provider and model, some from a date on. Throws `Unreadable`.
 */
export function readGenai(text: string, source: string, nowMs: number): Candidates {
  const providers = listAt(readLiteral(text, beginning(text)), 'the data')
  const openai = providers.filter(one => one instanceof Map).find(one => (one as Entry).get('id') === 'openai')
  const prices: Candidate[] = []
  const leftOut: { model: string; why: string }[] = []
  const shifted = new Set<string>()
  for (const one of listAt(objectAt(openai, 'the provider openai').get('models'), 'the models of openai')) {
    const said = objectAt(one, 'a model of openai')
    const model = said.get('id')
    if (typeof model !== 'string' || model.length > nameCharsMax) throw new Unreadable('a model of openai must have an id')
    const found = pricesOf(model, said.get('prices'), source, nowMs)
    if ('why' in found) leftOut.push({ model, why: found.why })
    else prices.push(...found.prices)
    if ('isShifted' in found && found.isShifted) shifted.add(model)
  }
  const notes = [
    ...(shifted.size === 0
      ? []
      : [
          `${[...shifted].join(', ')}: long rates begin above 271,999 tokens there, or another number that ends in 999; proposed is the next, because OpenAI’s begin above the round number.`,
        ]),
    ...(prices.some(({ cacheWrite, input }) => cacheWrite !== input) ? [writes12h] : []),
    'It has one tier only; what the book has for flex, batch and fast stays.',
  ]
  return { prices, notes, leftOut }
}

type Entry = ReadonlyMap<string, Literal>

/** A JSON file begins with its list; in a source it is what the first variable is. */
function beginning(text: string): number {
  if (/^\s*\[/.test(text)) return 0
  const assigned = /=\s*\[\s*\{/.exec(text)
  if (assigned === null) throw new Unreadable('there is no list of providers in it')
  return text.indexOf('[', assigned.index)
}

type Found = { readonly prices: readonly Candidate[]; readonly isShifted: boolean } | { readonly why: string }

function pricesOf(model: string, said: Literal | undefined, source: string, nowMs: number): Found {
  const dated = datedOf(model, said)
  if ('why' in dated) return dated
  const candidates: Candidate[] = []
  let isShifted = false
  for (const [index, { fromMs, rates }] of dated.entries()) {
    const untilMs = dated[index + 1]?.fromMs
    if (untilMs !== undefined && untilMs <= nowMs) continue
    const uncounted = [...rates.keys()].find(key => !Object.hasOwn(powers, key))
    if (uncounted !== undefined) return { why: `it has ${uncounted.slice(0, 60)}, which the book does not count` }
    const when = { ...(fromMs > nowMs && { fromMs }), ...(untilMs !== undefined && { untilMs }) }
    const starts = new Set([0, ...[...rates.values()].flatMap(startsOf)])
    for (const start of starts) {
      const line = lineAt(model, rates, start)
      if (line === undefined) return { why: 'it has no rates for text in and out' }
      if (start % 1_000 === 999) isShifted = true
      candidates.push({ model, tier: 'default', contextOver: start % 1_000 === 999 ? start + 1 : start, ...line, source, ...when })
    }
  }
  return { prices: candidates, isShifted }
}

/** The oldest first; the one without a date has always been. */
function datedOf(model: string, said: Literal | undefined): { fromMs: number; rates: Entry }[] | { why: string } {
  if (said instanceof Map) return [{ fromMs: 0, rates: said as Entry }]
  const dated: { fromMs: number; rates: Entry }[] = []
  for (const one of listAt(said, `the prices of ${model}`)) {
    const conditional = objectAt(one, `a price of ${model}`)
    const constraint = conditional.get('constraint')
    const startDate = constraint instanceof Map ? (constraint as Entry).get('start_date') : undefined
    if (constraint !== undefined && constraint !== null && typeof startDate !== 'string')
      return { why: 'its price depends on more than the date' }
    const fromMs = startDate === undefined ? 0 : Date.parse(`${String(startDate)}T00:00:00Z`)
    if (Number.isNaN(fromMs)) throw new Unreadable(`the start_date of a price of ${model} must be a date such as 2026-01-31`)
    dated.push({ fromMs, rates: objectAt(conditional.get('prices'), `a price of ${model}`) })
  }
  return dated.toSorted((a, b) => a.fromMs - b.fromMs)
}

/** How many tenfolds lie between a number of theirs and nano-dollars per million tokens, or per call. */
const powers: Readonly<Record<string, number>> = {
  input_mtok: 9,
  cache_read_mtok: 9,
  cache_write_mtok: 9,
  output_mtok: 9,
  web_searches_kcount: 6,
  storage_searches_kcount: 6,
}

function lineAt(model: string, rates: Entry, start: number) {
  const rate = (key: string) => nanosOf(priceAt(rates.get(key), start), powers[key]!, `${model}.${key}`)
  const full = fullRates({
    input: rate('input_mtok'),
    cached: rate('cache_read_mtok'),
    cacheWrite: rate('cache_write_mtok'),
    output: rate('output_mtok'),
  })
  const webSearch = rate('web_searches_kcount')
  const fileSearch = rate('storage_searches_kcount')
  return full && { ...full, ...(webSearch !== undefined && { webSearch }), ...(fileSearch !== undefined && { fileSearch }) }
}

function startsOf(rate: Literal): number[] {
  return tiersOf(rate).map(tier => countOf((tier as Entry).get('start')) ?? 0)
}

/** The price of the last tier that begins at or before `start`. */
function priceAt(rate: Literal | undefined, start: number): Literal | undefined {
  if (rate === undefined || rate === null || rate instanceof NumberText) return rate
  const reached = tiersOf(rate).filter(tier => (countOf(tier.get('start')) ?? 0) <= start && start > 0)
  return reached.at(-1)?.get('price') ?? objectAt(rate, 'a rate').get('base')
}

function tiersOf(rate: Literal): Entry[] {
  return rate instanceof Map ? listAt((rate as Entry).get('tiers'), 'the tiers of a rate').map(tier => objectAt(tier, 'a tier')) : []
}
