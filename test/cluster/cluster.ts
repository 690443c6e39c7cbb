import { Redis } from 'ioredis'
import pg from 'pg'
import { describe } from 'vitest'
import { openSim, type Sim } from '../../sim/sim.ts'
import { checkBooks, type Difference } from '../../src/ledger/check.ts'
import { type Database, type Row, statement } from '../../src/storage/database.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { missingPostgres, type Cluster as Postgres, startCluster as startPostgres } from '../postgres.ts'
import { type RedisServer, redisProgram, startRedis, whyNoRedis } from '../redis-server.ts'
import { simPrice } from '../world.ts'
import { missingNginx, type Nginx, startNginx } from './nginx.ts'
import { type Node, type NodeSettings, startNode } from './node.ts'

/**
 * Several gateways as an operator runs them: processes that share a PostgreSQL and a Redis, with nginx before them and a scripted upstream behind,
 * all of the test's own. Between each gateway and each server is a wire that the test can make slow or cut.
 */
export interface Cluster extends AsyncDisposable {
  /** Where clients go: nginx. */
  readonly url: string
  readonly nodes: readonly Node[]
  readonly nginx: Nginx
  readonly postgres: Postgres
  readonly redis: RedisServer
  readonly sim: Sim
  /** The books, past the gateways and their wires. */
  readonly books: Database
  /** Asks a gateway's admin API, the first one's unless another is named. Throws what it says unless it does as asked. */
  admin(method: string, path: string, body?: object, node?: Node): Promise<Told>
  /** A person with credit and a key. */
  addPerson(draft?: PersonDraft): Promise<Person>
  select(sql: string): Promise<readonly Row[]>
  /** On every wire to that server: what it says arrives so much later. 0: at once. */
  slow(server: 'redis' | 'postgres', ms: number): void
  /** Calls that have a slot, by what Redis knows: users' and accounts'. */
  slotsTaken(): Promise<{ readonly users: number; readonly accounts: number }>
  /** Calls that have money set aside. */
  holdsOpen(): Promise<number>
  /** What the books say of themselves that cannot be true; empty when they balance. */
  differences(): Promise<readonly Difference[]>
}

/** What came back, with the fields that tests look into. */
export type Told = Readonly<Record<string, unknown>> & { readonly id: string; readonly key: string }

export interface PersonDraft {
  /** Calls at once; 0 or less is no limit. Default 5. */
  readonly concurrency?: number
  readonly keyConcurrency?: number | null
  /** USD. Default 100. */
  readonly balance?: string
}

export interface Person {
  readonly id: string
  readonly email: string
  readonly keyId: string
  /** What a client presents. */
  readonly key: string
}

export interface ClusterOptions {
  /** Default 3. */
  readonly nodes?: number
  readonly settings?: NodeSettings
  /** One for each: how many calls at once; 0 or less is no limit. Their upstream keys are up-a1, up-a2, … Default: one without a limit. */
  readonly accounts?: readonly number[]
}

const missing = [missingPostgres, redisProgram === undefined ? whyNoRedis : undefined, missingNginx].filter(why => why !== undefined)

/** Tests that need all of it. They are left out, and say why, where something is missing. */
export function onCluster(name: string, tests: () => void): void {
  const isLeftOut = missing.length > 0
  describe.skipIf(isLeftOut)(isLeftOut ? `${name}, left out: ${missing.join('; ')}` : name, tests)
}

const shared = { secretKey: '7'.repeat(64), adminToken: 'hgadm-for-the-cluster-tests' }

/** Short enough for tests that wait for a lease to run out. */
const quick: NodeSettings = { leaseMs: 10_000, leaseRenewMs: 1_000, trustedProxies: '127.0.0.1' }

