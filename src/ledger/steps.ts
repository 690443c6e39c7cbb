import { type Committed, type Row, type Step, statement, type Value } from '../storage/database.ts'
import { lockStep, type SubscriptionFunds, selectRoom, subscriptionFunds, theseWindows, windowSteps, windowValues } from './subscription.ts'

/**
 * The life of a hold, as steps: whoever ends a call puts them into one transaction with its row and its owners.
 *
 *   held ──▶ settled    it was answered: its cost is taken, the rest given back
 *        ──▶ released   nothing was served: all is given back
 *        ──▶ expired    its gateway died: all is given back ──▶ settled_late    its cost is taken, out of what is free by then
 *
 * While it is held it may be extended; once it is settled, what was taken may be given back (`refund.ts`).
 *
 * The hold's own row comes first in each, because whoever has it changed is the one who ends it; then the wallet's or the
 * subscription's. That order is also what keeps overlapping transactions from waiting for each other in a ring. A hold comes to its own row
 * last, because that is not there yet; should it be there, it does not try to insert it, which would wait for whoever changes it.
 */

/** Whose money a call takes. */
export type Funds = WalletFunds | SubscriptionFunds

export interface WalletFunds {
  readonly kind: 'wallet'
  readonly walletId: string
}

/** What is kept with a hold, so that a call whose gateway died still has a row. */
export interface HeldCall {
  readonly leaseId: string
  readonly userId: string
  readonly keyId: string
  readonly groupId: string
  readonly model: string
  readonly path: string
  readonly address: string
  readonly stream: boolean
  readonly beganAtMs: number
}

/** `floor` and `want` are nano-dollars, as `sizeHold` says them. */
export interface HoldRequest extends HeldCall {
  readonly callId: string
  readonly funds: Funds
  readonly floor: bigint
  readonly want: bigint
  readonly halfOfFree: boolean
}

export interface Settle {
  readonly callId: string
  /** Nano-dollars. What is taken is at most the hold plus what is free. */
  readonly cost: bigint
  readonly atMs: number
  readonly funds: Funds
  /** The id of the ledger's entry, made by the caller so that a repetition makes the same one. */
  readonly entryId: string
}

/** Guards: `short` when not even the floor fits or the call has a hold, `held_already` when it gets one in this moment. Returns `granted`. */
export function holdSteps(request: HoldRequest): readonly Step[] {
  const { funds, callId, floor, want } = request
  const wish = [floor, want, request.halfOfFree ? 1 : 0]
  const call = [request.leaseId, ...callValues(request)]
  if (funds.kind === 'wallet') {
    return [
      { statement: takeFromWallet, values: [funds.walletId, ...wish, callId], rows: 1, otherwise: 'short' },
      { statement: insertWalletHold, values: [funds.walletId, callId, ...call], rows: 1, otherwise: 'held_already' },
      { statement: readGrant, values: [callId] },
    ]
  }
  const values = windowValues(funds)
  return [
    ...windowSteps(funds),
    { statement: insertWindowHold, values: [...values, callId, ...wish, ...call], rows: 1, otherwise: 'short' },
    { statement: takeFromWindows, values: [...values, callId], rows: 3, otherwise: 'windows_missing' },
    { statement: readGrant, values: [callId] },
  ]
}

/**
 * Sets aside more for a call that runs: `to` in all, or as much of it as is free. It names the total, so repeating it changes
 * nothing, and it never lowers. Guard: `ended_already`, the first step. Returns the total as `granted`.
 */
