import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CountTokens } from '../sim/asked.ts'
import type { SimPrice } from '../sim/invoice.ts'
import { openSim, type Sim } from '../sim/sim.ts'
import type { Settings } from '../src/config/settings.ts'
import { readConfig } from '../src/config.ts'
import type { Condition } from '../src/coordination/coordinator.ts'
import { type AccountDraft, changeAccount, makeAccount } from '../src/directory/accounts.ts'
import { type Account, defaultCapabilities, type Group, type User } from '../src/directory/entities.ts'
import { type GroupDraft, makeGroup } from '../src/directory/groups.ts'
import { type KeyDraft, makeKey } from '../src/directory/keys.ts'
import type { PriceDraft } from '../src/directory/price-line.ts'
import { makePrice } from '../src/directory/prices.ts'
import { makeUser, type UserDraft } from '../src/directory/users.ts'
import { type Adapters, type Headgate, openHeadgate } from '../src/headgate.ts'
import { parseDecimal, parseUsd } from '../src/ledger/money.ts'
import { type Log, silentLog } from '../src/lib/log.ts'
import { type Database, type Row, type Step, statement } from '../src/storage/database.ts'
import { urlAt } from './shared-cluster.ts'

/**
 * A gateway with a scripted upstream, one user and one key, on real sockets and a real database in a folder of its own; with
 * HEADGATE_TEST_DATABASE=postgres on a PostgreSQL server that the test starts.
 */
export interface World extends AsyncDisposable {
  readonly sim: Sim
  readonly headgate: Headgate
  readonly database: Database
  readonly folder: string
  readonly url: string
  /** The client's key. */
  readonly key: string
  readonly user: User
  readonly group: Group
  readonly accounts: readonly Account[]
  commit(steps: readonly Step[]): Promise<void>
  addUser(draft?: Partial<UserDraft>, balance?: string): Promise<User>
  addKey(user: User, draft?: Partial<KeyDraft>): Promise<{ readonly id: string; readonly secret: string }>
  changeAccount(account: Account, change: Partial<Account>): Promise<void>
  balance(user?: User): Promise<{ balance: bigint; held: bigint }>
  rows(): Promise<readonly Row[]>
  attempts(): Promise<readonly Row[]>
  conditions(): Promise<readonly Condition[]>
  /** Everything that must be true when no call is under way: no slot taken, no money held, the books balance. */
  quiet(): Promise<void>
}

export interface WorldOptions {
  /** Default: one, `a1`, with the upstream key `up-a1`. */
  readonly accounts?: readonly Partial<AccountDraft>[]
  readonly group?: Partial<GroupDraft>
  readonly user?: Partial<UserDraft>
  readonly keyDraft?: Partial<KeyDraft>
  /** USD. */
  readonly balance?: string
  readonly settings?: Partial<Settings>
  readonly prices?: readonly Partial<PriceDraft>[]
  readonly adapters?: Adapters
  /** What the scripted upstream charges for `sim`. Default: `simPrice`. */
  readonly charges?: SimPrice
  /** How the scripted upstream counts. Default: bytes / 4. */
  readonly countTokens?: CountTokens
  /** The scripted upstream's organisation by upstream key. Default: all of one. */
  readonly organisations?: Readonly<Record<string, string>>
  readonly log?: Log
}

/** USD per million tokens, for the books and for the scripted upstream alike. */
export const simPrice = { input: '2', cached: '0.2', cacheWrite: '2.5', output: '10' }

