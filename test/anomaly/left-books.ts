import { join } from 'node:path'
import { type Database, type Row, statement } from '../../src/storage/database.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { openWorld, type World, type WorldOptions } from '../world.ts'

/** The books of a world whose own gateway has stopped: a process of its own is to go on with them. */
export async function leaveBooks(options: WorldOptions = {}): Promise<World & { readonly data: string }> {
  const world = await openWorld(options)
  await world.headgate.stop()
  return { ...world, data: join(world.folder, 'data') }
}

/** Opens the books of a data folder beside whoever has them. */
export async function withBooks<Result>(data: string, look: (database: Database) => Promise<Result>): Promise<Result> {
  const database = await openSqlite(join(data, 'headgate.db'))
  try {
    return await look(database)
  } finally {
    await database.close()
  }
}

export const select = (database: Database, sql: string): Promise<Row[]> => database.report(statement(sql))

/** What each call was charged: an amount for every charge that names it. */
export async function chargesByCall(database: Database): Promise<Map<string, bigint[]>> {
  const found = new Map<string, bigint[]>()
  for (const { reference, amount } of await select(database, `select reference, amount from entries where kind = 'charge'`))
    found.set(reference as string, [...(found.get(reference as string) ?? []), amount as bigint])
  return found
}
