import { type Decimal, divideUp, parseDecimal } from '../ledger/money.ts'
import { costOf, type PriceBook, type PriceVersion } from '../ledger/price.ts'
import { firstIdOf, idSlackMs } from '../lib/id.ts'
import { type Database, type Row, statement } from '../storage/database.ts'
import { dayMs } from './account-days.ts'
import type { Ended } from './record.ts'
import { usageOf } from './rows.ts'

/** Money is nano-dollars as the upstream asks them: the price of the usage, without any group's multiplier. */
export interface Amounts {
  readonly requests: bigint
  readonly inputTokens: bigint
  readonly cachedTokens: bigint
  readonly outputTokens: bigint
  readonly cost: bigint
}

/** What an upstream may have counted, though nobody knows how much. */
export interface Unknown {
  readonly count: bigint
  /** What was set aside for them: they cost no more. Null when that is not known, as for a group that is free. */
  readonly atMost: bigint | null
}

/** What we counted for one account, model and day of UTC, in parts by how it is known. A call belongs to the day on which it began. */
export interface Counted {
  /** Null when nobody knows: only for `died`. */
  readonly accountId: string | null
  /** As the price book names it. Null when it is not in the book, and nobody knows how the account calls it: only for `died`. */
  readonly model: string | null
  readonly dayStartsAtMs: number
  readonly reported: Amounts
  readonly drained: Amounts
  readonly estimated: Amounts
  /** What the estimated calls may have cost instead. */
  readonly estimatedAtMost: bigint | null
  /** Answers that began, and of which no usage is known. */
  readonly silent: Unknown
  /** Attempts that were sent, and that nobody answered: no caller pays for them. */
  readonly attempts: Unknown
  /** Calls whose gateway died. */
  readonly died: Unknown
  /** Calls, counted above with a cost of 0, that no line of the book prices. */
  readonly unpriced: bigint
}

/** What is needed to reckon anew what a call cost its operator. */
export interface Pricing {
  readonly versions: ReadonlyMap<string, PriceVersion>
  readonly book: PriceBook
  readonly multiplierOf: (groupId: string) => Decimal | undefined
  /** Whether an upstream may ask money for an attempt that failed in this way. */
  readonly mayHaveCost: (fault: string) => boolean
}

const pageRowsDefault = 5_000

/** Goes over every call and every failed attempt of the period, page by page, where reports are read. */
export async function countByDay(
  database: Pick<Database, 'report'>,
  period: { readonly sinceMs: number; readonly untilMs: number },
  pricing: Pricing,
  pageRows = pageRowsDefault,
): Promise<readonly Counted[]> {
  const tally = new Map<string, Tally>()
  const { sinceMs, untilMs } = period
  const range = [firstIdOf(Math.max(0, sinceMs - idSlackMs)), firstIdOf(untilMs + idSlackMs), sinceMs, untilMs]
  const calls = paged(pageRows, after => database.report(readCalls, [...range, after.id, pageRows]))
  for await (const row of calls) countCall(row, tally, pricing)
  const attempts = paged(pageRows, after => database.report(readAttempts, [...range, after.id, after.number, pageRows]))
  for await (const row of attempts) countAttempt(row, tally, pricing)
  return [...tally.values()]
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] }
type Tally = Writable<Counted>

async function* paged(
  pageRows: number,
  read: (after: { readonly id: string; readonly number: bigint }) => Promise<Row[]>,
): AsyncGenerator<Row> {
  for (let after = { id: '', number: 0n }; ; ) {
    const rows = await read(after)
    yield* rows
    const last = rows.at(-1)
    if (last === undefined || rows.length < pageRows) return
    after = { id: last.id as string, number: (last.number ?? 0n) as bigint }
  }
}

function countCall(row: Row, tally: Map<string, Tally>, pricing: Pricing): void {
  const atMs = Number(row.began_at)
  if ((row.ended as Ended) === 'gateway_died') {
    const model = pricing.book.resolve(String(row.requested_model), atMs) ?? null
    const found = tallyOf(tally, { accountId: null, model, atMs })
    found.died = plusUnknown(found.died, atMostOf(row, pricing))
    return
  }
  if (row.account_id === null || (row.basis === 'none' && row.is_answered !== 1n)) return
  const version = versionOf(row, pricing)
  const name = String(row.served_model ?? row.requested_model)
  const model = version?.model ?? pricing.book.resolve(name, atMs) ?? name
  const found = tallyOf(tally, { accountId: row.account_id as string, model, atMs })
  if (row.basis !== 'reported' && row.basis !== 'drained' && row.basis !== 'estimated') {
    found.silent = plusUnknown(found.silent, atMostOf(row, pricing))
    return
  }
  found[row.basis] = plus(found[row.basis], row, version)
  if (version === undefined) found.unpriced += 1n
  if (row.basis === 'estimated') found.estimatedAtMost = sumOrNull(found.estimatedAtMost, atMostOf(row, pricing))
}

