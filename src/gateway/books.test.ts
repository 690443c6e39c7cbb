import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { heldCall, manualClock } from '../ledger/books.fixture.ts'
import type { Owed } from '../ledger/owed.ts'
import { openPurses } from '../ledger/purses.ts'
import type { HoldRequest } from '../ledger/steps.ts'
import { silentLog } from '../lib/log.ts'
import { openMetrics } from '../lib/metrics.ts'
import { type Committed, DatabaseAway, type Step } from '../storage/database.ts'
import { type CallEnd, openBooks, unreleasedMax } from './books.ts'

test('holds that cannot be given back wait in memory, so many and no more, and burden no journal', async () => {
  const ground = openGround()
  ground.away = true
  for (let call = 0; call < unreleasedMax + 5; call += 1) ground.books.release(request(`c${call}`))
  await setImmediate() // All of them have been refused.
  expect([ground.books.owed, ground.books.unwritten, ground.added]).toEqual([0, 0, 0])
  ground.away = false
  await ground.books.catchUp()
  expect(ground.released.size).toBe(unreleasedMax)
  await ground.books.catchUp()
  expect(ground.commits).toBe(unreleasedMax) // Not once more.
})

function openGround() {
  const ground = { away: false, released: new Set<unknown>(), commits: 0, added: 0 }
  const database = {
    async commit(steps: readonly Step[]): Promise<Committed> {
      if (ground.away) throw new DatabaseAway('away, as planned')
      ground.commits += 1
      ground.released.add(steps[0]!.values[0])
      return { done: true, rows: [] }
    },
  }
  const journal: Owed<CallEnd> = {
    size: 0,
    add: async () => void (ground.added += 1),
    replay: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }
  const books = openBooks({
    database,
    atHand: undefined,
    purses: openPurses(manualClock(0), 0),
    journal,
    clock: manualClock(0),
    log: silentLog,
    metrics: openMetrics(),
    settleWithinMs: 250,
  })
  return Object.assign(ground, { books })
}

function request(callId: string): HoldRequest {
  return { ...heldCall(0), callId, funds: { kind: 'wallet', walletId: 'w' }, floor: 1n, want: 1n, halfOfFree: false }
}
