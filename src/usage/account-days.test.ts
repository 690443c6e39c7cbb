import { expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { openBooks } from '../ledger/books.fixture.ts'
import { newId } from '../lib/id.ts'
import { type Database, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { accountDaySteps, DaysWritten, dayMs } from './account-days.ts'
import { refusal } from './record.fixture.ts'
import { type CallRow, callSteps } from './record.ts'
import { type CallFilter, listCalls } from './report.ts'

const startMs = Math.floor(Date.UTC(2026, 9, 1) / dayMs) * dayMs

test('each account and day is written once, in one order', () => {
  const rows = ['b', 'a', 'b', null].map((accountId, index) => ({ ...call(startMs + index, 'x'), accountId }))
  const day = startMs / dayMs
  const steps = accountDaySteps([...rows, call(startMs + dayMs, 'a')])
  expect(steps.map(({ values }) => values)).toEqual([
    ['a', day],
    ['a', day + 1],
    ['b', day],
  ])
})

test('what is known to be written is not written again: of the latest day, and once it was committed', () => {
  const days = new DaysWritten()
  const [one, other] = [call(startMs, 'a'), call(startMs, 'b')]
  days.workedOut([one])
  const { steps, committed } = days.workedOut([one])
  expect(steps, 'it was not committed').toHaveLength(1)
  committed()
  expect(days.workedOut([one, { ...one, accountId: null }]).steps).toEqual([])
  expect(days.workedOut([one, other]).steps.map(({ values }) => values[0])).toEqual(['b'])
  const later = days.workedOut([call(startMs + dayMs, 'a')])
  expect(later.steps).toHaveLength(1)
  later.committed()
  committed()
  expect(days.workedOut([one]).steps, 'an earlier day').toHaveLength(1)
  expect(days.workedOut([call(startMs + dayMs, 'a')]).steps).toEqual([])
})

onEveryEngine(open => {
  test('calls of an account are found on whatever day they were, page by page, in the order of all', async () => {
    await using books = await openBooks(open)
    const days = [0, 0, 3, 3, 3, 40, 41]
    const rows = days.map((day, index) => call(startMs + day * dayMs + index, index % 3 === 2 ? 'other' : 'one'))
    await write(books.database, rows)
    for (const filter of [{ accountId: 'one' }, { accountId: 'other' }, { accountId: 'none' }] as const) {
      const found = rows.filter(({ accountId }) => accountId === filter.accountId).map(({ id }) => id)
      for (const limit of [1, 2, 3, 100]) expect(await allPages(books.database, filter, limit)).toEqual(found.toReversed())
    }
    const period = { accountId: 'one', sinceMs: startMs + 3 * dayMs, untilMs: startMs + 41 * dayMs }
    expect(await allPages(books.database, period, 1)).toEqual([rows[3]!.id, rows[4]!.id].toReversed())
  })

  test('a call that began before midnight and got its id behind it is of both days', async () => {
    await using books = await openBooks(open)
    const row = { ...call(startMs, 'one'), id: newId(startMs + 5_000), beganAtMs: startMs - 5_000 }
    await write(books.database, [row])
    expect(await allPages(books.database, { accountId: 'one', untilMs: startMs }, 10)).toEqual([row.id])
    expect(await allPages(books.database, { accountId: 'one', sinceMs: startMs - 6_000 }, 10)).toEqual([row.id])
    expect(await allPages(books.database, { accountId: 'one', sinceMs: startMs }, 10)).toEqual([])
  })

  test('the days of calls from before there were days are made out', async () => {
    await using books = await openBooks(async path => old(await open(path)))
    const rows = [0, 1, 5].map(day => call(startMs + (day + 1) * dayMs - 1, 'one'))
    const late = { ...rows[2]!, id: newId(startMs + 7 * dayMs + 10_000), beganAtMs: startMs + 7 * dayMs - 10_000 }
    for (const row of [...rows, late]) await books.database.commit(callSteps(row, []).slice(0, 1), 'ordered')
    await migrate(books.database, migrations)
    expect(await allPages(books.database, { accountId: 'one' }, 2)).toEqual([...rows, late].map(({ id }) => id).toReversed())
  })
})

/** With the schema of before: `openBooks` brings it forward as far as it is let. */
function old(database: Database): Database {
  let isOld = true
  return {
    ...database,
    async commit(steps, durability) {
      const isNew = steps.some(({ statement: { sql } }) => sql.includes('create table account_days'))
      if (!isNew || !isOld) return database.commit(steps, durability)
      isOld = false
      return { done: true, rows: [] }
    },
  }
}

function call(beganAtMs: number, accountId: string): CallRow {
  return { ...refusal(newId(beganAtMs)), status: 200, ended: 'completed', fault: null, basis: 'reported', beganAtMs, accountId }
}

async function write(database: Database, rows: readonly CallRow[]): Promise<void> {
  for (const row of rows) await database.commit(callSteps(row, []), 'ordered')
  expect(await database.read(statement('select id from calls'))).toHaveLength(rows.length)
}

async function allPages(database: Database, filter: CallFilter, limit: number): Promise<string[]> {
  const ids: string[] = []
  for (let cursor: string | null = null; ; ) {
    const page = await listCalls(database, filter, { limit, cursor })
    ids.push(...page.calls.map(({ id }) => id))
    if (page.cursor === null) return ids
    cursor = page.cursor
  }
}
