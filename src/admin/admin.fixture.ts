import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Condition, calm } from '../coordination/coordinator.ts'
import type { Account } from '../directory/entities.ts'
import { openSeal } from '../directory/seal.ts'
import { type Directory, openDirectory } from '../directory/snapshot.ts'
import { manualClock } from '../ledger/books.fixture.ts'
import { type Ledger, openLedger } from '../ledger/ledger.ts'
import type { Clock } from '../lib/clock.ts'
import { type Database, type Step, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { openAdmin } from './api.ts'

/** The admin API on real books in a folder of its own, with a pool that only remembers what it was told. */
export interface AdminBed extends AsyncDisposable {
  readonly database: Database
  readonly directory: Directory
  readonly ledger: Ledger
  readonly clock: Clock & { advance(ms: number): void }
  readonly conditions: Map<string, Condition>
  readonly tested: { readonly account: Account; readonly model: string | undefined }[]
  /** Every line that was logged, as JSON. */
  readonly log: string[]
  /** Asks as the operator does, and fails unless the answer has this status. */
  ask(status: number, method: string, path: string, body?: unknown): Promise<Answer>
  fetch(request: Request): Promise<Response>
  commit(steps: readonly Step[]): Promise<void>
  /** Takes everything out of the books and the log, for the next test. */
  empty(): Promise<void>
  /** Whether any file of the books has these bytes. */
  filesHave(text: string): Promise<boolean>
}

/** What came back, with the fields that tests look into; the others are compared as they are. */
export interface Answer {
  readonly id: string
  readonly key: string
  readonly items: readonly Answer[]
  readonly next: string | null
  readonly changes: readonly Answer[]
  readonly error: Problem & { readonly code: string; readonly problems: readonly Problem[] }
  readonly [field: string]: unknown
}

interface Problem {
  readonly message: string
  readonly path: readonly (string | number)[]
}

export const token = 'hgadm-for-the-tests'
export const startMs = Date.UTC(2026, 9, 1, 12)

export async function openAdminBed(open: (path: string) => Promise<Database>): Promise<AdminBed> {
  const folder = await mkdtemp(join(tmpdir(), 'headgate-admin-'))
  const database = await open(join(folder, 'books.db'))
  await migrate(database, migrations)
  const clock = manualClock(startMs)
  const seal = openSeal(Buffer.alloc(32, 7))
  const directory = await openDirectory(database, seal, clock)
  const ledger = openLedger(database, clock)
  const { conditions, tested, pool } = rememberingPool()
  const log: string[] = []
  const adminLog = {
    wrote: (line: object) => void log.push(JSON.stringify(line)),
    failed: (error: Error) => void log.push(String(error.stack)),
  }
  const admin = openAdmin({ database, directory, ledger, seal, clock, pool, token, version: '1.2.3', log: adminLog })
  async function commit(steps: readonly Step[]): Promise<void> {
    const committed = await database.commit(steps, 'ordered')
    if (!committed.done) throw new Error(committed.guard)
  }
  return {
    ...{ database, directory, ledger, clock, conditions, tested, log, commit },
    fetch: admin.fetch,
    ask: (status, method, path, body) => ask(admin, { status, method, path, body }),
    async empty() {
      await commit(tables.map(table => ({ statement: statement(`delete from ${table}`), values: [] })))
      log.length = 0
      await directory.refresh()
    },
    filesHave: text => filesHave(folder, text),
    async [Symbol.asyncDispose]() {
      await database.close()
      await rm(folder, { recursive: true })
    },
  }
}

/** Those that refer to others first. */
const tables = [
  'key_groups',
  'account_groups',
  'codes',
  'windows',
  'holds',
  'subscriptions',
  'entries',
  'wallets',
  'keys',
  'accounts',
  'groups',
  'users',
  'prices',
  'calls',
  'attempts',
]

/** How many rows a table has. */
export async function countRows({ database }: Pick<AdminBed, 'database'>, table: string): Promise<number> {
  const [row] = await database.report(statement(`select count(*) as n from ${table}`))
  return Number(row?.n)
}

function rememberingPool() {
  const conditions = new Map<string, Condition>()
  const tested: { account: Account; model: string | undefined }[] = []
  const pool = {
    conditions: async (ids: readonly string[]) => ids.map(id => conditions.get(id) ?? calm),
    async testAccount(account: Account, model?: string) {
      tested.push({ account, model })
      return { ok: true, status: 200, model: model ?? null, message: 'It answers.', durationMs: 3 }
    },
    async restAccount(id: string, restingUntilMs: number, restingWhy: string) {
      conditions.set(id, { ...calm, restingUntilMs, restingWhy })
    },
    async resumeAccount(id: string) {
      conditions.delete(id)
    },
    nodes: async () => [
      { id: 'n1', host: 'h1', version: '1.2.3', uptimeMs: 5, heardMsAgo: 0, callsInFlight: 2, callsWaiting: 1, drains: 0 },
    ],
  }
  return { conditions, tested, pool }
}

interface Asked {
  readonly status: number
  readonly method: string
  readonly path: string
  readonly body: unknown
}

async function ask({ fetch }: Pick<AdminBed, 'fetch'>, { status, method, path, body }: Asked): Promise<Answer> {
  const headers: { [name: string]: string } = { authorization: `Bearer ${token}` }
  if (body !== undefined) headers['content-type'] = 'application/json'
  const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) }
  const response = await fetch(new Request(`http://headgate/admin/v1${path}`, init))
  const text = await response.text()
  if (response.status !== status) throw new Error(`${method} ${path}: expected ${status}, was answered ${response.status} ${text}`)
  return JSON.parse(text) as Answer
}

async function filesHave(folder: string, text: string): Promise<boolean> {
  for (const name of await readdir(folder)) {
    if ((await readFile(join(folder, name))).includes(text)) return true
  }
  return false
}
