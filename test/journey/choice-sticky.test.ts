import { expect, test } from 'vitest'
import { type Condition, calm } from '../../src/coordination/coordinator.ts'
import { type Asked, openStream, send } from '../client.ts'
import { inPoolLine, openWorld, type World } from '../world.ts'

/** SPEC 1.5, second: a session stays with the account whose prompt cache is warm, as long as that is worth it. */

const keys = ({ sim }: World) => sim.attempts.map(({ key }) => key)
const inSession = (id: string): Asked => ({ headers: { 'session-id': id } })

const ways: Readonly<Record<string, (id: string) => Asked>> = {
  session_id: id => ({ headers: { session_id: id } }),
  'session-id': inSession,
  'x-session-affinity': id => ({ headers: { 'x-session-affinity': id } }),
  prompt_cache_key: id => ({ body: { model: 'sim', input: 'hello', prompt_cache_key: id } }),
}

test.for(Object.keys(ways))('a session known by its %s stays with its account', async name => {
  await using world = await openWorld({ accounts: [{}, {}, {}] })
  const ask = (id: string) => send(world, ways[name]!(id))
  for (const id of ['one', 'two', 'one', 'one', 'two', 'one']) expect((await ask(id)).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a1', 'up-a1', 'up-a2', 'up-a1'])
  await world.quiet()
})

test('without a session the longest unused account is next', async () => {
  await using world = await openWorld({ accounts: [{}, {}, {}] })
  for (let n = 0; n < 6; n++) await send(world)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a3', 'up-a1', 'up-a2', 'up-a3'])
  await world.quiet()
})

test('the first that is said counts: session_id, session-id, x-session-affinity, prompt_cache_key', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  const all = { session_id: 'a', 'session-id': 'b', 'x-session-affinity': 'c' }
  const body = { model: 'sim', input: 'hello', prompt_cache_key: 'd' }
  const said: Asked[] = [
    { headers: all, body }, // a, at a1
    { headers: { ...all, session_id: ' ' }, body }, // b, at a2: a blank says nothing
    { headers: { 'session-id': 'b' } },
    { headers: { session_id: 'a' } },
    { headers: { 'session-id': 'a', 'x-session-affinity': 'b' }, body },
  ]
  for (const asked of said) expect((await send(world, asked)).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a2', 'up-a1', 'up-a1'])
  await world.quiet()
})

test('a session that is only full is waited for', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, { concurrency: 1 }] })
  await send(world, inSession('s'))
  world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
  const busy = send(world, inSession('s'))
  await world.sim.gate('busy').reached()
  const waiting = send(world, inSession('s'))
  await inPoolLine(world, 1)
  world.sim.open('busy')
  expect([(await busy).status, (await waiting).status]).toEqual([200, 200])
  expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a1'])
  await world.quiet()
})

test('it is waited for a little, and then another account is taken, and kept', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, { concurrency: 1 }], settings: { stickyWaitMs: 400 } })
  await send(world, inSession('s'))
  world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
  const busy = send(world, inSession('s'))
  await world.sim.gate('busy').reached()
  for (let n = 0; n < 2; n++) expect((await send(world, inSession('s'))).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a2', 'up-a2'])
  const [, waited, kept] = await world.rows() // The busy one has none yet.
  expect([Number(waited?.line_ms) > 390, Number(kept?.line_ms) < 390]).toEqual([true, true])
  world.sim.open('busy')
  expect((await busy).status).toBe(200)
  await world.quiet()
})

test('at most three wait for one account because of their session; the fourth goes on', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, { concurrency: 1 }], user: { concurrency: 0 } })
  await send(world, inSession('s'))
  world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
  const calls = [send(world, inSession('s'))]
  await world.sim.gate('busy').reached()
  for (let waiting = 1; waiting <= 3; waiting++) {
    calls.push(send(world, inSession('s')))
    await inPoolLine(world, waiting)
  }
  expect((await send(world, inSession('s'))).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a2'])
  world.sim.open('busy')
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a2', 'up-a1', 'up-a1', 'up-a1'])
  await world.quiet()
})

const reasons: readonly (readonly [string, Partial<Condition>])[] = [
  ['has become slow', { firstEventMs: 20_000 }],
  ['rests', { restingUntilMs: Date.now() + 3_600_000 }],
  ['rests from the model', { modelRests: { sim: Date.now() + 3_600_000 } }],
  ['is out of quota', { outSinceMs: 1, probeAtMs: Date.now() + 3_600_000 }],
  ['has its circuit open', { circuitSinceMs: 1, probeAtMs: Date.now() + 3_600_000 }],
]

test.for(reasons)('a session leaves an account that %s, and does not come back', async ([, condition]) => {
  await using world = await openWorld({ accounts: [{}, {}] })
  const { coordinator } = world.headgate.gateway
  const [one, two] = world.accounts
  await send(world, inSession('s'))
  await coordinator.change(two!.id, before => ({ ...before, firstEventMs: 200 }))
  await coordinator.change(one!.id, before => ({ ...before, ...condition }))
  await send(world, inSession('s'))
  await coordinator.change(one!.id, () => calm)
  await send(world, inSession('s'))
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a2'])
  await world.quiet()
})

test('a session stays where answers take seconds, though another account took as long when it was last used', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  const { coordinator } = world.headgate.gateway
  const [one, two] = world.accounts
  await send(world, inSession('s'))
  await coordinator.change(one!.id, before => ({ ...before, firstEventMs: 3_000 }))
  await coordinator.change(two!.id, before => ({ ...before, firstEventMs: 2_500 })) // Unused for ever so long.
  await send(world, inSession('s'))
  expect(keys(world)).toEqual(['up-a1', 'up-a1'])
  await world.quiet()
})

test('a session leaves for the account that is faster, not for one that is even slower', async () => {
  await using world = await openWorld({ accounts: [{}, {}, {}] })
  const { coordinator } = world.headgate.gateway
  await send(world, inSession('s'))
  for (const [n, firstEventMs] of [3_000, 9_000, 200].entries())
    await coordinator.change(world.accounts[n]!.id, before => ({ ...before, firstEventMs }))
  await send(world, inSession('s'))
  expect(keys(world)).toEqual(['up-a1', 'up-a3'])
  await world.quiet()
})

test('how soon a call is refused within a stream says nothing of how fast its account is', async () => {
  await using world = await openWorld()
  world.sim.script({}, { errorFirst: true, failure: { code: 'invalid_prompt' } })
  await using open = openStream(world)
  expect((await open.rest()).at(-1)?.type).toBe('response.failed')
  expect((await world.conditions())[0]).toMatchObject({ firstEventMs: null, failures: 0 })
  await world.quiet()
})

test('a session goes with the account that took over from a failing one', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  await send(world, inSession('s'))
  world.sim.script({ key: 'up-a1' }, [{ status: 500 }, {}])
  for (let n = 0; n < 3; n++) expect((await send(world, inSession('s'))).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a2', 'up-a2', 'up-a2'])
  await world.quiet()
})

test('a refusal is no answer, and binds nothing', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  world.sim.script({}, { status: 400 })
  for (let n = 0; n < 3; n++) expect((await send(world, inSession('s'))).status).toBe(400)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a1'])
  await world.quiet()
})

test('two users with the same session never share a binding', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  const stranger = { url: world.url, key: (await world.addKey(await world.addUser())).secret }
  for (const target of [world, stranger, stranger, world, world, stranger]) expect((await send(target, inSession('s'))).status).toBe(200)
  expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a2', 'up-a1', 'up-a1', 'up-a2'])
  await world.quiet()
})
