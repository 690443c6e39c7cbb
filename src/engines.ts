import { join } from 'node:path'
import type { Settings } from './config/settings.ts'
import { takeUp } from './ledger/at-hand.ts'
import type { LeaseTime } from './ledger/ledger.ts'
import { openSlips, readSlips, type Slips } from './ledger/slips.ts'
import type { Database } from './storage/database.ts'
import { migrate } from './storage/migrate.ts'
import { migrations } from './storage/migrations/list.ts'
import { openSqlite } from './storage/sqlite.ts'

/** Which engine keeps the books, and how it is opened. Nobody else knows that there are two. */
export type EngineSettings = Pick<Settings, 'data' | 'databaseUrl' | 'databaseConnections' | 'databaseStatementTimeoutMs'>

/** What was done to the schema: the number of the last migration before and after. */
export type Migrated = Awaited<ReturnType<typeof migrate>>

export interface Engine {
  readonly database: Database
  readonly migrated: Migrated
  /** The one clock of all who share these books; undefined when nobody else can have them. */
  readonly sharedTime: LeaseTime | undefined
  /** Where holds stand of which the books do not know yet; undefined when others have the same books. Closed with the database. */
  readonly slips: Slips | undefined
}

/**
 * The books with the newest schema: on the server that the settings name, else in the data folder. Gateways that share a server bring the
 * schema forward one at a time. Rejects with a sentence for the operator.
 */
export async function openEngine(settings: EngineSettings): Promise<Engine> {
  const opened = settings.databaseUrl === null ? await openFile(settings) : await openServer(settings, settings.databaseUrl)
  try {
    const migrated = await opened.alone(() => migrate(opened.database, migrations))
    if (settings.databaseUrl !== null) return { ...opened, migrated, slips: undefined }
    const file = join(settings.data, 'holds.slips')
    await takeUp(opened.database, readSlips(file))
    const slips = openSlips(file)
    return { database: closedWith(opened.database, slips), migrated, sharedTime: undefined, slips }
  } catch (error) {
    await opened.database.close()
    throw error
  }
}

function closedWith(database: Database, slips: Slips): Database {
  const close = async () => {
    try {
      await database.close()
    } finally {
      slips.close()
    }
  }
  return { ...database, close }
}

interface Opened extends Pick<Engine, 'database' | 'sharedTime'> {
  alone<T>(act: () => Promise<T>): Promise<T>
}

/** Its folder is locked, so whoever is here is alone. */
async function openFile({ data }: EngineSettings): Promise<Opened> {
  return { database: await openSqlite(join(data, 'headgate.db')), sharedTime: undefined, alone: act => act() }
}

/** The driver is loaded only by those who have a server. */
async function openServer(settings: EngineSettings, url: string): Promise<Opened> {
  // The text is not told: there is a password in it.
  if (!URL.canParse(url))
    throw new Error('databaseUrl is no URL; what is special in its password must be percent-encoded, as in %40 for @.')
  const { openPostgres } = await import('./storage/postgres.ts')
  const { databaseConnections: connections, databaseStatementTimeoutMs: statementTimeoutMs } = settings
  const database = await openPostgres({ url, connections, statementTimeoutMs })
  return { database, sharedTime: () => database.nowMs(), alone: act => database.alone(act) }
}
