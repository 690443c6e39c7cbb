import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { send } from '../client.ts'
import { inParallel, openWorld, type World } from '../world.ts'

/** T15: at five times what it can serve, a gateway serves as much as ever, and refuses the rest at once. */

/** So few and so slow that they are the bound, and not the machine, whatever else it does. */
const slots = 6
const answerMs = 2_000
/** A second, if every slot is taken again as soon as it is given back. */
const most = (slots * 1000) / answerMs
const times = 5
const windowMs = 10_000
/** Until the line is full, and everything has been compiled. */
const fillMs = 4_000
/** Refusals take milliseconds; a machine with other work may be so much slower. Whoever waited for a slot has waited longer. */
const atOnceMs = 1_500

interface Heard {
  readonly status: number
  readonly code: unknown
  readonly tookMs: number
  readonly endedMs: number
}

async function ask(world: World): Promise<Heard> {
  const beganMs = performance.now()
  const { status, error } = await send(world)
  const endedMs = performance.now()
  return { status, code: error.type, tookMs: endedMs - beganMs, endedMs }
}

/** Answers a second, when there is always somebody to take a slot. */
async function peakOf(world: World): Promise<number> {
  const heard: Heard[] = []
  await inParallel(5 * slots, 2 * slots, async () => void heard.push(await ask(world)))
  return rateOf(heard.map(({ endedMs }) => endedMs))
}

/** A second, between the first turn of the slots and the last. */
function rateOf(ends: readonly number[]): number {
  const sorted = ends.toSorted((one, other) => one - other)
  return ((sorted.length - slots) * 1000) / (sorted.at(-1)! - sorted[slots - 1]!)
}

const percentile = (values: readonly number[], percent: number) =>
  values.toSorted((one, other) => one - other)[Math.floor((values.length * percent) / 100)]!

test('T15: at 5 × capacity goodput stays, and the rest is refused at once', { timeout: 120_000 }, async () => {
  await using world = await openWorld({
    accounts: [{ concurrency: slots / 2 }, { concurrency: slots / 2 }],
    user: { concurrency: 0 },
    balance: '1000',
    settings: { poolWaitingMax: 2 * slots },
  })
  world.sim.script({}, { headersAfterMs: answerMs })
  const peak = await peakOf(world)
  const asked = world.sim.attempts.length

  const heard: Promise<Heard>[] = []
  const startedMs = performance.now()
  for (let dueMs = startedMs; dueMs < startedMs + fillMs + windowMs; dueMs += 1000 / (times * most)) {
    await pause(Math.max(0, dueMs - performance.now()))
    heard.push(ask(world))
  }
  const all = await Promise.all(heard)
  const [served, refused] = [all.filter(({ status }) => status === 200), all.filter(({ status }) => status !== 200)]
  const ends = served.map(({ endedMs }) => endedMs)
  const goodput = rateOf(ends.filter(ms => ms > startedMs + fillMs && ms <= startedMs + fillMs + windowMs))
  const tookMs = refused.map(one => one.tookMs)
  const [p50, p99] = [percentile(tookMs, 50), percentile(tookMs, 99)]
  console.log(
    `${all.length} calls, ${times} × capacity: ${goodput.toFixed(1)} answers a second, ${peak.toFixed(1)} at the peak; ` +
      `${refused.length} refused after ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
  )
  expect(goodput).toBeGreaterThan(0.9 * peak)
  expect(refused.length).toBeGreaterThan(all.length / 2)
  for (const { status, code } of refused) expect([status, code]).toEqual([429, 'rate_limit_error'])
  expect(p50).toBeLessThan(atOnceMs)

  await world.quiet()
  const rows = await world.rows()
  expect(world.sim.attempts.length - asked).toBe(served.length)
  expect(rows.filter(({ ended }) => ended === 'completed')).toHaveLength(world.sim.attempts.length)
  expect(rows.filter(({ fault }) => fault === 'line_full')).toHaveLength(refused.length)
})
