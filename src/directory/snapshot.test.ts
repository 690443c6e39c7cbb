import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { until } from '../../test/world.ts'
import { inMemory } from '../coordination/memory.ts'
import { manualClock } from '../ledger/books.fixture.ts'
import { type Database, DatabaseAway, type Step } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AccountDraft, makeAccount } from './accounts.ts'
import { defaultCapabilities, type Group, type User } from './entities.ts'
import { changeGroup, makeGroup } from './groups.ts'
import { makeKey, removeKey } from './keys.ts'
import { openOwners, ownerSteps } from './owners.ts'
import { changeDirectory } from './revision.ts'
import { openSeal } from './seal.ts'
import { askMs, shareDirectory } from './shared.ts'
import { openDirectory, type Principal } from './snapshot.ts'
import { step } from './steps.ts'
import { makeUser } from './users.ts'

const clock = manualClock(Date.UTC(2026, 9, 1))
const seal = openSeal(Buffer.alloc(32, 7))
let folder = ''
let books: Database
let group: Group
let user: User

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headgate-directory-'))
  books = await openSqlite(join(folder, 'books.db'))
  await migrate(books, migrations)
  const madeGroup = makeGroup(
    {
      name: 'default',
      multiplier: { units: 1n, scale: 0 },
      pays: 'balance',
      unpriced: 'refuse',
      onClientLeft: 'drain',
      firstEventLimitMs: null,
    },
    0,
  )
  const madeUser = makeUser(
    { email: 'dev@example.com', concurrency: 5, requestsPerMinute: null, tokensPerMinute: null, disabled: false },
    0,
  )
  group = madeGroup.entity
  user = madeUser.entity
  await commit([...madeGroup.steps, ...madeUser.steps])
})
afterAll(async () => {
  await books.close()
  await rm(folder, { recursive: true })
})
beforeEach(() => commit([step('delete from account_groups', []), step('delete from accounts', [])]))

async function commit(steps: readonly Step[]): Promise<void> {
  const committed = await books.commit(steps, 'ordered')
  if (!committed.done) throw new Error(committed.guard)
}

let keys = 0
function newKey() {
  const limits = { concurrency: null, requestsPerMinute: null, tokensPerMinute: null, expiresAtMs: null, disabled: false }
  return makeKey(
    { userId: user.id, name: `k${keys++}`, groupIds: [group.id], allowAddresses: [], denyAddresses: [], ...limits },
    clock.nowMs(),
  )
}

const draft: AccountDraft = {
  ...{ name: 'a1', provider: 'openai', baseUrl: 'https://example.com', apiKey: 'sk-canary', concurrency: 1, priority: 1, weight: 1 },
  ...{ groupIds: [], models: {}, capabilities: defaultCapabilities, proxy: null, allowPrivateAddress: false, defaultTier: 'default' },
  organization: null,
  ...{ requestsPerMinute: null, tokensPerMinute: null, disabled: false },
}

/** The books, with every read counted and held back until `open` is called. */
function heldBack() {
  const { promise, resolve } = Promise.withResolvers<void>()
  const counts = { reads: 0 }
  const database: Database = {
    ...books,
    async read(statement, values) {
      counts.reads++
      const rows = await books.read(statement, values)
      await promise
      return rows
    },
  }
  return { database, counts, open: () => resolve() }
}

test('a known key is answered at once from the second time on', async () => {
  const { secret, steps } = newKey()
  await commit(steps)
  const directory = await openDirectory(books, seal, clock)
  const first = directory.principalOf(secret)
  expect(first).toBeInstanceOf(Promise)
  expect(await first).toMatchObject({ user, groups: [group], subscriptions: [] })
  const principal = (await first) as Principal
  expect(directory.principalOf(secret)).toBe(principal)
  expect(directory.isCurrent(principal)).toBe(true)
  await directory.refresh()
  expect(directory.isCurrent(principal), 'since a refresh they may be somebody else').toBe(false)
})

test('look-ups of one key at the same time share their reads', async () => {
  const { secret, steps } = newKey()
  await commit(steps)
  const { database, counts, open } = heldBack()
  const directory = await openDirectory(database, seal, clock)
  const asked = Array.from({ length: 50 }, () => directory.principalOf(secret))
  const readsOfOne = counts.reads
  open()
  expect(new Set(await Promise.all(asked)).size).toBe(1)
  expect([counts.reads, readsOfOne]).toEqual([3, 3])
})

