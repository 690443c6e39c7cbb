import { formatUsd } from '../ledger/money.ts'
import type { CallRow } from '../usage/record.ts'
import type { Gateway } from './gateway.ts'
import type { Ending, Receipt } from './receipt.ts'

/** The call's line in the books. Only calls of known keys have one. Counted here, because every such call comes by once. */
export function rowOf(
  receipt: Receipt,
  { status, ended, fault }: Ending,
  { clock, metrics, log }: Pick<Gateway, 'clock' | 'metrics' | 'log'>,
): CallRow {
  const { principal, facts, usage } = receipt
  if (principal === undefined) throw new Error('a call without a known key has no row')
  const durationMs = Math.round(clock.elapsedMs() - receipt.startedMs)
  log.info({ ...factsOf(receipt), status, ended, fault, durationMs }, 'call')
  metrics.calls.inc({ ended, fault: fault ?? '' })
  metrics.durationSeconds.observe(durationMs / 1000)
  metrics.lineSeconds.observe(receipt.lineMs / 1000)
  if (receipt.firstTokenMs !== null) metrics.firstTokenSeconds.observe(receipt.firstTokenMs / 1000)
  metrics.tokens.inc({ kind: 'input' }, usage.inputTokens)
  metrics.tokens.inc({ kind: 'output' }, usage.outputTokens)
  metrics.costUsd.inc(Number(receipt.cost) / 1e9)
  return {
    id: receipt.id,
    userId: principal.user.id,
    keyId: principal.key.id,
    groupId: receipt.groupId,
    accountId: receipt.accountId ?? receipt.attempts.at(-1)?.accountId ?? null,
    path: receipt.path,
    stream: facts?.stream ?? false,
    requestedModel: facts?.model.slice(0, textMax) ?? null,
    servedModel: receipt.servedModel?.slice(0, textMax) ?? null,
    tier: receipt.tier?.slice(0, textMax) ?? null,
    priceId: receipt.priceId,
    status,
    ended,
    fault,
    basis: receipt.basis,
    usage,
    held: receipt.held,
    cost: receipt.cost,
    attempts: receipt.attempts.length,
    lineMs: Math.round(receipt.lineMs),
    firstTokenMs: receipt.firstTokenMs,
    durationMs,
    address: receipt.address,
    userAgent: receipt.userAgent,
    instructionsAdded: receipt.instructionsAdded,
    outputLoweredTo: receipt.outputLoweredTo,
    upstreamRequestId: receipt.upstreamRequestId,
    beganAtMs: receipt.beganAtMs,
  }
}

/** What a client calls a model is not kept at any length. Characters. */
const textMax = 200

/** The one log line of a call: what to search for. Everything else is on its row. */
function factsOf({ id, principal, facts, groupId, accountId, attempts, cost, basis, usage }: Receipt) {
  return {
    call: id,
    user: principal?.user.email,
    key: principal?.key.id,
    group: groupId,
    account: accountId,
    model: facts?.model.slice(0, 100),
    stream: facts?.stream,
    attempts: attempts.length,
    inputTokens: usage.inputTokens,
    outputTokens: usage.outputTokens,
    cost: formatUsd(cost),
    basis,
  }
}
