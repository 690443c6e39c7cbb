import { join } from 'node:path'
import { statement } from '../../src/storage/database.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { missingPostgres, startCluster } from '../../test/postgres.ts'
import { loadCore } from '../cores.ts'
import { startGateway } from './headgate.ts'
import { freePort, isThere, startProgram } from './program.ts'
import type { Ground, Running, Subject } from './subject.ts'

const missing = missingPostgres ?? (isThere('redis-server', '--version') ? undefined : 'redis-server is not on the PATH')

/** As in a team of many nodes. The servers stand on the core of the load: with two cores they have to stand somewhere. */
export const many: Subject = {
  name: 'pg+redis',
  about: 'Headgate on PostgreSQL and Redis, everything on; servers on the core of the load',
  keepsBooks: true,
  ...(missing === undefined ? {} : { missing }),
  start: startMany,
}

async function startMany(ground: Ground): Promise<Running> {
  await using scope = new AsyncDisposableStack()
  const cluster = scope.use(await startCluster())
  const url = cluster.adminUrl
  const port = await freePort()
  const redis = ['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', ground.folder]
  scope.use(await startProgram({ core: loadCore, words: redis, log: join(ground.folder, 'redis.log') }, port))
  const open = async () => {
    const database = await openPostgres({ url, connections: 4, statementTimeoutMs: 60_000 })
    const [row] = await database.report(
      statement(`select current_setting('server_version') as version, current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as synchronous`),
    )
    return { database, engine: `PostgreSQL ${row!.version}, fsync ${row!.fsync}, synchronous_commit ${row!.synchronous}` }
  }
  const env = {
    HEADGATE_DATABASE_URL: url,
    HEADGATE_REDIS_URL: `redis://127.0.0.1:${port}`,
  }
  const running = scope.use(await startGateway(ground, { data: join(ground.folder, 'many'), env, open }))
  const rest = scope.move()
  return { ...running, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}