export function extendSteps(callId: string, funds: Funds, to: bigint): readonly Step[] {
  const open = { statement: lockHold, values: [callId], rows: 1, otherwise: 'ended_already' }
  const grant = { statement: readGrant, values: [callId] }
  // What is held goes back first, and all of the larger amount is taken again: so what is free is reckoned in one way only.
  const giveBack = giveBackSteps(callId, funds, 'held')
  if (funds.kind === 'wallet') {
    return [
      open,
      ...giveBack,
      { statement: growInWallet, values: [funds.walletId, callId, to] },
      { statement: takeAgain, values: [funds.walletId, callId], rows: 1, otherwise: 'wallet_unknown' },
      grant,
    ]
  }
  const values = windowValues(funds)
  return [
    open,
    ...giveBack,
    { statement: growInWindows, values: [...values, callId, to] },
    { statement: takeFromWindows, values: [...values, callId], rows: 3, otherwise: 'windows_missing' },
    grant,
  ]
}

/** Guard: `ended_already`, the first step, when it was settled or released before. Read what was taken with `readSettled`. */
export function settleSteps(settle: Settle): readonly Step[] {
  const { callId, cost, funds } = settle
  const end = { statement: settleHold, values: [callId, cost], rows: 1, otherwise: 'ended_already' }
  if (funds.kind === 'wallet') {
    return [
      end,
      { statement: giveBackToWallet, values: [funds.walletId, callId, 'settled'] },
      { statement: chargeWallet, values: [funds.walletId, cost], rows: 1, otherwise: 'wallet_unknown' },
      { statement: lowerCharge, values: [funds.walletId, callId] },
      { statement: insertCharge, values: [callId, settle.entryId, funds.walletId, settle.atMs] },
      { statement: readCharge, values: [callId] },
    ]
  }
  const values = windowValues(funds)
  return [
    end,
    ...windowSteps(funds),
    { statement: reckonCharge, values: [...values, callId] },
    { statement: chargeWindows, values: [...values, callId], rows: 3, otherwise: 'windows_missing' },
    { statement: readCharge, values: [callId] },
  ]
}

/**
 * The same for a charge out of a journal, which may be all that a power cut has left of its call: a hold that is missing
 * is made anew, keeping nothing, so that the charge comes out of what is free.
 */
export function lateSettleSteps(settle: Settle, call: HeldCall): readonly Step[] {
  return [reviveStep(settle.callId, settle.funds, call), ...settleSteps(settle)]
}

/**
 * The hold outlives its gateway from now on: whoever asks for the response in the background ends it. No guard: one that has ended stays
 * as it is. `late` is a call out of a journal, whose hold may be lost.
 */
export function keepSteps(callId: string, funds: Funds, late: HeldCall | undefined): readonly Step[] {
  const keep = { statement: moveToLasting, values: [callId, lastingLease] }
  return late === undefined ? [keep] : [reviveStep(callId, funds, late), keep]
}

/** It stands among the leases from the first day, and never runs out. */
export const lastingLease = 'background'

function reviveStep(callId: string, funds: Funds, call: HeldCall): Step {
  const [walletId, subscriptionId] = funds.kind === 'wallet' ? [funds.walletId, null] : [null, funds.subscriptionId]
  return { statement: reviveHold, values: [callId, walletId, subscriptionId, call.leaseId, ...callValues(call)] }
}

/** No guard: a hold that is missing or has ended is left as it is, so the steps beside these always land. */
export function releaseSteps(callId: string, funds: Funds): readonly Step[] {
  return [
    { statement: releaseHold, values: [callId] },
    ...giveBackSteps(callId, funds, 'releasing'),
    { statement: finishRelease, values: [callId] },
  ]
}

/** Guard: `alive`, the first step, when the hold has ended or its lease still runs at `nowMs`. Writes the call's row. */
export function expireSteps(callId: string, funds: Funds, nowMs: number): readonly Step[] {
  return [
    { statement: expireHold, values: [callId, nowMs], rows: 1, otherwise: 'alive' },
    ...giveBackSteps(callId, funds, 'expired'),
    { statement: insertDiedCall, values: [callId, nowMs] },
  ]
}

/**
 * What was taken by the one settle in this commit, and whether its hold had expired; undefined when it was undone because the hold had
 * ended before. The short way reads nothing back: it takes the whole `cost`.
 */
