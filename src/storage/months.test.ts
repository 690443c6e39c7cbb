import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { onEveryEngine, onPostgres } from '../../test/engines.ts'
import { openPostgresAt, urlAt } from '../../test/shared-cluster.ts'
import { firstIdOf, newId } from '../lib/id.ts'
import { type Database, DatabaseAway, statement } from './database.ts'
import { migrate } from './migrate.ts'
import { migrations } from './migrations/list.ts'
import { dropMonths, makeMonths, monthStartMs } from './months.ts'

const dayMs = 86_400_000
/** Far behind the month in which the schema is made. */
const startMs = Date.UTC(2090, 0, 10)
const monthMs = (month: number) => Date.UTC(2090, month - 1)
const before = migrations.findIndex(({ name }) => name === 'retention')

const insertCall = statement(`insert into calls (id, user_id, key_id, path, stream, status, ended, basis, input_tokens, cached_tokens,
    cache_write_tokens, cache_write_12h_tokens, output_tokens, reasoning_tokens, web_searches, file_searches, held, cost, uncollected,
    attempts, line_ms, duration_ms, address, instructions_added, began_at)
  values ($1, 'u', 'k', '/', 0, 200, 'completed', 'reported', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, '', 0, 0) on conflict (id) do nothing`)
const insertAttempt = statement(`insert into attempts (call_id, number, account_id, model, began_at, duration_ms, answered)
  values ($1, $2, 'a', 'm', 0, 0, 1) on conflict (call_id, number) do nothing`)
const readCalls = statement('select * from calls order by id')
const readAttempts = statement('select * from attempts order by call_id, number')

async function write(database: Database, ids: readonly string[]): Promise<void> {
  const steps = ids.flatMap(id => [
    { statement: insertCall, values: [id] },
    ...[1, 2].map(number => ({ statement: insertAttempt, values: [id, number] })),
  ])
  await database.commit(steps, 'synced')
}

onEveryEngine(open => {
  test('books of the schema before keep every row, of whatever time and form its id is', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'headgate-'))
    const path = join(folder.path, 'books.db')
    const database = await open(path)
    await using _ = { [Symbol.asyncDispose]: () => database.close() }
    await migrate(database, migrations.slice(0, before))
    const nowMs = Date.now()
    const times = [0, 1, 40, 400].flatMap(days => [nowMs - days * dayMs, nowMs + days * dayMs])
    const ids = [...times.map(newId), 'r1', '', 'Ä', 'ffffffff-ffff', newId(startMs)]
    await write(database, ids)
    const [calls, attempts] = [await database.report(readCalls), await database.report(readAttempts)]
    expect([calls.length, attempts.length]).toEqual([ids.length, 2 * ids.length])
    expect(await migrate(database, migrations)).toEqual({ from: before, to: migrations.length })
    expect([await database.report(readCalls), await database.report(readAttempts)]).toEqual([calls, attempts])
    await write(database, ids) // They are known by their ids as before.
    expect([await database.report(readCalls), await database.report(readAttempts)]).toEqual([calls, attempts])
  })
})

