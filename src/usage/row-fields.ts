import type { Value } from '../storage/database.ts'
import { type AttemptRow, type CallRow, callColumns, valuesOf, valuesOfAttempt } from './record.ts'

/** What JSON can say as it is. */
export type Field = string | number | null

const accountAt = callColumns.indexOf('account_id')
const amountsAt = [callColumns.indexOf('held'), callColumns.indexOf('cost')]

/** A call's row by place, for a line of JSON: its values, amounts as decimal text, and then why some of the cost could not be taken. */
export function rowFields(row: CallRow): readonly Field[] {
  const fields = valuesOf(row)
  for (const at of amountsAt) fields[at] = String(fields[at])
  fields.push(row.uncollectedWhy)
  return fields as Field[]
}

/** The values that `rowFields` was made of. */
export function valuesIn(fields: readonly Field[]): readonly Value[] {
  const values: Value[] = fields.slice(0, callColumns.length)
  for (const at of amountsAt) values[at] = BigInt(fields[at]!)
  return values
}

export function accountIn(fields: readonly Field[]): string | null {
  return fields[accountAt] as string | null
}

/** What `rowFields` was given, durations in whole milliseconds. */
export function rowIn(fields: readonly Field[]): CallRow {
  const of = Object.fromEntries(callColumns.map((column, at) => [column, fields[at]])) as never as Readonly<Record<string, never>>
  return {
    id: of['id']!,
    userId: of['user_id']!,
    keyId: of['key_id']!,
    groupId: of['group_id']!,
    accountId: of['account_id']!,
    path: of['path']!,
    stream: Boolean(of['stream']),
    requestedModel: of['requested_model']!,
    servedModel: of['served_model']!,
    tier: of['tier']!,
    priceId: of['price_id']!,
    status: of['status']!,
    ended: of['ended']!,
    fault: of['fault']!,
    basis: of['basis']!,
    usage: {
      inputTokens: of['input_tokens']!,
      cachedTokens: of['cached_tokens']!,
      cacheWriteTokens: of['cache_write_tokens']!,
      cacheWrite12hTokens: of['cache_write_12h_tokens']!,
      outputTokens: of['output_tokens']!,
      reasoningTokens: of['reasoning_tokens']!,
      webSearches: of['web_searches']!,
      fileSearches: of['file_searches']!,
    },
    held: BigInt(of['held']!),
    cost: BigInt(of['cost']!),
    uncollectedWhy: fields[callColumns.length] as CallRow['uncollectedWhy'],
    attempts: of['attempts']!,
    lineMs: of['line_ms']!,
    firstTokenMs: of['first_token_ms']!,
    durationMs: of['duration_ms']!,
    address: of['address']!,
    userAgent: of['user_agent']!,
    instructionsAdded: Boolean(of['instructions_added']),
    outputLoweredTo: of['output_lowered_to']!,
    repaired: of['repaired']!,
    upstreamRequestId: of['upstream_request_id']!,
    beganAtMs: of['began_at']!,
  }
}

/** One attempt, of which there is no amount to tell. */
export function attemptFields(attempt: AttemptRow): readonly Field[] {
  return valuesOfAttempt(attempt) as Field[]
}

type AttemptFields = [string, number, string, string, number, number | null, string | null, number | null, number, string | null, 0 | 1]

export function attemptIn(fields: readonly Field[]): AttemptRow {
  const [callId, number, accountId, model, beganAtMs, status, fault, ...rest] = fields as AttemptFields
  const [firstEventMs, durationMs, upstreamRequestId, answered] = rest
  const when = { firstEventMs, durationMs, upstreamRequestId, answered: answered === 1 }
  return { callId, number, accountId, model, beganAtMs, status, fault, ...when }
}
