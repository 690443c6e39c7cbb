import type { End } from './script.ts'
import { nothingUsed, type TokenUsage } from './usage.ts'

/**
 * USD per million tokens, as decimal text. Without `cached` or `cacheWrite` those tokens cost what fresh ones do;
 * without `cacheWrite12h`, what `cacheWrite` does. `webSearch` is USD per search.
 */
export interface SimRates {
  readonly input: string
  readonly cached?: string
  readonly cacheWrite?: string
  readonly cacheWrite12h?: string
  readonly output: string
  readonly webSearch?: string
}

/** `tiers` are by the name that the response reports; any other tier costs the plain rates. */
export interface SimPrice extends SimRates {
  readonly tiers?: Readonly<Record<string, SimRates>>
}

/** Besides an `End`: `refused` (no answer was made), `raw` (`rawBody`), `left` (the client was gone first), `cancelled`, `running`. */
export type Ended = End | 'refused' | 'raw' | 'left' | 'cancelled' | 'running'

/** What an answer is made for. Over a WebSocket each response has its line, warm-ups and successors included. */
export type Billed = 'responses' | 'websocket' | 'compact' | 'chat' | 'embeddings'

/** What one call cost, from the upstream's side. It is final once `ended` is not `running`. */
export interface InvoiceLine {
  readonly key: string
  readonly of: Billed
  readonly modelAsked: string
  readonly modelServed: string | null
  readonly tier: string | null
  readonly responseId: string | null
  /** What `x-request-id` says, if the headers are sent. */
  readonly requestId: string | null
  readonly stream: boolean
  readonly status: number
  readonly usage: TokenUsage
  /** Whether the client was sent this usage, in a terminal event or a JSON body; in the background: whether it can be retrieved. */
  readonly usageReported: boolean
  /** Nano-dollars, rounded half up once. 0 without a price, and `priced` says so. */
  readonly costNanos: bigint
  readonly priced: boolean
  readonly ended: Ended
  /** Ended before its terminal event or its last byte: the usage is what had been made until then. */
  readonly cut: boolean
  /** Whether any event, or any byte of a body, was sent. */
  readonly answered: boolean
  /** The client closed the connection before the answer had ended. */
  readonly clientLeft: boolean
}

export type OpenLine = { -readonly [Name in keyof InvoiceLine]: InvoiceLine[Name] }

export type Charge = (line: OpenLine, usage: TokenUsage) => void

export function newLine(key: string, modelAsked: string, stream: boolean, of: Billed = 'responses'): OpenLine {
  return {
    key,
    of,
    modelAsked,
    modelServed: null,
    tier: null,
    responseId: null,
    requestId: null,
    stream,
    status: 0,
    usage: nothingUsed,
    usageReported: false,
    costNanos: 0n,
    priced: false,
    ended: 'running',
    cut: false,
    answered: false,
    clientLeft: false,
  }
}

/** Reads the price list once. Throws a sentence for a rate that is no decimal text. */
export function priceList(prices: Readonly<Record<string, SimPrice>>): Charge {
  const rates = new Map<string, Rates>()
  for (const [model, price] of Object.entries(prices)) {
    rates.set(model, readRates(price))
    for (const [tier, each] of Object.entries(price.tiers ?? {})) rates.set(tierName(model, tier), readRates(each))
  }
  const find = (model: string | null, tier: string | null) =>
    model === null ? undefined : (rates.get(tierName(model, tier ?? '')) ?? rates.get(model))
  return (line, usage) => {
    const found = find(line.modelServed, line.tier) ?? find(line.modelAsked, line.tier)
    line.usage = usage
    line.priced = found !== undefined
    line.costNanos = found === undefined ? 0n : costOf(usage, found)
  }
}

/** Nano-dollars per million tokens; searches: per million searches. */
interface Rates {
  readonly input: bigint
  readonly cached: bigint
  readonly cacheWrite: bigint
  readonly cacheWrite12h: bigint
  readonly output: bigint
  readonly webSearch: bigint
}

const perMillion = 1_000_000n

function readRates(price: SimRates): Rates {
  const cacheWrite = price.cacheWrite ?? price.input
  return {
    input: readNanos(price.input),
    cached: readNanos(price.cached ?? price.input),
    cacheWrite: readNanos(cacheWrite),
    cacheWrite12h: readNanos(price.cacheWrite12h ?? cacheWrite),
    output: readNanos(price.output),
    webSearch: readNanos(price.webSearch ?? '0') * perMillion,
  }
}

function readNanos(usd: string): bigint {
  const match = /^(\d+)(?:\.(\d{1,9}))?$/.exec(usd)
  if (match === null) throw new Error(`the price "${usd}" is not USD as decimal text such as "2.50", with at most nine decimals`)
  return BigInt(`${match[1]}${(match[2] ?? '').padEnd(9, '0')}`)
}

function tierName(model: string, tier: string): string {
  return `${model}\n${tier}`
}

function costOf(usage: TokenUsage, rates: Rates): bigint {
  const fresh = Math.max(0, usage.inputTokens - usage.cachedTokens - usage.cacheWriteTokens)
  const millionths =
    BigInt(fresh) * rates.input +
    BigInt(usage.cachedTokens) * rates.cached +
    BigInt(Math.max(0, usage.cacheWriteTokens - usage.cacheWrite12hTokens)) * rates.cacheWrite +
    BigInt(usage.cacheWrite12hTokens) * rates.cacheWrite12h +
    BigInt(usage.outputTokens) * rates.output +
    BigInt(usage.webSearches) * rates.webSearch
  return (millionths * 2n + perMillion) / (perMillion * 2n)
}