function countAttempt(row: Row, tally: Map<string, Tally>, pricing: Pricing): void {
  // Without a fault it was refused as the client's own: that costs nothing.
  if (row.fault === null || !pricing.mayHaveCost(row.fault as string)) return
  const atMs = Number(row.began_at)
  const name = row.model as string
  const found = tallyOf(tally, { accountId: row.account_id as string, model: pricing.book.resolve(name, atMs) ?? name, atMs })
  found.attempts = plusUnknown(found.attempts, atMostOf(row, pricing))
}

/** The line that priced it; for what was given away, the line that would have. */
function versionOf(row: Row, { versions, book }: Pricing): PriceVersion | undefined {
  if (row.price_id !== null) return versions.get(row.price_id as string)
  const model = String(row.served_model ?? row.requested_model)
  const tier = String(row.tier ?? 'default')
  return book.find({ model, tier, contextTokens: Number(row.input_tokens), atMs: Number(row.began_at) })
}

const once = parseDecimal('1')

function plus(sum: Amounts, row: Row, version: PriceVersion | undefined): Amounts {
  return {
    requests: sum.requests + 1n,
    inputTokens: sum.inputTokens + (row.input_tokens as bigint),
    cachedTokens: sum.cachedTokens + (row.cached_tokens as bigint),
    outputTokens: sum.outputTokens + (row.output_tokens as bigint),
    cost: sum.cost + (version === undefined ? 0n : costOf(usageOf(row), version, once)),
  }
}

/** What was held is what the call could cost its caller at the most; here it is the operator's price of that. */
function atMostOf(row: Row, { multiplierOf }: Pricing): bigint | null {
  const multiplier = row.group_id === null ? undefined : multiplierOf(row.group_id as string)
  if (multiplier === undefined || multiplier.units <= 0n) return null
  return divideUp((row.held as bigint) * 10n ** BigInt(multiplier.scale), multiplier.units)
}

function plusUnknown({ count, atMost }: Unknown, more: bigint | null): Unknown {
  return { count: count + 1n, atMost: sumOrNull(atMost, more) }
}

export function sumOrNull(a: bigint | null, b: bigint | null): bigint | null {
  return a === null || b === null ? null : a + b
}

export const noAmounts: Amounts = { requests: 0n, inputTokens: 0n, cachedTokens: 0n, outputTokens: 0n, cost: 0n }
const noneUnknown: Unknown = { count: 0n, atMost: 0n }

/** Nothing counted yet. */
export function nothingCounted({ accountId, model, dayStartsAtMs }: Pick<Counted, 'accountId' | 'model' | 'dayStartsAtMs'>): Counted {
  return {
    ...{ accountId, model, dayStartsAtMs, reported: noAmounts, drained: noAmounts, estimated: noAmounts, estimatedAtMost: 0n },
    ...{ silent: noneUnknown, attempts: noneUnknown, died: noneUnknown, unpriced: 0n },
  }
}

function tallyOf(
  tally: Map<string, Tally>,
  { accountId, model, atMs }: { accountId: string | null; model: string | null; atMs: number },
): Tally {
  const dayStartsAtMs = Math.floor(atMs / dayMs) * dayMs
  const key = JSON.stringify([accountId, model, dayStartsAtMs])
  const found = tally.get(key) ?? nothingCounted({ accountId, model, dayStartsAtMs })
  tally.set(key, found)
  return found
}

const period = 'id >= $1 and id < $2 and began_at >= $3 and began_at < $4'

const readCalls = statement(`select id, account_id, group_id, requested_model, served_model, tier, price_id, ended, basis, held, began_at,
    input_tokens, cached_tokens, cache_write_tokens, cache_write_12h_tokens, output_tokens, reasoning_tokens, web_searches, file_searches,
    case when basis = 'none' then (select max(answered) from attempts where attempts.call_id = calls.id) end as is_answered
  from calls where ${period} and id > $5 order by id limit $6`)

const readAttempts = statement(`select call_id as id, number, attempts.account_id, model, attempts.fault, group_id, held, calls.began_at
  from attempts join calls on calls.id = attempts.call_id
  where answered = 0 and call_id >= $1 and call_id < $2 and calls.began_at >= $3 and calls.began_at < $4
    and (call_id, number) > ($5, $6) order by call_id, number limit $7`)
