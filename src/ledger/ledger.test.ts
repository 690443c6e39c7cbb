import { beforeEach, describe, expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { type Committed, type Database, DatabaseAway, statement } from '../storage/database.ts'
import { heldCall, manualClock, openBooks, settledRowStep, subscriptionSteps, userSteps } from './books.fixture.ts'
import { openLedger } from './ledger.ts'
import { type Funds, type HoldRequest, lateSettleSteps, readSettled, settleSteps } from './steps.ts'
import { subscriptionFunds } from './subscription.ts'

const dayMs = 86_400_000
const startMs = Date.UTC(2026, 9, 1, 12)
const leaseMs = 30_000
const wallet: Funds = { kind: 'wallet', walletId: 'w' }
const terms = { id: 's', startsAtMs: startMs, endsAtMs: startMs + 365 * dayMs, dailyLimit: 100n, weeklyLimit: 150n, monthlyLimit: 180n }

let clock = manualClock(startMs)
beforeEach(() => {
  clock = manualClock(startMs)
})

onEveryEngine(open => {
  test('a wallet: each line is an operation, the balance and the held amount it leaves, and its answer', async () => {
    await using books = await openBooks(open)
    await books.database.commit(userSteps('w'), 'synced')
    await play(books.database, wallet, async () => {
      const found = await openLedger(books.database, clock).free('w')
      return `${found!.balance} ${found!.held}`
    })`
    debit   d0 1             |   0   0 | short
    hold    r0 1..1          |   0   0 | short
    hold    r0 0..0          |   0   0 | 0             nothing is held for what is free
    settle  r0 0             |   0   0 | 0
    credit  c1 200           | 200   0 | ok
    credit  c1 200           | 200   0 | repeated      a repeated payment counts once
    credit  c1 201           | 200   0 | reference_used
    hold    r1 10..50        | 200  50 | 50
    hold    r1 10..50        | 200  50 | 50            the same call asked again
    hold    r1 150..190      | 200  50 | 50            even when it would no longer fit
    settle  r1 20            | 180   0 | 20            the rest is given back
    settle  r1 20            | 180   0 | ended_already settling twice takes it once
    release r1               | 180   0 | ok            a settled hold cannot be released
    hold    r2 181..500      | 180   0 | short
    hold    r2 180..500      | 180 180 | 180           what fits is granted; the refused hold left no trace
    hold    r3 1..1          | 180 180 | short
    debit   d1 1             | 180 180 | short         held money cannot be taken
    release r2               | 180   0 | ok
    release r2               | 180   0 | ok
    settle  r2 5             | 180   0 | ended_already a released hold cannot be settled
    hold    r4 10..500 half  | 180  90 | 90            half of what is free
    hold    r5 10..500 half  | 180 135 | 45            and half of what is left
    hold    r6 30..500 half  | 180 165 | 30            but never under the floor
    hold    r7 1..5    half  | 180 170 | 5             and never more than wanted
    release r5               | 180 125 | ok
    release r6               | 180  95 | ok
    release r7               | 180  90 | ok
    settle  r4 100           |  80   0 | 100           beyond its hold it takes what is free
    hold    r8 1..40         |  80  40 | 40
    hold    r9 1..30         |  80  70 | 30
    settle  r8 60            |  30  30 | 50            but not what others hold: 10 stay uncollected
    settle  r9 30            |   0   0 | 30
    credit  c2 60            |  60   0 | ok
    hold    ra 1..40         |  60  40 | 40
    sleep   29999            |  60  40 |
    expire                   |  60  40 | 0
    sleep   1                |  60  40 |
    expire                   |  60   0 | 1             its gateway died
    expire                   |  60   0 | 0
    release ra               |  60   0 | ok
    hold    rb 1..50         |  60  50 | 50
    settle  ra 35            |  50  50 | 10            a late settle takes its cost out of what is free
    settle  ra 35            |  50  50 | ended_already
    late    rb 50            |   0   0 | 50            a journal's charge whose hold is there
    late    rb 50            |   0   0 | ended_already
    credit  c3 30            |  30   0 | ok
    late    rc 20            |  10   0 | 20            and one whose hold was lost with the power
    late    rc 20            |  10   0 | ended_already
    late    rd 20            |   0   0 | 10
    credit  c4 7             |   7   0 | ok
    debit   d2 5             |   2   0 | ok
    debit   d2 5             |   2   0 | repeated
    debit   d2 2             |   2   0 | reference_used
    debit   c1 2             |   0   0 | ok            a reference is unique within its kind
    adjust  a1 9             |   9   0 | ok
    hold    re 1..5          |   9   5 | 5
    adjust  a2 -5            |   9   5 | short         a correction takes nothing that is held
    adjust  a2 -4            |   5   5 | ok
    adjust  a2 -4            |   5   5 | repeated
    adjust  a2 4             |   5   5 | reference_used
    refund  rx               |   5   5 | call_unknown
    refund  re               |   5   5 | not_charged   it still runs
    settle  re 3             |   2   0 | 3
    refund  re 4             |   2   0 | too_much
    refund  re 2             |   4   0 | 2
    refund  re 2             |   4   0 | repeated
    refund  re               |   4   0 | refunded_already once per call, and never another amount
    refund  ra               |  14   0 | 10            a late charge is given back like any other
    refund  r2               |  14   0 | not_charged   it was released
    hold    rf 1..4          |  14   4 | 4
    extend  rf 3             |  14   4 | 4             an extension never lowers
    extend  rf 6             |  14   6 | 6
    extend  rf 6             |  14   6 | 6             it names the total: the same again changes nothing
    hold    rg 1..3          |  14   9 | 3
    extend  rf 20            |  14  14 | 11            what is free, besides what others hold
    extend  rg 4             |  14  14 | 3
    settle  rf 12            |   3   3 | 11            its whole hold is taken, and 1 is uncollected
    extend  rf 12            |   3   3 | ended
    extend  rx 1             |   3   3 | ended
    extend  rd 20            |   3   3 | ended         and nothing is set aside for it again
  `
  })

  test('a subscription: each line leaves used and held of the day, the week and the month', async () => {
    await using books = await openBooks(open)
    await books.database.commit([...userSteps('w'), ...subscriptionSteps('w', terms)], 'synced')
    const left = statement(`select used, held from windows where subscription_id = 's' and kind = $1 and starts_at <= $2
    order by starts_at desc limit 1`)
    await play(books.database, terms, async () => {
      const kinds = ['daily', 'weekly', 'monthly']
      const rows = await Promise.all(kinds.map(async kind => (await books.database.read(left, [kind, clock.nowMs()]))[0]))
      return rows.map(row => `${row?.used ?? 0} ${row?.held ?? 0}`).join('  ')
    })`
    hold    r1 101..101      |  0   0    0   0    0   0 | Daily +1d     not even the floor fits the day
    hold    r1 10..60        |  0  60    0  60    0  60 | 60
    hold    r1 10..60        |  0  60    0  60    0  60 | 60
    hold    r2 10..60        |  0 100    0 100    0 100 | 40            what is left of the day
    hold    r3 1..1          |  0 100    0 100    0 100 | Daily +1d
    release r2               |  0  60    0  60    0  60 | ok
    settle  r1 55            | 55   0   55   0   55   0 | 55
    settle  r1 55            | 55   0   55   0   55   0 | ended_already
    hold    r4 1..80 half    | 55  22   55  22   55  22 | 22            half of what is left
    settle  r4 30            | 85   0   85   0   85   0 | 30            beyond its hold it takes what is left
    hold    r5 1..10         | 85  10   85  10   85  10 | 10
    settle  r5 30            | 100  0  100   0  100   0 | 15            the rest stays uncollected
    hold    r6 0..0          | 100  0  100   0  100   0 | 0             nothing is held for what is free
    settle  r6 0             | 100  0  100   0  100   0 | 0
    sleep   86399999         | 100  0  100   0  100   0 |
    hold    r7 1..60         | 100  0  100   0  100   0 | Daily +1d     a window lasts until before its end
    sleep   1                | 100  0  100   0  100   0 |
    renew                    | 100  0  100   0  100   0 |
    hold    r7 1..60         |  0  50  100  50  100  50 | 50            a new day, but the week has only 50
    hold    r8 1..1          |  0  50  100  50  100  50 | Weekly +7d
    sleep   86400000         |  0  50  100  50  100  50 |
    settle  r7 20            | 20   0  120   0  120   0 | 20            it is the day on which it began that pays
    renew                    | 20   0  120   0  120   0 |
    hold    r9 1..10         |  0  10  120  10  120  10 | 10
    sleep   30000            |  0  10  120  10  120  10 |
    expire                   |  0   0  120   0  120   0 | 1
    late    r9 4             |  4   0  124   0  124   0 | 4
    late    ra 4             |  8   0  128   0  128   0 | 4             a hold that was lost with the power
    sleep   518400000        |  8   0  128   0  128   0 |
    renew                    |  8   0  128   0  128   0 |
    hold    rb 1..99         |  0  52    0  52  128  52 | 52            a new week, but the month has only 52
    settle  rb 52            | 52   0   52   0  180   0 | 52
    hold    rc 1..1          | 52   0   52   0  180   0 | Monthly +30d
    sleep   1987200000       | 52   0   52   0  180   0 |
    renew                    | 52   0   52   0  180   0 |
    hold    rc 1..99         |  0  99    0  99    0  99 | 99
    release rc               |  0   0    0   0    0   0 | ok
    hold    rd 1..10         |  0  10    0  10    0  10 | 10
    extend  rd 30            |  0  30    0  30    0  30 | 30
    hold    re 1..20         |  0  50    0  50    0  50 | 20
    extend  rd 99            |  0 100    0 100    0 100 | 80            all that is left of the day
    extend  re 21            |  0 100    0 100    0 100 | 20
    settle  rd 60            | 60  20   60  20   60  20 | 60
    extend  rd 99            | 60  20   60  20   60  20 | ended
    sleep   86400000         | 60  20   60  20   60  20 |
    renew                    | 60  20   60  20   60  20 |
    hold    rf 1..5          |  0   5   60  25   60  25 | 5
    refund  rd 15            |  0   5   45  25   45  25 | 15            room, in the windows in which the call began
    refund  rd 15            |  0   5   45  25   45  25 | repeated
    refund  rd 16            |  0   5   45  25   45  25 | refunded_already
    settle  re 20            |  0   5   65   5   65   5 | 20
  `
  })

  describe('many at once', () => {
    test('200 holds of 10 on a balance for six: six are placed', async () => {
      await using books = await openBooks(open)
      const ledger = openLedger(books.database, clock)
      await books.database.commit(userSteps('w'), 'synced')
      await ledger.credit({ walletId: 'w', amount: 69n, reference: 'c', reason: null, author: null })
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, index) => ledger.hold(request(`r${index}`, wallet, { floor: 10n, want: 10n }))),
      )
      expect(answers.filter(answer => 'granted' in answer)).toEqual(Array(6).fill({ granted: 10n }))
      expect(answers.filter(answer => 'refused' in answer)).toEqual(Array(194).fill({ refused: 'short' }))
      expect(await ledger.free('w')).toEqual({ balance: 69n, held: 60n })
      expect(await ledger.check()).toEqual([])
    })

    test('200 settles of one hold: one takes it', async () => {
      await using books = await openBooks(open)
      const ledger = openLedger(books.database, clock)
      await books.database.commit(userSteps('w'), 'synced')
      await ledger.credit({ walletId: 'w', amount: 100n, reference: 'c', reason: null, author: null })
      await ledger.hold(request('r', wallet, { floor: 10n, want: 10n }))
      const answers = await Promise.all(Array.from({ length: 200 }, () => settle(books.database, 'r', 10n, wallet)))
      expect(answers.filter(answer => answer === '10')).toHaveLength(1)
      expect(await ledger.free('w')).toEqual({ balance: 90n, held: 0n })
      expect(await ledger.check()).toEqual([])
    })
  })

  test('whoever was told that the books are away asks again and is granted the same', async () => {
    await using books = await openBooks(open)
    await books.database.commit(userSteps('w'), 'synced')
    const credit = { walletId: 'w', amount: 100n, reference: 'c', reason: null, author: null }
    for (const [index, lost] of ['before', 'after'].entries()) {
      const callId = `r${index}`
      let fails = 1
      const flaky: Pick<Database, 'read' | 'report' | 'commit'> = {
        ...books.database,
        async commit(steps, durability): Promise<Committed> {
          if (lost === 'after') await books.database.commit(steps, durability)
          if (fails-- > 0) throw new DatabaseAway('away')
          return books.database.commit(steps, durability)
        },
      }
      const ledger = openLedger(flaky, clock)
      await expect(ledger.credit(credit)).rejects.toThrow(DatabaseAway)
      fails = 0
      expect(await openLedger(books.database, clock).credit(credit)).toMatchObject({ balance: 100n })
      fails = 1
      await expect(ledger.hold(request(callId, wallet, { floor: 10n, want: 10n }))).rejects.toThrow(DatabaseAway)
      expect(await openLedger(books.database, clock).hold(request(callId, wallet, { floor: 10n, want: 10n }))).toEqual({ granted: 10n })
    }
    expect(await openLedger(books.database, clock).free('w')).toEqual({ balance: 100n, held: 20n })
  })

  test('an ended hold is not placed again', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await books.database.commit(userSteps('w'), 'synced')
    await ledger.hold(request('r', wallet, { floor: 0n, want: 0n }))
    await ledger.release('r', wallet)
    await expect(ledger.hold(request('r', wallet, { floor: 0n, want: 0n }))).rejects.toThrow('has ended')
  })

  test('a wallet that is not there pays nothing and is paid nothing', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    expect(await ledger.free('w')).toBeUndefined()
    expect(await ledger.hold(request('r', wallet, { floor: 0n, want: 0n }))).toEqual({ refused: 'short' })
    const posting = { walletId: 'w', amount: 1n, reference: 'c', reason: null, author: null }
    expect(await ledger.credit(posting)).toEqual({ refused: 'wallet_unknown' })
    expect(await ledger.debit(posting)).toEqual({ refused: 'wallet_unknown' })
    await expect(ledger.credit({ ...posting, amount: -1n })).rejects.toThrow('above zero')
  })

  test('a charge is an entry by its call, and a charge of nothing is none', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await books.database.commit(userSteps('w'), 'synced')
    await ledger.credit({ walletId: 'w', amount: 10n, reference: 'c', reason: null, author: null })
    for (const [callId, cost] of [
      ['r1', 0n],
      ['r2', 4n],
    ] as const) {
      await ledger.hold(request(callId, wallet, { floor: 1n, want: 5n }))
      expect(await settle(books.database, callId, cost, wallet)).toBe(`${cost}`)
    }
    const { entries } = await ledger.entriesOf('w', { limit: 10, cursor: null })
    const charge = { id: 'entry-r2', kind: 'charge', reference: 'r2', amount: -4n, author: null, createdAtMs: startMs }
    expect(entries.filter(entry => entry.kind === 'charge')).toMatchObject([charge])
  })

  test('a limit that was lowered in the books counts at once, whatever the caller still believes', async () => {
    await using books = await openBooks(open)
    const ledger = openLedger(books.database, clock)
    await books.database.commit([...userSteps('w'), ...subscriptionSteps('w', terms)], 'synced')
    const funds = subscriptionFunds(terms, startMs)
    expect(await ledger.room(funds)).toMatchObject({ room: 100n, window: { kind: 'daily' } })
    await ledger.hold(request('r1', funds, { floor: 1n, want: 30n }))
    await books.database.commit([{ statement: statement('update subscriptions set weekly_limit = 20'), values: [] }], 'synced')
    expect(await ledger.hold(request('r2', funds, { floor: 1n, want: 30n }))).toMatchObject({ refused: 'window', window: 'Weekly' })
    expect(await ledger.room(funds)).toMatchObject({ room: 0n, window: { kind: 'weekly', limit: 20n } })
    expect(await settle(books.database, 'r1', 40n, funds)).toBe('30')
    await books.database.commit([{ statement: lift, values: [] }], 'synced')
    expect(await ledger.room(funds)).toEqual({ room: null, window: null })
    expect(await ledger.hold(request('r3', funds, { floor: 1n, want: 10n ** 15n, halfOfFree: true }))).toEqual({ granted: 10n ** 15n })
    expect(await settle(books.database, 'r3', 10n ** 16n, funds)).toBe((10n ** 16n).toString())
    expect(await ledger.check()).toEqual([])
  })
})

