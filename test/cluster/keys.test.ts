import { afterAll, beforeAll, expect, test } from 'vitest'
import { send } from '../client.ts'
import { until } from '../world.ts'
import { type Cluster, onCluster, openCluster, type Person } from './cluster.ts'

/** A key that is revoked on one gateway stops working on all, also when nobody could be told. */

const promisedMs = 5_000
/** A machine with other work may be so much later. */
const busyMs = 3_000

interface Loss {
  readonly how: string
  readonly begin: (cluster: Cluster) => Promise<void> | void
  /** When the books have it. */
  readonly committed?: (cluster: Cluster) => Promise<void> | void
  readonly end: (cluster: Cluster) => Promise<void> | void
}

const nothing = () => {}

const losses: readonly Loss[] = [
  { how: 'with everything well', begin: nothing, end: nothing },
  { how: 'with Redis stopped', begin: ({ redis }) => redis.kill(), end: ({ redis }) => redis.start() },
  {
    how: 'with the others cut off from Redis',
    begin: ({ nodes }) => nodes.slice(1).forEach(({ redis }) => void redis.cut()),
    end: ({ nodes }) => nodes.slice(1).forEach(({ redis }) => void redis.mend()),
  },
  {
    how: 'with the one that is told cut off from Redis',
    begin: ({ nodes }) => nodes[0]!.redis.cut(),
    end: ({ nodes }) => nodes[0]!.redis.mend(),
  },
  {
    how: 'with the one that is told killed as soon as the books have it',
    begin: ({ nodes }) => nodes[0]!.redis.hold(), // So that it cannot have told anybody.
    committed: ({ nodes }) => nodes[0]!.kill(),
    end: async ({ nodes }) => {
      nodes[0]!.redis.mend()
      await nodes[0]!.start()
    },
  },
]

onCluster('a revoked key', () => {
  let cluster: Cluster
  const table: object[] = []
  beforeAll(async () => {
    cluster = await openCluster()
  })
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]()
    console.table(table)
  })

  test.for(losses)('stops working on every gateway, $how', async ({ how, begin, committed, end }) => {
    const person = await cluster.addPerson()
    for (const { url } of cluster.nodes)
      await until(async () => (await send({ url, key: person.key })).status === 200, 'the key does not work')
    await using scope = new AsyncDisposableStack()
    scope.defer(async () => await end(cluster))
    await begin(cluster)
    const toldMs = performance.now()
    const answer = cluster.admin('DELETE', `/keys/${person.keyId}`)
    answer.catch(() => {}) // Whom it is told may be dead by then.
    const refused = cluster.nodes.slice(1).map(({ url }) => refusedAfter(url, person, toldMs))
    await until(() => isRevoked(cluster, person), 'the books do not have it')
    await committed?.(cluster)
    const afterMs = await Promise.all(refused)
    table.push({ how, 'seconds until refused': afterMs.map(ms => (ms / 1_000).toFixed(1)).join(', ') })
    expect(Math.max(...afterMs)).toBeLessThan(promisedMs + busyMs)
  })

  test('a new key is never called a bad one where nobody can know it', async () => {
    const [told, other] = [cluster.nodes[0]!, cluster.nodes[2]!]
    other.redis.cut()
    other.postgres.cut()
    const { key } = await cluster.addPerson()
    expect(await send({ url: told.url, key })).toMatchObject({ status: 200 })
    expect(await send({ url: other.url, key })).toMatchObject({ status: 503, error: { code: 'billing_unavailable' } })
    other.redis.mend()
    other.postgres.mend()
    await until(async () => (await send({ url: other.url, key })).status === 200, 'the key does not work')
  })
})

async function isRevoked({ select }: Cluster, { keyId }: Person): Promise<boolean> {
  return (await select(`select id from keys where id = '${keyId}'`)).length === 0
}

/** Milliseconds since then until a gateway refuses the key as unknown. Until then it may serve it, and nothing else. */
async function refusedAfter(url: string, { key }: Person, sinceMs: number): Promise<number> {
  const isRefused = async () => {
    const { status } = await send({ url, key })
    expect([200, 401]).toContain(status)
    return status === 401
  }
  await until(isRefused, `${url} still takes the key`, promisedMs + busyMs)
  return performance.now() - sinceMs
}
