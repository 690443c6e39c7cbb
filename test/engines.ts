import { afterAll, describe } from 'vitest'
import type { Database } from '../src/storage/database.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import { missingPostgres } from './postgres.ts'
import { openPostgresAt, stopCluster } from './shared-cluster.ts'

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
