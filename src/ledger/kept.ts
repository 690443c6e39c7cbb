import { idSlackMs } from '../lib/id.ts'
import { type Database, type Statement, statement } from '../storage/database.ts'
import { windowLengthMs } from './subscription.ts'

/**
 * Up to where the rows of calls may be gone. The mark is written before the first of them goes and never moves back, so the books balance at
 * every moment in between: what lies before it is not reckoned any more. Balances are, always, because entries stay.
 */
export interface Cut {
  /** Rows of calls whose id sorts before this may be gone. Empty while everything is there. */
  readonly before: string
  /** The moment of that id, in milliseconds since 1970; 0 while everything is there. */
  readonly beforeMs: number
}

export async function readCut(database: Pick<Database, 'report'>): Promise<Cut> {
  const [row] = await database.report(selectCut)
  return { before: row!.cut_before as string, beforeMs: Number(row!.cut_before_ms) }
}

/** Moves the mark up to there, durably; where it is further, it stays. */
export async function moveCut(database: Pick<Database, 'commit'>, { before, beforeMs }: Cut): Promise<void> {
  await database.commit([{ statement: raiseCut, values: [before, beforeMs] }], 'synced')
}

/** In SQL: whether the rows of this call are all there. */
export function isKept(callId: string): string {
  return `${callId} >= (select cut_before from retention)`
}

/** In SQL: whether all calls of the window that began at that moment are there. One that only ends behind the mark has lost some. */
export function isWindowKept(startsAtMs: string): string {
  return `${startsAtMs} >= (select cut_before_ms from retention) + ${idSlackMs}`
}

/** Ended holds before the mark. An open one stays, however old: its money is held. `$1` is the mark's id, `$2` the most rows. */
export const deleteHolds: Statement = statement(`delete from holds where id in
  (select id from holds where id < $1 and state <> 'held' order by id limit $2) returning 1 as one`)

/**
 * Windows in which no call began that is still there. `$1` is the mark's moment, `$2` the most rows. One in which something is held stays,
 * because it will be given back.
 */
export const deleteWindows: Statement = statement(`delete from windows where (subscription_id, kind, starts_at) in
  (select subscription_id, kind, starts_at from windows where starts_at < $1 - ${Math.max(...Object.values(windowLengthMs)) + idSlackMs}
    and held = 0 order by subscription_id, kind, starts_at limit $2) and held = 0 returning 1 as one`)

const selectCut = statement('select cut_before, cut_before_ms from retention')
const raiseCut = statement('update retention set cut_before = $1, cut_before_ms = $2 where cut_before_ms < $2')
