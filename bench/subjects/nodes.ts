import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { statement } from '../../src/storage/database.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { missingPostgres, startCluster } from '../../test/postgres.ts'
import { loadCore } from '../cores.ts'
import { startGateway } from './headgate.ts'
import { childrenOf, freePort, isThere, startProgram } from './program.ts'
import type { Ground, Running } from './subject.ts'

/** Why there can be no nodes here, in a sentence. */
export const missingServers = missingPostgres ?? (isThere('redis-server', '--version') ? undefined : 'redis-server is not on the PATH')

/** Gateways on one PostgreSQL and one Redis of their own. */
export interface Nodes extends AsyncDisposable {
  readonly each: readonly Running[]
  readonly redisPids: readonly number[]
  /** The server's processes as they are now: each connection has one. */
  readonly postgresPids: () => readonly number[]
  /** Stops the gateways and looks into their books, like a single one's. */
  readonly audit: (calls: number) => Promise<string>
}

/** All on the core of gateways; the servers have the core of the load. */
export async function startNodes(ground: Ground, count: number): Promise<Nodes> {
  await using scope = new AsyncDisposableStack()
  const folder = join(ground.folder, `nodes-${count}`)
  mkdirSync(folder)
  const { adminUrl: url } = scope.use(await startCluster())
  const port = await freePort()
  const words = ['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder]
  const redis = scope.use(await startProgram({ core: loadCore, words, log: join(folder, 'redis.log') }, port))
  const open = async () => {
    const database = await openPostgres({ url, connections: 1, statementTimeoutMs: 60_000 })
    const [row] = await database.report(readEngine)
    return { database, engine: `PostgreSQL ${row!.version}, fsync ${row!.fsync}, synchronous_commit ${row!.synchronous}` }
  }
  const env = { HEADGATE_DATABASE_URL: url, HEADGATE_REDIS_URL: `redis://127.0.0.1:${port}` }
  const each: Running[] = []
  for (let number = 0; number < count; number += 1) {
    const data = join(folder, `node-${number}`)
    if (number > 0) shareSecrets(join(folder, 'node-0'), data)
    const [first] = each
    each.push(scope.use(await startGateway(ground, { data, env, open, ...(first && { known: first.callers }) })))
  }
  const postmaster = await postmasterOf(url)
  const rest = scope.move()
  return {
    each,
    redisPids: [redis.pid],
    postgresPids: () => [postmaster, ...childrenOf(postmaster)],
    async audit(calls) {
      const [first, ...others] = each
      for (const other of others) await other[Symbol.asyncDispose]()
      return first!.audit!(calls)
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  }
}

/** Gateways of the same books have the same secrets. */
function shareSecrets(from: string, to: string): void {
  mkdirSync(to)
  for (const name of ['secret.key', 'admin.token']) copyFileSync(join(from, name), join(to, name))
}

/** The process that began all others of the server. */
async function postmasterOf(url: string): Promise<number> {
  const database = await openPostgres({ url, connections: 1, statementTimeoutMs: 60_000 })
  try {
    const [row] = await database.report(readOwnPid)
    const stat = readFileSync(`/proc/${row!.pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } finally {
    await database.close()
  }
}

const readOwnPid = statement('select pg_backend_pid() as pid')
const readEngine = statement(`select current_setting('server_version') as version, current_setting('fsync') as fsync,
  current_setting('synchronous_commit') as synchronous`)