const lift = statement('update subscriptions set daily_limit = null, weekly_limit = null, monthly_limit = null')

function request(callId: string, funds: Funds, size: { floor: bigint; want: bigint; halfOfFree?: boolean }): HoldRequest {
  return { ...heldCall(clock.nowMs()), halfOfFree: false, ...size, callId, funds }
}

async function settle(database: Database, callId: string, cost: bigint, funds: Funds): Promise<string> {
  return told(await database.commit([...settleSteps(settlement(callId, cost, funds)), settledRowStep(callId, cost)], 'synced'), cost)
}

function settlement(callId: string, cost: bigint, funds: Funds) {
  return { callId, cost, funds, atMs: clock.nowMs(), entryId: `entry-${callId}` }
}

function told(committed: Committed, cost: bigint): string {
  return readSettled(committed, cost)?.charged.toString() ?? (committed.done ? 'nothing' : committed.guard)
}

async function states(database: Database): Promise<Record<string, string>> {
  const rows = await database.read(statement('select id, state from holds'))
  return Object.fromEntries(rows.map(row => [row.id as string, row.state as string]))
}

/** Plays a script, a line at a time. After each: what it left, what it answered, and that the books are true. */
function play(database: Database, payer: Funds | typeof terms, left: () => Promise<string>) {
  const ledger = openLedger(database, clock)
  const fundsOfCall = new Map<string, Funds>()
  const fundsOf = (id: string) => {
    const funds = fundsOfCall.get(id) ?? ('kind' in payer ? payer : subscriptionFunds(payer, clock.nowMs()))
    fundsOfCall.set(id, funds)
    return funds
  }

  const posted = (name: 'credit' | 'debit' | 'adjust') => async (reference: string, amount: string) => {
    const answer = await ledger[name]({ walletId: 'w', amount: BigInt(amount), reference, reason: null, author: null })
    return 'refused' in answer ? answer.refused : answer.repeated ? 'repeated' : 'ok'
  }

  const operations: Record<string, (id: string, amount: string, flag: string) => Promise<string> | string> = {
    credit: posted('credit'),
    debit: posted('debit'),
    adjust: posted('adjust'),
    async refund(callId, text) {
      const amount = text === '' ? undefined : BigInt(text)
      const given = await ledger.refund({ callId, amount, reason: 'r', author: 'a' })
      return 'refused' in given ? given.refused : given.repeated ? 'repeated' : given.refunded.toString()
    },
    async extend(id, to) {
      const extended = await ledger.extend(id, fundsOf(id), BigInt(to))
      return 'refused' in extended ? extended.refused : extended.granted.toString()
    },
    async hold(id, amount, flag) {
      const [floor, want] = amount.split('..').map(BigInt)
      const held = await ledger.hold(request(id, fundsOf(id), { floor: floor!, want: want!, halfOfFree: flag === 'half' }))
      if ('granted' in held) return held.granted.toString()
      fundsOfCall.delete(id)
      return held.refused === 'short' ? 'short' : `${held.window} +${(held.resetsAtMs - startMs) / dayMs}d`
    },
    settle: (id, cost) => settle(database, id, BigInt(cost), fundsOf(id)),
    async late(id, cost) {
      const steps = lateSettleSteps(settlement(id, BigInt(cost), fundsOf(id)), heldCall(clock.nowMs()))
      return told(await database.commit([...steps, settledRowStep(id, BigInt(cost))], 'synced'), BigInt(cost))
    },
    async release(id) {
      await ledger.release(id, fundsOf(id))
      return 'ok'
    },
    expire: async () => (await ledger.expireHolds()).toString(),
    sleep(ms) {
      clock.advance(Number(ms))
      return ''
    },
    async renew() {
      await ledger.renewLease('lease', leaseMs)
      return ''
    },
  }

  return async ([script]: TemplateStringsArray) => {
    await ledger.renewLease('lease', leaseMs)
    let before: Record<string, string> = {}
    for (const line of script!.trim().split('\n')) {
      const [command, wanted, answer] = line.split('|').map(part => part.trim())
      const [name, id = '', amount = '', flag = ''] = command!.split(/\s+/)
      const said = await operations[name!]!(id, amount, flag)
      expect(`${line.trim()} → ${(await left()).split(/\s+/)}`).toBe(`${line.trim()} → ${wanted!.split(/\s+/)}`)
      expect(`${answer} `.startsWith(`${said} `), `${line.trim()} → ${said}`).toBe(true)
      expect(await ledger.check(), line.trim()).toEqual([])
      before = endedOnce(before, await states(database))
    }
  }
}

/** A hold ends once; only one that expired may still be settled. */
function endedOnce(before: Record<string, string>, after: Record<string, string>): Record<string, string> {
  for (const [id, state] of Object.entries(before)) {
    const may = state === 'held' ? ['held', 'settled', 'released', 'expired'] : state === 'expired' ? ['expired', 'settled_late'] : [state]
    expect(may, id).toContain(after[id])
  }
  return after
}
