import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeAccount } from '../src/directory/accounts.ts'
import { defaultCapabilities } from '../src/directory/entities.ts'
import { makeGroup } from '../src/directory/groups.ts'
import { makeKey } from '../src/directory/keys.ts'
import { makePrice } from '../src/directory/prices.ts'
import { openSeal, readSecretKey } from '../src/directory/seal.ts'
import { makeUser } from '../src/directory/users.ts'
import { type Ledger, openLedger } from '../src/ledger/ledger.ts'
import { parseDecimal } from '../src/ledger/money.ts'
import { systemClock } from '../src/lib/clock.ts'
import type { Database, Step } from '../src/storage/database.ts'
import { migrate } from '../src/storage/migrate.ts'
import { migrations } from '../src/storage/migrations/list.ts'
import { openSqlite } from '../src/storage/sqlite.ts'

export interface Sizes {
  /** Calls. */
  readonly rows: number
  readonly keys: number
  readonly users: number
  /** All in one group. */
  readonly accounts: number
}

/** The model that all accounts serve and the book prices. */
export const model = 'sim'
const spanMs = 90 * 24 * 3_600_000
const rowsPerTurn = 250_000
const stepsPerCommit = 2_000
/** Nano-dollars that every wallet has left. */
const left = 1_000_000_000_000_000n
/** Of so many keys the secrets are kept beside the books, for those who are to call. */
const secretsKept = 1_000

/**
 * Fills a folder that is not there yet: who exists through the directory's own doors, what they called straight into the tables, because
 * ten million calls through the gateway's doors take hours. Rejects with a sentence when the folder has books already.
 */
export async function seed(folder: string, sizes: Sizes, progress: (line: string) => void): Promise<void> {
  const path = join(folder, 'headgate.db')
  if (existsSync(path)) throw new Error(`${folder} has books already; name a folder that is not there yet`)
  mkdirSync(folder, { recursive: true })
  const database = await openSqlite(path)
  try {
    await migrate(database, migrations)
    await furnish(database, folder, sizes)
    progress(`${sizes.users} users, ${sizes.keys} keys, ${sizes.accounts} accounts`)
  } finally {
    await database.close()
  }
  writeHistory(path, sizes, progress)
}

/** The secrets of some of the keys. */
export function secretsOf(folder: string): readonly string[] {
  return JSON.parse(readFileSync(join(folder, secretsFile), 'utf8')) as string[]
}

export async function openSeeded(folder: string): Promise<Pick<Ledger, 'check'> & { close(): Promise<void> }> {
  const database = await openSqlite(join(folder, 'headgate.db'))
  return { check: () => openLedger(database, systemClock).check(), close: () => database.close() }
}

const secretsFile = 'bench-keys.json'