export function readSettled(committed: Committed, cost: bigint): { readonly charged: bigint; readonly isLate: boolean } | undefined {
  if (!committed.done) return undefined
  const settled = committed.rows.flat().find(row => 'charged' in row)
  if (settled === undefined) return { charged: cost, isLate: false }
  return { charged: settled.charged as bigint, isLate: settled.state === 'settled_late' }
}

/** Whose money a hold took: of a row with its wallet or subscription, when the call began, and when the subscription starts and ends. */
export function fundsOf(row: Row): Funds {
  if (row.wallet_id !== null) return { kind: 'wallet', walletId: row.wallet_id as string }
  const terms = { id: row.subscription_id as string, startsAtMs: Number(row.starts_at), endsAtMs: Number(row.ends_at) }
  return subscriptionFunds({ ...terms, dailyLimit: null, weeklyLimit: null, monthlyLimit: null }, Number(row.began_at))
}

/** `state` is the one that the step before has put the hold into, or found it in; of a hold in another nothing is given back. */
function giveBackSteps(callId: string, funds: Funds, state: 'held' | 'releasing' | 'expired'): readonly Step[] {
  if (funds.kind === 'wallet') return [{ statement: giveBackToWallet, values: [funds.walletId, callId, state] }]
  return [lockStep(funds), { statement: giveBackToWindows, values: [...windowValues(funds), callId, state] }]
}

/** In the order of the last columns of a hold. */
export function callValues(call: HeldCall): readonly Value[] {
  const { userId, keyId, groupId, model, path, address, stream, beganAtMs } = call
  return [userId, keyId, groupId, model, path, address, stream ? 1 : 0, beganAtMs]
}

/** `$2` floor, `$3` want, `$4` whether half will do: what is granted when `free` is there. The floor is never more than `free`. */
function grant(free: string, [floor, want, half]: readonly [string, string, string]): string {
  return `case when ${half} = 1 and (${free}) / 2 < ${floor} then ${floor} when ${half} = 1 and (${free}) / 2 < ${want} then (${free}) / 2
    when (${free}) < ${want} then (${free}) else ${want} end`
}

// For SQLite's sake a balance is changed with subqueries and not `update … from`, and results are selected, not `returning`:
// either makes it write rows down in between, which takes longer than the change itself.

const readGrant = statement('select amount as granted from holds where id = $1')
const readCharge = statement('select settled as charged, state from holds where id = $1')

const holdColumns = `id, wallet_id, subscription_id, amount, state, lease_id,
  user_id, key_id, group_id, model, path, address, stream, began_at`

const grantFromWallet = grant('balance - held', ['$2', '$3', '$4'])
const takeFromWallet = statement(`update wallets set moved = ${grantFromWallet}, held = held + ${grantFromWallet}
  where id = $1 and balance - held >= $2 and not exists (select 1 from holds where holds.id = $5)`)

const insertWalletHold = statement(`insert into holds (${holdColumns})
  select $2, id, null, moved, 'held', $3, $4, $5, $6, $7, $8, $9, $10, $11 from wallets where id = $1
  on conflict (id) do nothing`)

const insertWindowHold = statement(`insert into holds (${holdColumns})
  select $5, null, $1, amount, 'held', $9, $10, $11, $12, $13, $14, $15, $16, $17
  from (select room, case when room is null then $7 else ${grant('room', ['$6', '$7', '$8'])} end as amount from (${selectRoom}) as rooms
    where not exists (select 1 from holds where holds.id = $5)) as wish
  where room is null or room >= $6
  on conflict (id) do nothing`)

const takeFromWindows = statement(`update windows set held = held + (select amount from holds where id = $5) where ${theseWindows}`)

const lockHold = statement(`update holds set amount = amount where id = $1 and state = 'held'`)

