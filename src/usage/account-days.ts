import { timeOfId } from '../lib/id.ts'
import { type Database, type Step, statement } from '../storage/database.ts'
import type { CallRow } from './record.ts'

export const dayMs = 86_400_000

/**
 * On which days, of UTC by their ids, accounts had calls: so that they are found without an index by account, which each call would have to write. Each
 * once, and in one order, so that two commits of many calls do not wait for each other in a ring.
 */
export function accountDaySteps(rows: readonly Pick<CallRow, 'id' | 'accountId' | 'beganAtMs'>[]): readonly Step[] {
  const steps = new Map<string, Step>()
  for (const { id, accountId, beganAtMs } of rows) {
    if (accountId === null) continue
    const day = Math.floor((timeOfId(id) ?? beganAtMs) / dayMs)
    const key = `${accountId} ${day}`
    if (!steps.has(key)) steps.set(key, { statement: insertDay, values: [accountId, day] })
  }
  return [...steps].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, step]) => step)
}

/** The newest first, from one day to another, these two as well. */
export async function daysOf(database: Pick<Database, 'report'>, accountId: string, from: number, to: number): Promise<readonly number[]> {
  return (await database.report(selectDays, [accountId, from, to])).map(({ day }) => Number(day))
}

const insertDay = statement('insert into account_days (account_id, day) values ($1, $2) on conflict (account_id, day) do nothing')
const selectDays = statement('select day from account_days where account_id = $1 and day >= $2 and day <= $3 order by day desc')