export async function openCluster({ nodes: count = 3, settings = {}, accounts = [0] }: ClusterOptions = {}): Promise<Cluster> {
  await using scope = new AsyncDisposableStack()
  const sim = scope.use(await openSim({ prices: { sim: simPrice } }))
  const [postgres, redis] = [scope.use(await startPostgres()), scope.use(await startRedis())]
  await makeSchema(postgres)
  const books = await openPostgres({ url: postgres.url(schema), connections: 2, statementTimeoutMs: 10_000 })
  scope.defer(() => books.close())
  const { searchParams, search } = new URL(postgres.url(schema))
  const parts = {
    redis: { host: '127.0.0.1', port: Number(new URL(redis.url).port) },
    postgres: { path: `${searchParams.get('host')}/.s.PGSQL.5432` },
    search: search.replace(/host=[^&]*&/, ''),
    settings: { ...quick, ...shared, ...settings },
  }
  const nodes: Node[] = []
  for (let number = 0; number < count; number += 1) nodes.push(scope.use(await startNode(parts)))
  const nginx = scope.use(await startNginx(nodes.map(({ address }) => address)))
  const observer = new Redis(redis.url, { retryStrategy: () => 200, maxRetriesPerRequest: 1 })
  observer.on('error', () => {}) // Whoever asks it is told.
  scope.defer(() => observer.disconnect())

  const admin: Cluster['admin'] = (method, path, body, { url } = nodes[0]!) => ask(`${url}/admin/v1${path}`, method, body)
  await admin('POST', '/apply', { setup: setupOf(sim, accounts), dryRun: false, prune: false })
  const rest = scope.move()
  return {
    ...{ url: nginx.url, nodes, nginx, postgres, redis, sim, books, admin },
    addPerson: draft => addPerson(admin, draft),
    select: sql => books.report(statement(sql)),
    slow: (server, ms) => nodes.forEach(node => void node[server].slow(ms)),
    slotsTaken: () => slotsIn(observer),
    holdsOpen: async () => (await books.report(statement(`select id from holds where state = 'held'`))).length,
    differences: () => checkBooks(books),
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  }
}

const schema = 'headgate'

async function makeSchema({ adminUrl }: Postgres): Promise<void> {
  const client = new pg.Client(adminUrl)
  await client.connect()
  await client.query(`create schema ${schema}`)
  await client.end()
}

function setupOf({ url }: Sim, accounts: readonly number[]): object {
  return {
    groups: [{ name: 'default' }],
    accounts: accounts.map((concurrency, index) => ({
      name: `a${index + 1}`,
      baseUrl: `${url}/v1`,
      apiKey: `up-a${index + 1}`,
      groups: ['default'],
      concurrency,
      allowPrivateAddress: true,
    })),
    prices: [{ model: 'sim', ...simPrice }],
  }
}

let people = 0

async function addPerson(admin: Cluster['admin'], { concurrency = 5, keyConcurrency = null, balance = '100' }: PersonDraft = {}) {
  people += 1
  const email = `person${people}@example.com`
  const { id } = await admin('POST', '/users', { email, concurrency })
  if (balance !== '0') await admin('POST', `/wallets/${email}/credit`, { amount: balance, reason: 'for the test' })
  const made = await admin('POST', '/keys', { user: email, groups: ['default'], name: 'test', concurrency: keyConcurrency })
  return { id, email, keyId: made.id, key: made.key }
}

async function ask(url: string, method: string, body?: object): Promise<Told> {
  const headers = { authorization: `Bearer ${shared.adminToken}`, 'content-type': 'application/json' }
  const answer = await fetch(url, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${text}`)
  return JSON.parse(text) as Told
}

/** The names are told in src/coordination/redis/callers.lua and pools.lua. */
async function slotsIn(redis: Redis): Promise<{ users: number; accounts: number }> {
  const count = async (pattern: string) => {
    const sizes = await Promise.all((await redis.keys(pattern)).map(key => redis.hlen(key)))
    return sizes.reduce((sum, size) => sum + size, 0)
  }
  const [users, accounts] = await Promise.all([count('hg:{user:*}:run'), count('hg:{pools}:run:*')])
  return { users, accounts }
}
