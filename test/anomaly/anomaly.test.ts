import { expect, test } from 'vitest'
import { slotOf } from '../../src/coordination/slots.fixture.ts'
import { type Row, statement } from '../../src/storage/database.ts'
import { resumed } from '../../src/upstreams/rest.ts'
import { type OpenStream, openStream, send } from '../client.ts'
import { openWorld, until, type World } from '../world.ts'
import { type Moment, newSabotage, type Sabotage } from './sabotage.ts'

/**
 * Makes the same call again and again, letting the first, then the second, then the third … call to a port fail, until none is
 * left to fail. However it goes: no slot stays taken, no money stays held, what was served is charged once, the client is
 * told how it ended, and the call has its row.
 */
const scenarios: Readonly<Record<string, Scenario>> = {
  'a call for JSON': (world, { arm }) => {
    arm()
    return json(world)
  },
  'a call for a stream': (world, { arm }) => {
    arm()
    return stream(world)
  },
  'a call that fails over': (world, { arm }) => {
    world.sim.script({ key: 'up-a1' }, { status: 500 })
    arm()
    return stream(world)
  },
  'a call that waits for an account': async (world, { arm, coordinator }) => {
    const [, second] = world.accounts
    await coordinator.change(world.accounts[0]!.id, condition => ({ ...condition, outSinceMs: Date.now(), probeAtMs: Date.now() + 60_000 }))
    await using scope = new AsyncDisposableStack()
    scope.use(slotOf(await coordinator.take({ accountId: second!.id, slots: 1 })))
    arm()
    const seen = json(world)
    const isOver = seen.then(() => true)
    await until(
      async () => coordinator.linesNow().accountsWaiting === 1 || (await Promise.race([isOver, false])),
      'the call neither waits nor ends',
    )
    await scope.disposeAsync()
    return seen
  },
  'a client that leaves midway': (world, { arm, coordinator }) => {
    world.sim.gate('middle').shut()
    world.sim.script({ key: 'up-a1' }, { hold: { gate: 'middle', at: 6 } })
    arm()
    return stream(world, coordinator)
  },
}

/** Says when it is ready: from then on calls to ports are counted. */
type Scenario = (world: World, trial: { readonly arm: () => void; readonly coordinator: Sabotage['coordinator'] }) => Promise<Seen>

/** What the client was told in the end; `left`: it did not wait to be told. */
type Seen = 'answer' | 'refusal' | 'failure in the stream' | 'left'

const moments: readonly Moment[] = ['before', 'after', 'early', 'ahead', 'behind']
const mostCalls = 200

const cases = Object.keys(scenarios).flatMap(name => moments.map(moment => ({ name, moment })))

test.concurrent.for(cases)('$name: the nth call to a port fails ($moment)', async ({ name, moment }) => {
  const sabotage = newSabotage(moment)
  await using world = await openFragileWorld(sabotage)
  await warmUp(world)
  const told: string[] = []
  let n = 1
  for (; n < mostCalls; n += 1) {
    const { failed, seen, row } = await trial(world, n, scenarios[name]!, sabotage)
    if (failed === undefined) break
    told.push(`${String(n).padStart(3)} ${failed.padEnd(24)} ${seen.padEnd(22)} ${row}`)
  }
  if (process.env.HEADGATE_TEST_SHOW) console.log(`${name}, ${moment}\n${told.join('\n')}`)
  // A call whose hold is at hand sets hardly a timer.
  expect(told.length).toBeGreaterThan(moment === 'early' ? 0 : 3)
  expect(n).toBeLessThan(mostCalls)
})

/** So small that what waits for time does so within the test, so large that only what was planned fails. */
function openFragileWorld({ adapters }: Sabotage): Promise<World> {
  return openWorld({
    accounts: [
      { priority: 1, requestsPerMinute: 1_000_000 },
      { priority: 2, concurrency: 1 },
    ],
    user: { requestsPerMinute: 1_000_000, tokensPerMinute: 1_000_000_000 },
    balance: '1000',
    adapters,
    settings: { leaseMs: 600_000, leaseRenewMs: 300_000, settleWithinMs: 2_000 },
  })
}

/** The first call reads the key from the books; all others are to make the same calls to ports as each other. */
async function warmUp(world: World): Promise<void> {
  await send(world)
  await world.quiet()
}

