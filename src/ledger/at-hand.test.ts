import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Database, DatabaseAway, type Row, type Statement, type Step, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AtHand, openAtHand, takeUp } from './at-hand.ts'
import { heldCall, manualClock, rowEnds, settledRowStep, userSteps } from './books.fixture.ts'
import { type Daybook, type Line, openDaybook, readDaybook } from './daybook.ts'
import { type Ledger, openLedger } from './ledger.ts'
import { openPurses, type Purses } from './purses.ts'
import { openSlips, readSlips, type Slips } from './slips.ts'
import { type HoldRequest, settleSteps as longSettleSteps, type Settle } from './steps.ts'

let folder: string
let file: string
let books: Database
let slips: Slips
let purses: Purses
let daybook: Daybook
let atHand: AtHand<Step>
let ledger: Ledger
/** What the books were asked, by the first words of each command, and how they fail if they do. */
let asked: string[]
let away: boolean
let said: string[]
/** Ends that the books did not take. */
let refused: unknown[]
const clock = manualClock(1_000)

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-at-hand-'))
  file = join(folder, 'holds.slips')
  books = await openSqlite(join(folder, 'books.db'))
  await migrate(books, migrations)
  await books.commit(userSteps('w'), 'ordered')
  slips = openSlips(file)
  daybook = openDaybook(dayFile(), clock, 60_000)
  begin()
  await ledger.credit({ walletId: 'w', amount: 100n, reference: 'c', reason: null, author: null })
  await ledger.renewLease('lease', 10_000)
  await look()
  asked = []
})
afterEach(async () => {
  await daybook.close()
  await books.close()
  slips.close()
  rmSync(folder, { recursive: true })
})

test('a hold at hand is on file, and in the books as soon as somebody looks', async () => {
  expect(await atHand.hold(request('a'))).toBe(true)
  expect([asked, readSlips(file).map(({ callId }) => callId)]).toEqual([[], ['a']])
  expect(await ledger.free('w')).toEqual({ balance: 100n, held: 40n })
  expect(await atHand.hold(request('b'))).toBe(true)
  expect(await atHand.database.report(selectHolds)).toMatchObject([
    { id: 'a', amount: 40n },
    { id: 'b', amount: 40n },
  ])
  expect(await atHand.hold(request('c')), 'with 20 that are free').toBe(false)
})

test('with its settle it comes to the books at one stroke, later, and they say what they would have said', async () => {
  await atHand.hold(request('a'))
  await settleAtHand('a', 15n)
  expect([asked, rowsInDaybook()]).toEqual([[], [['a', '15']]])
  await atHand.post()
  expect(asked).toEqual(['commit update wallets set balance'])
  const whole = await everything()
  expect(await ledger.check()).toEqual([])
  expect(whole.wallets).toMatchObject([{ balance: 85n, held: 0n }])
  // What it gave back may be spent again.
  expect(await atHand.hold({ ...request('b'), want: 85n })).toBe(true)
  expect(await atHand.hold({ ...request('c'), want: 1n })).toBe(false)

  await otherBooks()
  await ledger.hold(request('a'))
  await atHand.database.commit([...settleSteps(15n), rowOf('a', 15n)], 'ordered')
  expect(await everything()).toEqual(whole)
})

test('what is let go never was', async () => {
  await atHand.hold({ ...request('a'), want: 100n })
  expect([atHand.letGo('a'), atHand.letGo('a')]).toEqual([true, false])
  expect(readSlips(file)).toEqual([])
  expect(await atHand.hold({ ...request('b'), want: 100n })).toBe(true)
  await ledger.free('w')
  expect(atHand.letGo('b'), 'the books know of it').toBe(false)
  expect(atHand.settle(settleOf('b', 1n), rowOf('b', 1n)), 'the books know of it').toBeUndefined()
  await ledger.release('b', request('b').funds)
  expect(await ledger.free('w')).toEqual({ balance: 100n, held: 0n })
})

test('a cost beyond the hold, and a subscription, are for the books to reckon', async () => {
  await atHand.hold(request('a'))
  expect(atHand.settle(settleOf('a', 41n), rowOf('a', 41n))).toBeUndefined()
  const windows = { kind: 'subscription', subscriptionId: 's', windows: [] } as unknown as HoldRequest['funds']
  expect(await atHand.hold({ ...request('b'), funds: windows })).toBe(false)
  expect(await atHand.hold({ ...request('b'), want: 31n, halfOfFree: true }), 'half of 60 is free for a call without a ceiling').toBe(false)
  expect(await atHand.hold({ ...request('b'), want: 30n, halfOfFree: true })).toBe(true)
})

test('money that somebody takes is not lent, and what they find is what is free', async () => {
  await atHand.hold(request('a'))
  const debit = (amount: bigint) => ledger.debit({ walletId: 'w', amount, reference: `d${amount}`, reason: null, author: null })
  expect(await debit(61n)).toMatchObject({ refused: 'short' })
  const debiting = debit(60n)
  expect(await atHand.hold(request('b')), 'while it is being taken').toBe(false)
  await debiting
  expect(await ledger.hold({ ...request('b'), floor: 1n })).toEqual({ refused: 'short' })
  await atHand.database.commit([...settleSteps(40n), rowOf('a', 40n)], 'ordered')
  expect(await ledger.free('w')).toEqual({ balance: 0n, held: 0n })
  expect(await ledger.check()).toEqual([])
})

