import { type Clock, systemClock } from '../lib/clock.ts'
import { type Database, script, statement } from './database.ts'

/** A change of the schema. Numbered from 1 without a gap; once released it is never edited, renamed or removed. */
export interface Migration {
  readonly number: number
  readonly name: string
  /** In the subset that the engines share. */
  readonly sql: string
  /** What a PostgreSQL server is told after it, in the same transaction: for what SQLite has not, and does not need. */
  readonly postgres?: string
}

/**
 * Brings the schema forward, each migration in a transaction of its own, and says from which number to which.
 * Refuses a schema that this program does not know, because it would read and write it wrongly.
 */
export async function migrate(
  database: Database,
  migrations: readonly Migration[],
  clock: Clock = systemClock,
): Promise<{ readonly from: number; readonly to: number }> {
  await database.commit([{ statement: script(createRecord), values: [] }], 'synced')
  const applied = (await database.read(readRecord)).map(row => ({ number: Number(row.number), name: String(row.name) }))
  refuseUnknown(applied, migrations)
  const from = applied.length
  for (const { number, name, sql, postgres } of migrations.slice(from)) {
    const texts = postgres !== undefined && database.engine === 'postgres' ? [sql, postgres] : [sql]
    const steps = [
      { statement: record, values: [number, name, clock.nowMs()] },
      ...texts.map(text => ({ statement: script(text), values: [] })),
    ]
    await database.commit(steps, 'synced')
  }
  return { from, to: migrations.length }
}

const createRecord = 'create table if not exists migrations (number bigint primary key, name text not null, applied_at bigint not null)'
const readRecord = statement('select number, name from migrations order by number')
const record = statement('insert into migrations (number, name, applied_at) values ($1, $2, $3)')

function refuseUnknown(applied: readonly Pick<Migration, 'number' | 'name'>[], migrations: readonly Migration[]): void {
  const newest = applied.length
  if (newest > migrations.length) {
    throw new Error(
      `The database has schema ${newest}, but this Headgate knows it only up to ${migrations.length}. ` +
        'Start the version of Headgate that wrote it, or a newer one; or restore the backup made before that upgrade.',
    )
  }
  for (const [index, { number, name }] of applied.entries()) {
    const known = migrations[index]!
    if (number === known.number && name === known.name) continue
    throw new Error(
      `The database has had migration ${number} "${name}", where this Headgate knows ${known.number} "${known.name}". ` +
        'It was written by another build: start that one, or restore a backup that this one made.',
    )
  }
}
