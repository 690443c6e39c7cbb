import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { until } from '../../test/world.ts'
import { manualClock, openBooks } from '../ledger/books.fixture.ts'
import type { Clock } from '../lib/clock.ts'
import { newId } from '../lib/id.ts'
import { openLog } from '../lib/log.ts'
import { openMetrics } from '../lib/metrics.ts'
import { type Database, DatabaseAway, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { dayMs } from './account-days.ts'
import { stepRowsMax } from './cut.ts'
import { refusal } from './record.fixture.ts'
import { callSteps } from './record.ts'
import { everyMs, openRetention } from './retention.ts'

const startMs = Date.UTC(2090, 6, 15, 12)
const settings = { usageKeptDays: 31 }
const oldMs = startMs - 80 * dayMs

async function write(database: Database, atMs: number, rows: number): Promise<void> {
  await database.commit(Array.from({ length: rows }, (_, call) => callSteps(refusal(newId(atMs + call)), [])).flat(), 'ordered')
}

async function left(database: Database): Promise<number> {
  return Number((await database.report(statement('select count(*) as n from calls')))[0]!.n)
}

/** A gateway's retention on a clock of the test's own, by which every step takes no time, and what it said. */
function gateway(database: Database, clock = manualClock(startMs)) {
  const lines: { readonly msg: string; readonly level: number }[] = []
  const log = openLog('info', { write: line => void lines.push(JSON.parse(line)) })
  const metrics = openMetrics()
  return {
    clock,
    lines,
    log,
    metrics,
    open: (kept = settings) => openRetention({ database, clock: { ...clock, elapsedMs: () => 0 }, log, metrics }, kept),
  }
}

/** Lets time pass, a little at a time, until it is so. */
async function passing(clock: ReturnType<typeof manualClock>, isSo: () => Promise<boolean> | boolean): Promise<void> {
  await until(() => {
    clock.advance(20)
    return isSo()
  }, 'it never came to pass')
}

onEveryEngine(open => {
  test('what is old is cut at the start and again in the hour in which more has become old, and the log says how much', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'headgate-'))
    const database = await open(join(folder.path, 'books.db'))
    await using _ = { [Symbol.asyncDispose]: () => database.close() }
    await migrate(database, migrations)
    await write(database, oldMs, 3 * stepRowsMax)
    await write(database, startMs, 5)
    const { clock, lines, metrics, open: start } = gateway(database)
    await using __ = start()
    await passing(clock, async () => lines.length === 1)
    expect(await left(database)).toBe(5)
    expect(lines[0]).toMatchObject({ level: 'info', deleted: { calls: 3 * stepRowsMax } })
    expect(await metrics.registry.metrics()).toContain(`headgate_rows_cut_total{table="calls"} ${3 * stepRowsMax}`)
    await write(database, oldMs, 7)
    clock.advance(everyMs)
    await passing(clock, async () => lines.length === 2)
    expect(await left(database)).toBe(5)
  })
})

test('of two gateways one has the turn, and the other looks again an hour later', async () => {
  await using books = await openBooks(openSqlite)
  await write(books.database, oldMs, 10)
  const one = gateway(books.database)
  await using _ = one.open()
  await passing(one.clock, () => one.lines.length === 1)
  await write(books.database, oldMs, 10)
  const other = gateway(books.database)
  const begun = other.open()
  await begun[Symbol.asyncDispose]() // After the run that began.
  expect([await left(books.database), other.lines]).toEqual([10, []])
  const later = gateway(books.database, manualClock(startMs + everyMs))
  await using __ = later.open()
  await passing(later.clock, async () => (await left(books.database)) === 0)
})

test('a turn that a wrong clock took for years keeps nobody out', async () => {
  await using books = await openBooks(openSqlite)
  await write(books.database, oldMs, 10)
  await books.database.commit([{ statement: statement('update retention set next_run_at = $1'), values: [startMs * 2] }], 'ordered')
  const { clock, open } = gateway(books.database)
  await using _ = open()
  await passing(clock, async () => (await left(books.database)) === 0)
})

test('a run that fails is counted and told, and the next one does its work', async () => {
  await using books = await openBooks(openSqlite)
  await write(books.database, oldMs, 10)
  let isAway = true
  const { database } = books
  const commit: Database['commit'] = (steps, durability) =>
    isAway ? Promise.reject(new DatabaseAway('as planned')) : database.commit(steps, durability)
  const { clock, lines, metrics, open } = gateway({ ...database, commit })
  await using _ = open()
  await passing(clock, () => lines.length === 1)
  expect(lines[0]).toMatchObject({ level: 'warn', err: { message: 'as planned' } })
  expect(await metrics.registry.metrics()).toContain('headgate_cuts_failed_total 1')
  isAway = false
  clock.advance(everyMs)
  await passing(clock, async () => (await left(database)) === 0)
})

test('stopping waits for one step and not for all of them', async () => {
  await using books = await openBooks(openSqlite)
  await write(books.database, oldMs, 5 * stepRowsMax)
  const { open } = gateway(books.database)
  await open()[Symbol.asyncDispose]()
  expect(await left(books.database)).toBe(4 * stepRowsMax)
})

test('after each step it rests twenty times as long as that took', async () => {
  await using books = await openBooks(openSqlite)
  await write(books.database, oldMs, 2 * stepRowsMax + 1)
  const { clock, lines, log, metrics } = gateway(books.database)
  const commit: Database['commit'] = async (steps, durability) => {
    const committed = await books.database.commit(steps, durability)
    clock.advance(7)
    return committed
  }
  const rests: number[] = []
  const after: Clock['after'] = (ms, then) => {
    rests.push(ms)
    return clock.after(ms, then)
  }
  await using _ = openRetention({ database: { ...books.database, commit }, clock: { ...clock, after }, log, metrics }, settings)
  // The first step of its run has others before it: the mark, and a table with nothing to cut.
  await until(() => rests.length > 0, 'a first rest')
  clock.advance(rests[0]!)
  await until(() => rests.length > 1, 'a second rest')
  expect(rests[1]).toBe(20 * 7)
  clock.advance(rests[1]!)
  await until(() => lines.length === 1, 'the end')
})

test('without a limit a file is left alone', async () => {
  await using books = await openBooks(openSqlite)
  await write(books.database, oldMs, 10)
  await gateway(books.database).open({ usageKeptDays: 0 })[Symbol.asyncDispose]()
  expect(await left(books.database)).toBe(10)
  const [row] = await books.database.report(statement('select next_run_at from retention'))
  expect(row).toEqual({ next_run_at: 0n })
})
