import type { Principal } from '../../directory/snapshot.ts'
import { Fault } from '../../lib/fault.ts'
import { admit } from '../admit.ts'
import { authenticate } from '../authenticate.ts'
import { type Bound, bind, offersWith } from '../bind.ts'
import { forward } from '../forward.ts'
import type { Gateway } from '../gateway.ts'
import { finish, learn, refuse } from '../handle.ts'
import { type Call, readCall } from '../read-call.ts'
import { newReceipt, type Receipt } from '../receipt.ts'
import { relay } from '../relay.ts'
import { settle } from '../settle.ts'
import type { Conversation } from './conversation.ts'
import type { Turn } from './turn.ts'

/** Under which the books have what came over a WebSocket. */
export const socketPath = '/v1/responses (websocket)'

/**
 * One `response.create`: a call like any other, but for the way out and back. Never rejects; resolves when the client has heard its end,
 * or is gone.
 */
export async function create(turn: Turn, conversation: Conversation, gateway: Gateway): Promise<void> {
  const { client, places } = turn
  const receipt = newReceipt(client, socketPath, gateway.clock)
  try {
    const principal = await authenticate(client, receipt, gateway)
    gateway.brake.check(principal.key.id)
    using call = await readCall(client, principal, receipt, gateway)
    conversation.mayGoOn()
    using leading = await conversation.lead()
    const bound = await boundOn(conversation, call, principal, gateway)
    await using admission = await admit({ principal, call, bound, receipt }, client, { ...gateway, coordinator: places.coordinator })
    Object.assign(turn, { admission, call })
    const egress: Gateway['egress'] = {
      ...gateway.egress,
      send: (outbound, handler) => {
        turn.exchange = conversation.upstream(outbound).send(client.streamId ?? '', outbound.body, handler)
      },
    }
    await using reply = await forward(admission, client, { ...gateway, egress, coordinator: places.coordinator })
    turn.server = reply.server
    if (reply.beginning.kind === 'stream') conversation.stayAt(reply.server)
    leading[Symbol.dispose]()
    call.body.lend()
    const outcome = await relay(reply, admission, client, gateway)
    try {
      await settle(outcome, admission, 'heard', gateway)
      learn(outcome, principal.key.id, gateway)
    } finally {
      remember(conversation, outcome.facts?.responseId ?? undefined, receipt)
      finish(outcome, call, client)
    }
  } catch (error) {
    client.unread()
    refuse(Fault.from(error), { client, receipt, gateway })
  }
  await client.over
}

/** What a later call of this socket may go on from, and how much that is. */
export function remember(conversation: Conversation, responseId: string | undefined, { usage }: Receipt): void {
  if (responseId !== undefined) conversation.remember(responseId, usage.inputTokens + usage.outputTokens)
}

/** What was made on this socket is its client's, stored or not; of everything else the owners are looked up. All of it stays at one account. */
async function boundOn(conversation: Conversation, call: Call, principal: Principal, gateway: Gateway): Promise<Bound> {
  const { accountId } = conversation
  const owners: Gateway['owners'] = {
    ...gateway.owners,
    async ownersOf(ids) {
      const found = await gateway.owners.ownersOf(ids)
      for (const id of ids) {
        const contextTokens = conversation.contextOf(id)
        if (contextTokens === undefined || accountId === undefined) continue
        found.set(id, { userId: principal.user.id, accountId, contextTokens, kind: 'response', model: null })
      }
      return found
    },
  }
  const bound = await bind(call, principal, { ...gateway, owners })
  if (accountId === undefined) return bound
  if (bound.accountId !== undefined && bound.accountId !== accountId) {
    // It lives at another account. A client that hears so sends its context whole, or opens another socket.
    const id = call.facts.previousResponseId
    throw id === undefined ? new Fault('context_split') : new Fault('response_not_found', { values: { id } })
  }
  return { ...bound, accountId, offers: offersWith(accountId, call.offers) }
}
