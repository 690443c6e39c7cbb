import { expect, test } from 'vitest'
import { calm } from '../../src/coordination/coordinator.ts'
import { refusalOf, send, type Target } from '../client.ts'
import { gauge, inLine, inPoolLine, openWorld, until, type World } from '../world.ts'

/** SPEC 1.5, fourth: the line of a pool whose accounts are all full. */

const keys = ({ sim }: World) => sim.attempts.map(({ key }) => key)

/** What each call that reached the upstream said, in their order. */
const inputs = ({ sim }: World) => sim.attempts.map(({ body }) => JSON.parse(body.toString()).input)

function ask(target: Target, input: string, more: object = {}) {
  return send(target, { body: { model: 'sim', input, ...more } })
}

/** One account with one slot, which the call `busy` holds until the gate opens. */
async function busyWorld(options: Parameters<typeof openWorld>[0] = {}) {
  const world = await openWorld({ accounts: [{ concurrency: 1 }], user: { concurrency: 0 }, ...options })
  world.sim.script({}, [{ hold: 'busy' }, {}])
  const busy = ask(world, 'busy')
  await world.sim.gate('busy').reached()
  return { ...world, busy }
}

async function stranger(world: World): Promise<Target> {
  return { url: world.url, key: (await world.addKey(await world.addUser({ concurrency: 0 }))).secret }
}

test('a freed slot goes to the next user in turn, to that user’s oldest call', async () => {
  await using world = await busyWorld()
  const [second, third] = [await stranger(world), await stranger(world)]
  const waiting: Promise<{ status: number }>[] = []
  const queue: readonly (readonly [Target, string])[] = [
    [world, 'a1'],
    [world, 'a2'],
    [world, 'a3'],
    [second, 'b1'],
    [world, 'a4'],
    [second, 'b2'],
    [third, 'c1'],
  ]
  for (const [target, input] of queue) {
    waiting.push(ask(target, input))
    await inPoolLine(world, waiting.length)
  }
  world.sim.open('busy')
  for (const { status } of await Promise.all([world.busy, ...waiting])) expect(status).toBe(200)
  expect(inputs(world)).toEqual(['busy', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4'])
  await world.quiet()
})

test('a call that is bound elsewhere is passed over, and keeps its place', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, { concurrency: 1 }], user: { concurrency: 0 } })
  const made = await ask(world, 'first')
  world.sim.script({ key: 'up-a1' }, [{ hold: 'one' }, {}])
  world.sim.script({ key: 'up-a2' }, [{ hold: 'two' }, {}])
  const held = [ask(world, 'at a2'), ask(world, 'at a1')]
  await world.sim.gate('one').reached()
  await world.sim.gate('two').reached()
  const bound = ask(world, 'bound to a1', { previous_response_id: made.json.id })
  await inPoolLine(world, 1)
  const free = ask(world, 'bound to none')
  await inPoolLine(world, 2)
  world.sim.open('two')
  expect((await free).status).toBe(200)
  expect(await gauge(world, 'headgate_account_line')).toBe(1)
  world.sim.open('one')
  for (const { status } of await Promise.all([bound, ...held])) expect(status).toBe(200)
  expect(keys(world).slice(-2)).toEqual(['up-a2', 'up-a1'])
  await world.quiet()
})

test('when the line is full, the next one is refused', async () => {
  await using world = await busyWorld({ settings: { poolWaitingMax: 2 } })
  const waiting = [ask(world, 'one')]
  await inPoolLine(world, 1)
  waiting.push(ask(world, 'two'))
  await inPoolLine(world, 2)
  expect(refusalOf(await ask(world, 'three'))).toMatchObject({
    status: 429,
    type: 'rate_limit_error',
    message: 'Too many pending requests, please retry later',
    retry: 'later',
  })
  world.sim.open('busy')
  for (const { status } of await Promise.all([world.busy, ...waiting])) expect(status).toBe(200)
  await world.quiet()
})

test('whoever waits too long is refused, costs nothing, and has a row that says how long', async () => {
  await using world = await busyWorld({ settings: { lineTimeoutMs: 150 } })
  expect(refusalOf(await ask(world, 'late'))).toMatchObject({
    status: 429,
    type: 'rate_limit_error',
    message: 'Concurrency limit exceeded for account, please retry later',
    retry: 'later',
  })
  const row = (await world.rows()).find(({ fault }) => fault === 'line_timeout_account')
  expect(row).toMatchObject({ status: 429n, ended: 'refused', cost: 0n, basis: 'none', attempts: 0n })
  expect(Number(row?.line_ms)).toBeGreaterThan(140)
  world.sim.open('busy')
  expect((await world.busy).status).toBe(200)
  await world.quiet()
})

test('all waits of a call after its user’s slot share one time', async () => {
  const settings = { lineTimeoutMs: 1200, stickyWaitMs: 1000 }
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, { concurrency: 1 }], user: { concurrency: 0 }, settings })
  await ask(world, 'binds', { prompt_cache_key: 's' })
  world.sim.script({}, { hold: 'busy' })
  const held = [ask(world, 'one'), ask(world, 'two')]
  await world.sim.gate('busy').reached(2)
  const refused = await ask(world, 'waits for its account, then for any', { prompt_cache_key: 's' })
  expect(refused.status).toBe(429)
  const row = (await world.rows()).find(({ fault }) => fault === 'line_timeout_account')
  expect(Number(row?.line_ms)).toBeGreaterThan(1100) // Longer than the first wait alone
  expect(Number(row?.line_ms)).toBeLessThan(2000)
  world.sim.open('busy')
  for (const { status } of await Promise.all(held)) expect(status).toBe(200)
  await world.quiet()
})

