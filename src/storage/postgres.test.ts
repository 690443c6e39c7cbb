import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { onPostgres } from '../../test/engines.ts'
import type { Cluster } from '../../test/postgres.ts'
import { theCluster, urlAt } from '../../test/shared-cluster.ts'
import { type Database, DatabaseAway, type Statement, type Step, script, statement, type Value } from './database.ts'
import { migrate } from './migrate.ts'
import { migrations } from './migrations/list.ts'
import { openPostgres, type PostgresDatabase } from './postgres.ts'

const createLines = script('create table lines (number bigint primary key, filler text not null)')
const write = statement('insert into lines (number, filler) values ($1, $2)')
const change = statement('update lines set filler = $2 where number = $1')
const count = statement('select count(*) as count from lines')
const readAll = statement('select * from lines order by number')
const sleep = statement('select pg_sleep(30)')
const step = (sql: Statement, ...values: Value[]): Step => ({ statement: sql, values })

onPostgres('PostgreSQL', () => {
  let cluster: Cluster
  let url: string
  let database: PostgresDatabase
  let scope: AsyncDisposableStack
  beforeEach(async () => {
    scope = new AsyncDisposableStack()
    const folder = scope.use(await mkdtempDisposable(join(tmpdir(), 'headgate-')))
    cluster = await theCluster()
    url = await urlAt(folder.path)
    database = await opened()
    await database.commit([step(createLines)], 'synced')
  })
  afterEach(() => scope.disposeAsync())

  async function opened({ connections = 2, statementTimeoutMs = 5_000 } = {}): Promise<PostgresDatabase> {
    const one = await openPostgres({ url, connections, statementTimeoutMs })
    scope.defer(() => one.close())
    return one
  }

  async function administer(...commands: string[]): Promise<void> {
    const client = new pg.Client(cluster.adminUrl)
    await client.connect()
    for (const command of commands) await client.query(command)
    await client.end()
  }

  const counted = async (of: Database = database) => (await of.read(count))[0]?.count

  describe('a server is refused', () => {
    test.each(['fsync', 'full_page_writes', 'synchronous_commit'])(
      'that has %s off, and so would lose what it acknowledged',
      async name => {
        await administer(`alter system set ${name} = off`, 'select pg_reload_conf()')
        scope.defer(() => administer(`alter system reset ${name}`, 'select pg_reload_conf()'))
        const refused = openPostgres({ url, connections: 1, statementTimeoutMs: 5_000 })
        await expect(refused).rejects.toThrow(
          `cannot be used: it has ${name} off, so a power cut could take charges that were acknowledged.`,
        )
      },
    )

    test('where the user may not make tables', async () => {
      await administer('create user guest', 'revoke create on schema public from public')
      const refused = openPostgres({ url: url.replace('headgate@', 'guest@'), connections: 1, statementTimeoutMs: 5_000 })
      await expect(refused).rejects.toThrow('cannot be used: its user guest may not make tables there. Let it own the database')
    })

    test.each<[string, (url: string) => string, RegExp]>([
      ['has no such database', known => known.replace('/postgres?', '/nowhere?'), /cannot be used: database "nowhere" does not exist/],
      ['does not encrypt', known => `${known}&sslmode=require`, /cannot be reached: The server does not support SSL connections; start it/],
      ['is not there', known => known.replace(/host=[^&]*/, 'host=%2Fnowhere'), /cannot be reached: connect ENOENT/],
    ])('that %s, and its password is not told', async (_, change, sentence) => {
      const wrong = change(url).replace('headgate@', 'headgate:canary-password@')
      const error: Error = await openPostgres({ url: wrong, connections: 1, statementTimeoutMs: 5_000 }).then(
        () => new Error('it was opened'),
        reason => reason,
      )
      expect(error.message).toMatch(sentence)
      expect(error.message).not.toContain('canary')
    })
  })

  describe('what was acknowledged', () => {
    test.each(['synced', 'ordered'] as const)('is there after the server was killed: %s', async durability => {
      // The server's own writer would otherwise sync behind our back.
      await administer('alter system set wal_writer_delay = 10000', 'select pg_reload_conf()')
      for (let number = 0; number < 20; number++) await database.commit([step(write, number, 'x')], durability)
      await cluster.kill()
      await cluster.start()
      expect(await counted(await opened())).toBe(20n)
    })

    test('is told to nobody before it is on the disk, though each of a batch is a transaction of its own', async () => {
      const before = await syncs()
      const commits = Array.from({ length: 50 }, (_, number) => database.commit([step(write, number, 'x')], 'synced'))
      for (const committed of await Promise.all(commits)) expect(committed.done).toBe(true)
      expect((await syncs()) - before).toBeLessThanOrEqual(3n)
    })

    async function syncs(): Promise<bigint> {
      const [row] = await database.report(statement(`select wal_sync as syncs from pg_stat_wal`))
      return row!.syncs as bigint
    }
  })

  describe('when the connection is lost', () => {
    test('what was asked is unknown, and the next command opens another', async () => {
      const asked = Promise.allSettled([database.read(sleep), database.commit([step(write, 1, 'x')], 'synced')])
      await expect.poll(() => terminated()).toBeGreaterThan(0)
      for (const answer of await asked) expect(answer).toMatchObject({ status: 'rejected', reason: expect.any(DatabaseAway) })
      expect(await database.commit([step(write, 2, 'x')], 'synced')).toMatchObject({ done: true })
    })

    /** Of those that sleep. */
    async function terminated(): Promise<number> {
      const client = new pg.Client(cluster.adminUrl)
      await client.connect()
      const { rowCount } = await client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and pid <> pg_backend_pid()`,
      )
      await client.end()
      return rowCount ?? 0
    }

    test('the books are away for as long as the server is stopped', async () => {
      await database.commit([step(write, 1, 'x')], 'synced')
      await cluster.stop()
      const asked = [database.read(count), database.report(count), database.commit([step(write, 2, 'x')], 'synced')]
      for (const answer of await Promise.allSettled(asked)) expect(answer).toMatchObject({ reason: expect.any(DatabaseAway) })
      await cluster.start()
      await expect.poll(() => counted().catch(() => undefined), { timeout: 10_000 }).toBe(1n)
      expect(await database.report(count)).toEqual([{ count: 1n }])
    })

    test('a server that hangs is away too, and used again once it answers', async () => {
      const impatient = await opened({ connections: 1, statementTimeoutMs: 200 })
      expect(await counted(impatient)).toBe(0n)
      cluster.freeze()
      await expect(impatient.commit([step(write, 1, 'x')], 'synced')).rejects.toBeInstanceOf(DatabaseAway)
      cluster.thaw()
      await expect.poll(() => counted(impatient).catch(() => undefined), { timeout: 10_000 }).not.toBeUndefined()
    })
  })

  describe('beside others', () => {
    test('transactions that wait for each other in a ring all land', async () => {
      for (const number of [1, 2]) await database.commit([step(write, number, '0')], 'synced')
      const others = await Promise.all([opened(), opened()])
      const nap = step(statement('select pg_sleep(0.1)'))
      const ring = [step(change, 1, 'a'), nap, step(change, 2, 'a')]
      const against = [step(change, 2, 'b'), nap, step(change, 1, 'b')]
      const ends = await Promise.all([ring, against].map((steps, index) => others[index]!.commit(steps, 'synced')))
      expect(ends).toMatchObject([{ done: true }, { done: true }])
      const [one, two] = await database.read(readAll)
      expect(one?.filler).toBe(two?.filler)
    })

    test('a row that somebody keeps locked is away for who wants it, and for nobody else', async () => {
      await database.commit([step(write, 1, 'x')], 'synced')
      const impatient = await opened({ connections: 1, statementTimeoutMs: 200 })
      const person = new pg.Client(url)
      await person.connect()
      await person.query('begin; update lines set filler = $$mine$$')
      const asked = [step(write, 2, 'x'), step(change, 1, 'y'), step(write, 3, 'x')].map(one => impatient.commit([one], 'synced'))
      const [before, kept, after] = await Promise.allSettled(asked)
      expect([before, after]).toMatchObject([{ value: { done: true } }, { value: { done: true } }])
      expect(kept).toMatchObject({ reason: expect.any(DatabaseAway) })
      await person.end()
      expect(await impatient.commit([step(change, 1, 'y')], 'synced')).toMatchObject({ done: true })
    })

    test('a report that takes long does not stand before a settle', async () => {
      const report = database.report(statement('select pg_sleep(0.5)')).then(() => 'report')
      expect(await Promise.race([report, database.commit([step(write, 1, 'x')], 'synced').then(() => 'commit')])).toBe('commit')
      await report
    })

    test('another gateway may change the schema under what is prepared here', async () => {
      await database.commit([step(write, 1, 'x')], 'synced')
      expect(await database.read(readAll)).toEqual([{ number: 1n, filler: 'x' }])
      const other = await opened()
      await other.commit([step(script('alter table lines add column more bigint'))], 'synced')
      expect(await database.read(readAll)).toEqual([{ number: 1n, filler: 'x', more: null }])
    })

    test('gateways that start together bring the schema forward once', async () => {
      const gateways = await Promise.all(Array.from({ length: 4 }, () => opened()))
      const done = await Promise.all(gateways.map(gateway => gateway.alone(() => migrate(gateway, migrations))))
      expect(done.map(({ from }) => from).sort((a, b) => a - b)).toEqual([0, ...Array(3).fill(migrations.length)])
    })
  })

  test('a user that owns its schema needs no other right', async () => {
    await administer('create role plain login', 'create schema plain authorization plain')
    url = cluster.url('plain').replace('headgate@', 'plain@')
    const plain = await opened()
    expect(await migrate(plain, migrations)).toMatchObject({ from: 0 })
    await plain.commit([step(createLines)], 'synced')
    expect(await plain.commit([step(write, 1, 'x')], 'synced')).toMatchObject({ done: true })
  })

  test('a text with NUL, which PostgreSQL cannot keep, does not keep its row from the books', async () => {
    await database.commit([step(write, 1, 'a\0b')], 'synced')
    expect(await database.read(readAll)).toEqual([{ number: 1n, filler: 'a\u{fffd}b' }])
  })

  test('more texts than a connection remembers are served all the same', async () => {
    const one = await opened({ connections: 1 })
    for (let number = 0; number < 1_010; number++) {
      expect(await one.read(statement(`select ${number} as number`))).toEqual([{ number: BigInt(number) }])
    }
  })
})
