import { formatUsd, parseUsd } from '../ledger/money.ts'
import type { PriceVersion } from '../ledger/price.ts'
import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { json, text, textOrNull, whole, wholeOrNull } from './cells.ts'
import type { Page } from './pages.ts'
import { insertStep, type Made, type RowValues, step } from './steps.ts'

/** What an operator says of a price: the line for a model, a tier and a band of context. */
export type PriceDraft = Omit<PriceVersion, 'id' | 'effectiveFromMs' | 'effectiveToMs'>

/**
 * A price from now on. `running` is the version it replaces: that one ends in the same moment, so that every call has exactly one.
 * Versions never change otherwise, because rows of calls name the one they were priced by.
 */
export function makePrice(draft: PriceDraft, running: PriceVersion | undefined, nowMs: number): Made<PriceVersion> {
  const fromMs = Math.max(nowMs, running?.effectiveFromMs ?? 0)
  const entity: PriceVersion = { ...draft, id: newId(nowMs), effectiveFromMs: fromMs, effectiveToMs: null }
  const insert = insertStep(
    'prices',
    recordOf(entity),
    `Somebody else set the price of ${draft.model} meanwhile; look at it and try again.`,
  )
  return { entity, steps: running === undefined ? [insert] : [...endPrice(running, fromMs), insert] }
}

/** Ends a running version: calls that begin later find no price in this line. */
export function endPrice({ id, model, effectiveFromMs }: PriceVersion, nowMs: number): Step[] {
  const otherwise = `Somebody else changed the price of ${model} meanwhile; look at it and try again.`
  return [step(closePrice, [id, Math.max(nowMs, effectiveFromMs)], { rows: 1, otherwise })]
}

/** What both versions say of the same line: "gpt-5 default 0". */
export function lineOf({ model, tier, contextOver }: Pick<PriceVersion, 'model' | 'tier' | 'contextOver'>): string {
  return `${model} ${tier} ${contextOver}`
}

/** Versions by age; the running ones only, unless `all`. */
export async function listPrices(database: Database, { after = '', limit }: Page, only: PriceFilter = {}): Promise<PriceVersion[]> {
  const rows = await database.report(pricePage, [after, limit, only.model ?? null, only.all ? 1 : 0])
  return rows.map(priceOf)
}

export interface PriceFilter {
  readonly model?: string | undefined
  /** Ended versions too. */
  readonly all?: boolean | undefined
}

const columns = `id, model, tier, context_over, input, cached, cache_write, cache_write_12h, output, web_search, file_search,
  max_output, aliases, source, effective_from, effective_to`
const pricePage = statement(`select ${columns} from prices where id > $1
  and (model = cast($3 as text) or cast($3 as text) is null) and (effective_to is null or cast($4 as bigint) = 1)
  order by id limit $2`)
const closePrice = 'update prices set effective_to = $2 where id = $1 and effective_to is null'

/** Rates are kept as decimal text in USD: it is exact, and can be read by whoever looks into the books. */
function recordOf(price: PriceVersion): RowValues {
  return {
    id: price.id,
    model: price.model,
    tier: price.tier,
    context_over: price.contextOver,
    input: formatUsd(price.input),
    cached: formatUsd(price.cached),
    cache_write: formatUsd(price.cacheWrite),
    cache_write_12h: formatUsd(price.cacheWrite12h),
    output: formatUsd(price.output),
    web_search: price.webSearch === null ? null : formatUsd(price.webSearch),
    file_search: price.fileSearch === null ? null : formatUsd(price.fileSearch),
    max_output: price.maxOutput,
    aliases: JSON.stringify(price.aliases),
    source: price.source,
    effective_from: price.effectiveFromMs,
    effective_to: price.effectiveToMs,
  }
}

function priceOf(row: Row): PriceVersion {
  return {
    id: text(row, 'id'),
    model: text(row, 'model'),
    tier: text(row, 'tier'),
    contextOver: whole(row, 'context_over'),
    input: usd(row, 'input'),
    cached: usd(row, 'cached'),
    cacheWrite: usd(row, 'cache_write'),
    cacheWrite12h: usd(row, 'cache_write_12h'),
    output: usd(row, 'output'),
    webSearch: row.web_search === null ? null : usd(row, 'web_search'),
    fileSearch: row.file_search === null ? null : usd(row, 'file_search'),
    maxOutput: wholeOrNull(row, 'max_output'),
    aliases: json<string[]>(row, 'aliases'),
    source: textOrNull(row, 'source'),
    effectiveFromMs: whole(row, 'effective_from'),
    effectiveToMs: wholeOrNull(row, 'effective_to'),
  }
}

function usd(row: Row, column: string): bigint {
  return parseUsd(text(row, column))
}
