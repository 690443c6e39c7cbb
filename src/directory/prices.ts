import { formatUsd, parseUsd } from '../ledger/money.ts'
import type { PriceVersion } from '../ledger/price.ts'
import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { amount, json, text, textOrNull, whole, wholeOrNull } from './cells.ts'
import { everything, type Page } from './pages.ts'
import { isStanding, type LineChange, lineOf, type PriceDraft, type Span } from './price-line.ts'
import { insertStep, type Made, type RowValues, step } from './steps.ts'

/** The price book as it was read: what stands in it, and the number under which it may be changed. */
export interface BookRead {
  readonly revision: bigint
  /** The versions that hold now or will. */
  readonly standing: readonly PriceVersion[]
}

/** The revision first: whatever is written between the two reads makes it an old one, and a change by it is refused. */
export async function readBook(database: Database, nowMs: number): Promise<BookRead> {
  const [book] = await database.report(bookRow)
  const versions = await everything(page => listPrices(database, page, { nowMs }))
  return { revision: amount(book!, 'revision'), standing: versions.filter(version => isStanding(version, nowMs)) }
}

/**
 * What must be committed to change the book, nothing if nothing changes. Refused if somebody changed it since it was read,
 * on any node: two changes that do not know of each other could leave a gap, an overlap, or a name with two prices.
 */
export function changeBook({ revision }: BookRead, changes: readonly LineChange[], nowMs: number): { made: PriceVersion[]; steps: Step[] } {
  const made = changes.flatMap(({ begins }) => begins.map(({ draft, span }) => makePrice(draft, span, nowMs)))
  const ends = changes.flatMap(change => change.ends).map(({ version, atMs }) => step(closePrice, [version.id, atMs, nowMs], guard))
  if (made.length + ends.length === 0) return { made: [], steps: [] }
  const steps = [step(turnPage, [revision], guard), ...ends, ...made.flatMap(one => one.steps)]
  return { made: made.map(({ entity }) => entity), steps }
}

/** One version, whatever else there is. */
export function makePrice(draft: PriceDraft, span: Span, nowMs: number): Made<PriceVersion> {
  const entity: PriceVersion = { ...draft, id: newId(nowMs), effectiveFromMs: span.fromMs, effectiveToMs: span.untilMs }
  return { entity, steps: [insertStep('prices', recordOf(entity), otherwise)] }
}

/** The line's versions among those. */
export function sameLine<Line extends PriceDraft>(versions: readonly Line[], line: Parameters<typeof lineOf>[0]): Line[] {
  return versions.filter(version => lineOf(version) === lineOf(line))
}

const otherwise = 'Somebody else changed the price book meanwhile; look at it and try again.'
const guard = { rows: 1, otherwise }

/** Versions by age: with `nowMs` those that hold then or will later, without it all there ever were. */
export async function listPrices(database: Database, { after = '', limit }: Page, only: PriceFilter = {}): Promise<PriceVersion[]> {
  const rows = await database.report(pricePage, [after, limit, only.model ?? null, only.nowMs ?? -1])
  return rows.map(priceOf)
}

export interface PriceFilter {
  readonly model?: string | undefined
  readonly nowMs?: number | undefined
}

const columns = `id, model, tier, context_over, input, cached, cache_write, cache_write_12h, output, web_search, file_search,
  max_output, aliases, source, effective_from, effective_to`
const pricePage = statement(`select ${columns} from prices where id > $1
  and (model = cast($3 as text) or cast($3 as text) is null) and (effective_to is null or cast($4 as bigint) < 0 or (effective_to > $4 and effective_to > effective_from))
  order by id limit $2`)
const bookRow = statement('select revision from price_book where id = 1')
const turnPage = 'update price_book set revision = revision + 1 where id = 1 and revision = $1'
/** A version that has ended stays as it is. */
const closePrice =
  'update prices set effective_to = $2 where id = $1 and effective_from <= $2 and (effective_to is null or effective_to > $3)'

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
