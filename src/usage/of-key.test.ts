import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Open, onEveryEngine } from '../../test/engines.ts'
import { findKey, removeKey } from '../directory/keys.ts'
import { userSteps } from '../ledger/books.fixture.ts'
import { newId } from '../lib/id.ts'
import { type Database, script, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { openOwnUsage } from './own.ts'
import { refusal, startMs } from './record.fixture.ts'
import { callSteps } from './record.ts'
import { listCalls } from './report.ts'

/** Calls of one key, which are found among those of its user. */

const before = migrations.findIndex(({ name }) => name === 'keys-by-user')

const insertKey = statement(`insert into keys (id, user_id, name, hash, hint, allow_addresses, deny_addresses, created_at)
  values ($1, $2, $1, $1, '', '[]', '[]', 0)`)
const readRemoved = statement('select id, user_id from removed_keys order by id')
const readIndexes = {
  sqlite: statement(`select name from sqlite_master where type = 'index' and tbl_name = 'calls' order by name`),
  postgres: statement(`select indexname as name from pg_indexes where indexname like 'calls_%' order by indexname`),
}

/** Whose key, and how often each was used, in turns. */
const keys = { k1: 'ann', k2: 'ann', k3: 'bob', leaked: 'ann', older: 'bob', unused: 'bob' } as const
const used = ['k1', 'k2', 'older', 'k1', 'k3', 'leaked', 'older', 'k1', 'leaked', 'k3'] as const

/** Books as they were before there was one index less: two keys are gone, and their calls are not. */
async function openBefore(open: Open, path: string): Promise<Database> {
  const database = await open(path)
  await migrate(database, migrations.slice(0, before))
  await database.commit([...userSteps('ann'), ...userSteps('bob')], 'synced')
  const standing = Object.entries(keys).filter(([key]) => key !== 'leaked' && key !== 'older')
  await database.commit(
    standing.map(values => ({ statement: insertKey, values })),
    'synced',
  )
  for (const [number, keyId] of used.entries()) {
    const beganAtMs = startMs + number
    const row = { ...refusal(newId(beganAtMs)), keyId, userId: keys[keyId], cost: BigInt(10 ** number), beganAtMs }
    await database.commit(callSteps(row, []), 'synced')
  }
  return database
}

async function expectAllFound(database: Database): Promise<void> {
  const own = openOwnUsage(database)
  for (const keyId of Object.keys(keys)) {
    const places = used.flatMap((key, number) => (key === keyId ? [number] : [])).toReversed()
    const { calls } = await listCalls(database, { keyId }, { limit: 100, cursor: null })
    expect(calls.map(call => call.beganAtMs - startMs)).toEqual(places)
    const page = await own.calls({ keyId }, { limit: 2, after: null, sinceMs: undefined, untilMs: undefined })
    expect(page).toEqual({ calls: calls.slice(0, 2), hasMore: places.length > 2 })
    const cost = places.reduce((sum, number) => sum + BigInt(10 ** number), 0n)
    expect((await own.sums({ keyId }, startMs))[0]).toMatchObject({ calls: BigInt(places.length), cost })
  }
}

onEveryEngine((open, engine) => {
  test('calls of each key are found as before, also those of keys that are gone', async () => {
    await using books = await opened(open)
    const { database } = books
    expect(await migrate(database, migrations)).toEqual({ from: before, to: migrations.length })
    expect(await database.report(readRemoved)).toEqual([
      { id: 'leaked', user_id: 'ann' },
      { id: 'older', user_id: 'bob' },
    ])
    await expectAllFound(database)
    await database.commit(removeKey((await findKey(database, 'k1'))!), 'synced')
    await expectAllFound(database)
    expect(await findKey(database, 'k1')).toBeUndefined()
  })

  test('no index by key is left, and calls of a key are sought by the user', async () => {
    await using books = await opened(open)
    const { database } = books
    await migrate(database, migrations)
    const indexes = (await database.report(readIndexes[database.engine])).map(({ name }) => String(name))
    expect(indexes.filter(name => name.includes('key_id') || name.includes('by_key'))).toEqual([])
    expect(indexes).toContain('calls_by_user')

    for (const sql of await queriesOfKey(database)) {
      const plan = await planOf(database, sql)
      expect(plan).toMatch(engine === 'SQLite' ? /SEARCH calls USING INDEX calls_by_user \(user_id=\?/ : /Index Cond: \(\(?user_id = /)
      expect(plan).not.toMatch(/SCAN (calls|keys|removed_keys)|Seq Scan/)
    }
  })
})

/** What a list and the sums of one key ask the engine. */
async function queriesOfKey(database: Database): Promise<readonly string[]> {
  const asked: string[] = []
  const noting: Pick<Database, 'report'> = {
    report(one, values) {
      asked.push(one.sql)
      return database.report(one, values)
    },
  }
  await listCalls(noting, { keyId: 'k1' }, { limit: 3, cursor: null })
  await openOwnUsage(noting).sums({ keyId: 'k1' }, startMs)
  return asked
}

/** So few rows a server would rather read whole, whatever indexes there are. */
async function planOf(database: Database, sql: string): Promise<string> {
  const filled = sql
    .replace('limit $2', 'limit 3')
    .replace(/(began_at >= )\$3/, '$10')
    .replaceAll(/\$\d/g, `'k1'`)
  const explain = statement(`explain ${database.engine === 'sqlite' ? 'query plan ' : ''}${filled}`)
  if (database.engine === 'sqlite') return (await database.report(explain)).map(row => row.detail).join('\n')
  const steps = [script('set local enable_seqscan = off'), explain].map(step => ({ statement: step, values: [] }))
  const answer = await database.commit(steps, 'synced')
  return answer.done ? answer.rows[1]!.map(row => row['QUERY PLAN']).join('\n') : answer.guard
}

async function opened(open: Open): Promise<{ readonly database: Database } & AsyncDisposable> {
  const folder = await mkdtempDisposable(join(tmpdir(), 'headgate-'))
  const database = await openBefore(open, join(folder.path, 'books.db'))
  return {
    database,
    async [Symbol.asyncDispose]() {
      await database.close()
      await folder.remove()
    },
  }
}
