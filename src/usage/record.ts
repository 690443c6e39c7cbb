import type { Usage } from '../ledger/price.ts'
import { type Step, statement, type Value } from '../storage/database.ts'
import { accountDaySteps } from './account-days.ts'

/** How a call ended, as far as the caller is concerned. */
export type Ended =
  | 'completed'
  | 'incomplete'
  | 'failed'
  | 'cancelled'
  /** By us or by the upstream, before any answer began. */
  | 'refused'
  /** The upstream broke, stalled or ended before it was complete. */
  | 'cut'
  | 'client_left'
  /** It goes on upstream, in the background; its row is written anew when it is over. */
  | 'running'
  /** Its gateway was gone before the end, and nobody knows what became of it. */
  | 'gateway_died'

/**
 * How the amount is known: `reported` by the upstream, read on after the client left (`drained`), `estimated`, not yet (`pending`), or
 * nothing to know.
 */
export type Basis = 'reported' | 'drained' | 'estimated' | 'pending' | 'none'

/** Why a cost was more than could be taken. What each means stands in docs/billing.md. */
export const uncollectedReasons = [
  'hosted_tools',
  'stored_context',
  'media',
  'dense_input',
  'ceiling_exceeded',
  'dearer_price',
  'hold_expired',
] as const
export type UncollectedWhy = (typeof uncollectedReasons)[number]

/** What a call was and what it cost. Money is nano-dollars, durations milliseconds. Bodies are never kept. */
export interface CallRow {
  readonly id: string
  readonly userId: string
  readonly keyId: string
  readonly groupId: string | null
  readonly accountId: string | null
  readonly path: string
  readonly stream: boolean
  readonly requestedModel: string | null
  readonly servedModel: string | null
  readonly tier: string | null
  readonly priceId: string | null
  /** The HTTP status that the client was sent; 0 when it was sent none. */
  readonly status: number
  readonly ended: Ended
  /** The fault's name in the catalogue; null when all went well. */
  readonly fault: string | null
  readonly basis: Basis
  readonly usage: Usage
  /** Set aside before the call was sent. The books say what it was extended to in all. */
  readonly held: bigint
  /** The whole price of the usage. What of it could not be taken is `uncollected`, which the books work out themselves. */
  readonly cost: bigint
  /** Why it would be, if some of the cost cannot be taken; the books drop it when all can, and say so when the hold had expired. */
  readonly uncollectedWhy: UncollectedWhy | null
  readonly attempts: number
  readonly lineMs: number
  readonly firstTokenMs: number | null
  readonly durationMs: number
  readonly address: string
  readonly userAgent: string | null
  /** Headgate added the operator's default instructions. */
  readonly instructionsAdded: boolean
  readonly outputLoweredTo: number | null
  /** What the upstream was sent without, because it could not read it: "3 reasoning items". */
  readonly repaired: string | null
  readonly upstreamRequestId: string | null
  readonly beganAtMs: number
}

/** One call sent to one account, once. */
export interface AttemptRow {
  readonly callId: string
  /** From 1. */
  readonly number: number
  readonly accountId: string
  /** As it was named to the upstream. */
  readonly model: string
  readonly beganAtMs: number
  /** Null when no status arrived. */
  readonly status: number | null
  readonly fault: string | null
  readonly firstEventMs: number | null
  readonly durationMs: number
  readonly upstreamRequestId: string | null
  /** The caller pays for this one. At most one of a call. */
  readonly answered: boolean
}

export { noUsage } from '../ledger/price.ts'

/**
 * Writes the call's one row and its attempts. They stand behind the ledger's steps in their transaction, because what is
 * uncollected is what the hold was settled for, short of the cost. A row that is there already stays, but for the ones
 * that say the gateway died, or that the call still runs: the truth has come after all.
 */
export function callSteps(row: CallRow, attempts: readonly AttemptRow[]): readonly Step[] {
  return [...rowSteps(row, attempts), ...accountDaySteps([row])]
}

/** The same without `accountDaySteps`, which the calls of one commit share. */
export function rowSteps(row: CallRow, attempts: readonly AttemptRow[]): readonly Step[] {
  const values = valuesOf(row)
  // Rows of an older version, out of its journal, have no such field.
  values.push(row.uncollectedWhy ?? null)
  return withAttempts({ statement: insertCall, values }, attempts)
}

/** As `rowSteps`, for a call whose whole cost was taken out of the hold that its row names, so that nothing is to be read. */
export function paidCallSteps(row: CallRow, attempts: readonly AttemptRow[]): readonly Step[] {
  return withAttempts({ statement: insertPaidCall, values: valuesOf(row) }, attempts)
}