async function furnish(database: Database, folder: string, { keys, users, accounts }: Sizes): Promise<void> {
  const nowMs = Date.now() - spanMs
  const seal = openSeal(readSecretKey({ secretKeyText: null, folder }))
  const noRates = { requestsPerMinute: null, tokensPerMinute: null }
  const multiplier = parseDecimal('1')
  const terms = { multiplier, pays: 'balance', unpriced: 'refuse', onClientLeft: 'drain', firstEventLimitMs: null } as const
  const group = makeGroup({ name: 'everybody', ...terms }, nowMs)
  const rates = {
    input: 2_000_000_000n,
    cached: 200_000_000n,
    cacheWrite: 2_000_000_000n,
    cacheWrite12h: 2_000_000_000n,
    output: 10_000_000_000n,
  }
  const line = { model, tier: 'default', contextOver: 0, ...rates, webSearch: null, fileSearch: null, maxOutput: null, aliases: [] }
  const price = makePrice({ ...line, source: null }, { fromMs: nowMs, untilMs: null }, nowMs)
  const steps: Step[] = [...group.steps, ...price.steps]
  for (let number = 0; number < accounts; number += 1) {
    const where = { baseUrl: 'https://upstream.example/v1', allowPrivateAddress: false, proxy: null, organization: null }
    const how = { provider: 'openai', capabilities: defaultCapabilities, defaultTier: 'default', disabled: false, models: {} } as const
    const draft = {
      name: `account ${number}`,
      apiKey: `sk-upstream-${number}`,
      concurrency: 100,
      priority: 50,
      weight: 1,
      ...where,
      ...how,
    }
    steps.push(...makeAccount({ ...draft, ...noRates, groupIds: [group.entity.id] }, seal, nowMs).steps)
  }
  const userIds: string[] = []
  for (let number = 0; number < users; number += 1) {
    const user = makeUser({ email: `user${number}@example.com`, concurrency: 100, disabled: false, ...noRates }, nowMs)
    userIds.push(user.entity.id)
    steps.push(...user.steps)
  }
  const secrets: string[] = []
  for (let number = 0; number < keys; number += 1) {
    const limits = { concurrency: null, allowAddresses: [], denyAddresses: [], expiresAtMs: null, disabled: false, ...noRates }
    const userId = userIds[number % users]!
    const key = makeKey({ userId, name: `key ${number}`, groupIds: [group.entity.id], ...limits }, nowMs)
    if (secrets.length < secretsKept) secrets.push(key.secret)
    steps.push(...key.steps)
  }
  for (let at = 0; at < steps.length; at += stepsPerCommit) {
    const done = await database.commit(steps.slice(at, at + stepsPerCommit), 'ordered')
    if (!done.done) throw new Error(done.guard)
  }
  writeFileSync(join(folder, secretsFile), JSON.stringify(secrets), { mode: 0o600 })
}

/** In the order in which it happened, but for the indexes, which are made of the whole afterwards. */
function writeHistory(path: string, { rows }: Pick<Sizes, 'rows'>, progress: (line: string) => void): void {
  const books = new DatabaseSync(path)
  try {
    // What is half made is thrown away, so that nothing has to be undone or durable.
    books.exec('pragma journal_mode = memory; pragma synchronous = off; pragma locking_mode = exclusive; pragma cache_size = -1000000')
    books.exec('pragma threads = 2')
    books.exec(numberedSql)
    const indexes = books.prepare(indexesOfHistory).all() as { name: string; sql: string }[]
    for (const { name } of indexes) books.exec(`drop index ${name}`)
    const beganMs = Date.now() - spanMs
    const [calls, ...others] = historySql.map(sql => books.prepare(sql))
    let before = ''
    for (let from = 0; from < rows; from += rowsPerTurn) {
      const to = Math.min(rows, from + rowsPerTurn)
      books.exec('begin')
      calls!.run({ $from: from, $to: to, $began: beganMs, $apart: Math.floor(spanMs / rows) })
      for (const other of others) other.run({ $after: before })
      before = String(books.prepare('select max(id) as id from calls').get()!.id)
      books.exec('commit')
      progress(`${to.toLocaleString('en')} of ${rows.toLocaleString('en')} calls`)
    }
    books.exec(moneySql)
    books.exec(accountDaysSql)
    progress('days of the accounts')
    for (const { name, sql } of indexes) {
      books.exec(sql)
      progress(`index ${name}`)
    }
    books.exec('drop table seed_keys; drop table seed_accounts; drop table seed_charged; pragma journal_mode = wal')
  } finally {
    books.close()
  }
}

const accountDaysSql = `insert into account_days (account_id, day)
  select distinct account_id, began_at / 86400000 from calls where account_id is not null`

const indexesOfHistory = `select name, sql from sqlite_master where type = 'index' and sql is not null
  and tbl_name in ('calls', 'attempts', 'holds', 'entries')`

const numberedSql = `
  create table seed_keys (n integer primary key, key_id text, user_id text);
  insert into seed_keys select row_number() over (order by id) - 1, id, user_id from keys;
  create table seed_accounts (n integer primary key, id text);
  insert into seed_accounts select row_number() over (order by id) - 1, id from accounts;
  create table seed_charged (wallet_id text primary key, amount integer);
`

