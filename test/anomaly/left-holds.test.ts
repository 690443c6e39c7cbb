import { expect, test } from 'vitest'
import { openLedger } from '../../src/ledger/ledger.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { until } from '../world.ts'
import { startGateway } from './gateway-process.ts'
import { leaveBooks, select, withBooks } from './left-books.ts'

test('whoever has the data folder is alone: what a dead gateway held there is free at the next start, not a lease later', async () => {
  await using world = await leaveBooks()
  const call = {
    userId: world.user.id,
    keyId: 'k',
    groupId: world.group.id,
    model: 'sim',
    path: '/v1/responses',
    address: '',
    stream: false,
  }
  const funds = { kind: 'wallet', walletId: world.user.walletId } as const
  await withBooks(world.data, async database => {
    const ledger = openLedger(database, systemClock)
    await ledger.renewLease('dead', 3_600_000)
    const amounts = { floor: 5n, want: 5n, halfOfFree: false }
    await ledger.hold({ callId: 'orphan', leaseId: 'dead', funds, ...amounts, ...call, beganAtMs: Date.now() })
  })
  await using _ = await startGateway(world.data)
  await withBooks(world.data, async database => {
    const states = async () => (await select(database, 'select state from holds')).map(({ state }) => state)
    await until(async () => (await states()).every(state => state === 'expired'), 'it is held for ever')
    expect(await select(database, 'select id, ended from calls')).toEqual([{ id: 'orphan', ended: 'gateway_died' }])
  })
})
