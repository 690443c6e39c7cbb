import pg from 'pg'
import { type Committed, type Database, DatabaseAway, type Row, type Statement, statement, type Value } from './database.ts'
import {
  connect,
  connectTimeoutMs,
  isUnfit,
  named,
  type PostgresOptions,
  placeOf,
  types,
  UnfitServer,
  verifying,
} from './postgres-connect.ts'
import { away, complaintOf, isAway, refused } from './postgres-fault.ts'
import { openPostgresLine } from './postgres-line.ts'
import { bound } from './postgres-values.ts'

export interface PostgresDatabase extends Database {
  /** Does something while no other gateway that uses this database does the same: migrations. Waits for its turn. */
  alone<T>(act: () => Promise<T>): Promise<T>
  /** By the server's clock, which is the same for all who use it. Milliseconds since 1970. */
  nowMs(): Promise<number>
}

/** So that reports do not take what the server has left for settles. */
const reportConnections = 2
const reportTimeoutMs = 300_000
/** "headgate" as a number: advisory locks of a database are shared by all of its users. */
const migrating = '7522525836451345509'

/**
 * Books on a PostgreSQL server, for as many gateways as use it. Rejects with a sentence when the server cannot be reached or must not be
 * used: it is too old, or runs with fsync, full_page_writes or synchronous_commit off.
 *
 * Both durabilities are synced: what a commit leaves unsynced would here be lost with the server's process, and a gateway outlives that.
 */
export async function openPostgres(options: PostgresOptions): Promise<PostgresDatabase> {
  const place = placeOf(options.url)
  await tryServer(options)
  const line = openPostgresLine(options)
  const reports = openReports(options)
  let closed: Promise<unknown> | undefined

  async function report(statement: Statement, values: readonly Value[] = []): Promise<Row[]> {
    if (closed !== undefined) throw new DatabaseAway(`The database ${place} is closed.`)
    try {
      return (await reports.query<Row>(statement.sql, values.map(bound))).rows
    } catch (error) {
      const complaint = complaintOf(error)
      throw isAway(complaint) ? away(place, complaint) : refused(complaint, statement.sql)
    }
  }

  async function read(statement: Statement, values: readonly Value[] = []): Promise<Row[]> {
    return onlyRows(await line.ask({ steps: [{ statement, values }], isWrite: false }))
  }

  return {
    engine: 'postgres',
    read,
    report,
    commit: steps => line.ask({ steps, isWrite: true }),
    alone: act => alone(options, act),
    nowMs: async () => Number((await read(selectNow))[0]!['now']),
    async close() {
      closed ??= Promise.all([line.close(), reports.end()])
      await closed
    },
  }
}

const selectNow = statement('select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now')

async function tryServer(options: PostgresOptions): Promise<void> {
  try {
    const { client } = await connect(options)
    await client.end()
  } catch (error) {
    const reason = complaintOf(error).message
    if (error instanceof UnfitServer) throw new Error(`The database ${placeOf(options.url)} cannot be used: ${reason}`)
    if (isUnfit(error)) throw new Error(`The database ${placeOf(options.url)} cannot be used: ${reason}; correct HEADGATE_DATABASE_URL.`)
    throw new DatabaseAway(`The database ${placeOf(options.url)} cannot be reached: ${reason}; start it, or correct HEADGATE_DATABASE_URL.`)
  }
}

function openReports({ url }: PostgresOptions): pg.Pool {
  const limits = { max: reportConnections, connectionTimeoutMillis: connectTimeoutMs, statement_timeout: reportTimeoutMs }
  const pool = new pg.Pool({ connectionString: verifying(url), keepAlive: true, types, ...limits, ...named })
  pool.on('error', () => {}) // One that nobody uses was lost; the next report opens another.
  return pool
}

/** The lock is its connection's, so it ends with the process, however that ends. */
async function alone<T>(options: PostgresOptions, act: () => Promise<T>): Promise<T> {
  const { client } = await connect(options)
  try {
    await client.query(`set statement_timeout = 0; set lock_timeout = 0; select pg_advisory_lock(${migrating})`)
    return await act()
  } finally {
    await client.end()
  }
}

function onlyRows(committed: Committed): Row[] {
  return committed.done ? [...(committed.rows[0] ?? [])] : []
}