test('an unknown key is remembered for two seconds, and then looked up again', async () => {
  const { database, counts, open } = heldBack()
  open()
  const directory = await openDirectory(database, seal, clock)
  expect(await directory.principalOf('sk-hg-nobody')).toBe('unknown')
  const reads = counts.reads
  clock.advance(1_999)
  expect(directory.principalOf('sk-hg-nobody')).toBe('unknown')
  expect(counts.reads).toBe(reads)
  clock.advance(1)
  expect(await directory.principalOf('sk-hg-nobody')).toBe('unknown')
  expect(counts.reads).toBe(2 * reads)
})

test('no more unknown keys are remembered than the limit', async () => {
  const { database, counts, open } = heldBack()
  open()
  const directory = await openDirectory(database, seal, clock, { unknownKeysMax: 2 })
  for (const secret of ['a', 'b', 'c']) await directory.principalOf(secret)
  expect(directory.principalOf('c')).toBe('unknown')
  const reads = counts.reads
  await directory.principalOf('a')
  expect(counts.reads).toBeGreaterThan(reads)
})

test('a key that was made after it was refused works after the refresh', async () => {
  const directory = await openDirectory(books, seal, clock)
  const { secret, steps } = newKey()
  expect(await directory.principalOf(secret)).toBe('unknown')
  await commit(steps)
  await directory.refresh()
  expect(await directory.principalOf(secret)).toMatchObject({ user })
})

test('a look-up that began before a revocation is not remembered after it', async () => {
  const { entity, secret, steps } = newKey()
  await commit(steps)
  const { database, open } = heldBack()
  const directory = await openDirectory(database, seal, clock)
  const early = directory.principalOf(secret)
  await commit(removeKey(entity))
  await directory.refresh()
  const late = directory.principalOf(secret)
  open()
  expect(await early).toMatchObject({ user })
  expect(await late).toBe('unknown')
  expect(directory.principalOf(secret)).toBe('unknown')
})

test('books that are away reject, and never make a key unknown', async () => {
  const { secret, steps } = newKey()
  await commit(steps)
  let isAway = true
  const read: Database['read'] = (statement, values) => (isAway ? Promise.reject(new DatabaseAway('away')) : books.read(statement, values))
  const directory = await openDirectory({ ...books, read }, seal, clock)
  await expect(directory.principalOf(secret)).rejects.toBeInstanceOf(DatabaseAway)
  isAway = false
  expect(await directory.principalOf(secret)).toMatchObject({ user })
})

test('a refresh that fails does not stop the next, and listeners hear of each that succeeds', async () => {
  let isAway = false
  const report: Database['report'] = (statement, values) =>
    isAway ? Promise.reject(new DatabaseAway('away')) : books.report(statement, values)
  const directory = await openDirectory({ ...books, report }, seal, clock)
  const heard: number[] = []
  const listening = directory.onChange(snapshot => heard.push(snapshot.accounts.size))
  isAway = true
  await expect(directory.refresh()).rejects.toBeInstanceOf(DatabaseAway)
  isAway = false
  const { entity, steps } = makeAccount({ ...draft, groupIds: [group.id] }, seal, clock.nowMs())
  await commit(steps)
  await Promise.all([directory.refresh(), directory.refresh()])
  expect(directory.snapshot().accountsOf(group.id)).toEqual([entity])
  listening[Symbol.dispose]()
  await directory.refresh()
  expect(heard).toEqual([1, 1])
})

test('a refresh forgets keys before it reads, so that a revoked one stops working even when the books then go away', async () => {
  const { secret, steps } = newKey()
  await commit(steps)
  let isAway = false
  const report: Database['report'] = (statement, values) =>
    isAway ? Promise.reject(new DatabaseAway('away')) : books.report(statement, values)
  const directory = await openDirectory({ ...books, report }, seal, clock)
  await directory.principalOf(secret)
  isAway = true
  await expect(directory.refresh()).rejects.toBeInstanceOf(DatabaseAway)
  expect(directory.principalOf(secret)).toBeInstanceOf(Promise)
})

