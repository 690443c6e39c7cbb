import { type Cut, deleteHolds, deleteWindows, moveCut, readCut } from '../ledger/kept.ts'
import { firstIdOf } from '../lib/id.ts'
import { type Database, type Statement, statement, type Value } from '../storage/database.ts'
import { dropMonths, makeMonths, monthStartMs } from '../storage/months.ts'
import { dayMs } from './account-days.ts'

export interface CutOptions {
  readonly nowMs: number
  /** 0: nothing is ever cut. */
  readonly keptDays: number
  /** Called after each step, to let others in. Says whether to go on. */
  readonly pause: () => Promise<boolean>
  /** Called with each that was done. */
  readonly told: (done: CutDone) => void
}

/** A partition that was made or dropped, or rows that were deleted from a table. */
export type CutDone =
  | { readonly made: string }
  | { readonly dropped: string }
  | { readonly deleted: number; readonly table: CutTable; readonly before: string }

/** In this order, so that what refers to a call goes before it. Entries and owners stay: docs/retention.md says why. */
export const cutTables = ['attempts', 'calls', 'account_days', 'holds', 'windows'] as const
export type CutTable = (typeof cutTables)[number]

/** So that a step stands no longer before a settle than a few calls do. */
export const stepRowsMax = 200

/**
 * Makes the partitions of the months to come, and removes the rows of calls that are older than what is kept: whole months where the books
 * lie in months, else whole days, and row by row what is in no such month. May be broken off anywhere, and run by several at
 * once: the mark comes first, and the next run goes on. Rejects with `DatabaseAway`.
 */
export async function cutOld(database: Pick<Database, 'engine' | 'report' | 'commit'>, options: CutOptions): Promise<void> {
  const { nowMs, keptDays, told } = options
  const isInMonths = database.engine === 'postgres'
  if (isInMonths) for (const made of await makeMonths(database, nowMs)) told({ made })
  if (keptDays > 0) await moveCut(database, cutFor(nowMs - keptDays * dayMs, isInMonths))
  const cut = await readCut(database)
  if (cut.beforeMs === 0) return
  if (isInMonths) for (const dropped of await dropMonths(database, cut.before)) told({ dropped })
  for (const table of cutTables) if (!(await deleteFrom(database, table, cut, options))) return
}

/** At the beginning of a month or day of UTC, so that what is left of it is whole. */
function cutFor(oldestMs: number, isInMonths: boolean): Cut {
  const beforeMs = Math.max(0, isInMonths ? monthStartMs(oldestMs) : Math.floor(oldestMs / dayMs) * dayMs)
  return { before: firstIdOf(beforeMs), beforeMs }
}

/** Whether it came to its end. */
async function deleteFrom(database: Pick<Database, 'commit'>, table: CutTable, cut: Cut, { pause, told }: CutOptions): Promise<boolean> {
  const step = { statement: deletions[table].statement, values: [deletions[table].until(cut), stepRowsMax] }
  for (;;) {
    const committed = await database.commit([step], 'ordered')
    const deleted = committed.done ? committed.rows[0]!.length : 0
    if (deleted > 0) told({ deleted, table, before: cut.before })
    if (deleted < stepRowsMax) return true
    if (!(await pause())) return false
  }
}

const deleteAttempts = statement(`delete from attempts where (call_id, number) in
  (select call_id, number from attempts where call_id < $1 order by call_id, number limit $2) returning 1 as one`)
const deleteCalls = statement(`delete from calls where id in (select id from calls where id < $1 order by id limit $2) returning 1 as one`)

const deleteDays = statement(`delete from account_days where (account_id, day) in
  (select account_id, day from account_days where day < $1 limit $2) returning 1 as one`)

const deletions: Readonly<Record<CutTable, { readonly statement: Statement; readonly until: (cut: Cut) => Value }>> = {
  attempts: { statement: deleteAttempts, until: ({ before }) => before },
  calls: { statement: deleteCalls, until: ({ before }) => before },
  account_days: { statement: deleteDays, until: ({ beforeMs }) => Math.floor(beforeMs / dayMs) },
  holds: { statement: deleteHolds, until: ({ before }) => before },
  windows: { statement: deleteWindows, until: ({ beforeMs }) => beforeMs },
}