onPostgres('months on a server', () => {
  let scope: AsyncDisposableStack
  let database: Database
  let path: string
  beforeEach(async () => {
    scope = new AsyncDisposableStack()
    path = join(scope.use(await mkdtempDisposable(join(tmpdir(), 'headgate-'))).path, 'books.db')
    database = await opened()
    await migrate(database, migrations)
  })
  afterEach(() => scope.disposeAsync())

  async function opened(): Promise<Database> {
    const one = await openPostgresAt(path)
    scope.defer(() => one.close())
    return one
  }

  async function places(): Promise<(readonly [string, string])[]> {
    const rows = await database.report(statement('select cast(cast(tableoid as regclass) as text) as partition, id from calls order by id'))
    return rows.map(({ partition, id }) => [String(id), String(partition)] as const)
  }

  test('the month that runs and two more are made, once, whoever asks', async () => {
    const names = ['calls_2090_01', 'calls_2090_02', 'calls_2090_03', 'attempts_2090_01', 'attempts_2090_02', 'attempts_2090_03']
    expect(await makeMonths(database, startMs)).toEqual(names)
    expect(await makeMonths(database, startMs)).toEqual([])
    expect(await makeMonths(database, Date.UTC(2089, 11, 31, 23, 59, 59, 999))).toEqual(['calls_2089_12', 'attempts_2089_12'])
    const others = await Promise.all(Array.from({ length: 4 }, opened))
    const asked = await Promise.allSettled(others.map(other => makeMonths(other, monthMs(4))))
    // Who had to wait too long for the others says so; nobody finds a month where it did not look for one.
    for (const one of asked) if (one.status === 'rejected') expect(one.reason).toBeInstanceOf(DatabaseAway)
    await makeMonths(database, monthMs(4))
    expect(await makeMonths(database, monthMs(4))).toEqual([])
  })

  test('the month of the change itself is in what was there before, so it is not made', async () => {
    const [first] = await makeMonths(database, Date.now())
    const next = new Date(monthStartMs(Date.now()) + 32 * dayMs).toISOString().slice(0, 'yyyy-mm'.length)
    expect(first).toBe(`calls_${next.replace('-', '_')}`)
  })

  test('each row lies in the month of its id; what came before its month was made moves there', async () => {
    const ids = [newId(monthMs(1)), newId(monthMs(2) - 1_000), newId(monthMs(2)), newId(monthMs(12))]
    await write(database, ids)
    expect(await places()).toEqual(ids.map(id => [id, 'calls_rest']))
    await makeMonths(database, startMs)
    const expected = ['calls_2090_01', 'calls_2090_01', 'calls_2090_02', 'calls_rest']
    expect(await places()).toEqual(ids.map((id, index) => [id, expected[index]]))
    await write(database, [...ids, newId(monthMs(3))])
    expect((await places()).map(([, partition]) => partition)).toEqual([...expected.slice(0, 3), 'calls_2090_03', 'calls_rest'])
    expect(await database.report(readAttempts)).toHaveLength(10)
  })

  test('a month is dropped when all of it is older, with all that lies in it', async () => {
    await makeMonths(database, startMs)
    await write(database, [newId(1), newId(monthMs(1)), newId(monthMs(2))])
    expect(await dropMonths(database, firstIdOf(monthMs(2) - 1))).toEqual(['calls_before', 'attempts_before'])
    expect(await dropMonths(database, firstIdOf(monthMs(2)))).toEqual(['calls_2090_01', 'attempts_2090_01'])
    expect((await places()).map(([, partition]) => partition)).toEqual(['calls_2090_02'])
    expect(await database.report(readAttempts)).toHaveLength(2)
    await write(database, [newId(monthMs(1))])
    expect((await places()).map(([, partition]) => partition)).toEqual(['calls_rest', 'calls_2090_02'])
  })

  test('what is prepared goes on through it', async () => {
    await makeMonths(database, startMs)
    const ids = [newId(monthMs(1)), newId(monthMs(2))]
    for (let time = 0; time < 10; time++) await write(database, ids) // A server plans a statement anew until the sixth time.
    const other = await opened()
    await dropMonths(other, firstIdOf(monthMs(2)))
    await makeMonths(other, monthMs(6))
    await write(database, ids)
    expect(await places()).toEqual([
      [ids[0], 'calls_rest'],
      [ids[1], 'calls_2090_02'],
    ])
  })

  test('while somebody reads for long a month is not dropped, and nobody waits for it; the next run drops it', async () => {
    await makeMonths(database, startMs)
    const writer = await opened()
    const reader = new pg.Client(await urlAt(path))
    await reader.connect()
    scope.defer(() => reader.end())
    await reader.query('begin; select count(*) from calls')
    const dropping = dropMonths(database, firstIdOf(monthMs(2)))
    const written = write(writer, [newId(monthMs(2))])
    await expect(dropping).rejects.toBeInstanceOf(DatabaseAway)
    await written
    await reader.query('commit')
    expect(await dropMonths(database, firstIdOf(monthMs(2)))).toContain('calls_2090_01')
  })

  test('a look-up and a list read only the months they need', async () => {
    await makeMonths(database, startMs)
    const plan = async (sql: string) =>
      (await database.report(statement(`explain ${sql}`))).map(row => String(Object.values(row)[0])).join('\n')
    expect(await plan(`select * from calls where id = '${newId(startMs)}'`)).not.toMatch(/calls_(before|rest|2090_0[23])/)
    expect(await plan(`select * from calls where user_id = 'u' and id >= '${firstIdOf(monthMs(3))}'`)).not.toMatch(
      /calls_(before|2090_0[12])/,
    )
  })
})
