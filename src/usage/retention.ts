import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { type Database, statement } from '../storage/database.ts'
import { type CutDone, cutOld } from './cut.ts'

export interface RetentionParts {
  readonly database: Pick<Database, 'engine' | 'report' | 'commit'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Pick<Metrics, 'rowsCut' | 'monthsCut' | 'cutsFailed'>
}

/** How often somebody looks whether there is something to cut. */
export const everyMs = 3_600_000
/**
 * After each step the cut rests for so many times as long as that took: it has a twentieth of the books' time at most, and slows down with them.
 * Old rows are scattered over the indexes, so a step also makes the log grow that has to be folded into SQLite's file.
 */
const restFactor = 20
const restMinMs = 10

/**
 * Cuts rows of calls that are older than `usageKeptDays`, now and every hour, by one gateway at a time. Says what it did in one line of
 * the log. A run that fails is tried again with the next. Disposal waits for the step that runs.
 */
export function openRetention(parts: RetentionParts, { usageKeptDays }: { readonly usageKeptDays: number }): AsyncDisposable {
  const { database, clock, log, metrics } = parts
  let isOver = false
  let wake = () => {}
  let running = Promise.resolve()

  async function run(): Promise<void> {
    const done: CutDone[] = []
    const startedMs = clock.elapsedMs()
    try {
      if (!(await isOurTurn(database, clock.nowMs()))) return
      const told = (one: CutDone) => {
        done.push(one)
        count(one, metrics)
      }
      await cutOld(database, { nowMs: clock.nowMs(), keptDays: usageKeptDays, pause: pacing(), told })
    } catch (error) {
      metrics.cutsFailed.inc()
      log.warn({ err: error }, 'old rows could not be cut, or months not made; the next run tries again')
    } finally {
      if (done.length > 0)
        log.info({ ...summaryOf(done), tookMs: Math.round(clock.elapsedMs() - startedMs) }, 'old rows were cut, or months made')
    }
  }

  /** Waits in proportion to what the step took; says whether to go on. */
  function pacing(): () => Promise<boolean> {
    let resumedMs = clock.elapsedMs()
    return async () => {
      await waited(Math.max(restMinMs, restFactor * (clock.elapsedMs() - resumedMs)))
      resumedMs = clock.elapsedMs()
      return !isOver
    }
  }

  async function waited(ms: number): Promise<void> {
    if (isOver) return
    const { promise, resolve } = Promise.withResolvers<void>()
    wake = resolve
    using _ = clock.after(ms, resolve)
    await promise
  }

  async function again(): Promise<void> {
    while (!isOver) {
      await run()
      await waited(everyMs)
    }
  }

  // A file that keeps everything has nothing to cut, and no months to come.
  if (database.engine === 'postgres' || usageKeptDays > 0) running = again()
  return {
    async [Symbol.asyncDispose]() {
      isOver = true
      wake()
      await running
    },
  }
}

/**
 * Whoever is first takes the turn for nearly an hour. One that was taken for longer was taken by a gateway whose clock was wrong, and counts
 * for nothing.
 */
async function isOurTurn(database: Pick<Database, 'commit'>, nowMs: number): Promise<boolean> {
  const values = [nowMs + turnMs, nowMs, nowMs + 2 * everyMs]
  return (await database.commit([{ statement: takeTurn, values, rows: 1, otherwise: 'taken' }], 'ordered')).done
}

/** A little less than the time between two runs, so that a gateway alone never misses its own. */
const turnMs = 0.9 * everyMs
const takeTurn = statement('update retention set next_run_at = $1 where next_run_at <= $2 or next_run_at > $3')

function count(done: CutDone, { rowsCut, monthsCut }: RetentionParts['metrics']): void {
  if ('deleted' in done) rowsCut.inc({ table: done.table }, done.deleted)
  if ('dropped' in done) monthsCut.inc()
}

function summaryOf(all: readonly CutDone[]) {
  const deleted: Record<string, number> = {}
  for (const one of all) if ('deleted' in one) deleted[one.table] = (deleted[one.table] ?? 0) + one.deleted
  return {
    made: all.flatMap(one => ('made' in one ? [one.made] : [])),
    dropped: all.flatMap(one => ('dropped' in one ? [one.dropped] : [])),
    deleted,
  }
}
