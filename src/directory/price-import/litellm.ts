import { type Candidate, type Candidates, countOf, fullRates, nameCharsMax, nanosOf, objectAt, type StatedRates } from './candidates.ts'
import { type Literal, readLiteral } from './literal.ts'

/**
 * Reads a file of the form of LiteLLM's `model_prices_and_context_window.json`: model → USD per token, with the suffixes
 * `_above_272k_tokens`, `_priority`, `_flex` and `_batches` in any order. Throws `Unreadable`.
 */
export function readLitellm(text: string, source: string): Candidates {
  const prices: Candidate[] = []
  const leftOut: { model: string; why: string }[] = []
  for (const [model, said] of objectAt(readLiteral(text), 'the file')) {
    const entry = said instanceof Map ? (said as Entry) : undefined
    // "azure/…" and "openrouter/…" are other people's prices, whatever they say of their provider.
    if (entry?.get('litellm_provider') !== 'openai' || model.includes('/') || model.length > nameCharsMax) continue
    if (!entry.has('input_cost_per_token')) continue
    const why = whyNot(entry)
    if (why === undefined) prices.push(...pricesOf(model, entry, source))
    else leftOut.push({ model, why })
  }
  const notes = prices.some(({ cacheWrite, input }) => cacheWrite !== input) ? [writes12h] : []
  return { prices, notes, leftOut }
}

export const writes12h =
  'What is written to the cache for 12 hours is not in the file; 2.5 times the fresh rate is proposed, by OpenAI’s rule.'

type Entry = ReadonlyMap<string, Literal>

function whyNot(entry: Entry): string | undefined {
  const mode = entry.get('mode')
  if (mode !== 'chat' && mode !== 'responses') return `its mode is ${String(mode).slice(0, 40)}`
  const uncounted = [...entry.keys()].find(key => /audio|image|per_second|per_character|video/.test(key) && key.includes('cost'))
  if (uncounted !== undefined) return `it has ${uncounted.slice(0, 60)}, which the book does not count`
  return entry.has('output_cost_per_token') ? undefined : 'it has no output_cost_per_token'
}

const kinds: Readonly<Record<string, keyof StatedRates>> = {
  input_cost_per_token: 'input',
  cache_read_input_token_cost: 'cached',
  cache_creation_input_token_cost: 'cacheWrite',
  output_cost_per_token: 'output',
}
const tiers: Readonly<Record<string, string>> = { priority: 'fast', flex: 'flex', batches: 'batch', ultrafast: 'ultrafast' }
const keyPattern =
  /^(input_cost_per_token|cache_read_input_token_cost|cache_creation_input_token_cost|output_cost_per_token)((?:_above_\d{1,6}k_tokens|_priority|_flex|_batches|_ultrafast)*)$/

/** USD per token → nano-dollars per million tokens. */
const perToken = 15
/** USD → nano-dollars. */
const perCall = 9

function pricesOf(model: string, entry: Entry, source: string): Candidate[] {
  const lines = new Map<string, { tier: string; contextOver: number; rates: { -readonly [Kind in keyof StatedRates]?: bigint } }>()
  for (const [key, value] of entry) {
    const [, kind, suffixes = ''] = keyPattern.exec(key) ?? []
    if (kind === undefined) continue
    const tier = tiers[/_(priority|flex|batches|ultrafast)/.exec(suffixes)?.[1] ?? ''] ?? 'default'
    const contextOver = Number(/_above_(\d+)k/.exec(suffixes)?.[1] ?? 0) * 1_000
    const name = `${tier} ${contextOver}`
    const line = lines.get(name) ?? { tier, contextOver, rates: {} }
    lines.set(name, line)
    const rate = nanosOf(value, perToken, `${model}.${key}`)
    if (rate !== undefined) line.rates[kinds[kind]!] = rate
  }
  const webSearch = searchOf(model, entry)
  const maxOutput = countOf(entry.get('max_output_tokens'))
  return [...lines.values()].flatMap(({ tier, contextOver, rates: { input, cached, cacheWrite, output } }) => {
    const rates = fullRates({ input, cached, cacheWrite, output })
    if (rates === undefined) return []
    return [{ model, tier, contextOver, ...rates, ...(webSearch !== undefined && { webSearch }), ...(maxOutput && { maxOutput }), source }]
  })
}

/** By the size of what is searched. An answer does not tell which it was: three prices are none. */
function searchOf(model: string, entry: Entry): bigint | undefined {
  const sizes = entry.get('search_context_cost_per_query')
  if (!(sizes instanceof Map)) return undefined
  const rates = [...(sizes as Entry)].map(([size, value]) => nanosOf(value, perCall, `${model}.search_context_cost_per_query.${size}`))
  return rates.every(rate => rate === rates[0]) ? rates[0] : undefined
}