/** Of thirty calls one was refused, and of fifty one was answered by the second account that was asked. */
const historySql = [
  `with recursive numbers (i) as (select $from union all select i + 1 from numbers where i + 1 < $to),
    drawn as (select i, $began + i * $apart as at, (i * 48271) % 2147483647 as lot, i % 30 = 7 as refused, i % 50 = 3 as again from numbers)
  insert into calls (id, user_id, key_id, group_id, account_id, path, stream, requested_model, served_model, tier, price_id, status, ended,
    fault, basis, input_tokens, cached_tokens, cache_write_tokens, cache_write_12h_tokens, output_tokens, reasoning_tokens, web_searches,
    file_searches, held, cost, uncollected, attempts, line_ms, first_token_ms, duration_ms, address, user_agent, instructions_added,
    upstream_request_id, began_at)
  select printf('%08x-%04x-7%03x-%04x-%012x', at >> 16, at & 65535, i & 4095, 32768 | (lot & 16383), i), user_id, key_id,
    (select id from groups), case when refused then null else account.id end, '/v1/responses', lot % 2, '${model}',
    case when refused then null else '${model}' end, case when refused then null else 'default' end,
    case when refused then null else (select id from prices) end, case when refused then 429 else 200 end,
    case when refused then 'refused' else 'completed' end, case when refused then 'rate_exceeded' end,
    case when refused then 'none' else 'reported' end, case when refused then 0 else 500 + lot % 4000 end, 0, 0, 0,
    case when refused then 0 else 50 + lot % 900 end, 0, 0, 0, case when refused then 0 else 50000000 end,
    case when refused then 0 else (500 + lot % 4000) * 2000 + (50 + lot % 900) * 10000 end, 0,
    case when refused then 0 when again then 2 else 1 end, 0, case when refused then null else 400 + lot % 900 end, 1200 + lot % 9000,
    '192.0.2.' || (lot % 250), 'OpenAI/JS 6.49.0', 0, case when refused then null else 'req_' || lower(hex(lot * 1000003 + i)) end, at
  from drawn join seed_keys on seed_keys.n = lot % (select count(*) from seed_keys)
    join seed_accounts as account on account.n = (lot / 7) % (select count(*) from seed_accounts) order by i`,
  `insert into attempts (call_id, number, account_id, model, began_at, status, fault, first_event_ms, duration_ms, upstream_request_id, answered)
  select id, 1, (select id from seed_accounts where n = 0), '${model}', began_at, 503, 'overloaded', null, 40, null, 0
    from calls where id > $after and attempts = 2
  union all select id, attempts, account_id, '${model}', began_at, 200, null, first_token_ms, duration_ms, upstream_request_id, 1
    from calls where id > $after and attempts > 0 order by 1`,
  `insert into holds (id, wallet_id, amount, state, settled, lease_id, began_at, user_id, key_id, group_id, model, path, address, stream)
  select id, user_id, held, 'settled', cost, 'seed', began_at, user_id, key_id, group_id, requested_model, path, address, stream
    from calls where id > $after and held > 0 order by id`,
  `insert into entries (wallet_id, id, kind, reference, amount, created_at)
  select user_id, substr(id, 1, 24) || 'e' || substr(id, 26), 'charge', id, -cost, began_at + duration_ms
    from calls where id > $after and cost > 0 order by id`,
  `insert into seed_charged select user_id, sum(cost) from calls where id > $after group by user_id
    on conflict (wallet_id) do update set amount = amount + excluded.amount`,
]

/** What was charged came from a credit before, and everybody has much left. */
const moneySql = `
  insert into entries (wallet_id, id, kind, reference, amount, reason, author, created_at)
  select wallets.id, 'credit ' || wallets.id, 'credit', 'seed ' || wallets.id, ${left} + coalesce(amount, 0), 'seed', 'bench', created_at
    from wallets join users on users.id = wallets.user_id
    left join seed_charged on wallet_id = wallets.id;
  update wallets set balance = ${left};
`
