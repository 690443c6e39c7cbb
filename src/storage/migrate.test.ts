import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { type Statement, statement } from './database.ts'
import { type Migration, migrate } from './migrate.ts'
import { migrations } from './migrations/list.ts'
import { openSqlite } from './sqlite.ts'

const first: Migration = { number: 1, name: 'first', sql: 'create table one (id bigint); insert into one values (1);' }
const second: Migration = { number: 2, name: 'second', sql: 'create table two (id bigint); insert into one values (2);' }
const broken: Migration = { number: 3, name: 'broken', sql: 'insert into one values (3); insert into nowhere values (3);' }
const readOne = statement('select id from one order by id')
const readMigrations = statement('select number, name, applied_at from migrations order by number')

test('a fresh database gets every migration once, in order', async () => {
  await using books = await opened()
  const clock = { ...systemClock, nowMs: () => 1_700_000_000_000 }
  expect(await migrate(books.database, [first], clock)).toEqual({ from: 0, to: 1 })
  expect(await migrate(books.database, [first, second], clock)).toEqual({ from: 1, to: 2 })
  expect(await migrate(books.database, [first, second], clock)).toEqual({ from: 2, to: 2 })
  expect(await books.rows(readOne)).toEqual([{ id: 1n }, { id: 2n }])
  expect(await books.rows(readMigrations)).toEqual([
    { number: 1n, name: 'first', applied_at: 1_700_000_000_000n },
    { number: 2n, name: 'second', applied_at: 1_700_000_000_000n },
  ])
})

test('a migration that fails leaves no trace, and those before it stay', async () => {
  await using books = await opened()
  await expect(migrate(books.database, [first, second, broken])).rejects.toThrow('nowhere')
  expect(await books.rows(readOne)).toEqual([{ id: 1n }, { id: 2n }])
  expect(await migrate(books.database, [first, second])).toEqual({ from: 2, to: 2 })
})

test.each<[string, Migration[], string]>([
  ['a newer schema', [first], 'has schema 2, but this Headgate knows it only up to 1. Start the version'],
  ['a migration of another name', [first, { ...second, name: 'other' }], 'migration 2 "second", where this Headgate knows 2 "other"'],
])('%s is refused and left alone', async (_, known, sentence) => {
  await using books = await opened()
  await migrate(books.database, [first, second])
  await expect(migrate(books.database, known)).rejects.toThrow(sentence)
  expect(await books.rows(readMigrations)).toHaveLength(2)
})

test('our own migrations are numbered from 1 without a gap, and apply', async () => {
  expect(migrations.map(({ number }) => number)).toEqual(migrations.map((_, index) => index + 1))
  await using books = await opened()
  expect(await migrate(books.database, migrations)).toEqual({ from: 0, to: migrations.length })
})

async function opened() {
  const folder = await mkdtempDisposable(join(tmpdir(), 'headgate-'))
  const database = await openSqlite(join(folder.path, 'books.db'))
  return {
    database,
    rows: (sql: Statement) => database.read(sql),
    async [Symbol.asyncDispose]() {
      await database.close()
      await folder.remove()
    },
  }
}
