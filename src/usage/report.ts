import { type Refund, readRefund } from '../ledger/refund.ts'
import { firstIdOf, idSlackMs, timeOfId } from '../lib/id.ts'
import { type Database, type Row, statement, type Value } from '../storage/database.ts'
import { dayMs, daysOf } from './account-days.ts'
import type { AttemptRow, CallRow } from './record.ts'
import { attemptIn, rowIn } from './rows.ts'

/** A call's row as the books have it. */
export interface Call extends CallRow {
  /** Nano-dollars of the cost that could not be taken. */
  readonly uncollected: bigint
}

/** Everything about one call. */
export interface Receipt {
  readonly call: Call
  readonly attempts: readonly AttemptRow[]
  /** What of its charge was given back; null when nothing was. */
  readonly refund: Refund | null
}

/** Everything left out is no condition. Times are when the call began: from `sinceMs` until before `untilMs`. */
export interface CallFilter {
  readonly userId?: string | undefined
  readonly keyId?: string | undefined
  readonly accountId?: string | undefined
  readonly fault?: string | undefined
  readonly sinceMs?: number | undefined
  readonly untilMs?: number | undefined
}

export interface CallPage {
  readonly calls: readonly Call[]
  /** Give it back for the calls before these; null at the end. */
  readonly cursor: string | null
}

/** What one user, key, account or model came to on one day of UTC. Only calls that have one. */
export interface DaySum {
  readonly dayStartsAtMs: number
  readonly of: string
  readonly calls: bigint
  readonly inputTokens: bigint
  readonly cachedTokens: bigint
  readonly outputTokens: bigint
  /** Nano-dollars. */
  readonly cost: bigint
  readonly uncollected: bigint
}

export const pageCallsMax = 1_000

/** Newest first. */
export async function listCalls(
  database: Pick<Database, 'report'>,
  filter: CallFilter,
  page: { readonly limit: number; readonly cursor: string | null },
): Promise<CallPage> {
  const limit = Math.min(Math.max(page.limit, 1), pageCallsMax)
  const { cursor } = page
  const list = filter.accountId === undefined ? listIn : listOnDays
  const calls = await list(database, filter, { limit, cursor })
  return { calls, cursor: calls.length < limit ? null : calls.at(-1)!.id }
}

type Page = Parameters<typeof listCalls>[2]

async function listIn(database: Pick<Database, 'report'>, filter: CallFilter, { limit, cursor }: Page, day?: number): Promise<Call[]> {
  const { where, values } = conditions([
    ['id < ?', cursor ?? undefined],
    ['id >= ?', day === undefined ? undefined : firstIdOf(day * dayMs)],
    ['id < ?', day === undefined ? undefined : firstIdOf((day + 1) * dayMs)],
    ...periodConditions(filter),
    ['user_id = ?', filter.userId],
    [ofKey('?'), filter.keyId],
    ['account_id = ?', filter.accountId],
    ['fault = ?', filter.fault],
  ])
  const list = statement(`select * from calls ${where} order by id desc limit $${values.length + 1}`)
  return (await database.report(list, [...values, limit])).map(callIn)
}

/** Of an account: day by day, on those on which it had calls. */
async function listOnDays(database: Pick<Database, 'report'>, filter: CallFilter, { limit, cursor }: Page): Promise<Call[]> {
  const { accountId = '', sinceMs = 0, untilMs = Number.MAX_SAFE_INTEGER } = filter
  const lastMs = Math.min(untilMs + idSlackMs, (cursor === null ? undefined : timeOfId(cursor)) ?? Number.MAX_SAFE_INTEGER)
  const days = await daysOf(database, accountId, dayOf(sinceMs - idSlackMs), dayOf(lastMs))
  const calls: Call[] = []
  for (const day of days) {
    calls.push(...(await listIn(database, filter, { limit: limit - calls.length, cursor }, day)))
    if (calls.length === limit) break
  }
  return calls
}

function dayOf(atMs: number): number {
  return Math.floor(atMs / dayMs)
}

export async function callById(database: Pick<Database, 'report'>, id: string): Promise<Receipt | undefined> {
  const [row] = await database.report(readCall, [id])
  if (row === undefined) return undefined
  const [attempts, refund] = await Promise.all([database.report(readAttempts, [id]), readRefund(database, id)])
  return { call: callIn(row), attempts: attempts.map(attemptIn), refund }
}

/** Sums by day: what is held against an upstream's own figures, and what a bill is made of. */
export async function sumsByDay(
  database: Pick<Database, 'report'>,
  by: 'user' | 'key' | 'account' | 'model',
  period: { readonly sinceMs: number; readonly untilMs: number },
): Promise<readonly DaySum[]> {
  const { where, values } = conditions([...periodConditions(period), [`${sumColumns[by]} is not null`, null]])
  const rows = await database.report(
    statement(`select began_at / ${dayMs} * ${dayMs} as day, ${sumColumns[by]} as of_what, count(*) as calls, ${sums}
      from calls ${where} group by 1, 2 order by 1, 2`),
    values,
  )
  return rows.map(row => ({
    dayStartsAtMs: Number(row.day),
    of: row.of_what as string,
    calls: row.calls as bigint,
    inputTokens: row.input_tokens as bigint,
    cachedTokens: row.cached_tokens as bigint,
    outputTokens: row.output_tokens as bigint,
    cost: row.cost as bigint,
    uncollected: row.uncollected as bigint,
  }))
}

/** Calls of the key at this place among the values: sought among those of its user, because there is no index by key. */
export function ofKey(place: string): string {
  const owner = ['keys', 'removed_keys'].map(table => `(select user_id from ${table} where id = ${place})`)
  return `user_id = coalesce(${owner.join(', ')}) and key_id = ${place}`
}

const sumColumns = { user: 'user_id', key: 'key_id', account: 'account_id', model: 'served_model' } as const
const sums = ['input_tokens', 'cached_tokens', 'output_tokens', 'cost', 'uncollected']
  .map(column => `cast(sum(${column}) as bigint) as ${column}`)
  .join(', ')

const readCall = statement('select * from calls where id = $1')
const readAttempts = statement('select * from attempts where call_id = $1 order by number')

/** `?` stands for the condition's value; without a value (`undefined`) it is no condition, with `null` it needs none. */
type Condition = readonly [sql: string, value: Value | undefined]

/** Ids sort by time, so a period is also a range of them: the books find it without reading the rest. */
function periodConditions({ sinceMs, untilMs }: CallFilter): readonly Condition[] {
  return [
    ['began_at >= ?', sinceMs],
    ['id >= ?', sinceMs === undefined ? undefined : firstIdOf(Math.max(0, sinceMs - idSlackMs))],
    ['began_at < ?', untilMs],
    ['id < ?', untilMs === undefined ? undefined : firstIdOf(untilMs + idSlackMs)],
  ]
}

function conditions(all: readonly Condition[]): { readonly where: string; readonly values: readonly Value[] } {
  const values: Value[] = []
  const parts: string[] = []
  for (const [sql, value] of all) {
    if (value === undefined) continue
    if (value !== null) values.push(value)
    parts.push(sql.replaceAll('?', `$${values.length}`))
  }
  return { where: parts.length === 0 ? '' : `where ${parts.join(' and ')}`, values }
}

function callIn(row: Row): Call {
  return { ...rowIn(row), uncollected: row.uncollected as bigint }
}
