import type { AnswerFacts } from '../protocols/protocol.ts'
import type { Admission } from './admit.ts'
import { estimatedInput } from './estimate.ts'
import type { Reply } from './forward.ts'
import type { Gateway } from './gateway.ts'
import type { Outcome } from './relay.ts'
import { rowOf } from './row.ts'
import { modelToTell, ownersOf, settle, tierAsked } from './settle.ts'
import { expectedOf } from './uncollected.ts'

type Parts = Parameters<typeof settle>[3] & Pick<Gateway, 'background'>

/** Settles what is over; what goes on upstream is left to whoever asks for it until it is. Durable when it resolves. */
export function conclude(outcome: Outcome, admission: Admission, how: 'heard' | 'client_left', gateway: Parts): Promise<void> {
  const isOver = !admission.call.facts.background
  return isOver ? settle(outcome, admission, how, gateway) : concludeInBackground(outcome, admission, how, gateway)
}

async function concludeInBackground(outcome: Outcome, admission: Admission, how: 'heard' | 'client_left', gateway: Parts): Promise<void> {
  const { receipt } = admission
  const { facts, reply } = outcome
  if (receipt.isPending && facts === undefined) return gateway.background.watch(receipt.id)
  if (!receipt.isPending && reply.beginning.kind === 'json' && facts !== undefined && goesOn(facts, admission)) {
    await begin(facts, reply, admission, gateway)
    return gateway.background.watch(receipt.id)
  }
  await settle(outcome, admission, how, gateway)
  if (receipt.isPending) gateway.background.ended(receipt.id)
}

/** Whether a response that was asked for in the background is there and not over yet. */
export function goesOn({ status, responseId }: AnswerFacts, { call }: Admission): boolean {
  return call.facts.background && responseId !== null && (status === 'queued' || status === 'in_progress')
}

/** Before the client hears its id: from now on it is theirs, and its money stays aside whatever becomes of this gateway. */
export async function begin(facts: AnswerFacts, reply: Reply, admission: Admission, gateway: Parts): Promise<void> {
  const { receipt, hold, call, offer } = admission
  const { server, attempt } = reply
  receipt.accountId = server.account.id
  receipt.basis = 'pending'
  receipt.upstreamRequestId = attempt.upstreamRequestId ?? null
  receipt.isPending = true
  const expected = expectedOf(admission)
  const pending = {
    callId: receipt.id,
    accountId: server.account.id,
    responseId: facts.responseId ?? '',
    funds: hold.funds,
    call: hold.call,
    row: rowOf(receipt, { status: 200, ended: 'running', fault: null }, gateway),
    model: server.model,
    modelTold: modelToTell(server, call.facts),
    tier: tierAsked(admission, server.account.defaultTier),
    multiplier: offer.group.multiplier,
    isUnpricedFree: offer.group.unpriced === 'free',
    expected,
    estimatedInput: estimatedInput(admission),
  }
  const owners = ownersOf(facts, reply, admission, { contextTokens: expected.inputTokens, atMs: gateway.clock.nowMs() })
  admission.handOver()
  await gateway.background.begin(pending, receipt.attempts, owners)
}