/** As `paidCallSteps`, from the values of a row and its attempts. */
export function paidValuesSteps(row: readonly Value[], attempts: readonly (readonly Value[])[]): readonly Step[] {
  const steps: Step[] = [{ statement: insertPaidCall, values: row }]
  for (const values of attempts) steps.push({ statement: insertAttempt, values })
  return steps
}

function withAttempts(call: Step, attempts: readonly AttemptRow[]): readonly Step[] {
  const steps = [call]
  for (const attempt of attempts) steps.push({ statement: insertAttempt, values: valuesOfAttempt(attempt) })
  return steps
}

/** In the order of `callColumns`. One flat array: putting it together from parts takes as long as a statement. */
export function valuesOf(row: CallRow): Value[] {
  const { usage } = row
  return [
    row.id,
    row.userId,
    row.keyId,
    row.groupId,
    row.accountId,
    row.path,
    row.stream ? 1 : 0,
    row.requestedModel,
    row.servedModel,
    row.tier,
    row.priceId,
    row.status,
    row.ended,
    row.fault,
    row.basis,
    usage.inputTokens,
    usage.cachedTokens,
    usage.cacheWriteTokens,
    usage.cacheWrite12hTokens,
    usage.outputTokens,
    usage.reasoningTokens,
    usage.webSearches,
    usage.fileSearches,
    row.held,
    row.cost,
    row.attempts,
    Math.round(row.lineMs),
    row.firstTokenMs === null ? null : Math.round(row.firstTokenMs),
    Math.round(row.durationMs),
    row.address,
    row.userAgent,
    row.instructionsAdded ? 1 : 0,
    row.outputLoweredTo,
    row.repaired,
    row.upstreamRequestId,
    row.beganAtMs,
  ]
}

/** In the order of `attemptColumns`. */
export function valuesOfAttempt(attempt: AttemptRow): Value[] {
  return [
    attempt.callId,
    attempt.number,
    attempt.accountId,
    attempt.model,
    attempt.beganAtMs,
    attempt.status,
    attempt.fault,
    attempt.firstEventMs === null ? null : Math.round(attempt.firstEventMs),
    Math.round(attempt.durationMs),
    attempt.upstreamRequestId,
    attempt.answered ? 1 : 0,
  ]
}

export const callColumns = [
  ...['id', 'user_id', 'key_id', 'group_id', 'account_id', 'path', 'stream'],
  ...['requested_model', 'served_model', 'tier', 'price_id', 'status', 'ended', 'fault', 'basis'],
  ...['input_tokens', 'cached_tokens', 'cache_write_tokens', 'cache_write_12h_tokens'],
  ...['output_tokens', 'reasoning_tokens', 'web_searches', 'file_searches'],
  ...['held', 'cost', 'attempts', 'line_ms', 'first_token_ms', 'duration_ms'],
  ...['address', 'user_agent', 'instructions_added', 'output_lowered_to', 'repaired', 'upstream_request_id', 'began_at'],
]

export const attemptColumns = [
  ...['call_id', 'number', 'account_id', 'model', 'began_at', 'status', 'fault'],
  ...['first_event_ms', 'duration_ms', 'upstream_request_id', 'answered'],
]

const cost = `$${callColumns.indexOf('cost') + 1}`
const held = `$${callColumns.indexOf('held') + 1}`
/** A hold may have been extended, and nobody waits to be told by how much; one that a power cut took may say less than there was. */
const heldInAll = `coalesce((select case when amount > ${held} then amount else ${held} end from holds where holds.id = $1), ${held})`
const why = `$${callColumns.length + 1}`
const settled = 'coalesce((select settled from holds where holds.id = $1), 0)'
const replaced = [...callColumns, 'uncollected', 'uncollected_why']
  .filter(column => column !== 'id')
  .map(column => `${column} = excluded.${column}`)

function insertInto(values: string): string {
  return `insert into calls (${callColumns.join(', ')}, uncollected, uncollected_why)
  values (${values})
  on conflict (id) do update set ${replaced.join(', ')}
  where (calls.ended = 'gateway_died' and excluded.ended <> 'gateway_died') or (calls.basis = 'pending' and excluded.basis <> 'pending')`
}

const insertCall = statement(
  insertInto(`${callColumns.map((column, index) => (column === 'held' ? heldInAll : `$${index + 1}`)).join(', ')}, ${cost} - ${settled},
    case when ${cost} = ${settled} then null
      when (select state from holds where holds.id = $1) = 'settled_late' then 'hold_expired' else ${why} end`),
)

const insertPaidCall = statement(insertInto(`${callColumns.map((_, index) => `$${index + 1}`).join(', ')}, 0, null`))

const insertAttempt = statement(`insert into attempts (${attemptColumns.join(', ')})
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (call_id, number) do nothing`)
