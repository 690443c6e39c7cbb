import { type Step, statement } from '../storage/database.ts'
import type { Paid } from './paid.ts'
import { callValues, type HoldRequest, type Settle } from './steps.ts'

/**
 * A hold and a settle as nearly every call has them: a wallet has all that is wanted, and the cost is within what was set aside. Then
 * nothing is to be reckoned or read back, and half as many statements do. The first step sees whether it is so; if not, nothing was
 * written, the guard is `anotherWay`, and `steps.ts` knows every case. The order of rows is the same as there, and so are the rules.
 */
export const anotherWay = 'another_way'

/** Undefined for a subscription. Grants `want`. Guards: `anotherWay`, and `held_already` as of `holdSteps`. */
export function shortHoldSteps(request: HoldRequest): readonly Step[] | undefined {
  const { funds, callId, floor, want, halfOfFree } = request
  if (funds.kind !== 'wallet') return undefined
  const most = floor > want ? floor : want
  const free = halfOfFree ? 2n * most : most
  return [
    { statement: takeAll, values: [funds.walletId, want, free, callId], rows: 1, otherwise: anotherWay },
    {
      statement: insertHold,
      values: [callId, funds.walletId, want, request.leaseId, ...callValues(request)],
      rows: 1,
      otherwise: 'held_already',
    },
  ]
}

/**
 * Undefined when it would not do. Takes the whole cost. Guard: `anotherWay`, also when the hold is not of the amount that the caller
 * knows of, in nano-dollars: it may have been extended.
 */
export function shortSettleSteps(settle: Settle, held: bigint): readonly Step[] | undefined {
  const { callId, cost, funds } = settle
  if (funds.kind !== 'wallet' || cost > held) return undefined
  const steps: Step[] = [
    { statement: settleWhole, values: [callId, cost, held], rows: 1, otherwise: anotherWay },
    { statement: payAndGiveBack, values: [funds.walletId, cost, held], rows: 1, otherwise: 'wallet_unknown' },
  ]
  if (cost > 0n) steps.push({ statement: insertWholeCharge, values: [settle.entryId, funds.walletId, callId, -cost, settle.atMs] })
  return steps
}

/**
 * Holds and their settles in one, of calls of which the books have not heard: what they cost must be free in each wallet, and is taken in one step. (Of
 * what they were to set aside each had its turn.) Leaves what `shortHoldSteps` and `shortSettleSteps` would have left. Guards: `anotherWay`, and
 * `held_already`.
 */
export function wholeSettlesSteps(ends: readonly Paid[]): readonly Step[] {
  const costs = new Map<string, bigint>()
  for (const { walletId, cost } of ends) costs.set(walletId, (costs.get(walletId) ?? 0n) + cost)
  const steps: Step[] = []
  for (const [walletId, cost] of costs) steps.push({ statement: pay, values: [walletId, cost], rows: 1, otherwise: anotherWay })
  for (const end of ends) {
    const { callId, walletId, cost, entryId, atMs } = end
    const values = [callId, walletId, end.want, end.leaseId, ...callValues(end), cost]
    steps.push({ statement: insertSettled, values, rows: 1, otherwise: 'held_already' })
    if (cost > 0n) steps.push({ statement: insertWholeCharge, values: [entryId, walletId, callId, -cost, atMs] })
  }
  return steps
}

const takeAll = statement(`update wallets set held = held + $2
  where id = $1 and balance - held >= $3 and not exists (select 1 from holds where holds.id = $4)`)

const insertHold = statement(`insert into holds (id, wallet_id, amount, state, lease_id,
    user_id, key_id, group_id, model, path, address, stream, began_at)
  values ($1, $2, $3, 'held', $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict (id) do nothing`)

const pay = statement('update wallets set balance = balance - $2 where id = $1 and balance - held >= $2')

const insertSettled = statement(`insert into holds (id, wallet_id, amount, state, lease_id,
    user_id, key_id, group_id, model, path, address, stream, began_at, settled)
  values ($1, $2, $3, 'settled', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict (id) do nothing`)

const settleWhole = statement(`update holds set state = 'settled', settled = $2 where id = $1 and state = 'held' and amount = $3`)

const payAndGiveBack = statement('update wallets set balance = balance - $2, held = held - $3 where id = $1')

const insertWholeCharge = statement(`insert into entries (id, wallet_id, kind, reference, amount, created_at)
  values ($1, $2, 'charge', $3, $4, $5)`)
