import { fromPlainText, plainText } from '../ledger/plain.ts'
import type { Multiplier } from '../ledger/price.ts'
import type { Funds, HeldCall } from '../ledger/steps.ts'
import { type Database, type Step, statement } from '../storage/database.ts'
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

/** Not for a call that was settled before: what comes late out of a journal may be older news. */
export function pendingSteps(pending: PendingCall): readonly Step[] {
  return [{ statement: insertPending, values: [pending.callId, plainText(pending)] }]
}

export function pendingEndedSteps(callId: string): readonly Step[] {
  return [{ statement: deletePending, values: [callId] }]
}

/** All that wait to be settled. */
export async function readPending(database: Pick<Database, 'report'>): Promise<PendingCall[]> {
  const rows = await database.report(selectPending)
  return rows.map(({ pending }) => fromPlainText(String(pending)) as PendingCall)
}

const open = `state in ('held', 'expired')`
const insertPending = statement(`insert into background (call_id, pending) select $1, $2 from holds where id = $1 and ${open}
  on conflict (call_id) do nothing`)
const deletePending = statement('delete from background where call_id = $1')
const selectPending = statement(`select pending from background join holds on holds.id = call_id where ${open} order by call_id`)
