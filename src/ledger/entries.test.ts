import { expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { manualClock, openBooks, userSteps } from './books.fixture.ts'
import { openLedger } from './ledger.ts'

const startMs = Date.UTC(2026, 9, 1, 12)

onEveryEngine(open => {
  test('entries are listed newest first, page by page', async () => {
    await using books = await openBooks(open)
    const clock = manualClock(startMs)
    const ledger = openLedger(books.database, clock)
    await books.database.commit([...userSteps('w'), ...userSteps('other')], 'synced')
    for (const [index, walletId] of ['w', 'other', 'w', 'w'].entries()) {
      await ledger.credit({ walletId, amount: 10n, reference: `c${index}`, reason: 'a gift', author: 'ann' })
      clock.advance(1)
    }
    const first = await ledger.entriesOf('w', { limit: 2, cursor: null })
    expect(first.entries.map(entry => entry.reference)).toEqual(['c3', 'c2'])
    expect(first.entries[0]).toMatchObject({
      walletId: 'w',
      kind: 'credit',
      amount: 10n,
      reason: 'a gift',
      author: 'ann',
      createdAtMs: startMs + 3,
    })
    const second = await ledger.entriesOf('w', { limit: 2, cursor: first.cursor })
    expect(second.entries.map(entry => entry.reference)).toEqual(['c0'])
    expect(second.cursor).toBeNull()
  })
})
