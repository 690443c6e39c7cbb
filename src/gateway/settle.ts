import type { Meter } from '../coordination/coordinator.ts'
import type { NewOwner } from '../directory/owners.ts'
import { newId } from '../lib/id.ts'
import type { Soon } from '../lib/soon.ts'
import type { AnswerFacts, CallFacts } from '../protocols/protocol.ts'
import type { Server } from '../upstreams/choosable.ts'
import type { CallRow } from '../usage/record.ts'
import type { Admission } from './admit.ts'
import { beside } from './beside.ts'
import type { CallEnd } from './books.ts'
import { type Used, usageOf } from './estimate.ts'
import type { Reply } from './forward.ts'
import type { Gateway } from './gateway.ts'
import { metersOfAccount } from './meters.ts'
import { priceOf } from './pricing.ts'
import { type Ending, keptCharsMax, type Receipt } from './receipt.ts'
import type { Outcome } from './relay.ts'
import { rowOf, tell } from './row.ts'
import { expectedOf, whyBeyondHold } from './uncollected.ts'

type Parts = Pick<Gateway, 'books' | 'clock' | 'coordinator' | 'counter' | 'directory' | 'log' | 'metrics'>

/**
 * Books what a call cost, before its last byte leaves: when this resolves the charge is durable, in the books or in the
 * journal. A call that nobody answered costs nothing.
 */
export async function settle(
  outcome: Outcome | undefined,
  admission: Admission,
  how: 'heard' | 'client_left',
  gateway: Parts,
): Promise<void> {
  const { receipt } = admission
  const isAnswered = outcome !== undefined && outcome.reply.beginning.kind !== 'refusal'
  if (isAnswered) {
    const used = usageOf(outcome, admission, how, gateway)
    price(outcome, admission, used instanceof Promise ? await used : used, gateway)
  }
  const row = rowOf(receipt, endingOf(outcome, how, receipt), gateway)
  const end = isAnswered ? chargeOf(outcome, admission, row, gateway) : releaseOf(admission, row)
  admission.handOver() // Only now: until then the hold is released if anything goes wrong.
  const ending = gateway.books.end(end)
  let correcting: Soon<unknown>
  try {
    // While the disk is at work.
    tell(row, receipt.principal?.user.email, gateway)
    const corrections = outcome === undefined ? [] : correctionsOf(admission, outcome)
    if (corrections.length > 0) correcting = beside('correcting rates', gateway.log, () => gateway.coordinator.correct(corrections))
  } finally {
    await ending // Whatever else goes wrong, no last byte leaves before.
  }
  if (correcting instanceof Promise) await correcting
}

/** Puts on the receipt what was used, by whom, at which price, and how that is known. */
function price(outcome: Outcome, admission: Admission, { usage, basis }: Used, gateway: Parts): void {
  const { receipt, offer } = admission
  const { server, attempt } = outcome.reply
  const served = {
    facts: outcome.facts ?? outcome.told,
    usage,
    model: server.model,
    tier: tierAsked(admission, server.account.defaultTier),
    multiplier: offer.group.multiplier,
    isUnpricedFree: offer.group.unpriced === 'free',
    atMs: receipt.beganAtMs,
  }
  const { servedModel, tier, priceId, cost } = priceOf(served, gateway)
  receipt.accountId = server.account.id
  receipt.usage = usage
  receipt.basis = basis
  receipt.servedModel = servedModel
  receipt.tier = tier
  receipt.priceId = priceId
  receipt.cost = cost
  receipt.uncollectedWhy = whyBeyondHold(expectedOf(admission), usage)
  receipt.upstreamRequestId = attempt.upstreamRequestId ?? null
}

export function tierAsked({ call }: Admission, defaultTier: string): string {
  const asked = call.facts.serviceTier
  return asked === undefined || asked === 'auto' ? defaultTier : asked
}

