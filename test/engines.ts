import pg from 'pg'
import { afterAll, describe } from 'vitest'
import type { Database } from '../src/storage/database.ts'
import { openPostgres, type PostgresDatabase } from '../src/storage/postgres.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import { type Cluster, missingPostgres, startCluster } from './postgres.ts'

/** Opens books at a path; what is at the same path is the same. */
export type Open = (path: string) => Promise<Database>

/** The same tests on each engine. PostgreSQL is left out, and says why, where its programs are missing. */
export function onEveryEngine(tests: (open: Open, engine: 'SQLite' | 'PostgreSQL') => void): void {
  describe('SQLite', () => tests(path => openSqlite(path), 'SQLite'))
  onPostgres('PostgreSQL', () => tests(path => openPostgresAt(path), 'PostgreSQL'))
}

/** Tests that need a PostgreSQL server. */
export function onPostgres(name: string, tests: () => void): void {
  const isLeftOut = missingPostgres !== undefined
  describe.skipIf(isLeftOut)(isLeftOut ? `${name}, left out: ${missingPostgres}` : name, () => {
    afterAll(stopCluster)
    tests()
  })
}

/** One server for all the tests of a file, started when the first of them wants it. */
export function theCluster(): Promise<Cluster> {
  return (starting ??= startCluster())
}

let starting: Promise<Cluster> | undefined

async function stopCluster(): Promise<void> {
  const cluster = await starting
  starting = undefined
  await cluster?.[Symbol.asyncDispose]()
}

/** With one connection commands land in the order of asking, which is what tests of order want. */
export async function openPostgresAt(path: string, connections = 1): Promise<PostgresDatabase> {
  return openPostgres({ url: await urlAt(path), connections, statementTimeoutMs: 10_000 })
}

/** A schema of its own for each path. */
export async function urlAt(path: string): Promise<string> {
  const cluster = await theCluster()
  const schema = `books_${path.replaceAll(/\W+/g, '_').toLowerCase()}`.slice(0, 63)
  const client = new pg.Client(cluster.adminUrl)
  await client.connect()
  await client.query(`create schema if not exists ${schema}`)
  await client.end()
  return cluster.url(schema)
}
