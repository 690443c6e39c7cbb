import { expect, test } from 'vitest'
import { statement } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { manualClock, openBooks, userSteps } from './books.fixture.ts'
import { sizeHold, toolCallCost } from './hold.ts'
import { openLedger } from './ledger.ts'
import { balanceMost, callMost, parseDecimal } from './money.ts'
import { costOf, noUsage, type PriceVersion } from './price.ts'

/** What no amount may be beyond: the books keep 64 bits of it. */

const startMs = Date.UTC(2026, 9, 1, 12)

test('a wallet takes no more than it can count, and what it has stays whole numbers', async () => {
  await using books = await openBooks(openSqlite)
  const ledger = openLedger(books.database, manualClock(startMs))
  await books.database.commit(userSteps('w'), 'synced')
  const cause = { walletId: 'w', reason: null, author: null }
  const credit = (amount: bigint, reference: string) => ledger.credit({ ...cause, amount, reference })
  expect(await credit(balanceMost - 1n, 'nearly all')).toEqual({ balance: balanceMost - 1n, repeated: false })
  expect(await credit(2n, 'one too many')).toEqual({ refused: 'full' })
  expect(await ledger.adjust({ ...cause, amount: 10n ** 18n, reference: 'far too many' })).toEqual({ refused: 'full' })
  expect(await credit(1n, 'the last')).toEqual({ balance: balanceMost, repeated: false })
  expect(await credit(1n, 'the last')).toEqual({ balance: balanceMost, repeated: true })
  expect(await ledger.debit({ ...cause, amount: 10n ** 18n, reference: 'd' })).toEqual({
    balance: balanceMost - 10n ** 18n,
    repeated: false,
  })
  const [row] = await books.database.read(statement('select typeof(balance) as type, count(*) as entries from wallets, entries'))
  expect(row).toEqual({ type: 'integer', entries: 3n })
  expect(await ledger.check()).toEqual([])
})

const rates = { input: 10n ** 13n, cached: 0n, cacheWrite: 0n, cacheWrite12h: 0n, output: 10n ** 13n, webSearch: 10n ** 13n }
const price: PriceVersion = {
  ...{ id: 'p', model: 'm', tier: 'default', contextOver: 0, ...rates, fileSearch: null, maxOutput: null },
  ...{ aliases: [], source: null, effectiveFromMs: 0, effectiveToMs: null },
}
const once = parseDecimal('1')
const whim = Number.MAX_SAFE_INTEGER

test('whatever an upstream reports, a call costs no more than a call may', () => {
  expect(costOf({ ...noUsage, outputTokens: 100_000_000 }, price, once)).toBe(callMost)
  expect(costOf({ ...noUsage, outputTokens: 100_000_001 }, price, once)).toBe(callMost)
  expect(costOf({ ...noUsage, inputTokens: whim, outputTokens: whim, webSearches: whim }, price, parseDecimal('1000'))).toBe(callMost)
})

test('whatever a client asks for, no more is held than a call may cost', () => {
  const question = { inputTokens: 10, prices: [price], multiplier: once }
  expect(sizeHold({ ...question, ceiling: whim })).toMatchObject({ floor: 10_340_000_000n, want: callMost })
  expect(sizeHold({ ...question, ceiling: whim, answers: whim })).toMatchObject({ floor: callMost, want: callMost })
  expect(toolCallCost({ ...question, inputTokens: whim, ceiling: undefined }, 'webSearch')).toBe(callMost)
})
