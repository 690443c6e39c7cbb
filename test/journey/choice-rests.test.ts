import { describe, expect, test } from 'vitest'
import type { Settings } from '../../src/config/settings.ts'
import { resumed } from '../../src/upstreams/rest.ts'
import { openStream, send } from '../client.ts'
import { openWorld, until, type World } from '../world.ts'

/** SPEC 1.6: what a fault does to an account, as the calls after it see it. How long rests are stands in `rest.test.ts`. */

const keys = ({ sim }: World) => sim.attempts.map(({ key }) => key)

/** Two accounts, of which the first is always preferred. */
function preferFirst(settings: Partial<Settings> = {}): Promise<World> {
  return openWorld({ accounts: [{ priority: 1 }, { priority: 2 }], user: { concurrency: 0 }, settings })
}

/** The time of the first account's rest, or until its next probe, goes by. */
async function goesBy({ headgate, accounts }: World): Promise<void> {
  const past = { restingUntilMs: Date.now() - 1, probeAtMs: Date.now() - 1 }
  await headgate.gateway.coordinator.change(accounts[0]!.id, condition => ({ ...condition, ...past }))
}

test('an account that rests is left alone until its rest is over', async () => {
  await using world = await preferFirst()
  world.sim.script({ key: 'up-a1' }, [{ status: 429, headers: { 'retry-after': '1' } }, {}])
  for (let n = 0; n < 3; n++) expect((await send(world)).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a2', 'up-a2'])
  const [condition] = await world.conditions()
  await until(() => Date.now() > condition!.restingUntilMs, 'the rest does not pass')
  expect((await send(world)).status).toBe(200)
  expect(keys(world).at(-1)).toBe('up-a1')
  await world.quiet()
})

test('overload after overload rests it twice as long', async () => {
  await using world = await preferFirst({ overloadRestMs: 50_000, overloadRestMaxMs: 200_000 })
  world.sim.script({ key: 'up-a1' }, { status: 503 })
  const rests: number[] = []
  for (let n = 0; n < 4; n++) {
    expect((await send(world)).status).toBe(200)
    const [condition] = await world.conditions()
    rests.push(condition!.restingUntilMs - condition!.restingSinceMs)
    await goesBy(world)
  }
  expect(rests).toEqual([50_000, 100_000, 200_000, 200_000])
  await world.quiet()
})

test('a refused credential is flagged until it works again', async () => {
  await using world = await preferFirst()
  world.sim.script({ key: 'up-a1' }, [{ status: 401 }, { status: 401 }, {}])
  for (let n = 0; n < 2; n++) {
    expect((await send(world)).status).toBe(200)
    expect((await world.conditions())[0]).toMatchObject({ flagged: true, authFailures: n + 1 })
    await goesBy(world)
  }
  expect((await send(world)).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a1', 'up-a2', 'up-a1'])
  expect((await world.conditions())[0]).toMatchObject({ flagged: false, authFailures: 0 })
  await world.quiet()
})

test('an account without quota is tried by one call now and then', async () => {
  await using world = await preferFirst()
  world.sim.script({ key: 'up-a1' }, [
    { status: 429, error: { code: 'insufficient_quota' } },
    { status: 429, error: { code: 'insufficient_quota' }, hold: 'probe' },
    {},
  ])
  expect((await send(world)).status).toBe(200)
  await goesBy(world)
  const probe = send(world)
  await world.sim.gate('probe').reached()
  for (let n = 0; n < 3; n++) expect((await send(world)).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a1', 'up-a2', 'up-a2', 'up-a2'])
  world.sim.open('probe')
  expect((await probe).status).toBe(200) // By the other account.
  await goesBy(world)
  expect((await send(world)).status).toBe(200)
  expect((await send(world)).status).toBe(200)
  expect(keys(world).slice(-2)).toEqual(['up-a1', 'up-a1'])
  await world.quiet()
})

test('an account without quota comes back when an operator says so', async () => {
  await using world = await preferFirst()
  world.sim.script({ key: 'up-a1' }, [{ status: 402 }, {}])
  for (let n = 0; n < 2; n++) await send(world)
  await world.headgate.gateway.coordinator.change(world.accounts[0]!.id, resumed)
  await send(world)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a2', 'up-a1'])
  await world.quiet()
})

test('a model that is not there rests the pair, and other models go on', async () => {
  await using world = await openWorld({ accounts: [{ priority: 1 }, { priority: 2 }], prices: [{}, { model: 'other' }] })
  world.sim.script({ key: 'up-a1', model: 'sim' }, { status: 404 })
  for (const model of ['sim', 'sim', 'other']) expect((await send(world, { body: { model, input: 'hello' } })).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a2', 'up-a1'])
  await world.quiet()
})

test('calls that were under way together grow a rest once', async () => {
  await using world = await preferFirst()
  world.sim.script({ key: 'up-a1' }, { status: 503, hold: 'together' })
  const calls = Array.from({ length: 8 }, () => send(world))
  await world.sim.gate('together').reached(8)
  world.sim.open('together')
  for (const { status } of await Promise.all(calls)) expect(status).toBe(200)
  expect((await world.conditions())[0]).toMatchObject({ overloads: 1 })
  await world.quiet()
})

test('an answer that was under way before a rest began does not end it', async () => {
  await using world = await openWorld({ accounts: [{ priority: 1 }, { priority: 2 }], user: { concurrency: 0 } })
  world.sim.script({ key: 'up-a1' }, [{ hold: 'early' }, { status: 429 }, {}])
  const early = send(world)
  await world.sim.gate('early').reached()
  expect((await send(world)).status).toBe(200)
  world.sim.open('early')
  expect((await early).status).toBe(200)
  expect((await send(world)).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a2', 'up-a2'])
  await world.quiet()
})

describe('the circuit', () => {
  test('five failures in a row open it; one probe at a time; a good one closes it', async () => {
    await using world = await preferFirst()
    const failures = Array.from({ length: 5 }, () => ({ status: 500 }))
    world.sim.script({ key: 'up-a1' }, [...failures, { hold: 'probe', status: 500 }, { hold: 'again' }, {}])
    for (let n = 0; n < 7; n++) expect((await send(world)).status).toBe(200)
    expect(keys(world).filter(key => key === 'up-a1').length).toBe(5)

    for (const [gate, asked] of [
      ['probe', 6],
      ['again', 7],
    ] as const) {
      await goesBy(world)
      const probe = send(world)
      await world.sim.gate(gate).reached()
      const others = await Promise.all(Array.from({ length: 4 }, () => send(world)))
      for (const { status } of others) expect(status).toBe(200)
      expect(keys(world).filter(key => key === 'up-a1').length).toBe(asked)
      world.sim.open(gate)
      expect((await probe).status).toBe(200)
    }
    expect((await world.conditions())[0]).toMatchObject({ circuitSinceMs: null, failures: 0, probing: false })
    for (let n = 0; n < 2; n++) await send(world)
    expect(keys(world).slice(-2)).toEqual(['up-a1', 'up-a1'])
    await world.quiet()
  })

  test('of calls that look at the same moment, one is the probe', async () => {
    let looking: (() => void)[] | undefined
    await using world = await openWorld({
      accounts: [{ priority: 1 }, { priority: 2 }],
      user: { concurrency: 0 },
      adapters: {
        wrapCoordinator: coordinator => ({
          ...coordinator,
          async conditions(ids) {
            const found = await coordinator.conditions(ids)
            if (looking !== undefined) await new Promise<void>(resolve => looking?.push(resolve))
            return found
          },
        }),
      },
    })
    world.sim.script({ key: 'up-a1' }, [...Array.from({ length: 5 }, () => ({ status: 500 })), { hold: 'probe' }])
    for (let n = 0; n < 5; n++) await send(world)
    await goesBy(world)
    looking = []
    const calls = Array.from({ length: 4 }, () => send(world))
    await until(() => looking?.length === 4, 'not all calls look for an account')
    const together = looking
    looking = undefined
    for (const go of together) go()
    await world.sim.seen(10 + 4)
    world.sim.open('probe')
    for (const { status } of await Promise.all(calls)) expect(status).toBe(200)
    expect(keys(world).slice(10).sort()).toEqual(['up-a1', 'up-a2', 'up-a2', 'up-a2'])
    await world.quiet()
  })

  test('a probe whose client leaves lets the next one go', async () => {
    await using world = await preferFirst({ drainMs: 0 })
    world.sim.script({ key: 'up-a1' }, [...Array.from({ length: 5 }, () => ({ status: 500 })), { hold: 'probe' }, {}])
    for (let n = 0; n < 5; n++) await send(world)
    await goesBy(world)
    await using probe = openStream(world)
    await world.sim.gate('probe').reached()
    probe.leave()
    await world.sim.gone(1)
    await world.quiet()
    expect((await send(world)).status).toBe(200)
    expect(keys(world).at(-1)).toBe('up-a1')
    await world.quiet()
  })

  test('when all are out by circuit, the one that failed least is tried anyway', async () => {
    await using world = await openWorld({ accounts: [{}, {}] })
    for (let n = 0; n < 2; n++) await send(world) // A record counts for an account that is in use.
    world.sim.script({}, { status: 500 })
    for (const [i, { id }] of world.accounts.entries()) {
      const successRate = i === 0 ? 0.2 : 0.6
      const out = { circuitSinceMs: 1, probeAtMs: Date.now() + 3_600_000, failures: 9, successRate }
      await world.headgate.gateway.coordinator.change(id, before => ({ ...before, ...out }))
    }
    expect((await send(world)).status).toBe(502)
    expect(keys(world).slice(2)).toEqual(['up-a2', 'up-a1', 'up-a1'])
    world.sim.script({}, {})
    expect((await send(world)).status).toBe(200)
    expect((await world.conditions()).filter(({ circuitSinceMs }) => circuitSinceMs === null).length).toBe(1)
    await world.quiet()
  })

  test('one that is out by circuit and full as well is no reason to wait for ever', async () => {
    await using world = await openWorld({ accounts: [{ concurrency: 1 }] })
    world.sim.script({}, { hold: 'busy' })
    const busy = send(world)
    await world.sim.gate('busy').reached()
    const out = { circuitSinceMs: Date.now() + 1, probeAtMs: Date.now() + 3_600_000, failures: 9 }
    await world.headgate.gateway.coordinator.change(world.accounts[0]!.id, before => ({ ...before, ...out }))
    const refused = await send(world)
    expect([refused.status, refused.error.message]).toEqual([503, expect.stringMatching(/^No available accounts: failing, next probe at /)])
    world.sim.open('busy')
    expect((await busy).status).toBe(200)
    await world.quiet()
  })

  test('a client’s own fault and its leaving never count', async () => {
    await using world = await openWorld({ accounts: [{}], settings: { drainMs: 0 } })
    world.sim.script({}, { status: 400 })
    for (let n = 0; n < 10; n++) await send(world)
    world.sim.script({}, { hold: { gate: 'middle', at: 5 } })
    for (let n = 1; n <= 6; n++) {
      await using stream = openStream(world)
      await stream.until('response.created')
      stream.leave()
      await world.sim.gone(n)
    }
    await world.quiet()
    expect((await world.conditions())[0]).toMatchObject({ failures: 0, circuitSinceMs: null, restingUntilMs: 0 })
  })
})