/** `room` is what is free besides the hold itself; null is no limit. */
function grown(room: string): string {
  return `case when $to <= amount then amount when (${room}) is null or $to < (${room}) then $to when (${room}) < amount then amount else (${room}) end`
}

const growInWallet =
  statement(`update holds set amount = ${grown('select balance - held from wallets where id = $1').replaceAll('$to', '$3')}
  where id = $2`)
const takeAgain = statement('update wallets set held = held + (select amount from holds where id = $2) where id = $1')

const growInWindows = statement(`update holds set amount = ${grown('room').replaceAll('$to', '$6')}
  from (${selectRoom}) as rooms where holds.id = $5`)

const moveToLasting = statement(`update holds set lease_id = $2 where id = $1 and state = 'held'`)

/** Not of a call that was charged: its hold was settled, and is only so old that it was cut. */
const reviveHold = statement(`insert into holds (${holdColumns})
  select $1, $2, $3, 0, 'expired', $4, $5, $6, $7, $8, $9, $10, $11, $12
  where not exists (select 1 from entries where kind = 'charge' and reference = $1) on conflict (id) do nothing`)

/** At first it is settled for the whole cost; the steps after this one lower that to what there is. */
const settleHold = statement(`update holds set state = case state when 'held' then 'settled' else 'settled_late' end, settled = $2
  where id = $1 and state in ('held', 'expired')`)

const giveBackToWallet = statement(`update wallets set held = held - coalesce((select amount from holds where id = $2 and state = $3), 0)
  where id = $1`)

const charge = 'case when $2 < balance - held then $2 else balance - held end'
const chargeWallet = statement(`update wallets set moved = ${charge}, balance = balance - (${charge}) where id = $1`)

const moved = '(select moved from wallets where id = $1)'
const lowerCharge = statement(`update holds set settled = ${moved} where id = $2 and settled > ${moved}`)

const insertCharge = statement(`insert into entries (id, wallet_id, kind, reference, amount, created_at)
  select $2, id, 'charge', $1, -moved, $4 from wallets where id = $3 and moved > 0`)

/** Of a hold that was just settled: what was still kept back for it. That of a late one had been given back. */
const kept = `case when state = 'settled' then amount else 0 end`

const reckonCharge =
  statement(`update holds set settled = case when room is null or settled < ${kept} + room then settled else ${kept} + room end
  from (${selectRoom}) as rooms where holds.id = $5`)

const chargeWindows = statement(`update windows set used = used + settled, held = held - ${kept}
  from holds where holds.id = $5 and ${theseWindows}`)

/** Between two states for as long as its transaction, so that what it keeps is given back by this release and no other. */
const releaseHold = statement(`update holds set state = 'releasing' where id = $1 and state = 'held'`)
const finishRelease = statement(`update holds set state = 'released' where id = $1 and state = 'releasing'`)

const expireHold = statement(`update holds set state = 'expired' where id = $1 and state = 'held'
  and not exists (select 1 from leases where leases.id = holds.lease_id and leases.expires_at > $2)`)

const giveBackToWindows = statement(`update windows set held = held - amount from holds
  where holds.id = $5 and holds.state = $6 and ${theseWindows}`)

const insertDiedCall =
  statement(`insert into calls (id, user_id, key_id, group_id, path, stream, requested_model, status, ended, fault, basis,
    input_tokens, cached_tokens, cache_write_tokens, cache_write_12h_tokens, output_tokens, reasoning_tokens, web_searches, file_searches,
    held, cost, uncollected, attempts, line_ms, duration_ms, address, instructions_added, began_at)
  select id, user_id, key_id, group_id, path, stream, model, 0, 'gateway_died', 'gateway_died', 'none',
    0, 0, 0, 0, 0, 0, 0, 0, amount, 0, 0, 0, 0, case when $2 > began_at then $2 - began_at else 0 end, address, 0, began_at
  from holds where id = $1 on conflict (id) do nothing`)
