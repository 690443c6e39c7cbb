import type { Slip } from './slips.ts'
import type { Settle } from './steps.ts'

/** A call that has ended within what was set aside for it at hand, of which the books have not heard. */
export type Paid = Slip & Pick<Settle, 'cost' | 'entryId' | 'atMs'>

/** In the order of `paidIn`: for a line of JSON, where an amount is decimal text. */
export function paidFields(slip: Slip, { cost, entryId, atMs }: Settle): unknown[] {
  const { callId, walletId, want, leaseId, userId, keyId, groupId, model, path, address, stream, beganAtMs } = slip
  const call = [leaseId, userId, keyId, groupId, model, path, address, stream, beganAtMs]
  return [callId, walletId, want.toString(), cost.toString(), entryId, atMs, ...call]
}

type Fields = [string, string, string, string, string, number, string, string, string, string, string, string, string, boolean, number]

/** What `paidFields` was given. */
export function paidIn(fields: readonly unknown[]): Paid {
  const [callId, walletId, want, cost, entryId, atMs, leaseId, userId, keyId, groupId, ...call] = fields as Fields
  const [model, path, address, stream, beganAtMs] = call
  const ids = { callId, walletId, leaseId, userId, keyId, groupId }
  return { ...ids, want: BigInt(want), cost: BigInt(cost), entryId, atMs, model, path, address, stream, beganAtMs }
}