test('nobody takes what a call has cost that the books have not heard of', async () => {
  await atHand.hold(request('a'))
  await settleAtHand('a', 40n)
  const debit = { walletId: 'w', amount: 61n, reference: 'd', reason: null, author: null }
  expect(await ledger.debit(debit)).toMatchObject({ refused: 'short' })
  expect(await ledger.free('w')).toEqual({ balance: 60n, held: 0n })
})

test('what comes back counts once, whoever looked while the end was being written', async () => {
  const line = await slowDaybook()
  await atHand.hold(request('a'))
  const settling = settleAtHand('a', 10n)
  await look()
  line.written()
  await settling
  expect(await atHand.hold({ ...request('b'), want: 91n })).toBe(false)
  expect(await atHand.hold({ ...request('b'), want: 90n })).toBe(true)
})

test('a slip stays until the end of its call is on the disk', async () => {
  const line = await slowDaybook()
  await atHand.hold(request('a'))
  const settling = settleAtHand('a', 10n)
  await atHand.hold({ ...request('b'), want: 1n })
  expect(readSlips(file).map(({ callId }) => callId)).toEqual(['a', 'b'])
  line.written()
  await settling
  await atHand.hold({ ...request('c'), want: 1n })
  expect(readSlips(file).map(({ callId }) => callId)).toEqual(['b', 'c'])
})

test('a hold that the books do not take, as somebody looked, is at hand again', async () => {
  await atHand.hold(request('a'))
  away = true
  const looking = ledger.free('w')
  const telling = atHand.telling('a')
  expect([telling === undefined, atHand.letGo('a'), settleAtHand('a', 1n)], 'while it is not known').toEqual([false, false, undefined])
  await expect(looking).rejects.toThrow(DatabaseAway)
  await telling
  away = false
  expect(atHand.telling('a')).toBeUndefined()
  await settleAtHand('a', 1n)
  expect(await ledger.free('w')).toEqual({ balance: 99n, held: 0n })
  expect(atHand.telling('a')).toBeUndefined()
})

test('when the process dies, its calls have rows and their money is free again', async () => {
  for (const name of ['settled', 'let go', 'one', 'two']) await atHand.hold({ ...request(name), want: 10n })
  await settleAtHand('settled', 3n)
  await atHand.post()
  atHand.letGo('let go')
  await atHand.hold({ ...request('later'), want: 10n })
  // Here it dies, and another opens the books.
  const left = readSlips(file)
  expect(left.map(({ callId }) => callId)).toEqual(['one', 'two', 'later'])
  begin()
  await takeUp(books, left)
  await takeUp(books, left) // That one died as well.
  expect(await ledger.free('w')).toEqual({ balance: 97n, held: 30n })
  await ledger.endOtherLeases('another')
  expect(await ledger.expireHolds()).toBe(3)
  expect(await ledger.free('w')).toEqual({ balance: 97n, held: 0n })
  const rows = await books.read(statement(`select id, ended from calls order by id`))
  expect(rows.map(({ id, ended }) => `${id} ${ended}`)).toEqual([
    'later gateway_died',
    'one gateway_died',
    'settled completed',
    'two gateway_died',
  ])
  expect(await ledger.check()).toEqual([])
})

test('should the process die, each call has its slip or its line', async () => {
  await atHand.hold(request('a'))
  const settling = settleAtHand('a', 1n)
  await atHand.hold(request('b'))
  const [held, ended] = [readSlips(file).map(({ callId }) => callId), readDaybook(dayFile()).lines]
  expect(ended.length > 0 || held.includes('a'), `${held}; ${ended}`).toBe(true)
  await settling
  await atHand.hold({ ...request('c'), want: 1n })
  expect([readSlips(file).map(({ callId }) => callId), rowsInDaybook()]).toEqual([['b', 'c'], [['a', '1']]])
})

test('while the books are away nothing more is lent, and what was is settled when they are back', async () => {
  await atHand.hold(request('a'))
  away = true
  await settleAtHand('a', 5n)
  expect(await atHand.hold({ ...request('b'), want: 65n }), 'nobody has noticed yet').toBe(true)
  await atHand.post()
  expect(await atHand.hold({ ...request('c'), want: 1n })).toBe(false)
  await expect(ledger.free('w')).rejects.toThrow(DatabaseAway)
  expect(readSlips(file).map(({ callId }) => callId)).toEqual(['b'])
  expect(rowsInDaybook()).toEqual([['a', '5']])
  away = false
  expect(await ledger.free('w')).toEqual({ balance: 95n, held: 65n })
  expect((await everything()).calls).toMatchObject([{ id: 'a', cost: 5n }])
})

