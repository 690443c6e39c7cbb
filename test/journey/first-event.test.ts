import { expect, test } from 'vitest'
import { mayHaveCost } from '../../src/upstreams/verdict.ts'
import { countByDay } from '../../src/usage/counted.ts'
import { openStream, send } from '../client.ts'
import { openWorld, until, type World, type WorldOptions } from '../world.ts'
import { limitByHand, limitMs } from './limit-by-hand.ts'

/** A group's limit on the time to the first event of a stream: the slow attempt is given up only for somebody who can take the call at once. */

async function openLimited(options: WorldOptions = {}) {
  const limit = limitByHand()
  const world = await openWorld({ accounts: [{}, {}], ...options, group: { firstEventLimitMs: limitMs }, adapters: { clock: limit.clock } })
  return { world, limit }
}

/** The first account accepts the call, and says nothing. */
const silent = { hold: { gate: 'slow', at: 'firstEvent' } } as const
const asked = { body: { model: 'sim', input: 'hello', stream: true }, headers: { 'session-id': 's' } }

async function attemptsOf(world: World) {
  const nameOf = new Map(world.accounts.map(({ id, name }) => [id, name]))
  return (await world.attempts()).map(({ account_id: id, fault, answered }) => [nameOf.get(String(id)), fault, answered])
}

test('a stream that does not begin in time is asked of another account, and the slow one is remembered', async () => {
  const { world, limit } = await openLimited()
  await using _ = world
  world.sim.script({ key: 'up-a1' }, silent)
  const answer = send(world, asked)
  await world.sim.gate('slow').reached()
  limit.pass()
  expect((await answer).body).toContain('response.completed')
  await world.sim.gone(1)
  expect(await attemptsOf(world)).toEqual([
    ['a1', 'slow_first_event', 0n],
    ['a2', null, 1n],
  ])
  // The caller pays for the answer alone; what the other may have cost is named by reconciliation, as the operator's.
  const served = world.sim.invoice.find(({ key }) => key === 'up-a2')!
  expect((await world.rows()).map(({ cost, attempts }) => [cost, attempts])).toEqual([[served.costNanos, 2n]])
  expect(await unanswered(world)).toBe(1n)
  // It is no failure of the account, but it is slow.
  const [slow] = await world.conditions()
  expect(slow).toMatchObject({ failures: 0, successRate: 1, restingUntilMs: 0, firstEventMs: expect.toSatisfy(ms => ms > 0) })
  // The session went along.
  await send(world, asked)
  expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a1', 'up-a2', 'up-a2'])
  await world.quiet()
})

test('a stream of chat completions moves in the same way', async () => {
  const { world, limit } = await openLimited()
  await using _ = world
  world.sim.script({ key: 'up-a1' }, silent)
  const messages = [{ role: 'user', content: 'hello' }]
  const answer = send(world, { path: '/v1/chat/completions', body: { model: 'sim', messages, stream: true } })
  await world.sim.gate('slow').reached()
  limit.pass()
  expect((await answer).body).toContain('data: [DONE]')
  expect(await attemptsOf(world)).toEqual([
    ['a1', 'slow_first_event', 0n],
    ['a2', null, 1n],
  ])
  await world.quiet()
})

async function unanswered({ database, headgate, accounts }: World): Promise<bigint> {
  const { priceBook: book, groups } = headgate.gateway.directory.snapshot()
  const pricing = { versions: new Map(), book, multiplierOf: (id: string) => groups.get(id)?.multiplier, mayHaveCost }
  const days = await countByDay(database, { sinceMs: 0, untilMs: Date.now() + 60_000 }, pricing)
  return days.find(({ accountId }) => accountId === accounts[0]!.id)!.attempts.count
}

test('while nobody else has room it is waited for, and looked for again after as long', async () => {
  const { world, limit } = await openLimited({ accounts: [{}, { concurrency: 1, weight: 100 }] })
  await using _ = world
  world.sim.script({ key: 'up-a1' }, silent)
  world.sim.script({ key: 'up-a2' }, [{ hold: 'busy' }, {}])
  const busy = send(world)
  await world.sim.gate('busy').reached()
  const answer = send(world, asked)
  await world.sim.gate('slow').reached()
  limit.pass()
  await until(() => limit.waiting === 1, 'it is not looked again')
  expect(world.sim.attempts).toHaveLength(2)
  world.sim.open('busy')
  expect((await busy).status).toBe(200)
  limit.pass()
  expect((await answer).body).toContain('response.completed')
  expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a2', 'up-a1', 'up-a2'])
  await world.quiet()
})

test('an account that is as slow itself or rests is not asked', async () => {
  const { world, limit } = await openLimited({ accounts: [{}, {}, {}] })
  await using _ = world
  const { coordinator } = world.headgate.gateway
  for (let n = 0; n < 3; n++) await send(world)
  await coordinator.change(world.accounts[1]!.id, before => ({ ...before, firstEventMs: 2 * limitMs }))
  world.sim.script({ key: 'up-a1' }, silent)
  const answer = send(world, asked)
  await world.sim.gate('slow').reached()
  await coordinator.change(world.accounts[2]!.id, before => ({ ...before, restingUntilMs: Date.now() + 60_000 }))
  limit.pass()
  await until(() => limit.waiting === 1, 'it is not looked again')
  world.sim.open('slow')
  expect((await answer).body).toContain('response.completed')
  expect((await attemptsOf(world)).slice(3)).toEqual([['a1', null, 1n]])
  await world.quiet()
})

test('a bound call waits for its account, whoever is free', async () => {
  const { world, limit } = await openLimited()
  await using _ = world
  world.sim.script({ key: 'up-a1' }, [{}, silent])
  const { json } = await send(world)
  const answer = send(world, { body: { ...asked.body, previous_response_id: json['id'] } })
  await world.sim.gate('slow').reached()
  limit.pass()
  await until(() => limit.waiting === 1, 'it is not looked again')
  world.sim.open('slow')
  expect((await answer).body).toContain('response.completed')
  expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a1', 'up-a1'])
  await world.quiet()
})

test('an answer that is no stream has no such limit, and the last attempt has none either', async () => {
  const { world, limit } = await openLimited({ settings: { switchesMax: 1 }, accounts: [{}, {}, {}] })
  await using _ = world
  world.sim.script({ key: 'up-a1' }, [{ hold: 'json' }, silent])
  const json = send(world)
  await world.sim.gate('json').reached()
  expect(limit.waiting).toBe(0)
  world.sim.open('json')
  expect((await json).status).toBe(200)

  world.sim.script({}, { hold: { gate: 'second', at: 'firstEvent' } })
  world.sim.script({ key: 'up-a1' }, { hold: { gate: 'second', at: 'firstEvent' } })
  const stream = send(world, asked)
  await world.sim.seen(2)
  await until(() => limit.waiting === 1, 'the first attempt has no limit')
  limit.pass()
  await world.sim.seen(3)
  expect(limit.waiting).toBe(0)
  world.sim.open('second')
  expect((await stream).body).toContain('response.completed')
  await world.quiet()
})

test('a client that leaves while another account is looked for leaves nothing behind', async () => {
  const { world, limit } = await openLimited()
  await using _ = world
  world.sim.script({}, silent)
  const stream = openStream(world, asked)
  stream.begun.catch(() => {})
  await world.sim.gate('slow').reached()
  stream.leave()
  await until(() => world.headgate.gateway.drain.count === 1, 'the drain never takes it')
  expect(limit.waiting).toBe(0)
  limit.pass()
  world.sim.open('slow')
  await world.quiet()
  expect(world.sim.attempts).toHaveLength(1)
})
