import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { between, oneOf, randomFrom, seedsFrom } from '../../test/chance.ts'
import { onPostgres } from '../../test/engines.ts'
import { openPostgresAt } from '../../test/shared-cluster.ts'
import { type Database, statement } from '../storage/database.ts'
import { migrate } from '../storage/migrate.ts'
import { migrations } from '../storage/migrations/list.ts'
import { heldCall, manualClock, settledRowStep, subscriptionSteps, userSteps } from './books.fixture.ts'
import { openLedger } from './ledger.ts'
import { expireSteps, type Funds, lateSettleSteps, settleSteps } from './steps.ts'
import { subscriptionFunds } from './subscription.ts'

/**
 * Several gateways do everything at once to one wallet, one subscription and a few calls: their transactions overlap as no single
 * engine lets them. Nobody can say beforehand what each is answered, but what is always true must be true then.
 */
const startMs = Date.UTC(2026, 9, 1, 12)
const limit = 100n
const terms = { id: 's', startsAtMs: startMs, endsAtMs: startMs * 2, dailyLimit: limit, weeklyLimit: null, monthlyLimit: null }
const gateways = 3
const lanes = 24
const commandsPerLane = 40
const calls = 60

onPostgres('PostgreSQL', () => {
  test.for(seedsFrom(1, 3))(
    'gateways that overlap leave books that balance, and nothing beyond a limit (HEADGATE_TEST_SEED=%i)',
    async seed => {
      await using scope = new AsyncDisposableStack()
      const folder = scope.use(await mkdtempDisposable(join(tmpdir(), 'headgate-')))
      const databases: Database[] = []
      for (let number = 0; number < gateways; number++) {
        const database = await openPostgresAt(folder.path, 4)
        scope.defer(() => database.close())
        databases.push(database)
      }
      const [first] = databases as [Database]
      await migrate(first, migrations)
      await first.commit([...userSteps('w'), ...subscriptionSteps('w', terms)], 'synced')
      await openLedger(first, manualClock(startMs)).credit({ walletId: 'w', amount: 200n, reference: 'c', reason: null, author: null })
      await Promise.all(Array.from({ length: lanes }, (_, lane) => play(databases[lane % gateways]!, randomFrom(seed * 1_000 + lane))))

      const ledger = openLedger(first, manualClock(startMs))
      expect(await ledger.check()).toEqual([])
      const [day] = await ledger.windows(subscriptionFunds(terms, startMs))
      expect(day!.used + day!.held).toBeLessThanOrEqual(limit)
      const [settled] = await first.report(statement(`select count(*) as count from holds where state in ('settled', 'settled_late')`))
      expect(settled!.count).toBeGreaterThan(5n)
    },
  )
})

/** One thing after another; whatever the ledger answers is right, but it must answer. */
async function play(database: Database, chance: () => number): Promise<void> {
  const ledger = openLedger(database, manualClock(startMs))
  await ledger.renewLease('lease', 60_000)
  for (let number = 0; number < commandsPerLane; number++) {
    const call = between(chance, 1, calls)
    const callId = `r${call}`
    const funds: Funds = call % 2 === 0 ? { kind: 'wallet', walletId: 'w' } : subscriptionFunds(terms, startMs)
    const cost = BigInt(between(chance, 0, 60))
    const settling = { callId, cost, funds, atMs: startMs, entryId: `entry-${callId}` }
    // What the journal books late was held by a gateway that is gone: nobody holds for it now.
    const late = { ...settling, callId: `late-${call}`, entryId: `entry-late-${call}` }
    const hold = () =>
      ledger.hold({ ...heldCall(startMs), callId, funds, floor: 1n, want: cost + 1n, halfOfFree: chance() < 0.5 }).catch(unlessEnded)
    const acts: readonly (() => Promise<unknown>)[] = [
      hold,
      hold,
      hold,
      () => ledger.hold({ ...heldCall(startMs, 'none'), callId, funds, floor: 1n, want: cost + 1n, halfOfFree: false }).catch(unlessEnded),
      () => ledger.extend(callId, funds, cost),
      () => database.commit([...settleSteps(settling), settledRowStep(callId, cost)], 'synced'),
      () => database.commit([...lateSettleSteps(late, heldCall(startMs)), settledRowStep(late.callId, cost)], 'synced'),
      () => ledger.release(callId, funds),
      () => database.commit(expireSteps(callId, funds, startMs), 'ordered'),
      () => ledger.refund({ callId, reason: 'r', author: 'a' }),
      () => ledger.credit({ walletId: 'w', amount: cost + 1n, reference: `credit-${number}`, reason: null, author: null }),
      () => ledger.debit({ walletId: 'w', amount: cost + 1n, reference: `debit-${number}`, reason: null, author: null }),
    ]
    await oneOf(chance, acts)()
    const [day] = await ledger.windows(subscriptionFunds(terms, startMs))
    expect(day!.used + day!.held).toBeLessThanOrEqual(limit)
  }
}

function unlessEnded(error: unknown): void {
  if (!(error instanceof Error && error.message.includes('has ended'))) throw error
}