test('what another gateway changed, and told nobody, is seen within a second, however often the books are away at first', async () => {
  const { entity, secret, steps } = newKey()
  await changeDirectory(books, steps)
  let isAway = false
  let failed = 0
  const read: Database['read'] = async (statement, values) => {
    if (!isAway) return books.read(statement, values)
    failed += 1
    throw new DatabaseAway('away')
  }
  const time = manualClock(0)
  using directory = shareDirectory(await openDirectory({ ...books, read }, seal, clock), inMemory(time), time)
  expect(await directory.principalOf(secret)).toMatchObject({ user })
  isAway = true
  await changeDirectory(books, removeKey(entity))
  for (let times = 1; times <= 2; times++) {
    await until(() => {
      time.advance(failed < times ? askMs : 0)
      return failed === times
    }, 'nobody asks')
  }
  isAway = false
  const startedMs = time.nowMs()
  await until(async () => {
    time.advance(askMs / 10)
    return (await directory.principalOf(secret)) === 'unknown'
  }, 'a revoked key works for ever')
  expect(time.nowMs() - startedMs).toBeLessThanOrEqual(2 * askMs)
})

test('what nobody has changed since it was read is not read again', async () => {
  let reports = 0
  let asked = 0
  const report: Database['report'] = (statement, values) => {
    reports += 1
    return books.report(statement, values)
  }
  const read: Database['read'] = (statement, values) => {
    asked += 1
    return books.read(statement, values)
  }
  const time = manualClock(0)
  using directory = shareDirectory(await openDirectory({ ...books, read, report }, seal, clock), inMemory(time), time)
  await changeDirectory(books, newKey().steps)
  await directory.refresh()
  const before = reports
  await until(() => {
    time.advance(askMs)
    return asked >= 3
  }, 'nobody asks')
  expect(reports).toBe(before)
})

test('a principal that was read during a refresh does not keep the groups from before it', async () => {
  const { secret, steps } = newKey()
  await commit(steps)
  let gate = Promise.resolve()
  const report: Database['report'] = async (statement, values) => {
    await gate
    return books.report(statement, values)
  }
  const directory = await openDirectory({ ...books, report }, seal, clock)
  const { promise, resolve } = Promise.withResolvers<void>()
  gate = promise
  await commit(changeGroup({ ...group, onClientLeft: 'abort' }))
  const refreshed = directory.refresh()
  expect(await directory.principalOf(secret)).toMatchObject({ groups: [{ onClientLeft: 'drain' }] })
  resolve()
  await refreshed
  expect(await directory.principalOf(secret)).toMatchObject({ groups: [{ onClientLeft: 'abort' }] })
  await commit(changeGroup(group))
})

test('another secret key, or a credential moved to another row, refuses to open and names the account', async () => {
  const made = [draft, { ...draft, name: 'a2' }].map(one => makeAccount(one, seal, clock.nowMs()))
  await commit(made.flatMap(({ steps }) => steps))
  await openDirectory(books, seal, clock)
  const other = openDirectory(books, openSeal(Buffer.alloc(32, 8)), clock)
  await expect(other).rejects.toThrow(/^The API key of the account a[12] does not open: it was sealed with another secret key/)
  await commit([step(`update accounts set api_key_sealed = (select api_key_sealed from accounts where name = 'a2') where name = 'a1'`, [])])
  await expect(openDirectory(books, seal, clock)).rejects.toThrow('The API key of the account a1 does not open')
})

test('owners are read many at once, anew each time, and nobody takes an id over', async () => {
  const ids = Array.from({ length: 1_100 }, (_, n) => `resp_${n}`)
  const owner = { kind: 'response', userId: 'u1', accountId: 'a1', contextTokens: 42, atMs: 0 }
  await commit(ids.flatMap(id => ownerSteps({ ...owner, id })))
  await commit(ownerSteps({ ...owner, id: 'resp_7', userId: 'thief' }))
  const { database, counts, open } = heldBack()
  open()
  const owners = openOwners(database)
  const found = await owners.ownersOf([...ids, 'resp_7', 'nobody', "x' or 1=1"])
  expect([...found.keys()].sort()).toEqual(ids.toSorted())
  expect(found.get('resp_7')).toEqual({ kind: 'response', userId: 'u1', accountId: 'a1', contextTokens: 42, model: null })
  const reads = counts.reads
  expect(reads).toBe(3)
  expect(await owners.ownerOf('resp_7')).toEqual(found.get('resp_7'))
  expect(counts.reads, 'a foreign id must take as long as an unknown one').toBe(reads + 1)
  expect(await owners.ownerOf('nobody')).toBe(undefined)
  expect((await owners.ownersOf([])).size).toBe(0)
})