async function trial(world: World, n: number, scenario: Scenario, sabotage: Sabotage) {
  const { headgate, sim, accounts } = world
  for (const { id } of accounts) await sabotage.coordinator.change(id, resumed)
  sim.script({ key: 'up-a1' }, {})
  sim.reset()
  const before = new Set((await callRows(world)).map(({ id }) => id))
  const uncounted = await unauthenticated(world)

  const acting = scenario(world, { arm: () => sabotage.arm(n), coordinator: sabotage.coordinator })
  const seen = await within10s(acting, () => `call ${n}: ${sabotage.failed}: the client was told nothing`)
  const where = () => `call ${n}: ${sabotage.failed}: the client saw ${seen}`
  try {
    await until(() => headgate.serving.calls.count === 0 && headgate.gateway.drain.count === 0, 'the call never ends')
    const rows = async () => (await callRows(world)).filter(({ id }) => !before.has(id!))
    await until(async () => (await rows()).length + (await unauthenticated(world)) - uncounted === 1, 'the call has no row, or several')
    await until(() => headgate.gateway.books.owed === 0 && headgate.gateway.books.unwritten === 0, 'the journal is not taken')
    const failed = sabotage.disarm()
    await sabotage.endLeases()
    await world.quiet()
    await sim.idle()
    const [row] = await rows()
    if (row !== undefined) await checkCharge(world, row, { seen, moment: sabotage.moment })
    return { failed, seen, row: row === undefined ? 'counted only' : `${row.ended} ${row.fault ?? ''} ${row.basis} ${row.cost}` }
  } catch (error) {
    throw new Error(where(), { cause: error })
  }
}

/** What was served is charged, once, and nothing else is. */
async function checkCharge(world: World, row: Row, { seen, moment }: { readonly seen: Seen; readonly moment: Moment }): Promise<void> {
  const charges = await world.database.report(statement(`select amount from entries where kind = 'charge' and reference = $1`), [row.id!])
  expect(charges.map(({ amount }) => -(amount as bigint))).toEqual(row.cost === 0n ? [] : [row.cost])
  expect(row.uncollected).toBe(0n)
  const served = world.sim.invoice.filter(({ status }) => status === 200)
  const isAnswered = served.some(({ answered }) => answered)
  // Nothing but time may spoil an answer that was given.
  if (moment !== 'early' && isAnswered) expect(seen).toMatch(/answer|left/)
  if (row.basis === 'reported' || row.basis === 'drained') expect(served.map(({ costNanos }) => costNanos)).toContain(row.cost)
  if (seen === 'answer') expect(row).toMatchObject({ ended: 'completed', basis: 'reported' })
  if (seen === 'refusal') expect(row).toMatchObject({ ended: 'refused', cost: 0n })
  if (seen === 'failure in the stream') expect(row).toMatchObject({ ended: 'cut', basis: 'estimated' })
  if (row.ended !== 'refused' && isAnswered) expect(row.cost).toBeGreaterThan(0n)
}

const asked = { model: 'sim', input: 'hello', prompt_cache_key: 'mine' }

async function json(world: World): Promise<Seen> {
  const { status, json: said, error, ending } = await send(world, { body: asked })
  expect(ending).toBe('whole')
  if (status === 200) expect(said).toMatchObject({ object: 'response', status: 'completed' })
  else expectRefusal(status, error)
  return status === 200 ? 'answer' : 'refusal'
}

function expectRefusal(status: number, error: unknown): void {
  expect(status).toBeGreaterThanOrEqual(400)
  expect(error).toEqual({ type: expect.any(String), message: expect.any(String), code: expectCode, param: null })
}

const expectCode = expect.toSatisfy(code => code === null || typeof code === 'string')

/** With a coordinator the client leaves midway. */
async function stream(world: World, coordinator?: Sabotage['coordinator']): Promise<Seen> {
  await using open = openStream(world, { body: asked })
  const { status } = await open.begun
  if (status !== 200) return refusalIn(open, status)
  for (let event = await open.next(); ; event = await open.next()) {
    if (event === undefined) throw new Error(`the stream has no end: ${open.text.slice(-300)}`)
    if (event.type === 'response.completed') return 'answer'
    if (event.type === 'response.failed') return 'failure in the stream'
    if (coordinator !== undefined && event.type === 'response.output_text.delta') break
  }
  open.leave()
  await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
  // While the upstream still answers, its slot is taken.
  if (world.headgate.gateway.live.size === 1) expect(coordinator!.linesNow().accountsTaken).toBe(1)
  world.sim.open('middle')
  return 'left'
}

async function refusalIn(open: OpenStream, status: number): Promise<Seen> {
  await open.rest()
  expectRefusal(status, JSON.parse(open.text).error)
  return 'refusal'
}

/** Unlike `world.rows()` this does not write what is waiting to be written: that is the gateway's to do. */
function callRows(world: World): Promise<readonly Row[]> {
  return world.database.report(statement('select * from calls'))
}

async function unauthenticated({ headgate }: World): Promise<number> {
  const { values } = await headgate.gateway.metrics.unauthenticated.get()
  return values.reduce((sum, { value }) => sum + value, 0)
}

function within10s<Result>(work: Promise<Result>, otherwise: () => string): Promise<Result> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(otherwise())), 10_000)
  return Promise.race([work, promise]).finally(() => clearTimeout(timer))
}