test('the user’s own line has its time besides', async () => {
  const settings = { lineTimeoutMs: 1000 }
  await using world = await openWorld({ accounts: [{ concurrency: 1 }], user: { concurrency: 1 }, settings })
  const other = await stranger(world)
  world.sim.script({}, [{ hold: 'one' }, { hold: 'two' }, {}])
  const one = ask(world, 'one')
  await world.sim.gate('one').reached()
  const both = ask(world, 'waits for its user, then for the account')
  await inLine(world, 1)
  const two = ask(other, 'two')
  await inPoolLine(world, 1)
  await new Promise(resolve => setTimeout(resolve, 600)) // Most of the first wait's time goes by.
  world.sim.open('one')
  await world.sim.gate('two').reached()
  await inPoolLine(world, 1)
  await new Promise(resolve => setTimeout(resolve, 600)) // Together more than one wait may take.
  world.sim.open('two')
  expect((await Promise.all([one, two, both])).map(({ status }) => status)).toEqual([200, 200, 200])
  await world.quiet()
})

test('the line’s own refusal stands, even after a failed attempt', async () => {
  await using world = await openWorld({
    accounts: [{ priority: 1 }, { priority: 2, concurrency: 1 }],
    user: { concurrency: 0 },
    settings: { lineTimeoutMs: 150 },
  })
  world.sim.script({ key: 'up-a1' }, { status: 500 })
  world.sim.script({ key: 'up-a2' }, { hold: 'busy' })
  const busy = ask(world, 'busy')
  await world.sim.gate('busy').reached()
  const refused = await ask(world, 'late')
  expect(refusalOf(refused)).toMatchObject({ status: 429, message: 'Concurrency limit exceeded for account, please retry later' })
  const row = (await world.rows()).find(({ fault }) => fault === 'line_timeout_account')
  expect(row).toMatchObject({ attempts: 1n, cost: 0n, account_id: world.accounts[0]!.id })
  world.sim.open('busy')
  expect((await busy).status).toBe(200)
  await world.quiet()
})

test('a client that leaves gives up its place', async () => {
  await using world = await busyWorld()
  const leaving = new AbortController()
  const left = fetch(`${world.url}/v1/responses`, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sim', input: 'leaves' }),
    signal: leaving.signal,
  })
  left.catch(() => {}) // It leaves.
  await inPoolLine(world, 1)
  const stays = ask(world, 'stays')
  await inPoolLine(world, 2)
  leaving.abort()
  await until(async () => (await gauge(world, 'headgate_account_line')) === 1, 'the place is not given up')
  world.sim.open('busy')
  expect([(await world.busy).status, (await stays).status]).toEqual([200, 200])
  expect(inputs(world)).toEqual(['busy', 'stays'])
  expect((await world.rows()).map(({ ended }) => ended)).toEqual(['completed', 'client_left', 'completed'])
  await world.quiet()
})

test('an account whose rest ends takes whoever waits', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, {}], user: { concurrency: 0 } })
  const { coordinator } = world.headgate.gateway
  await coordinator.change(world.accounts[1]!.id, before => ({ ...before, restingUntilMs: Date.now() + 60_000 }))
  world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
  const busy = ask(world, 'busy')
  await world.sim.gate('busy').reached()
  const waiting = ask(world, 'waiting')
  await inPoolLine(world, 1)
  await coordinator.change(world.accounts[1]!.id, before => ({ ...before, restingUntilMs: Date.now() + 20 }))
  expect((await waiting).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2'])
  world.sim.open('busy')
  expect((await busy).status).toBe(200)
  await world.quiet()
})

test('nobody waits for an account that said it does not have the model', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, {}], user: { concurrency: 0 } })
  await world.headgate.gateway.coordinator.change(world.accounts[1]!.id, () => ({ ...calm, modelRests: { sim: Date.now() + 60_000 } }))
  world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
  const busy = ask(world, 'busy')
  await world.sim.gate('busy').reached()
  const waiting = ask(world, 'waiting')
  await inPoolLine(world, 1)
  world.sim.open('busy')
  expect([(await busy).status, (await waiting).status]).toEqual([200, 200])
  expect(keys(world)).toEqual(['up-a1', 'up-a1'])
  await world.quiet()
})

test('an account of which this node has only a share is waited for, and not asked for ever', async () => {
  await using world = await busyWorld({
    accounts: [{ concurrency: 3 }],
    adapters: {
      wrapCoordinator: all => ({
        ...all,
        take: account => all.take({ ...account, slots: 1 }),
        wait: (entry, signal) => all.wait({ ...entry, accounts: entry.accounts.map(account => ({ ...account, slots: 1 })) }, signal),
      }),
    },
  })
  const waiting = ask(world, 'waits')
  await inPoolLine(world, 1)
  world.sim.open('busy')
  for (const { status } of await Promise.all([world.busy, waiting])) expect(status).toBe(200)
  await world.quiet()
})
