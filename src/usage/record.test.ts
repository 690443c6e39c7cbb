import { expect, test } from 'vitest'
import { heldCall, manualClock, openBooks, userSteps } from '../ledger/books.fixture.ts'
import { openLedger } from '../ledger/ledger.ts'
import { lateSettleSteps, type Settle, settleSteps } from '../ledger/steps.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { attempt, refusal, startMs } from './record.fixture.ts'
import { type CallRow, callSteps, noUsage } from './record.ts'
import { callById, listCalls } from './report.ts'

test('a call and its attempts come back as they were written', async () => {
  await using books = await openBooks(openSqlite)
  const row: CallRow = {
    ...{ id: 'c', userId: 'u', keyId: 'k', groupId: 'g', accountId: 'a', path: '/v1/responses', stream: true, requestedModel: 'm' },
    ...{ servedModel: 'm-1', tier: 'flex', priceId: 'p', status: 200, ended: 'client_left', fault: 'client_left', basis: 'drained' },
    ...{ usage: { ...noUsage, inputTokens: 1, cachedTokens: 2, cacheWriteTokens: 3, cacheWrite12hTokens: 4, outputTokens: 5 } },
    ...{
      held: 11n,
      cost: 0n,
      uncollectedWhy: null,
      attempts: 2,
      lineMs: 12,
      firstTokenMs: 13,
      durationMs: 14,
      address: '192.0.2.1',
      userAgent: 'codex_cli',
    },
    ...{ instructionsAdded: true, outputLoweredTo: 15, repaired: null, upstreamRequestId: 'req_1', beganAtMs: startMs },
  }
  const attempts = [attempt('c', 1, { status: null, fault: 'upstream_cut', upstreamRequestId: null, answered: false }), attempt('c', 2, {})]
  await books.database.commit(callSteps(row, attempts), 'synced')
  expect(await callById(books.database, 'c')).toEqual({ call: { ...row, uncollected: 0n }, attempts, refund: null })
  const bare: CallRow = { ...refusal('d'), usage: { ...noUsage, reasoningTokens: 6, webSearches: 7, fileSearches: 8 } }
  await books.database.commit(callSteps(bare, []), 'synced')
  expect(await callById(books.database, 'd')).toEqual({ call: { ...bare, uncollected: 0n }, attempts: [], refund: null })
  expect(await callById(books.database, 'e')).toBeUndefined()
})

test('fractions of a millisecond are rounded', async () => {
  await using books = await openBooks(openSqlite)
  const row = { ...refusal('c'), lineMs: 0.5, firstTokenMs: 1.4, durationMs: 2.6 }
  await books.database.commit(callSteps(row, [attempt('c', 1, { firstEventMs: 1.2, durationMs: 2.2 })]), 'synced')
  expect(await callById(books.database, 'c')).toMatchObject({
    call: { lineMs: 1, firstTokenMs: 1, durationMs: 3 },
    attempts: [{ firstEventMs: 1, durationMs: 2 }],
  })
})

test('what could not be taken stands on the row, and writing it again changes nothing', async () => {
  await using books = await openBooks(openSqlite)
  const { ledger, settle, row } = await openCall(books.database, 30n)
  await books.database.commit([...settleSteps(settle), ...callSteps(row, [])], 'synced')
  expect(await callById(books.database, 'c')).toMatchObject({ call: { cost: 50n, uncollected: 20n } })
  await books.database.commit(callSteps({ ...row, cost: 0n, ended: 'failed' }, []), 'synced')
  expect(await callById(books.database, 'c')).toMatchObject({ call: { cost: 50n, uncollected: 20n, ended: 'completed' } })
  expect(await ledger.check()).toEqual([])
})

test('what was held is what it was extended to, though the row was made before', async () => {
  await using books = await openBooks(openSqlite)
  const { ledger, settle, row } = await openCall(books.database, 80n)
  expect(await ledger.extend('c', settle.funds, 45n)).toEqual({ granted: 45n })
  await books.database.commit([...settleSteps(settle), ...callSteps(row, [])], 'synced')
  expect(await callById(books.database, 'c')).toMatchObject({ call: { held: 45n, cost: 50n, uncollected: 0n } })
})

test.each([
  ['why, when something could not be taken', 30n, 'dense_input'],
  ['nothing of why, when all could', 80n, null],
])('a row says %s', async (_, balance, why) => {
  await using books = await openBooks(openSqlite)
  const { settle, row } = await openCall(books.database, balance)
  await books.database.commit([...settleSteps(settle), ...callSteps({ ...row, uncollectedWhy: 'dense_input' }, [])], 'synced')
  expect(await callById(books.database, 'c')).toMatchObject({ call: { uncollectedWhy: why } })
})

test('what was settled too late says so, whatever else it might have been', async () => {
  await using books = await openBooks(openSqlite)
  const { ledger, settle, row } = await openCall(books.database, 30n)
  expect(await ledger.expireHolds()).toBe(1)
  const late = [...lateSettleSteps(settle, heldCall(startMs)), ...callSteps({ ...row, uncollectedWhy: 'dense_input' }, [])]
  await books.database.commit(late, 'synced')
  expect(await callById(books.database, 'c')).toMatchObject({ call: { uncollected: 20n, uncollectedWhy: 'hold_expired' } })
})

test('a cost that nobody settled is uncollected', async () => {
  await using books = await openBooks(openSqlite)
  const { ledger, row } = await openCall(books.database, 80n)
  await ledger.release('c', { kind: 'wallet', walletId: 'w' })
  for (const id of ['c', 'without-a-hold']) {
    await books.database.commit(callSteps({ ...row, id }, []), 'synced')
    expect(await callById(books.database, id)).toMatchObject({ call: { cost: 50n, uncollected: 50n } })
  }
  expect(await ledger.check()).toEqual([])
})

test('a late settle replaces the row that says the gateway died, and nothing else', async () => {
  await using books = await openBooks(openSqlite)
  const { ledger, settle, row } = await openCall(books.database, 80n)
  expect(await ledger.expireHolds()).toBe(1)
  expect(await callById(books.database, 'c')).toMatchObject({ call: { ended: 'gateway_died', cost: 0n } })
  const late = [...lateSettleSteps(settle, heldCall(startMs)), ...callSteps(row, [attempt('c', 1, {})])]
  for (const guard of [undefined, 'ended_already']) {
    const committed = await books.database.commit(late, 'synced')
    expect(committed.done ? undefined : committed.guard).toBe(guard)
    expect(await callById(books.database, 'c')).toEqual({
      call: { ...row, uncollected: 0n },
      attempts: [attempt('c', 1, {})],
      refund: null,
    })
  }
  expect((await listCalls(books.database, {}, { limit: 9, cursor: null })).calls).toHaveLength(1)
  expect(await ledger.check()).toEqual([])
})

async function openCall(database: Awaited<ReturnType<typeof openBooks>>['database'], balance: bigint) {
  const ledger = openLedger(database, manualClock(startMs))
  await database.commit(userSteps('w'), 'synced')
  await ledger.credit({ walletId: 'w', amount: balance, reference: 'c', reason: null, author: null })
  const funds = { kind: 'wallet', walletId: 'w' } as const
  await ledger.hold({ ...heldCall(startMs), callId: 'c', funds, floor: 1n, want: 30n, halfOfFree: false })
  const settle: Settle = { callId: 'c', cost: 50n, atMs: startMs, funds, entryId: 'e' }
  const row: CallRow = { ...refusal('c'), ended: 'completed', fault: null, basis: 'reported', status: 200, held: 30n, cost: 50n }
  return { ledger, settle, row }
}
