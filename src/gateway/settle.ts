import { costOf, hasTier } from '../ledger/price.ts'
import { newId } from '../lib/id.ts'
import type { Admission } from './admit.ts'
import { beside } from './beside.ts'
import type { CallEnd } from './books.ts'
import { metersOf } from './choose.ts'
import { usageOf } from './estimate.ts'
import type { Gateway } from './gateway.ts'
import type { Ending, Receipt } from './receipt.ts'
import type { Outcome } from './relay.ts'
import { rowOf, tell } from './row.ts'
import { whyBeyondHold } from './uncollected.ts'

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
  const end = await callEnd(outcome, admission, how, gateway)
  admission.handOver() // Only now: until then the hold is released if anything goes wrong.
  if (end.row !== undefined) tell(end.row, admission.receipt, gateway)
  await gateway.books.end(end)
  if (outcome !== undefined) await correctRates(admission, outcome, gateway)
}

async function callEnd(outcome: Outcome | undefined, admission: Admission, how: 'heard' | 'client_left', gateway: Parts): Promise<CallEnd> {
  const { receipt, hold } = admission
  const ending = endingOf(outcome, how, receipt)
  const end = { callId: receipt.id, funds: hold.funds, call: hold.call, attempts: receipt.attempts }
  if (outcome === undefined || outcome.reply.beginning.kind === 'refusal') return { ...end, row: rowOf(receipt, ending, gateway) }
  await price(outcome, admission, how, gateway)
  const atMs = gateway.clock.nowMs()
  return {
    ...end,
    charge: { cost: receipt.cost, entryId: newId(atMs), atMs },
    row: rowOf(receipt, ending, gateway),
    owners: ownersOf(outcome, admission, atMs),
  }
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

/** Puts on the receipt what was used, by whom, at which price, and how that is known. */
async function price(outcome: Outcome, admission: Admission, how: 'heard' | 'client_left', gateway: Parts): Promise<void> {
  const { receipt } = admission
  const { server, attempt } = outcome.reply
  const { group } = admission.offer
  const { priceBook } = gateway.directory.snapshot()
  const { usage, basis } = await usageOf(outcome, admission, how, gateway)
  const told = outcome.facts ?? outcome.told
  const said = told.model ?? undefined
  const atMs = receipt.beganAtMs
  const model = said !== undefined && priceBook.resolve(said, atMs) !== undefined ? said : server.model
  const tier = told.serviceTier ?? tierAsked(admission, server.account.defaultTier)
  // What the group gave away when it was asked for is not charged by what it turned out to be.
  const isGivenAway = group.unpriced === 'free' && priceBook.resolve(server.model, atMs) === undefined
  const version = isGivenAway ? undefined : priceBook.find({ model, tier, contextTokens: usage.inputTokens, atMs })
  receipt.accountId = server.account.id
  receipt.servedModel = said ?? server.model
  receipt.tier = tier
  receipt.priceId = version?.id ?? null
  receipt.usage = usage
  receipt.basis = basis
  receipt.cost = version === undefined ? 0n : costOf(usage, version, group.multiplier)
  if (version !== undefined && !hasTier(version, tier)) gateway.metrics.tierUnpriced.inc({ model: version.model })
  receipt.uncollectedWhy = whyBeyondHold(admission)
  receipt.upstreamRequestId = attempt.upstreamRequestId ?? null
}

function tierAsked({ call }: Admission, defaultTier: string): string {
  const asked = call.facts.serviceTier
  return asked === undefined || asked === 'auto' ? defaultTier : asked
}

/** An answer has no more items worth remembering than this. */
const itemsMax = 200

function ownersOf({ facts, reply }: Outcome, { call, principal, receipt }: Admission, atMs: number) {
  const { account } = reply.server
  if (facts === undefined || facts.responseId === null || !call.facts.store || !account.capabilities.stateful) return []
  const owner = { userId: principal.user.id, accountId: account.id, atMs }
  const contextTokens = receipt.usage.inputTokens + receipt.usage.outputTokens
  return [
    { ...owner, id: facts.responseId, kind: 'response', contextTokens },
    ...(facts.conversationId === null ? [] : [{ ...owner, id: facts.conversationId, kind: 'conversation', contextTokens }]),
    ...facts.itemIds.slice(0, itemsMax).map(id => ({ ...owner, id, kind: 'item', contextTokens: 0 })),
  ]
}

/** Rates were spent on an estimate of the input; now it is known what was used. */
async function correctRates({ call, hold, receipt }: Admission, { reply }: Outcome, { coordinator, log }: Parts): Promise<void> {
  const { account } = reply.server
  const { usage } = receipt
  const ofAccount = metersOf(`account:${account.id}`, account, call.inputTokens)
  const meters = [...hold.meters, ...ofAccount].filter(({ name }) => name.endsWith(':tokens'))
  if (meters.length === 0) return
  const used = usage.inputTokens + usage.outputTokens
  const corrections = meters.map(meter => ({ ...meter, amount: used - meter.amount }))
  await beside('correcting rates', log, () => coordinator.correct(corrections))
}
