import { expect, test } from 'vitest'
import { manualClock, openBooks } from '../ledger/books.fixture.ts'
import { type Committed, type Database, DatabaseAway, type Step } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { refusal, startMs } from './record.fixture.ts'
import { floodRows, flushAfterMs, flushRows, openRecorder, waitingRowsMax } from './refusals.ts'
import { listCalls } from './report.ts'

test('refusals are written together, a little later', async () => {
  await using books = await openBooks(openSqlite)
  const seen = watched(books.database)
  const clock = manualClock(startMs)
  await using recorder = openRecorder(seen, clock)
  for (const id of ['r1', 'r2', 'r3']) recorder.refused(refusal(id))
  clock.advance(flushAfterMs - 1)
  expect(seen.sizes).toEqual([])
  clock.advance(1)
  await seen.written(1)
  expect(seen.sizes).toEqual([3])
  expect(await ids(books.database)).toEqual(['r3', 'r2', 'r1'])
})

test('a full group does not wait for the clock', async () => {
  await using books = await openBooks(openSqlite)
  const seen = watched(books.database)
  await using recorder = openRecorder(seen, manualClock(startMs))
  for (let index = 0; index < flushRows; index++) recorder.refused(refusal(`r${index}`))
  await seen.written(1)
  expect(seen.sizes).toEqual([flushRows])
})

test('when more come than small groups would take, groups are larger', async () => {
  await using books = await openBooks(openSqlite)
  const seen = watched(books.database)
  await using recorder = openRecorder(seen, manualClock(startMs))
  const count = flushRows + 2 * floodRows + flushRows
  for (let index = 0; index < count; index++) recorder.refused(refusal(`r${index}`))
  await recorder.flush()
  expect(seen.sizes.slice(0, 2)).toEqual([flushRows, floodRows])
  expect(Math.max(...seen.sizes.slice(2))).toBeLessThanOrEqual(floodRows)
  expect(await countOf(books.database)).toBe(count)
})

test('disposing writes what is waiting', async () => {
  await using books = await openBooks(openSqlite)
  const recorder = openRecorder(books.database, manualClock(startMs))
  recorder.refused(refusal('r1'))
  await recorder[Symbol.asyncDispose]()
  await recorder[Symbol.asyncDispose]()
  expect(await ids(books.database)).toEqual(['r1'])
  expect(recorder.dropped).toBe(0)
})

test('while the books are away rows wait, in bounded number, and are written when they return', async () => {
  await using books = await openBooks(openSqlite)
  const seen = watched(books.database)
  const clock = manualClock(startMs)
  await using recorder = openRecorder(seen, clock)
  seen.fail = new DatabaseAway('away')
  for (let index = 0; index < waitingRowsMax + 5; index++) recorder.refused(refusal(`r${index}`))
  expect(recorder.dropped).toBe(5)
  await expect(recorder.flush()).rejects.toThrow(DatabaseAway)
  seen.fail = undefined
  clock.advance(flushAfterMs)
  await recorder.flush()
  expect(await countOf(books.database)).toBe(waitingRowsMax)
  expect(recorder.dropped).toBe(5)
})

test('a row that the books refuse is dropped and counted, and keeps no other out', async () => {
  await using books = await openBooks(openSqlite)
  await using recorder = openRecorder(books.database, manualClock(startMs))
  recorder.refused(refusal('r1'))
  recorder.refused({ ...refusal('bad'), status: 0.5 })
  recorder.refused(refusal('r2'))
  await recorder.flush()
  expect(await ids(books.database)).toEqual(['r2', 'r1'])
  expect(recorder.dropped).toBe(1)
})

test('rows that cannot be written at the end are counted', async () => {
  await using books = await openBooks(openSqlite)
  const seen = watched(books.database)
  const recorder = openRecorder(seen, manualClock(startMs))
  seen.fail = new DatabaseAway('away')
  recorder.refused(refusal('r1'))
  await recorder[Symbol.asyncDispose]()
  expect(recorder.dropped).toBe(1)
})

/** The real books, telling how large each commit was; away while `fail` is set. */
function watched(database: Database) {
  const sizes: number[] = []
  const waiting: { count: number; resolve: () => void }[] = []
  return {
    sizes,
    fail: undefined as Error | undefined,
    written(count: number): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>()
      if (sizes.length >= count) resolve()
      else waiting.push({ count, resolve })
      return promise
    },
    async commit(steps: readonly Step[], durability: 'synced' | 'ordered'): Promise<Committed> {
      if (this.fail !== undefined) throw this.fail
      const committed = await database.commit(steps, durability)
      sizes.push(steps.length)
      for (const { count, resolve } of waiting) if (sizes.length >= count) resolve()
      return committed
    },
  }
}

async function ids(database: Database): Promise<readonly string[]> {
  return (await listCalls(database, {}, { limit: 1_000, cursor: null })).calls.map(call => call.id)
}

async function countOf(database: Database): Promise<number> {
  let count = 0
  for (let cursor: string | null = null; ; ) {
    const page = await listCalls(database, {}, { limit: 1_000, cursor })
    count += page.calls.length
    if (page.cursor === null) return count
    cursor = page.cursor
  }
}