function endingOf(outcome: Outcome | undefined, how: 'heard' | 'client_left', { attempts }: Receipt): Ending {
  // Without an answer, what became of the last attempt says why there is nothing to pay.
  const fault = (outcome === undefined ? attempts.at(-1)?.fault : outcome.fault) ?? null
  if (how === 'client_left') return { status: outcome?.status ?? 499, ended: 'client_left', fault }
  if (outcome === undefined) return { status: 499, ended: 'client_left', fault }
  if (outcome.reply.beginning.kind === 'refusal') return { status: outcome.status, ended: 'refused', fault }
  return { status: outcome.status, ended: endedOf(outcome), fault }
}

function endedOf({ facts, error }: Outcome): Ending['ended'] {
  if (facts === undefined) return error === undefined ? 'cut' : 'failed'
  const { status } = facts
  return status === 'incomplete' || status === 'failed' || status === 'cancelled' ? status : 'completed'
}

function chargeOf({ facts, reply }: Outcome, admission: Admission, row: CallRow, { clock }: Parts): CallEnd {
  const { receipt, hold } = admission
  const { inputTokens, outputTokens } = receipt.usage
  const atMs = clock.nowMs()
  return {
    callId: receipt.id,
    funds: hold.funds,
    call: hold.call,
    charge: { cost: receipt.cost, entryId: newId(atMs), atMs },
    row,
    attempts: receipt.attempts,
    owners: ownersOf(facts, reply, admission, { contextTokens: inputTokens + outputTokens, atMs }),
    endsPending: receipt.isPending,
  }
}

/** An answer has no more items or containers worth remembering than this, each. */
const idsMax = 200

/** Of the response, its conversation and its items: whoever asks for one of them later must be who made it. */
export function ownersOf(
  facts: AnswerFacts | undefined,
  { server }: Reply,
  { call, principal }: Admission,
  { contextTokens, atMs }: { contextTokens: number; atMs: number },
): NewOwner[] {
  const { account } = server
  // One in the background is kept for a while whatever was asked: else nobody could fetch it.
  const isKept = call.facts.store || call.facts.background
  if (facts === undefined || !account.capabilities.stateful) return []
  const owner = { userId: principal.user.id, accountId: account.id, contextTokens, atMs, model: modelToTell(server, call.facts) }
  if (facts.responseId !== null && isKept) return madeIn(facts, owner)
  return facts.containerIds.slice(0, idsMax).map(id => withoutContext(id, 'container', owner))
}

/** What an answer made, each with its owner. */
export function madeIn(facts: AnswerFacts, owner: Omit<NewOwner, 'id' | 'kind'>): NewOwner[] {
  const { responseId, conversationId, itemIds, containerIds } = facts
  const made: NewOwner[] = []
  if (responseId !== null) made.push({ ...owner, id: responseId, kind: 'response' })
  if (conversationId !== null) made.push({ ...owner, id: conversationId, kind: 'conversation', model: null })
  for (const id of itemIds.slice(0, idsMax)) made.push(withoutContext(id, 'item', owner))
  for (const id of containerIds.slice(0, idsMax)) made.push(withoutContext(id, 'container', owner))
  return made
}

function withoutContext(id: string, kind: string, { userId, accountId, atMs }: Pick<NewOwner, 'userId' | 'accountId' | 'atMs'>): NewOwner {
  return { id, kind, userId, accountId, contextTokens: 0, atMs, model: null }
}

/** What the client calls the model, where its upstream was told another name: so it is told again by that. */
export function modelToTell(server: Server, { model }: CallFacts): string | null {
  return server.model === model ? null : model.slice(0, keptCharsMax)
}

function releaseOf({ receipt, hold }: Admission, row: CallRow): CallEnd {
  return { callId: receipt.id, funds: hold.funds, call: hold.call, row, attempts: receipt.attempts }
}

/** Rates were spent on an estimate of the input; now it is known what was used. */
function correctionsOf({ call, hold, receipt }: Admission, { reply }: Outcome): Meter[] {
  const used = receipt.usage.inputTokens + receipt.usage.outputTokens
  const corrections: Meter[] = []
  for (const meters of [hold.meters, metersOfAccount(reply.server.account, call.inputTokens)]) {
    for (const meter of meters) {
      if (meter.name.endsWith(':tokens')) corrections.push({ ...meter, amount: used - meter.amount })
    }
  }
  return corrections
}
