import { expect, test } from 'vitest'
import type { Row } from '../../src/storage/database.ts'
import { randomFrom } from '../chance.ts'
import { openStream, send } from '../client.ts'
import { inParallel, openWorld, until, type World } from '../world.ts'
import { eventsOf } from './bulk.ts'
import { type Breaking, breaks, openBreakingUpstream, openDeadUpstream } from './failing-upstream.ts'

/** A hundred times shorter than by default, so that the first ten seconds are a tenth of one. */
const shortRests = { circuitRestMs: 100, circuitRestMaxMs: 6_000, overloadRestMs: 100, overloadRestMaxMs: 6_000, recordHalfLifeMs: 300 }

test('T11: with one of three accounts dead, no client notices, few attempts are lost, and one probe at a time finds out', async () => {
  const calls = 1_000
  await using upstream = await openDeadUpstream(20)
  await using world = await openWorld({
    accounts: [{ concurrency: 0 }, { concurrency: 0 }, { concurrency: 0, baseUrl: upstream.baseUrl }],
    user: { concurrency: 0 },
    balance: '1000',
    settings: { ...shortRests, circuitRestMs: 30, circuitRestMaxMs: 60, recordHalfLifeMs: 5 },
  })
  let openedAtMs: number | null = null
  const failed = await callMany(world, calls, async () => {
    openedAtMs ??= (await world.conditions())[2]!.circuitSinceMs
  })
  const attempts = await world.attempts()
  const dead = attempts.filter(({ account_id }) => account_id === world.accounts[2]!.id)
  const probes = dead.filter(({ began_at }) => Number(began_at) > openedAtMs!)
  console.log(`${calls} calls: ${failed} failed, ${attempts.length - calls} extra attempts, of them ${probes.length} probes`)
  expect(failed).toBeLessThanOrEqual(calls / 1_000)
  expect(attempts.length).toBeLessThanOrEqual(calls * 1.2)
  expect(probes.length).toBeGreaterThan(5) // It is probed again and again.
  expect(overlapping(probes)).toEqual([])
  await world.quiet()
})

/** Those that began before the one before them had ended. Times are rounded to milliseconds. */
function overlapping(attempts: readonly Row[]): readonly Row[] {
  const byTime = attempts.toSorted((one, other) => Number(one.began_at) - Number(other.began_at))
  const endMs = ({ began_at, duration_ms }: Row) => Number(began_at) + Number(duration_ms)
  return byTime.slice(1).filter((attempt, i) => Number(attempt.began_at) < endMs(byTime[i]!) - 2)
}

test.for([
  ['500', { status: 500 }],
  ['503', { status: 503 }],
  ['an error as the first event', { errorFirst: true }],
] as const)('T12: an account that fails fast with %s attracts no traffic', async ([, script]) => {
  await using world = await openWorld({
    accounts: [{ concurrency: 0 }, { concurrency: 0 }, { concurrency: 0 }],
    user: { concurrency: 0 },
    balance: '1000',
    settings: shortRests,
  })
  world.sim.script({}, { firstEventAfterMs: 20 })
  world.sim.script({ key: 'up-a3' }, script)
  await callMany(world, 200) // About the first tenth of a second.
  const early = (await world.attempts()).length
  const failed = await callMany(world, 1_000)
  const later = (await world.attempts()).slice(early)
  const share = later.filter(({ account_id }) => account_id === world.accounts[2]!.id).length / later.length
  console.log(`${failed} of 1,000 calls failed; the failing account had ${(share * 100).toFixed(1)} % of ${later.length} attempts`)
  expect(failed).toBe(0)
  expect(share).toBeLessThanOrEqual(0.05)

  world.sim.script({ key: 'up-a3' }, {})
  const isBack = (row: Row) => row.account_id === world.accounts[2]!.id && row.answered === 1n
  await until(async () => {
    await callMany(world, 20)
    return (await world.attempts()).some(isBack)
  }, 'an account that is well again is never used again')
  await world.quiet()
})

const truncated = 1_000
const eventsEach = 24
const seed = 20_260_727

