import pg from 'pg'
import { complaintOf } from './postgres-fault.ts'
import { readValue } from './postgres-values.ts'

/** Where PostgreSQL is, and how long one may wait for it. */
export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`, with what else `pg` reads of one, such as `?sslmode=verify-full`. */
  readonly url: string
  /** How many connections hold, settle and look up. With one, commands land in the order in which they are asked. */
  readonly connections: number
  readonly statementTimeoutMs: number
}

/** A connection and what its server said of itself. */
export interface Connected {
  readonly client: pg.Client
  readonly synchronousCommit: string
}

export const connectTimeoutMs = 3_000
/** Locks are held for as long as a few statements run; who waits so long waits for a person. */
const lockTimeoutMs = 2_000
const oldestVersion = 15

/** Integers as bigint, also where `pg` itself reads them. */
export const types = {
  getTypeParser: (type: number) => (written: string) => readValue(type, written),
} as unknown as pg.CustomTypesConfig

/** Rejects with what `pg` or Node says, or with a sentence when this server would lose what it has acknowledged. */
export async function connect({ url, statementTimeoutMs }: PostgresOptions): Promise<Connected> {
  const client = new pg.Client({
    connectionString: verifying(url),
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    types,
    ...named,
  })
  client.on('error', () => {}) // Whoever has asked something is told; nobody else needs to know.
  try {
    await client.connect()
    const synchronousCommit = await readDurability(client)
    await client.query(settings(statementTimeoutMs))
    return { client, synchronousCommit }
  } catch (error) {
    client.end().catch(() => {}) // It may never have been connected.
    throw error
  }
}

/**
 * The URL as `pg` is told it. It takes every `sslmode` that encrypts for `verify-full`, and warns at length that another version will not:
 * here it is said outright, so that it stays so.
 */
export function verifying(url: string): string {
  return url.includes('uselibpqcompat=') ? url : url.replace(/([?&]sslmode=)(prefer|require|verify-ca)(?=&|$)/, '$1verify-full')
}

export const named = { application_name: 'headgate' }

/** Ends at once, whatever the server does. */
export function cut({ connection }: pg.Client): void {
  connection.stream.destroy()
}

/** The server and the database in it, for a message: without user and password. */
export function placeOf(url: string): string {
  const { host, pathname, searchParams } = new URL(url)
  return `postgres://${host || (searchParams.get('host') ?? 'localhost')}${pathname}`
}

/** What keeps an acknowledged charge. Read back, because a server may have been set up for a test, or for a benchmark. */
async function readDurability(client: pg.Client): Promise<string> {
  const { rows } = await client.query(selectDurability)
  const found = rows[0] as Readonly<
    Record<'fsync' | 'full_page_writes' | 'synchronous_commit' | 'server_version' | 'version' | 'may_create' | 'name', string>
  >
  for (const name of ['fsync', 'full_page_writes', 'synchronous_commit'] as const) {
    if (found[name] !== 'off') continue
    throw new UnfitServer(
      `it has ${name} off, so a power cut could take charges that were acknowledged. Set ${name} = on in its configuration.`,
    )
  }
  if (Number(found.version) < oldestVersion * 10_000) {
    throw new UnfitServer(`it is PostgreSQL ${found.server_version}; Headgate needs ${oldestVersion} or newer.`)
  }
  if (found.may_create === 'false') {
    throw new UnfitServer(
      `its user ${found.name} may not make tables there. Let it own the database: alter database … owner to "${found.name}".`,
    )
  }
  return found.synchronous_commit
}

/** The server can be reached and must not be used. */
export class UnfitServer extends Error {
  override readonly name = 'UnfitServer'
}

/** Whether waiting may help. */
export function isUnfit(error: unknown): error is UnfitServer {
  return error instanceof UnfitServer || unfitCodes.has(complaintOf(error).code ?? '')
}

/** Wrong name or password, no such database. */
const unfitCodes = new Set(['28000', '28P01', '3D000'])

const selectDurability = `select current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
  current_setting('synchronous_commit') as synchronous_commit, current_setting('server_version') as server_version,
  current_setting('server_version_num') as version, current_user as name,
  cast(coalesce(has_schema_privilege(current_schema(), 'create'), false) as text) as may_create`

/** The last transaction of each batch waits for the disk, and so for all before it (see `postgres-session.ts`). */
function settings(statementTimeoutMs: number): string {
  return `set synchronous_commit = off; set default_transaction_isolation = 'read committed'; set bytea_output = 'hex';
    set statement_timeout = ${statementTimeoutMs}; set lock_timeout = ${Math.min(lockTimeoutMs, statementTimeoutMs)};
    set idle_in_transaction_session_timeout = ${statementTimeoutMs}`
}
