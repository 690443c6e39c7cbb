import type { Clock, Timer } from '../lib/clock.ts'
import { type Database, DatabaseAway } from '../storage/database.ts'
import { accountDaySteps } from './account-days.ts'
import { type AttemptRow, type CallRow, rowSteps } from './record.ts'

/** Writes the rows of calls that cost nothing, a little later and many at once: a flood of refusals must not stand before a settle. */
export interface Recorder extends AsyncDisposable {
  /** Never waits and never fails. When the books have been away for long, the row is dropped and counted. */
  refused(row: CallRow, attempts?: readonly AttemptRow[]): void

  /** Rows that were dropped since the start: there was no room, or the books refused them. */
  readonly dropped: number

  /** Tries to write all that is waiting. Rejects with the books' error, and keeps what was not written. */
  flush(): Promise<void>
}

/** A row waits no longer than this. */
export const flushAfterMs = 200
/** So many rows make one transaction. With 200, to hand them over and to write them kept one call in a hundred waiting for twice as long. */
export const flushRows = 40
/** When they come faster than that is written. */
export const floodRows = 200
/** About 10 MB of rows, when the books are away. */
export const waitingRowsMax = 10_000

/** Disposing of it writes what is waiting; should the books be away even then, those rows count as dropped. */
export function openRecorder(database: Pick<Database, 'commit'>, clock: Clock): Recorder {
  let waiting: Refusal[] = []
  let dropped = 0
  let timer: Timer | undefined
  let flushing: Promise<void> | undefined

  function refused(row: CallRow, attempts: readonly AttemptRow[] = []): void {
    if (waiting.length >= waitingRowsMax) {
      dropped++
      return
    }
    waiting.push({ row, attempts })
    if (waiting.length === flushRows) flushQuietly()
    else timer ??= clock.after(flushAfterMs, flushQuietly)
  }

  /** What could not be written is tried again with the next; nobody else can do more about it. */
  function flushQuietly(): void {
    flush().catch(() => {
      timer ??= clock.after(flushAfterMs, flushQuietly)
    })
  }

  function flush(): Promise<void> {
    timer?.[Symbol.dispose]()
    timer = undefined
    flushing ??= writeWaiting().finally(() => {
      flushing = undefined
    })
    return flushing
  }

  async function writeWaiting(): Promise<void> {
    while (waiting.length > 0) {
      const group = waiting.slice(0, waiting.length > floodRows ? floodRows : flushRows)
      const refusedRows = await writeGroup(database, group)
      dropped += refusedRows
      waiting = waiting.slice(group.length)
    }
  }

  return {
    refused,
    flush,
    get dropped() {
      return dropped
    },
    async [Symbol.asyncDispose]() {
      await flush().catch(() => {
        dropped += waiting.length
        waiting = []
      })
      timer?.[Symbol.dispose]()
    },
  }
}

interface Refusal {
  readonly row: CallRow
  readonly attempts: readonly AttemptRow[]
}

/** Says how many of them the books refuse. One such row must not keep the others out, so each is then tried alone. */
async function writeGroup(database: Pick<Database, 'commit'>, group: readonly Refusal[]): Promise<number> {
  try {
    const days = accountDaySteps(group.map(({ row }) => row))
    await database.commit([...group.flatMap(({ row, attempts }) => rowSteps(row, attempts)), ...days], 'ordered')
    return 0
  } catch (error) {
    if (error instanceof DatabaseAway) throw error
    if (group.length === 1) return 1
  }
  let refused = 0
  for (const refusal of group) refused += await writeGroup(database, [refusal])
  return refused
}
