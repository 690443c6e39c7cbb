import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBooks, userSteps } from '../ledger/books.fixture.ts'
import { newId } from '../lib/id.ts'
import { type Database, statement } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { refusal, startMs } from './record.fixture.ts'
import { type CallRow, callSteps, noUsage } from './record.ts'
import { type CallFilter, listCalls, sumsByDay } from './report.ts'

const dayMs = 86_400_000

/** Label, user, key, account, model, fault, when it began, tokens in and out, cost. */
const table = `
  a  ann  k1  x  sol   -            0         10  1  100
  b  ann  k2  y  sol   -            5         20  2  200
  c  bob  k3  x  luna  -            86399999  30  3  300
  d  ann  k1  -  -     money_short  86400000  0   0  0
  e  ann  k1  x  luna  upstream_cut 86400001  40  4  400
`

let books: Awaited<ReturnType<typeof openBooks>>
const labels = new Map<string, string>()
beforeAll(async () => {
  books = await openBooks(openSqlite)
  const insertKey = statement(`insert into keys (id, user_id, name, hash, hint, allow_addresses, deny_addresses, created_at)
    values ($1, $2, $1, $1, '', '[]', '[]', 0)`)
  const keys = { k1: 'ann', k2: 'ann', k3: 'bob' }
  await books.database.commit([...userSteps('ann'), ...userSteps('bob')], 'synced')
  await books.database.commit(
    Object.entries(keys).map(values => ({ statement: insertKey, values })),
    'synced',
  )
  for (const line of table.trim().split('\n')) {
    const [label, userId, keyId, accountId, model, fault, atMs, inTokens, outTokens, cost] = line.trim().split(/\s+/)
    const row = call(startMs + Number(atMs), { userId: userId!, keyId: keyId!, accountId: orNull(accountId!), servedModel: orNull(model!) })
    labels.set(row.id, label!)
    const usage = { ...noUsage, inputTokens: Number(inTokens), cachedTokens: 1, outputTokens: Number(outTokens) }
    await books.database.commit(callSteps({ ...row, fault: orNull(fault!), usage, cost: BigInt(cost!) }, []), 'synced')
  }
})
afterAll(() => books[Symbol.asyncDispose]())

const filters: readonly (readonly [CallFilter, string])[] = [
  [{}, 'edcba'],
  [{ userId: 'ann' }, 'edba'],
  [{ keyId: 'k1' }, 'eda'],
  [{ keyId: 'k1', userId: 'bob' }, ''],
  [{ accountId: 'x' }, 'eca'],
  [{ fault: 'upstream_cut' }, 'e'],
  [{ sinceMs: startMs + 5, untilMs: startMs + dayMs }, 'cb'],
  [{ sinceMs: startMs + 6 }, 'edc'],
  [{ untilMs: startMs + 5 }, 'a'],
  [{ userId: 'ann', accountId: 'x', sinceMs: startMs, untilMs: startMs + 1 }, 'a'],
  [{ userId: 'nobody' }, ''],
]
test.each(filters)('the calls of %o are %s, newest first, whatever the size of a page', async (filter, found) => {
  for (const limit of [1, 2, 10]) {
    let seen = ''
    let pages = 0
    for (let cursor: string | null = null; ; ) {
      const page = await listCalls(books.database, filter, { limit, cursor })
      expect(page.calls.length).toBeLessThanOrEqual(limit)
      seen += page.calls.map(({ id }) => labels.get(id)).join('')
      pages++
      if (page.cursor === null) break
      cursor = page.cursor
    }
    expect(seen).toBe(found)
    expect(pages).toBe(Math.floor(found.length / limit) + 1)
  }
})

test("a period is found by its range of ids, a key among its user's calls, an account's on its days, without reading all calls", async () => {
  const plans: string[] = []
  const explaining: Pick<Database, 'report'> = {
    async report({ sql }, values) {
      const plan = await books.database.report(statement(`explain query plan ${sql}`), values)
      plans.push(plan.map(row => row.detail).join('; '))
      return sql.includes('account_days') ? [{ day: BigInt(Math.floor(startMs / dayMs)) }] : []
    },
  }
  await listCalls(explaining, { sinceMs: startMs, untilMs: startMs + dayMs }, { limit: 3, cursor: null })
  await listCalls(explaining, { keyId: 'k1' }, { limit: 3, cursor: null })
  await listCalls(explaining, { accountId: 'x', untilMs: startMs }, { limit: 3, cursor: null })
  expect(plans[0]).toMatch(/SEARCH calls .*\(id>\? AND id<\?\)/)
  expect(plans[1]).toMatch(/SEARCH calls USING INDEX calls_by_user \(user_id=\?\)/)
  expect(plans[2]).toMatch(/SEARCH account_days USING .* \(account_id=\? AND day>\? AND day<\?\)/)
  expect(plans[3]).toMatch(/SEARCH calls .*\(id>\? AND id<\?\)/)
})

/** By what, and what each came to: the day from the start, of whom, calls, input, cached, output, cost. */
const days = {
  user: ['0 ann 2 30 2 3 300', '0 bob 1 30 1 3 300', '1 ann 2 40 2 4 400'],
  key: ['0 k1 1 10 1 1 100', '0 k2 1 20 1 2 200', '0 k3 1 30 1 3 300', '1 k1 2 40 2 4 400'],
  account: ['0 x 2 40 2 4 400', '0 y 1 20 1 2 200', '1 x 1 40 1 4 400'],
  model: ['0 luna 1 30 1 3 300', '0 sol 2 30 2 3 300', '1 luna 1 40 1 4 400'],
} as const
test.each(Object.entries(days))('sums by %s and day', async (by, wanted) => {
  const sums = await sumsByDay(books.database, by as keyof typeof days, { sinceMs: startMs, untilMs: startMs + 2 * dayMs })
  const told = sums.map(sum => {
    const tokens = `${sum.inputTokens} ${sum.cachedTokens} ${sum.outputTokens}`
    return `${(sum.dayStartsAtMs - startMs) / dayMs} ${sum.of} ${sum.calls} ${tokens} ${sum.cost}`
  })
  expect(told).toEqual(wanted)
})

test('sums leave out what lies outside of their period', async () => {
  const sums = await sumsByDay(books.database, 'user', { sinceMs: startMs + 5, untilMs: startMs + dayMs })
  expect(sums.map(({ of, cost }) => [of, cost])).toEqual([
    ['ann', 200n],
    ['bob', 300n],
  ])
})

function call(beganAtMs: number, given: Pick<CallRow, 'userId' | 'keyId' | 'accountId' | 'servedModel'>): CallRow {
  return { ...refusal(newId(beganAtMs)), status: 200, ended: 'completed', fault: null, basis: 'reported', beganAtMs, ...given }
}

function orNull(text: string): string | null {
  return text === '-' ? null : text
}
