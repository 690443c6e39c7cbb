import { firstIdOf } from '../lib/id.ts'
import { type Database, script, statement } from './database.ts'

/**
 * The partitions of a server's largest tables, one for each month of UTC in which the ids of its rows were made.
 *
 *   calls_before   everything up to the month in which the books were cut into months
 *   calls_2026_12  a month, made ahead by whichever gateway looks first
 *   calls_rest     what belongs to no month that there is: nothing is ever refused for want of one
 *
 * Each change is one transaction, under a lock that gateways take one at a time, and says first what it expects to find. So it may be broken off
 * or asked for twice. It waits for the table only as long as calls can wait behind it; then the next run tries again.
 */

/** Tables whose rows belong to a call, and the column with its id. */
const tables = { calls: 'id', attempts: 'call_id' } as const
type Table = keyof typeof tables

/** The month that runs, and these after it: a gateway that stands still for weeks is no trouble. */
const monthsAhead = 2
/** Whoever wants the table meanwhile stands behind this. Well below the time after which settles go to the journal. */
const lockTimeoutMs = 100
/** "months" as a number, beside that of migrations. */
const cutting = 120326380974195

/** Makes the partitions that are missing, and says which. Rejects with `DatabaseAway`, also when the lock was not had in time. */
export async function makeMonths(database: Pick<Database, 'report' | 'commit'>, nowMs: number): Promise<readonly string[]> {
  const made: string[] = []
  for (const table of Object.keys(tables) as Table[]) {
    const there = await readPartitions(database, table)
    for (let ahead = 0; ahead <= monthsAhead; ahead++) {
      const month = monthOf(nowMs, ahead)
      if (there.some(({ from, to }) => from < month.to && month.from < to)) continue
      const name = `${table}_${month.name}`
      await change(database, makeSql(table, { ...month, name }))
      made.push(name)
    }
  }
  return made
}

/** Drops the partitions whose rows all sort before this id, and says which. Rejects like `makeMonths`. */
export async function dropMonths(database: Pick<Database, 'report' | 'commit'>, before: string): Promise<readonly string[]> {
  const dropped: string[] = []
  for (const table of Object.keys(tables) as Table[]) {
    for (const { name, to } of await readPartitions(database, table)) {
      if (to > before) continue
      await change(database, `drop table if exists ${name}`)
      dropped.push(name)
    }
  }
  return dropped
}

/** The moment at which the month of UTC began in which this moment lies. */
export function monthStartMs(atMs: number): number {
  return monthOf(atMs, 0).fromMs
}

interface Partition {
  readonly name: string
  /** The first id that belongs here, and the first that does not any more. */
  readonly from: string
  readonly to: string
}

function monthOf(atMs: number, ahead: number): Partition & { readonly fromMs: number } {
  const at = new Date(atMs)
  const [year, month] = [at.getUTCFullYear(), at.getUTCMonth() + ahead]
  const fromMs = Date.UTC(year, month)
  const name = new Date(fromMs).toISOString().slice(0, 'yyyy-mm'.length).replace('-', '_')
  return { name, fromMs, from: firstIdOf(fromMs), to: firstIdOf(Date.UTC(year, month + 1)) }
}

/** All but the one that takes what is left. */
async function readPartitions(database: Pick<Database, 'report'>, table: Table): Promise<readonly Partition[]> {
  const rows = await database.report(selectPartitions, [table])
  return rows.flatMap(({ name, bounds }) => {
    const [, from, to] = /^FOR VALUES FROM \((?:MINVALUE|'([^']*)')\) TO \('([^']*)'\)$/.exec(String(bounds)) ?? []
    return to === undefined ? [] : [{ name: String(name), from: from ?? '', to }]
  })
}

/** What lies in the rest by now and belongs to the month goes with it; nobody else may look there meanwhile, and see it nowhere. */
function makeSql(table: Table, { name, from, to }: Partition): string {
  const rest = `${table}_rest`
  return `do $$ begin
    if to_regclass('${name}') is not null then return; end if;
    lock table ${rest} in access exclusive mode;
    create table ${name} (like ${table} including defaults including indexes);
    with moved as (delete from ${rest} where ${tables[table]} >= '${from}' and ${tables[table]} < '${to}' returning *)
      insert into ${name} select * from moved;
    alter table ${table} attach partition ${name} for values from ('${from}') to ('${to}');
  end $$`
}

async function change(database: Pick<Database, 'commit'>, sql: string): Promise<void> {
  const text = `set local lock_timeout = ${lockTimeoutMs}; select pg_advisory_xact_lock(${cutting}); ${sql}`
  await database.commit([{ statement: script(text), values: [] }], 'synced')
}

const selectPartitions =
  statement(`select cast(partition.relname as text) as name, pg_get_expr(partition.relpartbound, partition.oid) as bounds
  from pg_inherits join pg_class as partition on partition.oid = pg_inherits.inhrelid
  where pg_inherits.inhparent = to_regclass($1) order by 1`)
