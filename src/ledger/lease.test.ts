import { beforeEach, expect, test } from 'vitest'
import { statement } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { heldCall, manualClock, openBooks, userSteps } from './books.fixture.ts'
import { expireRoundMax, openLedger } from './ledger.ts'
import type { HoldRequest } from './steps.ts'

const startMs = Date.UTC(2026, 9, 1, 12)
const leaseMs = 30_000

let clock = manualClock(startMs)
beforeEach(() => {
  clock = manualClock(startMs)
})

test('no hold expires before the grace is over, and no more than a round at once', async () => {
  await using books = await openBooks(openSqlite)
  const ledger = openLedger(books.database, clock)
  await books.database.commit(userSteps('w'), 'synced')
  await ledger.renewLease('lease', leaseMs)
  await Promise.all(Array.from({ length: expireRoundMax + 1 }, (_, index) => ledger.hold(request(`r${index}`, 0n, 0n))))
  clock.advance(leaseMs)
  expect(await ledger.expireHolds({ graceUntilMs: clock.nowMs() + 1 })).toBe(0)
  expect(await ledger.expireHolds({ graceUntilMs: clock.nowMs() })).toBe(expireRoundMax)
  expect(await ledger.expireHolds({ graceUntilMs: clock.nowMs() })).toBe(1)
  // But for the one by which calls in the background are held.
  expect(await books.database.read(statement('select id from leases'))).toEqual([{ id: 'background' }])
})

test('a renewed lease keeps its own holds, not those of another', async () => {
  await using books = await openBooks(openSqlite)
  const ledger = openLedger(books.database, clock)
  await books.database.commit(userSteps('w'), 'synced')
  for (const lease of ['a', 'b']) {
    await ledger.renewLease(lease, leaseMs)
    await ledger.hold({ ...request(`of-${lease}`, 0n, 0n), leaseId: lease })
  }
  clock.advance(leaseMs - 1)
  await ledger.renewLease('a', leaseMs)
  clock.advance(1)
  expect(await ledger.expireHolds({ graceUntilMs: 0 })).toBe(1)
  expect(await books.database.read(statement('select id, state from holds order by id'))).toMatchObject([
    { id: 'of-a', state: 'held' },
    { id: 'of-b', state: 'expired' },
  ])
})

test('a call whose gateway died has a row that says so', async () => {
  await using books = await openBooks(openSqlite)
  const ledger = openLedger(books.database, clock)
  await books.database.commit(userSteps('w'), 'synced')
  await ledger.credit({ walletId: 'w', amount: 5n, reference: 'c', reason: null, author: null })
  await ledger.hold(request('r', 1n, 5n))
  clock.advance(leaseMs)
  expect(await ledger.expireHolds({ graceUntilMs: 0 })).toBe(1)
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

function request(callId: string, floor: bigint, want: bigint): HoldRequest {
  return { ...heldCall(clock.nowMs()), callId, funds: { kind: 'wallet', walletId: 'w' }, floor, want, halfOfFree: false }
}
