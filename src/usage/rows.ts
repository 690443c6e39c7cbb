import type { Usage } from '../ledger/price.ts'
import type { Row } from '../storage/database.ts'
import type { AttemptRow, Basis, CallRow, Ended, UncollectedWhy } from './record.ts'

/** A call's row, of its columns. */
export function rowIn(row: Row): CallRow {
  return {
    id: row.id as string,
    userId: row.user_id as string,
    keyId: row.key_id as string,
    groupId: row.group_id as string | null,
    accountId: row.account_id as string | null,
    path: row.path as string,
    stream: row.stream === 1n,
    requestedModel: row.requested_model as string | null,
    servedModel: row.served_model as string | null,
    tier: row.tier as string | null,
    priceId: row.price_id as string | null,
    status: Number(row.status),
    ended: row.ended as Ended,
    fault: row.fault as string | null,
    basis: row.basis as Basis,
    usage: usageOf(row),
    held: row.held as bigint,
    cost: row.cost as bigint,
    uncollectedWhy: row.uncollected_why as UncollectedWhy | null,
    attempts: Number(row.attempts),
    lineMs: Number(row.line_ms),
    firstTokenMs: numberOrNull(row.first_token_ms),
    durationMs: Number(row.duration_ms),
    address: row.address as string,
    userAgent: row.user_agent as string | null,
    instructionsAdded: row.instructions_added === 1n,
    outputLoweredTo: numberOrNull(row.output_lowered_to),
    repaired: row.repaired as string | null,
    upstreamRequestId: row.upstream_request_id as string | null,
    beganAtMs: Number(row.began_at),
  }
}

/** Of a row with the columns of a call's usage. */
export function usageOf(row: Row): Usage {
  return {
    inputTokens: Number(row.input_tokens),
    cachedTokens: Number(row.cached_tokens),
    cacheWriteTokens: Number(row.cache_write_tokens),
    cacheWrite12hTokens: Number(row.cache_write_12h_tokens),
    outputTokens: Number(row.output_tokens),
    reasoningTokens: Number(row.reasoning_tokens),
    webSearches: Number(row.web_searches),
    fileSearches: Number(row.file_searches),
  }
}

/** An attempt's row, of its columns. */
export function attemptIn(row: Row): AttemptRow {
  return {
    callId: row.call_id as string,
    number: Number(row.number),
    accountId: row.account_id as string,
    model: row.model as string,
    beganAtMs: Number(row.began_at),
    status: numberOrNull(row.status),
    fault: row.fault as string | null,
    firstEventMs: numberOrNull(row.first_event_ms),
    durationMs: Number(row.duration_ms),
    upstreamRequestId: row.upstream_request_id as string | null,
    answered: row.answered === 1n,
  }
}

function numberOrNull(value: Row[string] | undefined): number | null {
  return value === null ? null : Number(value)
}
