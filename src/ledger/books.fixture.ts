import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../lib/clock.ts'
import { type Database, inOrderOfStatement, type Step, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { openWalletStep } from './entries.ts'
import { paidFields, paidIn } from './paid.ts'
import type { Ends } from './posting.ts'
import { wholeSettlesSteps } from './short-way.ts'
import type { HeldCall } from './steps.ts'
import type { SubscriptionTerms } from './subscription.ts'

/** Real books in a folder of their own, gone with the test. */
export async function openBooks(open: (path: string) => Promise<Database>): Promise<{ readonly database: Database } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'headgate-books-'))
  const database = await open(join(folder, 'books.db'))
  await migrate(database, migrations)
  return {
    database,
    async [Symbol.asyncDispose]() {
      await database.close()
      await rm(folder, { recursive: true })
    },
  }
}

/** A clock that moves when the test says so. Its timers fire when it has moved far enough. */
export function manualClock(startMs: number): Clock & { advance(ms: number): void } {
  let now = startMs
  const timers = new Set<{ dueMs: number; then: () => void }>()
  return {
    nowMs: () => now,
    elapsedMs: () => now,
    after(ms, then) {
      const timer = { dueMs: now + ms, then }
      timers.add(timer)
      return {
        restart() {
          timer.dueMs = now + ms
          timers.add(timer)
        },
        [Symbol.dispose]: () => void timers.delete(timer),
      }
    },
    advance(ms) {
      now += ms
      for (const timer of [...timers]) {
        if (timer.dueMs > now) continue
        timers.delete(timer)
        timer.then()
      }
    },
  }
}

/** A user of that name, with the empty wallet of the same name. */
export function userSteps(name: string): readonly Step[] {
  return [{ statement: insertUser, values: [name] }, openWalletStep(name, name)]
}

/** In a group of its own, for a user that exists. */
export function subscriptionSteps(userId: string, terms: SubscriptionTerms): readonly Step[] {
  const { id, startsAtMs, endsAtMs, dailyLimit, weeklyLimit, monthlyLimit } = terms
  return [
    { statement: insertGroup, values: [id] },
    { statement: insertSubscription, values: [id, userId, startsAtMs, endsAtMs, dailyLimit, weeklyLimit, monthlyLimit] },
  ]
}

/** The least row a settled call can have, as whoever settles writes it beside the ledger's steps. */
export function settledRowStep(callId: string, cost: bigint): Step {
  return { statement: insertCall, values: [callId, cost] }
}

/** Ends whose only row is that one, and which the books are told of step by step. */
export const rowEnds: Omit<Ends<Step>, 'refused'> = {
  lineOf: ({ slip, settle, end }) => JSON.stringify([paidFields(slip, settle), end.values.map(String)]),
  endIn: line => rowInLine(JSON.parse(line)),
  stepsOf(lines) {
    const parsed = lines.map(line => JSON.parse(line) as RowLine)
    return inOrderOfStatement([...wholeSettlesSteps(parsed.map(([paid]) => paidIn(paid))), ...parsed.map(rowInLine)])
  },
}

type RowLine = [unknown[], [callId: string, cost: string]]

function rowInLine([, [callId, cost]]: RowLine): Step {
  return settledRowStep(callId, BigInt(cost))
}

export function heldCall(beganAtMs: number, leaseId = 'lease'): HeldCall {
  const call = { userId: 'u', keyId: 'k', groupId: 'g', model: 'm', path: '/v1/responses', address: '192.0.2.1', stream: true }
  return { ...call, leaseId, beganAtMs }
}

const insertUser = statement(`insert into users (id, email, concurrency, created_at) values ($1, $1, 0, 0)`)
const insertGroup = statement(
  `insert into groups (id, name, multiplier, pays, unpriced, on_client_left, created_at) values ($1, $1, '1', 'subscription', 'refuse', 'drain', 0)`,
)
const insertSubscription = statement(
  `insert into subscriptions (id, user_id, group_id, starts_at, ends_at, daily_limit, weekly_limit, monthly_limit)
   values ($1, $2, $1, $3, $4, $5, $6, $7)`,
)
const insertCall = statement(`insert into calls (id, user_id, key_id, path, stream, status, ended, basis, input_tokens, cached_tokens,
    cache_write_tokens, cache_write_12h_tokens, output_tokens, reasoning_tokens, web_searches, file_searches, held, cost, uncollected,
    attempts, line_ms, duration_ms, address, instructions_added, began_at)
  select id, 'u', 'k', '/', 0, 200, 'completed', 'reported', 0, 0, 0, 0, 0, 0, 0, 0, amount, $2, $2 - settled, 1, 0, 0, '', 0, began_at
  from holds where id = $1
  on conflict (id) do update set ended = excluded.ended, cost = excluded.cost, uncollected = excluded.uncollected`)