/** Waits that would make tests long, short. */
export const quick: Partial<Settings> = { stopNoticeMs: 0, stopStreamsMs: 3000, logLevel: 'silent' }

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  await using scope = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'headgate-test-'))
  scope.defer(() => rmSync(folder, { recursive: true, force: true }))
  const { countTokens, charges = simPrice, organisations = {} } = options
  const sim = scope.use(await openSim({ prices: { sim: charges }, organisations, ...(countTokens && { countTokens }) }))
  let database: Database | undefined
  const defaults = readConfig({ env: {}, flags: {}, cwd: folder }).settings
  const settings: Settings = {
    ...defaults,
    data: join(folder, 'data'),
    listen: { host: '127.0.0.1', port: 0 },
    ...quick,
    databaseUrl: process.env['HEADGATE_TEST_DATABASE'] === 'postgres' ? await urlAt(folder) : null,
    ...options.settings,
  }
  const seals: Parameters<typeof makeAccount>[1][] = []
  const headgate = await openHeadgate(
    settings,
    options.log ?? silentLog,
    needs => {
      database = needs.database
      seals.push(needs.seal)
      return (_, response) => response.writeHead(404).end()
    },
    options.adapters,
  )
  let isStopped = false
  scope.defer(async () => {
    if (!isStopped) await headgate.stop()
    isStopped = true
  })
  const world = await populate({ sim, headgate, database: database!, folder }, options, seals[0]!)
  const rest = scope.move()
  return { ...world, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

type Ground = Pick<World, 'sim' | 'headgate' | 'database' | 'folder'>

async function populate(
  ground: Ground,
  options: WorldOptions,
  seal: Parameters<typeof makeAccount>[1],
): Promise<Omit<World, typeof Symbol.asyncDispose>> {
  const { headgate, database, sim } = ground
  const { directory, ledger, clock } = headgate.gateway

  async function commit(steps: readonly Step[]): Promise<void> {
    const committed = await database.commit(steps, 'synced')
    if (!committed.done) throw new Error(committed.guard)
    await directory.refresh()
  }

  const group = makeGroup({ ...groupDraft, ...options.group }, clock.nowMs())
  const accounts = (options.accounts ?? [{}]).map((draft, i) =>
    makeAccount({ ...accountDraft(i, sim.url, group.entity.id), ...draft }, seal, clock.nowMs() + i),
  )
  const always = { fromMs: clock.nowMs() - hourMs, untilMs: null }
  const prices = (options.prices ?? [{}]).map(draft => makePrice({ ...priceDraft, ...draft }, always, clock.nowMs()))
  await commit([group, ...accounts, ...prices].flatMap(({ steps }) => steps))

  async function addUser(draft: Partial<UserDraft> = {}, balance = options.balance ?? '100'): Promise<User> {
    const made = makeUser({ ...userDraft, email: `user${Math.random().toString(36).slice(2)}@example.com`, ...draft }, clock.nowMs())
    await commit(made.steps)
    const { walletId, id: reference } = made.entity
    if (balance !== '0') await ledger.credit({ walletId, amount: parseUsd(balance), reference, reason: 'test', author: 'test' })
    return made.entity
  }

  async function addKey(user: User, draft: Partial<KeyDraft> = {}) {
    const made = makeKey(
      { ...keyDraft, userId: user.id, groupIds: [group.entity.id], name: `key${Math.random()}`, ...draft },
      clock.nowMs(),
    )
    await commit(made.steps)
    return { id: made.entity.id, secret: made.secret }
  }

  const user = await addUser({ email: 'dev@example.com', ...options.user })
  const { secret } = await addKey(user, options.keyDraft)

  return {
    ...ground,
    url: headgate.url,
    key: secret,
    user,
    group: group.entity,
    accounts: accounts.map(({ entity }) => entity),
    commit,
    addUser,
    addKey,
    changeAccount: (account, change) => commit(changeAccount({ ...account, ...change }, seal)),
    balance: (of = user) => balanceOf(of, headgate),
    ...booksOf(headgate, database),
    conditions: () => headgate.gateway.coordinator.conditions(accounts.map(({ entity }) => entity.id)),
    quiet: () => quiet(headgate, database),
  }
}

async function balanceOf(user: User, { gateway }: Headgate): Promise<{ balance: bigint; held: bigint }> {
  const found = await gateway.ledger.free(user.walletId)
  if (found === undefined) throw new Error('no such wallet')
  return found
}

function booksOf({ gateway }: Headgate, database: Database): Pick<World, 'rows' | 'attempts'> {
  const read = async (sql: string) => {
    await gateway.recorder.flush()
    return database.report(statement(sql))
  }
  return {
    rows: () => read('select * from calls order by id'),
    attempts: () => read('select * from attempts order by call_id, number'),
  }
}

/** What /metrics says of something that is read at that moment. */
export async function gauge({ headgate }: { readonly headgate: Pick<Headgate, 'gateway'> }, name: `headgate_${string}`): Promise<number> {
  const metrics = await headgate.gateway.metrics.registry.getMetricsAsJSON()
  return metrics.find(metric => metric.name === name)?.values[0]?.value ?? Number.NaN
}

/** Waits until so many calls stand in their users' lines. */
export function inLine(world: Pick<World, 'headgate'>, count: number): Promise<void> {
  return until(async () => (await gauge(world, 'headgate_calls_waiting')) === count, `there are never ${count} in line`)
}

/** The same for the pools' lines. */
export function inPoolLine(world: Pick<World, 'headgate'>, count: number): Promise<void> {
  return until(async () => (await gauge(world, 'headgate_account_line')) === count, `there are never ${count} in the pool's line`)
}

async function quiet({ gateway, serving }: Headgate, database: Database): Promise<void> {
  await until(() => serving.calls.count === 0 && gateway.drain.count === 0, 'calls still run')
  await gateway.recorder.flush()
  await until(
    async () => (await database.report(statement(`select id from holds where state = 'held'`))).length === 0,
    'money is still held',
  )
  const differences = await gateway.ledger.check()
  if (differences.length > 0)
    throw new Error(`the books do not balance: ${JSON.stringify(differences, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))}`)
  const metrics = await gateway.metrics.registry.getMetricsAsJSON()
  for (const name of [
    'headgate_calls_running',
    'headgate_calls_waiting',
    'headgate_account_slots_taken',
    'headgate_account_line',
    'headgate_body_bytes',
  ]) {
    const value = metrics.find(metric => metric.name === name)?.values[0]?.value
    if (value !== 0) throw new Error(`${name} is ${value} when all is quiet`)
  }
  if (gateway.live.size > 0) throw new Error(`${gateway.live.size} attempts are not over`)
}

/** Longer than the clock of any gateway in a test is behind. */
const hourMs = 3_600_000
const untilMs = 10_000

/** Waits for the thing, not for a time; says what never came. */
export async function until(isSo: () => boolean | Promise<boolean>, otherwise: string, withinMs = untilMs): Promise<void> {
  const started = performance.now()
  while (!(await isSo())) {
    if (performance.now() - started > withinMs) throw new Error(`after ${withinMs} ms: ${otherwise}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** So many pieces of work, numbered from 0, a few of them at a time. */
export async function inParallel(count: number, atOnce: number, work: (number: number) => Promise<void>): Promise<void> {
  let next = 0
  const one = async () => {
    for (let number = next++; number < count; number = next++) await work(number)
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}

const groupDraft: GroupDraft = {
  name: 'default',
  multiplier: parseDecimal('1'),
  pays: 'balance',
  unpriced: 'refuse',
  onClientLeft: 'drain',
  firstEventLimitMs: null,
}

const userDraft: UserDraft = { email: '', concurrency: 5, disabled: false, requestsPerMinute: null, tokensPerMinute: null }

const keyDraft: KeyDraft = {
  userId: '',
  name: '',
  groupIds: [],
  concurrency: null,
  requestsPerMinute: null,
  tokensPerMinute: null,
  allowAddresses: [],
  denyAddresses: [],
  expiresAtMs: null,
  disabled: false,
}

function accountDraft(index: number, url: string, groupId: string): AccountDraft {
  return {
    name: `a${index + 1}`,
    provider: 'openai',
    baseUrl: `${url}/v1`,
    apiKey: `up-a${index + 1}`,
    concurrency: 10,
    priority: 50,
    weight: 1,
    groupIds: [groupId],
    models: {},
    capabilities: defaultCapabilities,
    proxy: null,
    allowPrivateAddress: true,
    organization: null,
    defaultTier: 'default',
    requestsPerMinute: null,
    tokensPerMinute: null,
    disabled: false,
  }
}

const usd = (text: string) => parseUsd(text)

const priceDraft: PriceDraft = {
  model: 'sim',
  tier: 'default',
  contextOver: 0,
  input: usd(simPrice.input),
  cached: usd(simPrice.cached),
  cacheWrite: usd(simPrice.cacheWrite),
  cacheWrite12h: usd('5'),
  output: usd(simPrice.output),
  webSearch: null,
  fileSearch: null,
  maxOutput: null,
  aliases: [],
  source: null,
}
