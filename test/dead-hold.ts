import type { Ledger } from '../src/ledger/ledger.ts'
import type { World } from './world.ts'

/** Money set aside by a gateway that is gone, under the lease `dead`: nobody renews it. */
export async function holdOfTheDead(ledger: Pick<Ledger, 'hold'>, { user, group }: Pick<World, 'user' | 'group'>, callId = 'orphan') {
  const funds = { kind: 'wallet', walletId: user.walletId } as const
  const amounts = { floor: 5n, want: 5n, halfOfFree: false }
  const call = { userId: user.id, keyId: 'k', groupId: group.id, model: 'sim', path: '/v1/responses', address: '', stream: false }
  await ledger.hold({ callId, leaseId: 'dead', funds, ...amounts, ...call, beganAtMs: Date.now() })
}
