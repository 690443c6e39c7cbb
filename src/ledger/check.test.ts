import { afterAll, beforeAll, expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { script } from '../storage/database.ts'
import { heldCall, manualClock, openBooks, settledRowStep, subscriptionSteps, userSteps } from './books.fixture.ts'
import { openLedger } from './ledger.ts'
import { type Funds, settleSteps } from './steps.ts'
import { subscriptionFunds } from './subscription.ts'

const startMs = Date.UTC(2026, 9, 1, 12)
const terms = { id: 's', startsAtMs: startMs, endsAtMs: startMs * 2, dailyLimit: 100n, weeklyLimit: null, monthlyLimit: null }

/** Each damage is done on top of those before it. */
const damages: readonly Damage[] = [
  {
    what: 'a balance that its entries do not explain',
    sql: 'update wallets set balance = balance + 5',
    found: 'wallet w: its balance is 0.000000095, its entries add up to 0.00000009, 0.000000005 apart',
  },
  {
    what: 'held money that no hold keeps',
    sql: 'update wallets set held = 1',
    found: 'wallet w: its held amount is 0.000000001, its open holds add up to 0.00, 0.000000001 apart',
  },
  {
    what: 'a refund that no entry explains',
    sql: `update holds set refunded = 3 where id = 'r1'`,
    found: 'hold r1: of its charge was given back 0.000000003, though the entry of that refund says 0.00, 0.000000003 apart',
  },
  {
    what: 'a refund of more than was charged, if the schema had let it pass',
    only: 'SQLite',
    sql: `pragma ignore_check_constraints = on; update holds set refunded = 11 where id = 'r1'`,
    found: 'hold r1: of its charge was given back 0.000000011, though it was charged only 0.00000001, 0.000000001 apart',
  },
  {
    what: 'a refund of a call that nobody made',
    sql: `insert into entries (id, wallet_id, kind, reference, amount, created_at) values ('g', 'w', 'refund', 'x', 4, 0)`,
    found: 'entry g: it gave back 0.000000004, but of the holds of that call was given back 0.00, 0.000000004 apart',
  },
  {
    what: 'a charge without a hold',
    sql: `insert into entries (id, wallet_id, kind, reference, amount, created_at) values ('e', 'w', 'charge', 'x', -4, 0)`,
    found: 'entry e: it charged 0.000000004, but the holds of that call took 0.00, 0.000000004 apart',
  },
  {
    what: 'a window that used what no call did',
    sql: `update windows set used = 8 where kind = 'weekly'`,
    found: `window s weekly ${startMs}: used is 0.000000008, the charges of its calls, without what was given back, add up to 0.000000007, 0.000000001 apart`,
  },
  {
    what: 'a window that holds what no call does',
    sql: `update windows set held = 8 where kind = 'daily'`,
    found: `window s daily ${startMs}: held is 0.000000008, the open holds of its calls add up to 0.00, 0.000000008 apart`,
  },
  {
    what: 'a window that is missing',
    sql: `delete from windows where kind = 'monthly'`,
    found: `window s monthly ${startMs}: used is 0.00, the charges of its calls, without what was given back, add up to 0.000000007, 0.000000007 apart`,
  },
  {
    what: 'a settled call without a row',
    sql: `delete from calls where id = 'r1'`,
    found: 'call r1: its row says that was collected 0.00, its hold took 0.00000001, 0.00000001 apart',
  },
  {
    what: 'a hold that was settled for other than its entry',
    sql: `update holds set settled = 9 where id = 'r1'`,
    found: 'hold r1: it was settled for 0.000000009, its entry charged 0.00000001, 0.000000001 apart',
  },
  {
    what: 'a row that says it was collected without a hold',
    sql: `update calls set id = 'x' where id = 'r2'`,
    found: 'call x: its row says that was collected 0.000000007, though no hold of it was settled, which took 0.00, 0.000000007 apart',
  },
  {
    what: 'a charge of a call that was not settled',
    sql: `update holds set state = 'released' where id = 'r2'`,
    found: 'hold r2: its charge is 0.000000007, though by its state it took 0.00, 0.000000007 apart',
  },
]

interface Damage {
  readonly what: string
  readonly sql: string
  readonly found: string
  /** Where the schema can be told to look away. */
  readonly only?: 'SQLite'
}

onEveryEngine((open, engine) => {
  let books: Awaited<ReturnType<typeof openBooks>>
  beforeAll(async () => {
    books = await openBooks(open)
    const ledger = openLedger(books.database, manualClock(startMs))
    await books.database.commit([...userSteps('w'), ...subscriptionSteps('w', terms)], 'synced')
    await ledger.credit({ walletId: 'w', amount: 100n, reference: 'c', reason: null, author: null })
    await settled('r1', 10n, { kind: 'wallet', walletId: 'w' })
    await settled('r2', 7n, subscriptionFunds(terms, startMs))

    async function settled(callId: string, cost: bigint, funds: Funds): Promise<void> {
      await ledger.hold({ ...heldCall(startMs), callId, funds, floor: 1n, want: 30n, halfOfFree: false })
      const settle = settleSteps({ callId, cost, funds, atMs: startMs, entryId: `entry-${callId}` })
      await books.database.commit([...settle, settledRowStep(callId, cost)], 'synced')
    }
  })
  afterAll(() => books[Symbol.asyncDispose]())

  test('books that are true have no differences', async () => {
    expect(await says()).toEqual([])
  })

  const possible = damages.filter(({ only = engine }) => only === engine)
  test.each(possible)('the check finds $what', async ({ sql, found }) => {
    const before = await says()
    await books.database.commit([{ statement: script(sql), values: [] }], 'synced')
    expect(await says()).toContain(found)
    expect(before).not.toContain(found)
  })

  async function says(): Promise<readonly string[]> {
    return (await openLedger(books.database, manualClock(startMs)).check()).map(difference => difference.says)
  }
})
