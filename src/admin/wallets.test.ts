import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { step } from '../directory/steps.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, openAdminBed } from './admin.fixture.ts'

let bed: AdminBed
const wallet = '/wallets/dev@example.com'
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterAll(() => bed[Symbol.asyncDispose]())
beforeEach(async () => {
  await bed.ask(201, 'POST', '/users', { email: 'dev@example.com' })
})
afterEach(async () => {
  expect(await bed.ask(200, 'GET', '/ledger/check')).toEqual({ differences: [] })
  await bed.empty()
})

test('money comes and goes, and every entry says why', async () => {
  expect(await bed.ask(200, 'POST', `${wallet}/credit`, { amount: '5.00', reason: 'first month' })).toMatchObject({
    balance: '5.00',
    free: '5.00',
  })
  bed.clock.advance(1)
  expect(await bed.ask(200, 'POST', `${wallet}/debit`, { amount: '1.25', reason: 'a mistake', reference: 'ticket 7' })).toMatchObject({
    balance: '3.75',
  })
  const { items } = await bed.ask(200, 'GET', `${wallet}/entries`)
  expect(items).toMatchObject([
    { kind: 'debit', amount: '-1.25', reason: 'a mistake', reference: 'ticket 7', author: 'admin' },
    { kind: 'credit', amount: '5.00', reason: 'first month', author: 'admin', createdAt: '2026-10-01T12:00:00.000Z' },
  ])
  const page = await bed.ask(200, 'GET', `${wallet}/entries?limit=1`)
  expect(page.items).toEqual([items[0]])
  expect((await bed.ask(200, 'GET', `${wallet}/entries?limit=1&cursor=${page.next}`)).items).toEqual([items[1]])
})

test('the same reference counts once, and never for something else', async () => {
  const credit = { amount: '5', reason: 'paid', reference: 'invoice 1' }
  for (const _ of [1, 2]) expect(await bed.ask(200, 'POST', `${wallet}/credit`, credit)).toMatchObject({ balance: '5.00' })
  expect((await bed.ask(409, 'POST', `${wallet}/credit`, { ...credit, amount: '6' })).error.code).toBe('reference_used')
})

test('a wallet that is full takes no more, of a credit or of a code, which stays as good as it was', async () => {
  const most = { amount: '1000000000', reason: 'as much as one credit may be' }
  for (let credit = 0; credit < 9; credit += 1) await bed.ask(200, 'POST', `${wallet}/credit`, most)
  const sentence = 'The balance would be more than 9000000000 USD, which is the most that a wallet can have.'
  expect((await bed.ask(409, 'POST', `${wallet}/credit`, { ...most, amount: '0.000000001' })).error).toMatchObject({
    code: 'full',
    message: sentence,
  })
  const { items } = await bed.ask(201, 'POST', '/codes', { amount: '5', reason: 'course' })
  const redeeming = { code: items![0]!.code, user: 'dev@example.com' }
  expect((await bed.ask(409, 'POST', '/codes/redeem', redeeming)).error.message).toBe(sentence)
  await bed.ask(200, 'POST', `${wallet}/debit`, { amount: '5', reason: 'room' })
  expect(await bed.ask(200, 'POST', '/codes/redeem', redeeming)).toMatchObject({ wallet: { balance: '9000000000.00' } })
})

test('a debit takes no more than what is free', async () => {
  await bed.ask(200, 'POST', `${wallet}/credit`, { amount: '5', reason: 'paid' })
  const { error } = await bed.ask(409, 'POST', `${wallet}/debit`, { amount: '5.000000001', reason: 'all' })
  expect(error.message).toBe(
    'Only 5.00 USD of dev@example.com is free (0.00 USD is held for calls that run); a debit takes no more than that.',
  )
  expect(await bed.ask(200, 'POST', `${wallet}/debit`, { amount: '5', reason: 'all' })).toMatchObject({ balance: '0.00' })
})

test('an adjustment goes up or down, and takes no more than what is free', async () => {
  expect(await bed.ask(200, 'POST', `${wallet}/adjust`, { amount: '2', reason: 'found' })).toMatchObject({ balance: '2.00' })
  const down = { amount: '-1.50', reason: 'lost again', reference: 'ticket 8' }
  for (const _ of [1, 2]) expect(await bed.ask(200, 'POST', `${wallet}/adjust`, down)).toMatchObject({ balance: '0.50' })
  expect((await bed.ask(409, 'POST', `${wallet}/adjust`, { ...down, amount: '1.50' })).error.message).toContain(
    'There is an adjustment with',
  )
  expect((await bed.ask(409, 'POST', `${wallet}/adjust`, { amount: '-1', reason: 'r' })).error.message).toContain(
    'an adjustment takes no more',
  )
  expect((await bed.ask(422, 'POST', `${wallet}/adjust`, { amount: '0', reason: 'r' })).error.message).toContain('changes something')
  expect((await bed.ask(422, 'POST', `${wallet}/adjust`, { amount: '-9999999999', reason: 'r' })).error.message).toContain('or more')
})

describe('amounts that are none', () => {
  for (const [amount, message] of [
    ['0', 'amount is 0; a credit takes more than 0.'],
    ['-1', 'amount is -1; it takes 0 or more.'],
    ['1.0000000001', 'has more than nine decimals'],
    ['1e3', 'is not a decimal number'],
    [1.5, 'amount takes decimal text: write "1.5", in quotes.'],
    ['9999999999', 'it takes at most 1000000000.'],
    [undefined, 'amount is missing.'],
  ] as const) {
    test(`${amount}`, async () => {
      expect((await bed.ask(422, 'POST', `${wallet}/credit`, { amount, reason: 'r' })).error.message).toContain(message)
    })
  }

  test('and an entry without a reason', async () => {
    expect((await bed.ask(422, 'POST', `${wallet}/credit`, { amount: '1', reason: ' ' })).error.message).toBe('reason may not be empty.')
  })
})

test('books that do not balance are told with both amounts', async () => {
  await bed.ask(200, 'POST', `${wallet}/credit`, { amount: '5', reason: 'paid' })
  await bed.commit([step('update wallets set balance = balance - 1', [])])
  expect(await bed.ask(200, 'GET', '/ledger/check')).toMatchObject({
    differences: [{ subject: 'wallet', recorded: '4.999999999', recomputed: '5.00' }],
  })
  await bed.commit([step('update wallets set balance = balance + 1', [])])
})
