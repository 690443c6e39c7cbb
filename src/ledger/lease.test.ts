import { beforeEach, expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { statement } from '../storage/database.ts'
import { heldCall, manualClock, openBooks, userSteps } from './books.fixture.ts'
import { expireRoundMax, openLedger } from './ledger.ts'
import type { HoldRequest } from './steps.ts'

const startMs = Date.UTC(2026, 9, 1, 12)
const leaseMs = 30_000

let clock = manualClock(startMs)
beforeEach(() => {
  clock = manualClock(startMs)
})

onEveryEngine(open => {
  test('no more holds expire than a round at once, and their lease goes with the last', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await books.database.commit(userSteps('w'), 'synced')
    await ledger.renewLease('lease', leaseMs)
    await Promise.all(Array.from({ length: expireRoundMax + 1 }, (_, index) => ledger.hold(request(`r${index}`, 0n, 0n))))
    clock.advance(leaseMs)
    expect(await ledger.expireHolds()).toBe(expireRoundMax)
    expect(await ledger.expireHolds()).toBe(1)
    // But for the one by which calls in the background are held.
    expect(await books.database.read(statement('select id from leases'))).toEqual([{ id: 'background' }])
  })

  test('a renewed lease keeps its own holds, not those of another', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await books.database.commit(userSteps('w'), 'synced')
    for (const lease of ['a', 'b']) {
      await ledger.renewLease(lease, leaseMs)
      await ledger.hold({ ...request(`of-${lease}`, 0n, 0n), leaseId: lease })
    }
    clock.advance(leaseMs - 1)
    await ledger.renewLease('a', leaseMs)
    clock.advance(1)
    expect(await ledger.expireHolds()).toBe(1)
    expect(await books.database.read(statement('select id, state from holds order by id'))).toMatchObject([
      { id: 'of-a', state: 'held' },
      { id: 'of-b', state: 'expired' },
    ])
  })

  test('leases are told with their age, their silence and what was said of them, while they run', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await ledger.renewLease('b', leaseMs, '{"n":1}')
    clock.advance(1_000)
    await ledger.renewLease('a', leaseMs)
    await ledger.renewLease('b', leaseMs, '{"n":2}')
    clock.advance(leaseMs - 1)
    const silentMs = leaseMs - 1
    const [b, a] = [
      { id: 'b', ageMs: leaseMs + 999, silentMs, about: '{"n":2}' },
      { id: 'a', ageMs: silentMs, silentMs, about: '{}' },
    ]
    expect(await ledger.leases()).toEqual([b, a])
    clock.advance(1)
    expect(await ledger.leases()).toEqual([])
  })

  test('a lease that is ended stands until its holds have ended; who is alone ends all others', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await books.database.commit(userSteps('w'), 'synced')
    for (const lease of ['idle', 'busy', 'mine']) await ledger.renewLease(lease, leaseMs)
    await ledger.hold({ ...request('r', 0n, 0n), leaseId: 'busy' })
    const left = async () => (await ledger.leases()).map(({ id }) => id)
    for (const lease of ['idle', 'busy']) await ledger.endLease(lease)
    expect(await left()).toEqual(['busy', 'mine'])
    expect(await ledger.expireHolds()).toBe(0)
    await ledger.endOtherLeases('mine')
    expect(await left()).toEqual(['mine'])
    expect(await ledger.expireHolds()).toBe(1)
    expect(await books.database.read(statement('select id from leases order by id'))).toEqual([{ id: 'background' }, { id: 'mine' }])
  })

  test('time is what the books’ clock says, not this gateway’s', async () => {
    await using books = await openBooks(open)
    await books.database.commit(userSteps('w'), 'synced')
    const here = openLedger(books.database, manualClock(0), { leaseTime: async () => clock.nowMs() })
    const ahead = openLedger(books.database, manualClock(startMs + 10 * leaseMs), { leaseTime: async () => clock.nowMs() })
    await here.renewLease('lease', leaseMs)
    await here.hold(request('r', 0n, 0n))
    expect(await ahead.expireHolds()).toBe(0)
    clock.advance(leaseMs)
    expect(await ahead.expireHolds()).toBe(1)
  })

  test('a call whose gateway died has a row that says so', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await books.database.commit(userSteps('w'), 'synced')
    await ledger.credit({ walletId: 'w', amount: 5n, reference: 'c', reason: null, author: null })
    await ledger.hold(request('r', 1n, 5n))
    clock.advance(leaseMs)
    expect(await ledger.expireHolds()).toBe(1)
    expect(await books.database.read(statement('select * from calls'))).toMatchObject([
      {
        ...{
          id: 'r',
          user_id: 'u',
          key_id: 'k',
          group_id: 'g',
          requested_model: 'm',
          path: '/v1/responses',
          address: '192.0.2.1',
          stream: 1n,
        },
        ...{
          ended: 'gateway_died',
          fault: 'gateway_died',
          basis: 'none',
          held: 5n,
          cost: 0n,
          uncollected: 0n,
          status: 0n,
          account_id: null,
        },
        ...{ began_at: BigInt(startMs), duration_ms: BigInt(leaseMs) },
      },
    ])
  })
})

function request(callId: string, floor: bigint, want: bigint): HoldRequest {
  return { ...heldCall(clock.nowMs()), callId, funds: { kind: 'wallet', walletId: 'w' }, floor, want, halfOfFree: false }
}