test(`T14: of ${truncated} streams that break anywhere, none repeats a byte, looks complete or lacks an end`, async () => {
  const plans = plansOf(seed)
  await using upstream = await openBreakingUpstream(eventsEach, number => plans[number]!)
  await using world = await openWorld({
    accounts: [{ baseUrl: upstream.baseUrl, concurrency: 0, models: { sim: 'bulk' } }],
    prices: [{}, { model: 'bulk' }],
    user: { concurrency: 0 },
    balance: '1000',
    // What breaks all the time would be kept out; here it is to break.
    settings: { betweenBytesTimeoutMs: 2_000, firstEventTimeoutMs: 2_000, circuitFailures: 1_000_000, circuitSuccessMin: 0 },
  })
  const endings: Record<string, number> = {}
  await inParallel(truncated, 100, async number => {
    const ending = await brokenStream(world, number, plans[number]!)
    endings[ending] = (endings[ending] ?? 0) + 1
  })
  console.log(`seed ${seed}: ${JSON.stringify(endings)}`)
  await world.quiet()
  const rows = await world.rows()
  expect(rows.length).toBe(truncated)
  expect(countBy(rows, row => `${row.ended} ${row.fault}`)).toEqual({
    'completed null': endings.completed,
    'cut stream_cut': expect.any(Number),
    'cut stream_stalled': expect.any(Number),
    'cut stream_unended': expect.any(Number),
    'refused upstream_failed': endings.refused,
  })
  for (const { ended, basis, cost } of rows) {
    expect({ basis, isCharged: cost !== 0n }).toEqual({ basis: basisOf[ended as string], isCharged: ended !== 'refused' })
  }
})

const basisOf: Readonly<Record<string, string>> = { completed: 'reported', cut: 'estimated', refused: 'none' }

/** Where and how each stream breaks; some few not at all. */
function plansOf(first: number): readonly Breaking[] {
  const chance = randomFrom(first)
  return Array.from({ length: truncated }, (_, number) => {
    const whole = Buffer.byteLength([...eventsOf(number, eventsEach)].join(''))
    const bytes = Math.floor(chance() * whole * 1.05)
    return { bytes, how: breaks[Math.floor(chance() * breaks.length)]!, chunkBytes: 8 + Math.floor(chance() ** 2 * 2_000) }
  })
}

/** What the client of one stream saw, which must be whole events of the upstream's and one end. */
async function brokenStream(world: World, number: number, { bytes, how }: Breaking): Promise<'completed' | 'failed' | 'refused'> {
  await using open = openStream(world, { body: { input: String(number) } })
  const { status } = await open.begun
  const heard = await open.rest()
  const sent = [...eventsOf(number, eventsEach)]
  const wholeEvents = sent.filter((_, index) => Buffer.byteLength(sent.slice(0, index + 1).join('')) <= bytes)
  if (status !== 200) {
    expect(JSON.parse(open.text).error).toMatchObject({ type: 'upstream_error' })
    // A reset may overtake what was sent before it.
    if (how !== 'reset') expect(wholeEvents.length).toBe(0)
    return 'refused'
  }
  const last = heard.at(-1)!
  const passed = open.text.slice(0, open.text.length - last.raw.length - 2)
  if (last.type === 'response.completed') {
    expect(open.text).toBe(renamed(sent.join('')))
    expect(wholeEvents.length).toBe(eventsEach)
    return 'completed'
  }
  expect(last.type).toBe('response.failed')
  expect(last.name).toBe('response.failed')
  expect(last.data.sequence_number).toBe(heard.length - 1)
  expect(last.response).toMatchObject({ id: `resp_${number}`, status: 'failed', model: 'sim', error: { code: 'server_error' } })
  const expected = how === 'reset' ? sent.slice(0, heard.length - 1) : wholeEvents
  expect(passed).toBe(renamed(expected.join('')))
  expect(wholeEvents.length).toBeGreaterThanOrEqual(expected.length)
  expect(wholeEvents.length).toBeLessThan(eventsEach)
  return 'failed'
}

/** The only change: the account calls the model otherwise than the client. */
function renamed(text: string): string {
  return text.replaceAll('"model":"bulk"', '"model":"sim"')
}

/** Half of them streams. How many did not end with a complete answer. */
async function callMany(world: World, calls: number, afterEach: () => Promise<void> = async () => {}): Promise<number> {
  let failed = 0
  await inParallel(calls, 20, async number => {
    const isComplete = number % 2 === 0 ? (await send(world)).status === 200 : await streamIsComplete(world)
    if (!isComplete) failed += 1
    await afterEach()
  })
  return failed
}

async function streamIsComplete(world: World): Promise<boolean> {
  await using open = openStream(world)
  return (await open.rest()).at(-1)?.type === 'response.completed'
}

function countBy(rows: readonly Row[], nameOf: (row: Row) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const row of rows) counts[nameOf(row)] = (counts[nameOf(row)] ?? 0) + 1
  return counts
}
