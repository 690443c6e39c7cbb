import { expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { heldCall, manualClock, openBooks as openFreshBooks, userSteps } from '../ledger/books.fixture.ts'
import { openLedger } from '../ledger/ledger.ts'
import type { Owed } from '../ledger/owed.ts'
import { openPurses } from '../ledger/purses.ts'
import type { HoldRequest } from '../ledger/steps.ts'
import { silentLog } from '../lib/log.ts'
import { openMetrics } from '../lib/metrics.ts'
import { type Committed, type Database, statement } from '../storage/database.ts'
import { refusal, startMs } from '../usage/record.fixture.ts'
import type { AttemptRow, CallRow } from '../usage/record.ts'
import { type CallEnd, openBooks } from './books.ts'

/** Most holds and settles go a short way through the books: whoever reads them afterwards must not be able to tell. */
onEveryEngine(open => {
  test('what the short way writes is what the long way would have', async () => {
    const [short, long] = [await playedOn(open, 'as it is'), await playedOn(open, 'the long way')]
    expect(short.guards).toEqual([])
    expect(long.guards).toEqual(['another_way', 'another_way'])
    expect(short.rows).toEqual(long.rows)
    expect(short.rows).toMatchObject({ wallets: [{ balance: 60n, held: 0n }], holds: [{ amount: 50n, settled: 40n }] })
  })

  test.each([
    { name: 'a hold that was extended', extendTo: 90n, cost: 45n, collected: 45n, guards: ['another_way'] },
    { name: 'a cost beyond the hold', extendTo: 0n, cost: 70n, collected: 70n, guards: [] },
    { name: 'a cost beyond all that there is', extendTo: 0n, cost: 170n, collected: 100n, guards: [] },
    { name: 'a cost of nothing', extendTo: 0n, cost: 0n, collected: 0n, guards: [] },
  ])('$name is settled all the same', async ({ extendTo, cost, collected, guards }) => {
    await using ground = await openGround(open, 'as it is')
    await ground.ledger.hold(request)
    if (extendTo > 0n) await ground.ledger.extend('c', request.funds, extendTo)
    await ground.books.end(endOf(cost))
    expect(ground.guards).toEqual(guards)
    const { wallets, calls } = await ground.rows()
    expect(wallets).toMatchObject([{ balance: 100n - collected, held: 0n }])
    expect(calls).toMatchObject([{ cost, uncollected: cost - collected }])
    expect(await ground.ledger.check()).toEqual([])
  })

  test('a cost beyond the hold takes nothing that another call holds', async () => {
    await using ground = await openGround(open, 'as it is')
    await ground.ledger.hold(request)
    await ground.ledger.hold({ ...request, callId: 'other', halfOfFree: false })
    await ground.books.end(endOf(70n))
    const { wallets, calls } = await ground.rows()
    expect(wallets).toMatchObject([{ balance: 50n, held: 50n }])
    expect(calls).toMatchObject([{ cost: 70n, uncollected: 20n }])
  })

  test('a call is settled once by either way', async () => {
    await using ground = await openGround(open, 'as it is')
    await ground.ledger.hold(request)
    await ground.books.end(endOf(40n))
    const before = await ground.rows()
    await ground.books.end(endOf(40n))
    await expect(ground.ledger.hold(request)).rejects.toThrow('it is placed once')
    expect(ground.guards).toEqual(['another_way', 'ended_already', 'another_way', 'short'])
    expect(await ground.rows()).toEqual(before)
  })
})

const request: HoldRequest = {
  ...heldCall(startMs),
  ...{ callId: 'c', funds: { kind: 'wallet', walletId: 'w' }, floor: 10n, want: 50n, halfOfFree: true },
}

async function playedOn(open: (path: string) => Promise<Database>, way: Way) {
  await using ground = await openGround(open, way)
  expect(await ground.ledger.hold(request)).toEqual({ granted: 50n })
  await ground.books.end(endOf(40n))
  return { rows: await ground.rows(), guards: ground.guards }
}

function endOf(cost: bigint): CallEnd {
  const row: CallRow = { ...refusal('c'), userId: 'w', status: 200, ended: 'completed', fault: null, basis: 'reported', held: 50n, cost }
  const times = { beganAtMs: startMs, firstEventMs: 1, durationMs: 2 }
  const attempt: AttemptRow = {
    ...{ callId: 'c', number: 1, accountId: 'a', model: 'm', status: 200, fault: null, upstreamRequestId: 'req_1', answered: true },
    ...times,
  }
  return { callId: 'c', funds: request.funds, call: request, charge: { cost, entryId: 'e', atMs: startMs }, row, attempts: [attempt] }
}

type Way = 'as it is' | 'the long way'

/** Books with 100 in one wallet, and what was answered to whatever did not land. By the long way, every first step finds that the short one will not do. */
async function openGround(open: (path: string) => Promise<Database>, way: Way) {
  const fresh = await openFreshBooks(open)
  const clock = manualClock(startMs)
  const guards: string[] = []
  const commit: Database['commit'] = async (steps, durability) => {
    const isShort = steps[0]?.otherwise === 'another_way'
    const answer: Committed =
      isShort && way === 'the long way' ? { done: false, guard: 'another_way' } : await fresh.database.commit(steps, durability)
    if (!answer.done) guards.push(answer.guard)
    return answer
  }
  const database: Database = { ...fresh.database, commit }
  const ledger = openLedger(database, clock)
  const books = openBooks({
    database,
    atHand: undefined,
    purses: openPurses(manualClock(0), 0),
    journal: noJournal,
    clock,
    log: silentLog,
    metrics: openMetrics(),
    settleWithinMs: 60_000,
  })
  await fresh.database.commit(userSteps('w'), 'synced')
  await ledger.credit({ walletId: 'w', amount: 100n, reference: 'r', reason: null, author: null })
  await ledger.renewLease('lease', 60_000)
  return {
    ledger,
    books,
    guards,
    async rows() {
      const tables = ['wallets', 'holds', 'calls', 'attempts', 'entries'] as const
      const rows = await Promise.all(tables.map(name => fresh.database.read(statement(`select * from ${name}`))))
      const [wallets, ...rest] = rows.map(table => table.map(({ moved: _, ...row }) => row))
      const [holds, calls, attempts, entries] = rest
      return { wallets, holds, calls, attempts, charges: entries!.filter(({ kind }) => kind === 'charge') }
    },
    async [Symbol.asyncDispose]() {
      await books.close()
      await fresh[Symbol.asyncDispose]()
    },
  }
}

const noJournal: Owed<CallEnd> = {
  size: 0,
  add: () => Promise.reject(new Error('the books took too long, or refused')),
  replay: async () => {},
  [Symbol.asyncDispose]: async () => {},
}
