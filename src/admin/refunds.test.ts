import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldCall, settledRowStep } from '../ledger/books.fixture.ts'
import { settleSteps } from '../ledger/steps.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, openAdminBed, startMs } from './admin.fixture.ts'

let bed: AdminBed
let walletId: string
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
  const user = await bed.ask(201, 'POST', '/users', { email: 'dev@example.com' })
  walletId = user.id
  await bed.ask(200, 'POST', '/wallets/dev@example.com/credit', { amount: '5.00', reason: 'paid' })
})
afterAll(async () => {
  expect(await bed.ask(200, 'GET', '/ledger/check')).toEqual({ differences: [] })
  await bed[Symbol.asyncDispose]()
})

/** A call that was charged so much; undefined: it still runs. */
async function charged(callId: string, cost: bigint | undefined): Promise<void> {
  const funds = { kind: 'wallet', walletId } as const
  await bed.ledger.hold({ ...heldCall(startMs), callId, funds, floor: 1n, want: 1_000_000_000n, halfOfFree: false })
  if (cost === undefined) return
  const settle = { callId, cost, atMs: startMs, funds, entryId: `entry-${callId}` }
  await bed.commit([...settleSteps(settle), settledRowStep(callId, cost)])
}

const balance = async () => (await bed.ask(200, 'GET', '/wallets/dev@example.com')).balance
const refund = (status: number, callId: string, body: object) => bed.ask(status, 'POST', `/usage/${callId}/refund`, body)

test('a charge is given back in part, once, and the receipt says by whom and why', async () => {
  await charged('c1', 750_000_000n)
  const said = { amount: '0.50', reason: 'a broken answer' }
  for (const _ of [1, 2]) expect(await refund(200, 'c1', said)).toEqual({ call: 'c1', refunded: '0.50', charged: '0.75' })
  expect(await balance()).toBe('4.75')
  const again = await refund(409, 'c1', { reason: 'all of it' })
  expect(again.error).toMatchObject({ code: 'refunded_already', message: expect.stringContaining('0.50 USD was given back before') })
  expect(await bed.ask(200, 'GET', '/usage/c1')).toMatchObject({
    cost: '0.75',
    refund: { amount: '0.50', reason: 'a broken answer', author: 'admin', at: '2026-10-01T12:00:00.000Z' },
  })
  const { items } = await bed.ask(200, 'GET', '/wallets/dev@example.com/entries')
  expect(items).toContainEqual(expect.objectContaining({ kind: 'refund', reference: 'c1', amount: '0.50', reason: 'a broken answer' }))
  expect(bed.log.filter(line => line.includes('refunded'))).toHaveLength(1)
})

test('all of it, when no amount is said', async () => {
  await charged('c2', 20_000_000n)
  expect((await bed.ask(200, 'GET', '/usage/c2')).refund).toBeNull()
  expect(await refund(200, 'c2', { reason: 'sorry' })).toMatchObject({ refunded: '0.02' })
})

test('what cannot be given back is refused in words', async () => {
  await charged('c3', 10_000_000n)
  await charged('c4', undefined)
  const tooMuch = await refund(409, 'c3', { amount: '0.02', reason: 'r' })
  expect(tooMuch.error.message).toBe('The call c3 was charged 0.01 USD; a refund gives back no more than that.')
  expect((await refund(409, 'c4', { reason: 'r' })).error.code).toBe('not_charged')
  expect((await refund(404, 'c5', { reason: 'r' })).error.message).toBe('There is no charged call "c5".')
  expect((await refund(422, 'c3', { amount: '0', reason: 'r' })).error.message).toBe('amount is 0; a refund gives back more than 0.')
  expect((await refund(422, 'c3', { reason: ' ' })).error.message).toBe('reason may not be empty.')
  await bed.ledger.release('c4', { kind: 'wallet', walletId })
})
