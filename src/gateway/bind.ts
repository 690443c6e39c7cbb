import type { Principal } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import { type Soon, whenThere } from '../lib/soon.ts'
import type { CallFacts } from '../protocols/protocol.ts'
import { orBooksAway } from './books-away.ts'
import type { Gateway } from './gateway.ts'
import type { Offer } from './offers.ts'
import type { Call } from './read-call.ts'

/** What a call that refers to something kept upstream is bound to. */
export interface Bound {
  readonly accountId: string | undefined
  /** Tokens of the stored context, as that response used them. */
  readonly contextTokens: number
  readonly offers: readonly Offer[]
}

/** Each is looked up before any money is. */
const idsMax = 5_000

/**
 * Looks up the owners of the ids that the call refers to. Another user's id is answered exactly as an unknown one: by us,
 * with the same words, after the same one look-up. An item that nobody owns goes upstream, whose 400 is relayed.
 */
export function bind({ facts, offers }: Pick<Call, 'facts' | 'offers'>, principal: Principal, gateway: Parts): Soon<Bound> {
  return whenThere(lookUp(facts, principal, gateway), ({ accountId, contextTokens }) => ({
    accountId,
    contextTokens,
    offers: accountId === undefined ? offers : offersWith(accountId, offers),
  }))
}

type Parts = Pick<Gateway, 'owners' | 'clock' | 'settings'>
type Referring = Pick<CallFacts, 'previousResponseId' | 'conversationId' | 'itemReferences' | 'fileIds'>

/** The same, whoever may be asked. At once when the call refers to nothing. */
export function lookUp(facts: Referring, principal: Principal, gateway: Parts): Soon<Omit<Bound, 'offers'>> {
  const { previousResponseId, conversationId, itemReferences, fileIds } = facts
  const isFree = previousResponseId === undefined && conversationId === undefined && itemReferences.length + fileIds.length === 0
  return isFree ? nothing : ownersOf(facts, principal, gateway)
}

const nothing: Omit<Bound, 'offers'> = { accountId: undefined, contextTokens: 0 }

async function ownersOf(facts: Referring, { user }: Principal, gateway: Parts): Promise<Omit<Bound, 'offers'>> {
  const { previousResponseId, conversationId, itemReferences, fileIds } = facts
  const required = [previousResponseId, conversationId].filter(id => id !== undefined)
  const ids = [...new Set([...required, ...itemReferences, ...fileIds])]
  if (ids.length > idsMax) throw new Fault('too_many_ids', { values: { count: ids.length, most: idsMax } })

  const found = await orBooksAway(() => gateway.owners.ownersOf(ids), gateway)
  const isMine = (id: string) => found.get(id)?.userId === user.id
  if (previousResponseId !== undefined && !isMine(previousResponseId)) {
    throw new Fault('response_not_found', { values: { id: previousResponseId } })
  }
  if (conversationId !== undefined && !isMine(conversationId)) {
    throw new Fault('conversation_not_found', { values: { id: conversationId } })
  }
  const file = fileIds.find(id => !isMine(id))
  if (file !== undefined) throw new Fault('file_not_found', { values: { id: file } })
  const foreign = itemReferences.find(id => found.has(id) && !isMine(id))
  if (foreign !== undefined) {
    const isContainer = found.get(foreign)?.kind === 'container'
    throw new Fault(isContainer ? 'container_not_found' : 'item_not_found', { values: { id: foreign } })
  }

  const accountIds = new Set([...found.values()].map(({ accountId }) => accountId))
  if (accountIds.size > 1) throw new Fault('context_split')
  const [accountId] = accountIds
  const contextTokens = required.reduce((sum, id) => sum + (found.get(id)?.contextTokens ?? 0), 0)
  return { accountId, contextTokens }
}

/** What of the offers that account can take; fails when that is nothing. */
export function offersWith(accountId: string, offers: readonly Offer[]): Offer[] {
  const having = offers.filter(({ choosable }) => choosable.only(accountId).servers.length > 0)
  if (having.length > 0) return having
  throw goneAccount()
}

/** Nobody else has what it kept. */
export function goneAccount(): Fault {
  return new Fault('accounts_unavailable', { values: { why: 'the account that holds what this call refers to no longer serves this key' } })
}
