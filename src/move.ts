import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type EngineSettings, type Migrated, openEngine } from './engines.ts'
import { openLedger } from './ledger/ledger.ts'
import { systemClock } from './lib/clock.ts'
import { type Database, type Row, type Step, statement } from './storage/database.ts'
import { lockFolder } from './storage/lock.ts'

/** The tables that were carried over, and how many rows each has on both sides. */
export type Moved = readonly { readonly table: string; readonly rows: number }[]

/** So many rows a transaction. */
const batchRows = 200

/**
 * Carries embedded books over to an empty database of a server, while no gateway runs on the folder, which is left as it is. Both sides are counted
 * and checked. `told` is called for each batch. Rejects with a sentence for the operator; what has been carried over by then is no books, and
 * another try refuses to add to it.
 */
export async function move(from: EngineSettings, to: EngineSettings, told: (table: string, rows: number) => void): Promise<Moved> {
  await using scope = new AsyncDisposableStack()
  // Else a mistyped folder would be made, and its empty books moved.
  if (!existsSync(join(from.data, 'headgate.db'))) throw new Error(`${from.data} is no data folder: there is no headgate.db in it.`)
  scope.use(await lockFolder(from.data))
  const { database: source } = await openEngine({ ...from, databaseUrl: null })
  scope.defer(() => source.close())
  await mustBalance(source, `The books in ${from.data} do not balance, so they are not moved`)
  const { database: target, migrated } = await openEngine(to)
  scope.defer(() => target.close())
  if (migrated.from > 0) {
    throw new Error('The database to move to has books already. Name an empty one; if a move into it broke off, drop it and make it again.')
  }

  const tables = await tablesOf(source)
  // What the migrations themselves have written stands in the source too, as it is by now.
  await target.commit(
    tables.toReversed().map(({ name }) => ({ statement: statement(`delete from ${name}`), values: [] })),
    'synced',
  )
  const moved: { table: string; rows: number }[] = []
  for (const table of tables) {
    await carry(table, { source, target, told })
    const [before, after] = [await countIn(source, table), await countIn(target, table)]
    if (before !== after)
      throw new Error(`Of the ${before} rows of ${table.name} there are ${after} in the new database. It must not be used.`)
    moved.push({ table: table.name, rows: after })
  }
  await mustBalance(target, 'The books do not balance in the new database, which must not be used')
  return moved
}

/** `headgate migrate`: what every start does first, and nothing else. */
export async function migrateOnly(settings: EngineSettings): Promise<Migrated> {
  using _ = await lockFolder(settings.data)
  const { database, migrated } = await openEngine(settings)
  await database.close()
  return migrated
}

interface Table {
  readonly name: string
  readonly columns: readonly string[]
}

interface Way {
  readonly source: Database
  readonly target: Database
  readonly told: (table: string, rows: number) => void
}

async function carry({ name, columns }: Table, { source, target, told }: Way): Promise<void> {
  const page = statement(`select rowid as place, * from ${name} where rowid > $1 order by rowid limit $2`)
  const insert = statement(`insert into ${name} (${columns.join(', ')}) values (${columns.map((_, index) => `$${index + 1}`).join(', ')})`)
  const stepOf = (row: Row): Step => ({ statement: insert, values: columns.map(column => row[column]!), rows: 1, otherwise: name })
  let carried = 0
  for (let place: Row[string] = 0n; ; ) {
    const rows = await source.report(page, [place, batchRows])
    if (rows.length === 0) return
    await target.commit(rows.map(stepOf), 'synced')
    place = rows.at(-1)!.place!
    told(name, (carried += rows.length))
  }
}

/** Those that others refer to first. SQLite itself is asked, so that a new table needs no line here. */
async function tablesOf(source: Database): Promise<readonly Table[]> {
  const rows = await source.report(statement(selectColumns))
  const referred = await source.report(statement(selectReferences))
  const left = new Map<string, string[]>()
  for (const row of rows) left.set(row.name as string, [...(left.get(row.name as string) ?? []), row.column_name as string])
  const ordered: Table[] = []
  while (left.size > 0) {
    const waitsFor = (name: string) => referred.some(one => one.name === name && one.refers !== name && left.has(one.refers as string))
    const ready = [...left].filter(([name]) => !waitsFor(name))
    if (ready.length === 0) throw new Error(`The tables ${[...left.keys()].join(', ')} refer to each other in a ring.`)
    for (const [name, columns] of ready) {
      ordered.push({ name, columns })
      left.delete(name)
    }
  }
  return ordered
}

/** The record of migrations is each database's own. */
const isOurs = `tables.type = 'table' and tables.name not like 'sqlite_%' and tables.name <> 'migrations'`

const selectColumns = `select tables.name as name, columns.name as column_name from sqlite_master as tables
  join pragma_table_info(tables.name) as columns where ${isOurs} order by tables.name, columns.cid`

const selectReferences = `select tables.name as name, keys."table" as refers from sqlite_master as tables
  join pragma_foreign_key_list(tables.name) as keys where ${isOurs}`

async function countIn(database: Database, { name }: Table): Promise<number> {
  const [row] = await database.report(statement(`select count(*) as count from ${name}`))
  return Number(row!.count)
}

async function mustBalance(database: Database, otherwise: string): Promise<void> {
  const [first, ...more] = await openLedger(database, systemClock).check()
  if (first !== undefined) throw new Error(`${otherwise}: ${first.says}${more.length > 0 ? `, and ${more.length} more` : ''}.`)
}
