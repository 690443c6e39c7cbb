import { Fault } from '../../lib/fault.ts'
import { tryOne } from '../forward.ts'
import type { Gateway } from '../gateway.ts'
import { finish, learn, refuse } from '../handle.ts'
import { relay } from '../relay.ts'
import { settle } from '../settle.ts'
import type { Conversation } from './conversation.ts'
import { remember } from './create.ts'
import type { Exchange } from './exchange.ts'
import type { Successor, Turn } from './turn.ts'

/**
 * After a response has ended: the one that its steering made, told and billed as a call of its own. Resolves with it when that has ended
 * too; with undefined when there is none. A successor that never comes gives back its hold.
 */
export async function follow(turn: Turn, conversation: Conversation, gateway: Gateway): Promise<Turn | undefined> {
  await turn.exchange?.over
  const { successor } = turn
  if (successor === undefined) return undefined
  const exchange = await comingOf(successor, gateway)
  if (exchange === undefined) return undefined
  await succeed(successor, exchange, { previous: turn, conversation, gateway })
  return successor.turn
}

/** Waits for it no longer than for the first event of any stream, and not at all when the gateway stops. */
async function comingOf(successor: Successor, { clock, settings, closing }: Gateway): Promise<Exchange | undefined> {
  const giveUp = () => void successor.end()
  using _ = clock.after(settings.firstEventTimeoutMs, giveUp)
  closing.addEventListener('abort', giveUp)
  if (closing.aborted) giveUp()
  try {
    return await successor.exchange
  } finally {
    closing.removeEventListener('abort', giveUp)
  }
}

type After = { readonly previous: Turn; readonly conversation: Conversation; readonly gateway: Gateway }

async function succeed(successor: Successor, exchange: Exchange, { previous, conversation, gateway }: After): Promise<void> {
  const { turn, accountSlot } = successor
  const { client, call, server } = turn
  if (successor.admission === undefined || call === undefined || server === undefined) throw new Error('a successor was never admitted')
  const known = conversation.contextOf(previous.exchange?.responseId ?? '')
  const later = successor.inputTokens - call.inputTokens // Of all that was steered the body has what came first.
  const { admission } = successor
  if (known !== undefined) admission.contextTokens = known + later
  const { receipt } = admission
  try {
    using _call = call
    await using _admission = admission
    const egress: Gateway['egress'] = { ...gateway.egress, send: (_, handler) => exchange.readBy(handler) }
    const tried = await tryOne({ server, slot: accountSlot }, undefined, { admission, client, gateway: { ...gateway, egress }, cuts: [] })
    if ('fault' in tried) throw new Fault('upstream_failed')
    await using reply = tried
    call.body.lend()
    const outcome = await relay(reply, admission, client, gateway)
    try {
      await settle(outcome, admission, 'heard', gateway)
      learn(outcome, admission.principal.key.id, gateway)
    } finally {
      remember(conversation, outcome.facts?.responseId ?? undefined, receipt)
      finish(outcome, call, client)
    }
  } catch (error) {
    refuse(Fault.from(error), { client, receipt, gateway })
  }
  await client.over
}
