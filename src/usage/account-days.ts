import { timeOfId } from '../lib/id.ts'
import { type Database, type Step, statement, type WorkedOut } from '../storage/database.ts'
import type { CallRow } from './record.ts'

export const dayMs = 86_400_000

/**
 * On which days, of UTC by their ids, accounts had calls: so that they are found without an index by account, which each call would have to write. Each
 * once, and in one order, so that two commits of many calls do not wait for each other in a ring.
 */
export function accountDaySteps(rows: readonly Pick<CallRow, 'id' | 'accountId' | 'beganAtMs'>[]): readonly Step[] {
  const steps = new Map<string, Step>()
  for (const row of rows) {
    if (row.accountId === null) continue
    const day = dayOf(row)
    const key = `${row.accountId} ${day}`
    if (!steps.has(key)) steps.set(key, { statement: insertDay, values: [row.accountId, day] })
  }
  return [...steps].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, step]) => step)
}

function dayOf({ id, beganAtMs }: Pick<CallRow, 'id' | 'beganAtMs'>): number {
  return Math.floor((timeOfId(id) ?? beganAtMs) / dayMs)
}

/** Knows which accounts' days the books have, of the latest day only: nobody deletes that one. For who alone writes them. */
export class DaysWritten {
  #day = Number.NEGATIVE_INFINITY
  readonly #accounts = new Set<string>()

  /** As `accountDaySteps`, without those that are known to be there. */
  workedOut(rows: readonly Pick<CallRow, 'id' | 'accountId' | 'beganAtMs'>[]): Required<WorkedOut> {
    const steps = accountDaySteps(
      rows.filter(row => row.accountId === null || !this.#accounts.has(row.accountId) || dayOf(row) !== this.#day),
    )
    const written = steps.map(({ values }) => [String(values[0]), Number(values[1])] as const) // Whoever writes them may make other values of them.
    return { steps, committed: () => this.#remember(written) }
  }

  #remember(written: readonly (readonly [accountId: string, day: number])[]): void {
    for (const [accountId, day] of written) {
      if (day < this.#day) continue
      if (day > this.#day) this.#accounts.clear()
      this.#day = day
      this.#accounts.add(accountId)
    }
  }
}

/** The newest first, from one day to another, these two as well. */
export async function daysOf(database: Pick<Database, 'report'>, accountId: string, from: number, to: number): Promise<readonly number[]> {
  return (await database.report(selectDays, [accountId, from, to])).map(({ day }) => Number(day))
}

const insertDay = statement('insert into account_days (account_id, day) values ($1, $2) on conflict (account_id, day) do nothing')
const selectDays = statement('select day from account_days where account_id = $1 and day >= $2 and day <= $3 order by day desc')
