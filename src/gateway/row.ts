import assert from 'node:assert/strict'
import { formatUsd } from '../ledger/money.ts'
import type { CallRow } from '../usage/record.ts'
import type { Gateway } from './gateway.ts'
import { type Ending, keptCharsMax, type Receipt } from './receipt.ts'

/** The call's line in the books. Only calls of known keys have one. */
export function rowOf(receipt: Receipt, { status, ended, fault }: Ending, { clock }: Pick<Gateway, 'clock'>): CallRow {
  const { principal, facts, usage } = receipt
  assert(principal !== undefined, 'a call without a known key has no row')
  return {
    id: receipt.id,
    userId: principal.user.id,
    keyId: principal.key.id,
    groupId: receipt.groupId,
    accountId: receipt.accountId ?? receipt.attempts.at(-1)?.accountId ?? null,
    path: receipt.path,
    stream: facts?.stream ?? false,
    requestedModel: facts?.model.slice(0, keptCharsMax) ?? null,
    servedModel: receipt.servedModel?.slice(0, keptCharsMax) ?? null,
    tier: receipt.tier?.slice(0, keptCharsMax) ?? null,
    priceId: receipt.priceId,
    status,
    ended,
    fault,
    basis: receipt.basis,
    usage,
    held: receipt.held,
    cost: receipt.cost,
    uncollectedWhy: receipt.uncollectedWhy,
    attempts: receipt.attempts.length,
    lineMs: Math.round(receipt.lineMs),
    firstTokenMs: receipt.firstTokenMs,
    durationMs: Math.round(clock.elapsedMs() - receipt.startedMs),
    address: receipt.address,
    userAgent: receipt.userAgent,
    instructionsAdded: receipt.instructionsAdded,
    outputLoweredTo: receipt.outputLoweredTo,
    repaired: receipt.repaired,
    upstreamRequestId: receipt.upstreamRequestId,
    beganAtMs: receipt.beganAtMs,
  }
}

/** Counts a call that has ended, and writes its one log line: what to search for. Everything else is on its row. */
export function tell(row: CallRow, email: string | undefined, { metrics, log }: Pick<Gateway, 'metrics' | 'log'>): void {
  const { id, keyId, groupId, accountId, status, ended, fault, attempts, usage, cost, basis, durationMs, repaired } = row
  log.call({
    call: id,
    user: email ?? row.userId,
    key: keyId,
    group: groupId,
    account: accountId,
    model: row.requestedModel,
    stream: row.stream,
    inputTokens: usage.inputTokens,
    outputTokens: usage.outputTokens,
    repaired: repaired ?? undefined, // Rarely: it is left out.
    status,
    ended,
    fault,
    attempts,
    cost: formatUsd(cost),
    basis,
    durationMs,
  })
  metrics.calls.inc({ ended, fault: fault ?? '' })
  metrics.durationSeconds.observe(durationMs / 1000)
  metrics.lineSeconds.observe(row.lineMs / 1000)
  if (row.firstTokenMs !== null) metrics.firstTokenSeconds.observe(row.firstTokenMs / 1000)
  metrics.tokens.inc({ kind: 'input' }, usage.inputTokens)
  metrics.tokens.inc({ kind: 'output' }, usage.outputTokens)
  metrics.costUsd.inc(Number(cost) / 1e9)
}
