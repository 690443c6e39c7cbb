import { expect, test } from 'vitest'
import { makeSubscription } from '../../src/directory/subscriptions.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { statement } from '../../src/storage/database.ts'
import { send } from '../client.ts'
import { openWorld, until } from '../world.ts'

/** A clock is set by whoever keeps it, while calls run: money and windows must not mind. */

const hourMs = 3_600_000
const ask = { model: 'sim', input: 'hello', max_output_tokens: 1_000 }

/** The system's own, set to another hour. What it measures goes on as before. */
function settableClock(): Clock & { set(aheadMs: number): void; readonly readings: number } {
  let aheadMs = 0
  let readings = 0
  return {
    ...systemClock,
    nowMs() {
      readings += 1
      return systemClock.nowMs() + aheadMs
    },
    set: ms => void (aheadMs = ms),
    get readings() {
      return readings
    },
  }
}

const jumps = [-25 * hourMs, -hourMs, hourMs, 25 * hourMs] as const
const payers = ['balance', 'subscription'] as const

test.for(jumps.flatMap(jumpMs => payers.map(pays => ({ hours: jumpMs / hourMs, jumpMs, pays }))))(
  'a call that runs while the clock is set by $hours h is charged in time, to the $pays',
  async ({ jumpMs, pays }) => {
    const clock = settableClock()
    await using world = await openWorld({
      group: { pays },
      adapters: { clock },
      settings: { leaseMs: 1_500, leaseRenewMs: 20 },
      prices: [{}],
    })
    const nowMs = clock.nowMs()
    const limits = { dailyLimit: 10n ** 9n, weeklyLimit: 10n ** 9n, monthlyLimit: null }
    const span = { startsAtMs: nowMs - 12 * hourMs, endsAtMs: nowMs + 2_000 * hourMs }
    await world.commit(makeSubscription({ userId: world.user.id, groupId: world.group.id, ...span, ...limits }, nowMs).steps)
    world.sim.script({}, { hold: 'half' })
    const answer = send(world, { body: { ...ask, stream: true } })
    await world.sim.gate('half').reached()

    clock.set(jumpMs)
    const { readings } = clock
    // Each renewal of the lease reads it, and so does each look for holds that are due.
    await until(() => clock.readings > readings + 6, 'the lease is not renewed')
    world.sim.open('half')
    expect((await answer).status).toBe(200)
    expect(await world.rows()).toMatchObject([{ ended: 'completed', basis: 'reported', uncollected: 0n }])
    const [row] = await world.rows()
    expect(Number(row!.cost)).toBeGreaterThan(0)
    expect(Number(row!.duration_ms)).toBeLessThan(hourMs / 2)
    const [hold] = await world.database.report(statement('select state from holds'))
    expect(hold).toEqual({ state: 'settled' })
    await world.quiet()
  },
)
