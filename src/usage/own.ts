import { firstIdOf, idSlackMs } from '../lib/id.ts'
import { type Database, statement } from '../storage/database.ts'
import { dayMs } from './account-days.ts'
import { type Call, type CallFilter, listCalls, ofKey } from './report.ts'

/** Whose calls: those made with one key, or with any key of one user. Exactly one of the two. */
export type Whose = { readonly keyId: string } | { readonly userId: string }

export interface OwnPage {
  /** From 1 to `ownCallsMax`. */
  readonly limit: number
  /** The id of the last call of the page before. */
  readonly after: string | null
  readonly sinceMs: number | undefined
  readonly untilMs: number | undefined
}

/** A caller's look at their own calls. */
export interface OwnUsage {
  /** Newest first. Rejects with `DatabaseAway`. */
  calls(whose: Whose, page: OwnPage): Promise<{ readonly calls: readonly Call[]; readonly hasMore: boolean }>
  /** What calls came to that began today, in the last 7 and in the last 30 days of UTC, today among them. Rejects with `DatabaseAway`. */
  sums(whose: Whose, nowMs: number): Promise<readonly OwnSum[]>
}

export interface OwnSum {
  /** Today alone is 1. */
  readonly days: (typeof sumDays)[number]
  readonly calls: bigint
  readonly inputTokens: bigint
  readonly cachedTokens: bigint
  readonly outputTokens: bigint
  /** Nano-dollars. */
  readonly cost: bigint
  readonly uncollected: bigint
}

export const sumDays = [1, 7, 30] as const

/** On one page, so that an answer stays small and a page of them is read in a moment. */
export const ownCallsMax = 100

/** Reads where reports are read, never where settles are written: nobody's prompt stands before anybody's call. */
export function openOwnUsage(database: Pick<Database, 'report'>): OwnUsage {
  // Sums read every row of their days, so there is one at a time of each: who asks meanwhile is told the same.
  const summing = new Map<string, Promise<readonly OwnSum[]>>()
  return {
    async calls(whose, { limit, after, sinceMs, untilMs }) {
      const filter: CallFilter = { ...whose, sinceMs, untilMs }
      const { calls } = await listCalls(database, filter, { limit: limit + 1, cursor: after })
      return { calls: calls.slice(0, limit), hasMore: calls.length > limit }
    },
    sums(whose, nowMs) {
      const id = JSON.stringify(whose)
      const running = summing.get(id) ?? readSums(database, whose, nowMs).finally(() => summing.delete(id))
      summing.set(id, running)
      return running
    },
  }
}

async function readSums(database: Pick<Database, 'report'>, whose: Whose, nowMs: number): Promise<readonly OwnSum[]> {
  const todayMs = Math.floor(nowMs / dayMs) * dayMs
  return Promise.all(
    sumDays.map(async days => {
      const fromMs = todayMs - (days - 1) * dayMs
      const of = 'keyId' in whose ? whose.keyId : whose.userId
      const [row] = await database.report('keyId' in whose ? sumOfKey : sumOfUser, [of, firstIdOf(fromMs - idSlackMs), fromMs])
      return {
        days,
        calls: row!.calls as bigint,
        inputTokens: row!.input_tokens as bigint,
        cachedTokens: row!.cached_tokens as bigint,
        outputTokens: row!.output_tokens as bigint,
        cost: row!.cost as bigint,
        uncollected: row!.uncollected as bigint,
      }
    }),
  )
}

const sumOfKey = statement(sumSql(ofKey('$1')))
const sumOfUser = statement(sumSql('user_id = $1'))

function sumSql(whose: string): string {
  const sums = ['input_tokens', 'cached_tokens', 'output_tokens', 'cost', 'uncollected'].map(
    name => `cast(coalesce(sum(${name}), 0) as bigint) as ${name}`,
  )
  return `select count(*) as calls, ${sums.join(', ')} from calls where ${whose} and id >= $2 and began_at >= $3`
}
