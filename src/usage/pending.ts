import { fromPlainText, plainText } from '../ledger/plain.ts'
import type { Multiplier } from '../ledger/price.ts'
import type { Funds, HeldCall } from '../ledger/steps.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import type { CallRow } from './record.ts'

/** What was known of a call before it was sent, by which it is told why it cost more than was held. Tokens. */
export interface Expected {
  readonly inputTokens: number
  readonly outputCeiling: number | undefined
  readonly hasHostedTools: boolean
  readonly hasStoredContext: boolean
  readonly hasMedia: boolean
}

/** A call whose response goes on upstream, and everything that is needed to settle it: nothing else may be left of it. */
export interface PendingCall {
  readonly callId: string
  readonly accountId: string
  readonly responseId: string
  readonly funds: Funds
  readonly call: HeldCall
  /** As it stands in the books until then. */
  readonly row: CallRow
  /** As it was named upstream, and what the client calls it where that is another name. */
  readonly model: string
  readonly modelTold: string | null
  /** That it is priced by when the response names none. */
  readonly tier: string
  readonly multiplier: Multiplier
  /** Its group gives away what has no price. */
  readonly isUnpricedFree: boolean
  readonly expected: Expected
  /** The whole input, near the truth, for a response that reports no usage. */
  readonly estimatedInput: number
}

/** What the books know of calls whose responses go on upstream. Each is asked for by one gateway; all of them can settle it. */
export interface PendingCalls {
  /** Those for which nobody asks any more are this gateway's from now on: all that there are, or as many as `takeOverMax`. */
  takeOver(leaseId: string): Promise<readonly PendingCall[]>
  /** The one that made this response, if it is not settled. */
  find(responseId: string): Promise<PendingCall | undefined>
  isSettled(callId: string): Promise<boolean>
}

export const takeOverMax = 200

export function openPending(database: Pick<Database, 'read' | 'commit'>): PendingCalls {
  return {
    async takeOver(leaseId) {
      const left = (await database.read(selectLeft, [takeOverMax])).map(pendingOf)
      const claims = left.map(({ callId, responseId }) => database.commit([claimStep(callId, leaseId, responseId)], 'ordered'))
      const claimed = await Promise.all(claims)
      return left.filter((_, index) => claimed[index]!.done)
    },
    async find(responseId) {
      return (await database.read(selectOne, [responseId])).map(pendingOf)[0]
    },
    async isSettled(callId) {
      return (await database.read(selectSettled, [callId])).length > 0
    },
  }
}

/** Not for a call that was settled before: what comes late out of a journal may be older news. */
export function pendingSteps(pending: PendingCall): readonly Step[] {
  const { callId, responseId, call } = pending
  return [{ statement: insertPending, values: [callId, plainText(pending), responseId, call.leaseId] }]
}

export function pendingEndedSteps(callId: string): readonly Step[] {
  return [{ statement: deletePending, values: [callId] }]
}

function pendingOf({ pending }: Row): PendingCall {
  return fromPlainText(String(pending)) as PendingCall
}

function claimStep(callId: string, leaseId: string, responseId: string): Step {
  return { statement: claim, values: [callId, leaseId, responseId], rows: 1, otherwise: 'another gateway was quicker' }
}

const isOpen = `state in ('held', 'expired')`
/** A lease that has run out stands until all holds by it have been ended, by whoever may: so nothing is taken over sooner than that. */
const isLeft = 'not exists (select 1 from leases where leases.id = background.lease_id)'
const insertPending = statement(`insert into background (call_id, pending, response_id, lease_id)
  select $1, $2, $3, $4 from holds where id = $1 and ${isOpen} on conflict (call_id) do nothing`)
const deletePending = statement('delete from background where call_id = $1')
const selectLeft = statement(`select pending from background join holds on holds.id = call_id
  where ${isOpen} and ${isLeft} order by call_id limit $1`)
const claim = statement(`update background set lease_id = $2, response_id = $3 where call_id = $1 and ${isLeft}`)
const selectOne = statement(`select pending from background join holds on holds.id = call_id where response_id = $1 and ${isOpen}`)
const selectSettled = statement(`select 1 as settled from holds where id = $1 and state in ('settled', 'settled_late')`)