test('while the books can be read and not written, nothing is lent', async () => {
  atHand.doubt()
  await look()
  expect(await atHand.hold(request('a')), 'they were late').toBe(false)
  await ledger.renewLease('lease', 10_000)
  expect(await atHand.hold(request('a')), 'they have written since').toBe(true)
  away = true
  await expect(ledger.renewLease('lease', 10_000)).rejects.toThrow(DatabaseAway)
  away = false
  await look()
  expect(await atHand.hold(request('b'))).toBe(true)
  expect(asked.at(-2), 'after the hold that was at hand had been told').toMatch(/^commit update wallets set held/)
})

test('what is taken behind its back is missing from the charge, and from nothing else', async () => {
  await atHand.hold(request('a'))
  await books.commit([{ statement: statement(`update wallets set balance = 30 where id = 'w'`), values: [] }], 'ordered')
  await settleAtHand('a', 40n)
  await atHand.post()
  // Whoever ends calls has it in the journal, from where it is taken as it can be.
  expect(refused).toEqual([[rowOf('a', 40n), new Error('the books refuse it: another_way')]])
  expect(await atHand.hold({ ...request('b'), want: 1n }), 'what was thought to be free may not be').toBe(false)
})

test('where the file refuses, each hold is asked of the books', async () => {
  slips.close()
  expect(await atHand.hold(request('a'))).toBe(false)
  expect(await atHand.hold(request('b'))).toBe(false)
  expect(said).toEqual(['holds cannot be written to their file; each is asked of the books'])
  expect(await ledger.free('w')).toEqual({ balance: 100n, held: 0n })
  slips = openSlips(file)
})

/** A daybook that writes its line when it is told to. */
async function slowDaybook(): Promise<Line> {
  const real = daybook
  let waiting: Line | undefined
  const add = (_: string, line: Line) => {
    waiting = line
    return 1
  }
  daybook = { add, posted: () => {}, close: () => real.close() }
  begin()
  await look()
  return { written: () => waiting?.written() }
}

function begin(): void {
  asked = []
  away = false
  said = []
  refused = []
  purses = openPurses(clock, Number.POSITIVE_INFINITY)
  const say = (_: object, text: string) => void said.push(text)
  atHand = openAtHand({
    ...{ books: watched(books), slips, daybook, purses, clock, settleWithinMs: 250, log: { warn: say, error: say } as never },
    ends: { ...rowEnds, refused: async (row, cause) => void refused.push([row, cause]) },
  })
  ledger = openLedger(atHand.database, clock, { spending: atHand.spending })
}

function watched(database: Database): Database {
  const heard = <Answer>(what: string, { sql }: Statement, ask: () => Promise<Answer>) => {
    asked.push(`${what} ${sql.split(/\s+/, 4).join(' ')}`)
    return away ? Promise.reject(new DatabaseAway('away, as planned')) : ask()
  }
  return {
    ...database,
    read: (one, values) => heard('read', one, () => database.read(one, values)),
    report: (one, values) => heard('report', one, () => database.report(one, values)),
    commit: (steps, durability) => heard('commit', steps[0]!.statement, () => database.commit(steps, durability)),
  }
}

async function look(): Promise<void> {
  const saw = purses.look('w')
  const found = await ledger.free('w')
  saw(found!.balance - found!.held)
}

/** Fresh ones, with the same 100 in the wallet. */
async function otherBooks(): Promise<void> {
  await books.close()
  books = await openSqlite(join(folder, 'other.db'))
  await migrate(books, migrations)
  await books.commit(userSteps('w'), 'ordered')
  begin()
  await ledger.credit({ walletId: 'w', amount: 100n, reference: 'c', reason: null, author: null })
}

function settleOf(callId: string, cost: bigint): Settle {
  return { callId, cost, atMs: 2_000, funds: request(callId).funds, entryId: `entry-${callId}` }
}

function settleAtHand(callId: string, cost: bigint): Promise<void> {
  return atHand.settle(settleOf(callId, cost), rowOf(callId, cost))!
}

const rowOf = settledRowStep

function rowsInDaybook(): unknown[] {
  return readDaybook(dayFile()).lines.map(line => JSON.parse(line)[1])
}

function dayFile(): string {
  return join(folder, 'calls.daybook')
}

function settleSteps(cost: bigint, callId = 'a') {
  return longSettleSteps(settleOf(callId, cost))
}

async function everything(): Promise<Readonly<Record<string, readonly Row[]>>> {
  const tables = ['holds', 'wallets', 'entries', 'calls']
  const rows = tables.map(async table => [table, (await books.read(statement(`select * from ${table} order by id`))).map(telling)] as const)
  return Object.fromEntries(await Promise.all(rows))
}

/** An entry by somebody's decision has an id of its own, and `moved` means nothing. */
function telling({ moved: _, id, ...row }: Row): Row {
  return row.kind === 'credit' ? row : { id: id!, ...row }
}

function request(callId: string): HoldRequest {
  return { ...heldCall(1_000), callId, funds: { kind: 'wallet', walletId: 'w' }, floor: 1n, want: 40n, halfOfFree: false }
}

const selectHolds = statement('select id, amount from holds order by id')
