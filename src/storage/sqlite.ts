import { extname } from 'node:path'
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { type Committed, type Database, type Row, statement } from './database.ts'
import { sqliteThread } from './sqlite-thread.ts'
import { commitLevels, readLevel } from './sqlite-wire.ts'

export interface SqliteDatabase extends Database {
  /** Read back from the engine when it was opened. */
  readonly settings: { readonly journalMode: string; readonly synchronous: number }
}

export interface SqliteOptions {
  /** Starts a thread on a module. Tests hold on to it, to end it when nobody expects it. */
  readonly startWorker?: (module: URL, options: WorkerOptions) => Worker
}

/**
 * The embedded engine: one file, one thread that writes and reads, and a second one for reports, started when first wanted.
 * Creates the file when it is missing. Rejects with `DatabaseAway` when it cannot be opened, or would not run with
 * journal_mode wal and synchronous full, because then an acknowledged charge could be lost.
 */
export async function openSqlite(path: string, options: SqliteOptions = {}): Promise<SqliteDatabase> {
  const start = options.startWorker ?? ((module, workerOptions) => new Worker(module, workerOptions))
  const books = sqliteThread(path, () => start(workerModule, { workerData: { path, readOnly: false }, execArgv: [] }))
  const reports = sqliteThread(path, () => start(workerModule, { workerData: { path, readOnly: true }, execArgv: [] }))

  const journal = await books.ask(readLevel, [{ statement: readJournalMode, values: [] }])
  const sync = await books.ask(readLevel, [{ statement: readSynchronous, values: [] }])
  const settings = { journalMode: String(onlyRows(journal)[0]?.journal_mode), synchronous: Number(onlyRows(sync)[0]?.synchronous) }

  return {
    engine: 'sqlite',
    settings,
    read: async (statement, values = []) => onlyRows(await books.ask(readLevel, [{ statement, values }])),
    report: async (statement, values = []) => onlyRows(await reports.ask(readLevel, [{ statement, values }])),
    commit: (steps, durability) => books.ask(commitLevels[durability], steps),
    // The connection that writes ends last, because only it can fold the log into the file.
    close: () => books.close(reports.close()),
  }
}

const workerModule = new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url)
const readJournalMode = statement('pragma journal_mode')
const readSynchronous = statement('pragma synchronous')

function onlyRows(committed: Committed): Row[] {
  return committed.done ? (committed.rows[0] ?? []) : []
}
