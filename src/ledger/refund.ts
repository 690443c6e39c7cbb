import type { Clock } from '../lib/clock.ts'
import { newId } from '../lib/id.ts'
import { type Database, type Step, statement } from '../storage/database.ts'
import { type Funds, fundsOf } from './steps.ts'
import { lockStep, theseWindows, windowValues } from './subscription.ts'

/** A charge that somebody gives back, once per call. */
export interface Refunding {
  readonly callId: string
  /** Nano-dollars, above zero; all that was charged when it is left out. */
  readonly amount?: bigint | undefined
  readonly reason: string
  readonly author: string
}

/**
 * `refunded` and `charged` are what was given back and what had been taken. `repeated`: the same refund was made before.
 * `not_charged`: the call still runs, was released, or cost nothing. `too_much`: more than was charged.
 * `refunded_already`: another amount.
 */
export type Refunded =
  | { readonly refunded: bigint; readonly charged: bigint; readonly repeated: boolean }
  | { readonly refused: 'call_unknown' | 'not_charged' }
  | { readonly refused: 'too_much'; readonly charged: bigint }
  | { readonly refused: 'refunded_already'; readonly refunded: bigint }

/** What was given back of a call, as its receipt says it. */
export interface Refund {
  /** Nano-dollars. */
  readonly amount: bigint
  readonly reason: string
  readonly author: string
  readonly atMs: number
}

/**
 * Gives back what a settled call was charged, whole or in part: to the wallet that paid it, as an entry, or as room in the
 * windows in which the call began. Throws when the amount is not above zero.
 */
export async function refund(database: Pick<Database, 'read' | 'commit'>, clock: Clock, refunding: Refunding): Promise<Refunded> {
  const { callId, reason, author } = refunding
  if (refunding.amount !== undefined && refunding.amount <= 0n) throw new Error(`A refund must be above zero, not ${refunding.amount}.`)
  const [hold] = await database.read(readCharged, [callId])
  if (hold === undefined) return { refused: 'call_unknown' }
  const charged = hold.settled as bigint
  const amount = refunding.amount ?? charged
  if (charged === 0n) return { refused: 'not_charged' }
  const committed = await database.commit(refundSteps({ callId, amount, reason, author }, fundsOf(hold), clock.nowMs()), 'synced')
  if (committed.done) return { refunded: amount, charged, repeated: false }
  if (committed.guard !== 'refunded_already') throw new Error(`The charge of call ${callId} cannot be given back: ${committed.guard}.`)
  if (amount > charged) return { refused: 'too_much', charged }
  const [found] = await database.read(readCharged, [callId])
  const refunded = found!.refunded as bigint
  return refunded === amount ? { refunded, charged, repeated: true } : { refused: 'refunded_already', refunded }
}

/** Null when nothing was given back. */
export async function readRefund(database: Pick<Database, 'report'>, callId: string): Promise<Refund | null> {
  const [row] = await database.report(readGiven, [callId])
  if (row === undefined) return null
  const { refunded, refund_reason: reason, refund_author: author, refunded_at: at } = row
  return { amount: refunded as bigint, reason: reason as string, author: author as string, atMs: Number(at) }
}

/** Guard: `refunded_already`, the first step, when something was given back before, or less was charged. */
function refundSteps(given: Refunding & { readonly amount: bigint }, funds: Funds, nowMs: number): readonly Step[] {
  const { callId, amount, reason, author } = given
  const once = { statement: markRefunded, values: [callId, amount, reason, author, nowMs], rows: 1, otherwise: 'refunded_already' }
  if (funds.kind === 'wallet') {
    return [
      once,
      { statement: insertRefund, values: [callId, newId(nowMs)], rows: 1, otherwise: 'wallet_unknown' },
      { statement: payBack, values: [funds.walletId, callId], rows: 1, otherwise: 'wallet_unknown' },
    ]
  }
  return [
    once,
    lockStep(funds),
    { statement: freeWindows, values: [...windowValues(funds), callId], rows: 3, otherwise: 'windows_missing' },
  ]
}

const readCharged =
  statement(`select holds.wallet_id, holds.subscription_id, holds.began_at, holds.settled, holds.refunded, subscriptions.starts_at, subscriptions.ends_at
  from holds left join subscriptions on subscriptions.id = holds.subscription_id where holds.id = $1`)

const markRefunded = statement(`update holds set refunded = $2, refund_reason = $3, refund_author = $4, refunded_at = $5
  where id = $1 and state in ('settled', 'settled_late') and refunded = 0 and settled >= $2`)

const insertRefund = statement(`insert into entries (id, wallet_id, kind, reference, amount, reason, author, created_at)
  select $2, wallet_id, 'refund', id, refunded, refund_reason, refund_author, refunded_at from holds where id = $1`)

const payBack = statement('update wallets set balance = balance + (select refunded from holds where id = $2) where id = $1')

const freeWindows = statement(`update windows set used = used - (select refunded from holds where id = $5) where ${theseWindows}`)

const readGiven = statement('select refunded, refund_reason, refund_author, refunded_at from holds where id = $1 and refunded > 0')
