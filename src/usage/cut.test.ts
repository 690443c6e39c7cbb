import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { ownerSteps } from '../directory/owners.ts'
import { heldCall, manualClock, subscriptionSteps, userSteps } from '../ledger/books.fixture.ts'
import { type Ledger, openLedger } from '../ledger/ledger.ts'
import { lateSettleSteps, type Settle, settleSteps } from '../ledger/steps.ts'
import { subscriptionFunds } from '../ledger/subscription.ts'
import { firstIdOf, newId } from '../lib/id.ts'
import { type Database, DatabaseAway, type Step, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { dayMs } from './account-days.ts'
import { type CutDone, cutOld, stepRowsMax } from './cut.ts'
import { attempt, refusal } from './record.fixture.ts'
import { callSteps } from './record.ts'
import { callById } from './report.ts'

/** Far behind the month in which the schema is made, so that every call lies in a month of its own and not before the first. */
const firstMs = Date.UTC(2090, 0, 10, 12)
const lastMs = Date.UTC(2090, 6, 15, 12)
const keptDays = 31
const wallet = { kind: 'wallet', walletId: 'w' } as const
const terms = { id: 's', startsAtMs: firstMs, endsAtMs: lastMs * 2, dailyLimit: null, weeklyLimit: null, monthlyLimit: 1_000_000n }
const tables = ['calls', 'attempts', 'holds', 'windows'] as const

onEveryEngine((open, engine) => {
  /** In days of UTC on SQLite, in months on a server. */
  const cutMs = engine === 'SQLite' ? Date.UTC(2090, 5, 14) : Date.UTC(2090, 5, 1)
  const clock = manualClock(firstMs)
  let scope: AsyncDisposableStack
  let database: Database
  let ledger: Ledger
  beforeEach(async () => {
    scope = new AsyncDisposableStack()
    const folder = scope.use(await mkdtempDisposable(join(tmpdir(), 'headgate-')))
    database = await open(join(folder.path, 'books.db'))
    scope.defer(() => database.close())
    await migrate(database, migrations)
    ledger = openLedger(database, clock)
    await database.commit([...userSteps('w'), ...subscriptionSteps('w', terms)], 'synced')
    await ledger.credit({ walletId: 'w', amount: 1_000_000n, reference: 'c', reason: 'first', author: null })
    clock.advance(firstMs - clock.nowMs())
  })
  afterEach(() => scope.disposeAsync())

  async function cut(nowMs: number, days = keptDays, on = database): Promise<CutDone[]> {
    const done: CutDone[] = []
    await cutOld(on, { nowMs, keptDays: days, pause: async () => true, told: one => done.push(one) })
    return done
  }

  async function holdAt(atMs: number, pays: 'wallet' | 'subscription'): Promise<Settle> {
    const callId = newId(atMs)
    const funds = pays === 'wallet' ? wallet : subscriptionFunds(terms, atMs)
    await ledger.renewLease('lease', 30_000)
    await ledger.hold({ ...heldCall(atMs), callId, funds, floor: 1n, want: 50n, halfOfFree: false })
    return { callId, cost: 20n, atMs, funds, entryId: newId(atMs) }
  }

  function rowsOf({ callId, cost, atMs }: Settle): readonly Step[] {
    return callSteps({ ...refusal(callId), ended: 'completed', basis: 'reported', cost, beganAtMs: atMs }, [attempt(callId, 1)])
  }

  /** A call every five days, of each payer in turn, while a gateway makes the months ahead as it comes to them. */
  async function half(): Promise<readonly string[]> {
    const ids: string[] = []
    for (let atMs = firstMs; atMs <= lastMs; atMs += 5 * dayMs) {
      clock.advance(atMs - clock.nowMs())
      await cut(atMs, 0)
      const settle = await holdAt(atMs, ids.length % 2 === 0 ? 'wallet' : 'subscription')
      await database.commit([...settleSteps(settle), ...rowsOf(settle)], 'synced')
      ids.push(settle.callId)
    }
    clock.advance(lastMs - clock.nowMs())
    return ids
  }

  async function idsIn(table: 'calls' | 'attempts' | 'holds'): Promise<string[]> {
    const column = table === 'attempts' ? 'call_id' : 'id'
    const rows = await database.report(statement(`select ${column} as id from ${table} order by 1`))
    return rows.map(({ id }) => String(id))
  }

  const count = async (table: string) => Number((await database.report(statement(`select count(*) as n from ${table}`)))[0]!.n)

  test('rows older than what is kept are gone, newer ones stay, and nobody has more or less money', async () => {
    const ids = await half()
    const [wallets, entries] = [await ledger.free('w'), await count('entries')]
    await database.commit(
      ownerSteps({ id: 'resp_1', kind: 'response', userId: 'w', accountId: 'a', contextTokens: 1, atMs: firstMs }),
      'synced',
    )
    expect(await ledger.check()).toEqual([])
    await cut(lastMs)
    expect(await ledger.check()).toEqual([])
    const kept = ids.filter((_, index) => firstMs + index * 5 * dayMs >= cutMs)
    expect(kept.length).toBeGreaterThan(3)
    for (const table of ['calls', 'attempts', 'holds'] as const) expect(await idsIn(table)).toEqual(kept)
    expect(await callById(database, kept[0]!)).toMatchObject({ call: { cost: 20n }, attempts: [{ number: 1 }] })
    expect(await callById(database, ids[0]!)).toBeUndefined()
    expect([await ledger.free('w'), await count('entries'), await count('owners')]).toEqual([wallets, entries, 1])
    const [oldest] = await database.report(statement('select min(starts_at) as at from windows'))
    expect(Number(oldest!.at)).toBeGreaterThan(cutMs - 31 * dayMs)
    expect(await cut(lastMs)).toEqual([])
  })

  test('without a limit everything stays', async () => {
    const ids = await half()
    expect((await cut(lastMs, 0)).filter(done => !('made' in done))).toEqual([])
    expect(await idsIn('calls')).toEqual(ids)
  })

  test('the mark never moves back, and a longer time brings nothing back', async () => {
    await half()
    await cut(lastMs)
    const left = await idsIn('calls')
    await cut(lastMs, 365)
    expect(await ledger.check()).toEqual([])
    expect(await idsIn('calls')).toEqual(left)
  })

  test('wherever a run breaks off the books balance, and the next run does the rest', async () => {
    await half()
    const many = stepRowsMax + 3
    for (let call = 0; call < many; call++) await database.commit(callSteps(refusal(newId(Date.UTC(2090, 4, 1) - call)), []), 'ordered')
    let failures = 0
    for (let nth = 1, isDone = false; !isDone; nth++) {
      isDone = await cut(lastMs, keptDays, failing(database, nth)).then(
        () => true,
        () => false,
      )
      failures += isDone ? 0 : 1
      expect(await ledger.check()).toEqual([])
    }
    expect(failures).toBeGreaterThan(tables.length)
    expect((await idsIn('calls')).every(id => id >= firstIdOf(cutMs))).toBe(true)
    expect(await cut(lastMs)).toEqual([])
  })

  test('a run that is told to stop does so between two steps', async () => {
    for (let call = 0; call < 2 * stepRowsMax; call++) await database.commit(callSteps(refusal(newId(firstMs + call)), []), 'ordered')
    await cutOld(database, { nowMs: lastMs, keptDays, pause: async () => false, told: () => {} })
    expect(await count('calls')).toBe(stepRowsMax)
  })

  test('an open hold stays, however old, and is settled like any other', async () => {
    const settles = [await holdAt(firstMs, 'wallet'), await holdAt(firstMs, 'subscription')]
    clock.advance(lastMs - clock.nowMs())
    await cut(lastMs)
    expect(await count('holds')).toBe(2)
    expect(await ledger.check()).toEqual([])
    for (const settle of settles) {
      expect(await database.commit([...settleSteps(settle), ...rowsOf(settle)], 'synced')).toMatchObject({ done: true })
      expect(await ledger.check()).toEqual([])
    }
    await cut(lastMs)
    expect(await ledger.check()).toEqual([])
    expect(await Promise.all(tables.map(count))).toEqual([0, 0, 0, 0])
    expect(await ledger.free('w')).toEqual({ balance: 999_980n, held: 0n })
  })

  test('a charge that a journal brings again after its hold was cut is not taken twice', async () => {
    const settle = await holdAt(firstMs, 'wallet')
    await database.commit([...settleSteps(settle), ...rowsOf(settle)], 'synced')
    clock.advance(lastMs - clock.nowMs())
    await cut(lastMs)
    const again = [...lateSettleSteps(settle, heldCall(firstMs)), ...rowsOf(settle)]
    expect(await database.commit(again, 'synced')).toEqual({ done: false, guard: 'ended_already' })
    expect(await ledger.free('w')).toEqual({ balance: 999_980n, held: 0n })
    expect(await ledger.check()).toEqual([])
  })

  test('a charge that was never taken is, out of a journal as old as it may be', async () => {
    const settle = await holdAt(firstMs, 'wallet')
    clock.advance(lastMs - clock.nowMs())
    expect(await ledger.expireHolds()).toBe(1)
    await cut(lastMs)
    expect(await count('holds')).toBe(0)
    const late = [...lateSettleSteps(settle, heldCall(firstMs)), ...rowsOf(settle)]
    expect(await database.commit(late, 'synced')).toMatchObject({ done: true })
    expect(await ledger.free('w')).toEqual({ balance: 999_980n, held: 0n })
    expect(await ledger.check()).toEqual([])
  })

  test('calls are held and settled while others run the cut, and none is refused or lost', async () => {
    await half()
    const cuts = [cut(lastMs), cut(lastMs), cut(lastMs)]
    const settled = Array.from({ length: 100 }, async (_, call) => {
      const settle = await holdAt(lastMs + call, call % 2 === 0 ? 'wallet' : 'subscription')
      return database.commit([...settleSteps(settle), ...rowsOf(settle)], 'synced')
    })
    for (const one of await Promise.all(settled)) expect(one).toMatchObject({ done: true })
    // A server may have let the calls go first, or one run before the other: then the next one does it.
    await Promise.allSettled(cuts)
    await cut(lastMs)
    expect(await ledger.check()).toEqual([])
    expect((await idsIn('calls')).filter(id => id >= firstIdOf(lastMs))).toHaveLength(100)
    expect((await idsIn('calls')).every(id => id >= firstIdOf(cutMs))).toBe(true)
  })
})

/** Its nth commit is not done, and says so. */
function failing(real: Database, nth: number): Database {
  let commits = 0
  return {
    ...real,
    commit: (steps, durability) => (++commits === nth ? Promise.reject(new DatabaseAway('as planned')) : real.commit(steps, durability)),
  }
}
