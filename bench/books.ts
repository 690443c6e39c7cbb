import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { table } from '../src/config/settings.ts'
import { type Books, type CallEnd, openBooks } from '../src/gateway/books.ts'
import { openWalletStep } from '../src/ledger/entries.ts'
import { type Ledger, openLedger } from '../src/ledger/ledger.ts'
import { openOwed } from '../src/ledger/owed.ts'
import { openPurses } from '../src/ledger/purses.ts'
import { systemClock } from '../src/lib/clock.ts'
import { silentLog } from '../src/lib/log.ts'
import { openMetrics } from '../src/lib/metrics.ts'
import { type Database, type Durability, statement } from '../src/storage/database.ts'
import { migrate } from '../src/storage/migrate.ts'
import { migrations } from '../src/storage/migrations/list.ts'
import { openPostgres } from '../src/storage/postgres.ts'
import { openSqlite } from '../src/storage/sqlite.ts'

/** The books of a gateway as it opens them, and what is to be seen of their thread. */
export interface Ground extends AsyncDisposable {
  readonly database: Database
  readonly ledger: Ledger
  readonly books: Books
  readonly walletIds: readonly string[]
  /** SQLite's thread; a server has its own processes. */
  readonly worker: Worker | undefined
  /** What the engine said of itself when it was opened. */
  readonly engine: string
  /** Commits to the disk so far that had to be synced; those of checkpoints are not among them. Not a number: nobody counts them here. */
  readonly syncs: () => number
}

/** Nano-dollars: more than a benchmark can spend. */
const riches = 1_000_000_000_000_000n

export const leaseId = 'bench'

/** In the folder, or in the empty database of a server. */
export async function openGround(folder: string, wallets: number, databaseUrl?: string): Promise<Ground> {
  await using scope = new AsyncDisposableStack()
  const { database, worker, engine, syncs } = await (databaseUrl === undefined ? openFile(folder) : openServer(databaseUrl))
  scope.defer(() => database.close())
  await migrate(database, migrations)
  const ledger = openLedger(database, systemClock)
  const walletIds = Array.from({ length: wallets }, (_, number) => `wallet-${number}`)
  for (const id of walletIds) {
    await database.commit([{ statement: insertUser, values: [id] }, openWalletStep(id, id)], 'ordered')
    await ledger.credit({ walletId: id, amount: riches, reference: id, reason: 'bench', author: 'bench' })
  }
  await ledger.renewLease(leaseId, 3_600_000)
  const journal = await openOwed<CallEnd>(join(folder, 'owed.journal'), trouble => {
    throw new Error(`the journal has a ${trouble.trouble} line`)
  })
  // As by default: what takes longer goes to the journal, and that would be another benchmark.
  const settleWithinMs = 250
  const books = openBooks({
    database,
    atHand: undefined,
    purses: openPurses(systemClock, 0),
    journal,
    clock: systemClock,
    log: silentLog,
    metrics: openMetrics(),
    settleWithinMs,
  })
  scope.defer(() => books.close())
  const rest = scope.move()
  return { database, ledger, books, walletIds, worker, engine, syncs, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

type Engine = Pick<Ground, 'database' | 'worker' | 'engine' | 'syncs'>

async function openFile(folder: string): Promise<Engine> {
  const workers: Worker[] = []
  const startWorker = (...made: ConstructorParameters<typeof Worker>) => {
    const worker = new Worker(...made)
    workers.push(worker)
    return worker
  }
  const opened = await openSqlite(join(folder, 'headgate.db'), { startWorker })
  const { journalMode, synchronous } = opened.settings
  const worker = workers[0]!
  return { worker, engine: `journal_mode ${journalMode}, synchronous ${synchronous}`, ...counted(opened, worker) }
}

/** As the gateway opens it by default. */
async function openServer(url: string): Promise<Engine> {
  const connections = table.databaseConnections.initial
  const database = await openPostgres({ url, connections, statementTimeoutMs: table.databaseStatementTimeoutMs.initial })
  const [row] = await database.report(statement('select version() as version'))
  return { database, worker: undefined, engine: `${row!.version}; ${connections} connections`, syncs: () => Number.NaN }
}

/**
 * One message of the thread answers one batch, which is one transaction; with a synced command in it, it was synced. The answers
 * come in the order of the commands.
 */
function counted(database: Database, worker: Worker): { readonly database: Database; readonly syncs: () => number } {
  const asked: (Durability | 'read')[] = []
  let syncs = 0
  worker.on('message', (answers: readonly unknown[]) => {
    if (asked.splice(0, answers.length).includes('synced')) syncs += 1
  })
  return {
    database: {
      ...database,
      read(...query) {
        asked.push('read')
        return database.read(...query)
      },
      commit(steps, durability) {
        asked.push(durability)
        return database.commit(steps, durability)
      },
    },
    syncs: () => syncs,
  }
}

const insertUser = statement(`insert into users (id, email, concurrency, created_at) values ($1, $1, 0, 0)`)
