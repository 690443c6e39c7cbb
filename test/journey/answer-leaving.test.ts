import { expect, test } from 'vitest'
import { makeGroup } from '../../src/directory/groups.ts'
import type { Database } from '../../src/storage/database.ts'
import { type OpenStream, openStream, send, type Target } from '../client.ts'
import { gauge, openWorld, until, type World } from '../world.ts'
import { controlledBooks } from './controlled.ts'

/** SPEC 1.7: the client leaves, and the drain reads on. What it costs, moment by moment, stands in `rows-leaving.ts`. */

/** A stream that is in the middle of its answer; the upstream waits there at the gate of this name. */
async function midway(world: World, gate: string, target: Target = world): Promise<OpenStream> {
  world.sim.script({}, { hold: { gate, at: 6 } })
  const stream = openStream(target)
  await stream.until('response.output_text.delta')
  return stream
}

async function leave(world: World, stream: OpenStream): Promise<void> {
  stream.leave()
  await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
}

const drains = (world: World) => world.headgate.gateway.drain.count

test('the user’s slot is free at once, while the account’s slot and the money stay with the drain', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }, { concurrency: 1 }], user: { concurrency: 1 } })
  const stream = await midway(world, 'one')
  const leftMs = performance.now()
  stream.leave()
  await until(async () => (await gauge(world, 'headgate_calls_running')) === 0, 'the user’s slot is not given back')
  expect(performance.now() - leftMs).toBeLessThan(1100) // 100 ms are promised; the machine may be busy.
  expect(await gauge(world, 'headgate_account_slots_taken')).toBe(1)
  expect((await world.balance()).held).toBeGreaterThan(0n)

  world.sim.script({}, {})
  for (let n = 0; n < 2; n++) expect((await send(world)).status).toBe(200)
  expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a1', 'up-a2', 'up-a2'])
  expect(drains(world)).toBe(1)
  world.sim.open('one')
  await world.quiet()
  expect(await gauge(world, 'headgate_drains')).toBe(0)
  expect((await world.rows())[0]).toMatchObject({
    ended: 'client_left',
    basis: 'drained',
    status: 200n,
    cost: world.sim.invoice[0]!.costNanos,
  })
})

test('a call whose client leaves while its money is set aside is sent to nobody', async () => {
  const placing = Promise.withResolvers<void>()
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    async commit(steps, durability) {
      if (steps.some(({ statement }) => statement.sql.includes('insert into holds'))) await placing.promise
      return database.commit(steps, durability)
    },
  })
  await using world = await openWorld({ adapters: { wrapDatabase, holdsInBooks: true } })
  const running = () => gauge(world, 'headgate_calls_running')
  const stream = openStream(world)
  stream.begun.catch(() => {}) // It leaves.
  await until(async () => (await running()) === 1, 'the call has no slot')
  stream.leave()
  await until(async () => (await running()) === 0, 'the user’s slot is not given back')
  placing.resolve()
  await world.quiet()
  expect(await world.attempts()).toEqual([])
  expect((await world.rows())[0]).toMatchObject({ ended: 'client_left', attempts: 0n, cost: 0n })
})

test('a call whose client left before any status has 499 on its row', async () => {
  await using world = await openWorld()
  world.sim.script({}, { hold: 'headers' })
  const stream = openStream(world)
  stream.begun.catch(() => {}) // It leaves.
  await world.sim.gate('headers').reached()
  await leave(world, stream)
  world.sim.open('headers')
  await world.quiet()
  expect((await world.rows())[0]).toMatchObject({
    status: 499n,
    ended: 'client_left',
    basis: 'drained',
    cost: world.sim.invoice[0]!.costNanos,
  })
})

test.for([
  ['in the middle', { gate: 'held', at: 6 }, 'estimated'],
  ['before the headers', { gate: 'held' }, 'none'],
] as const)('a group may have its upstreams cut instead (%s)', async ([, hold, basis]) => {
  await using world = await openWorld()
  const group = makeGroup({ ...world.group, name: 'cuts', onClientLeft: 'abort' }, Date.now())
  await world.commit(group.steps)
  await world.changeAccount(world.accounts[0]!, { groupIds: [group.entity.id] })
  const { secret } = await world.addKey(world.user, { groupIds: [group.entity.id] })
  world.sim.script({}, { hold })
  const stream = openStream({ url: world.url, key: secret })
  stream.begun.catch(() => {}) // It leaves.
  await world.sim.gate('held').reached()
  await leave(world, stream)
  await world.sim.gone(1)
  await world.quiet()
  const [row] = await world.rows()
  expect(row).toMatchObject({ ended: 'client_left', basis })
  expect((row!.cost as bigint) > 0n).toBe(basis === 'estimated')
  expect((await world.attempts())[0]).toMatchObject({ fault: 'aborted' })
  expect((await world.conditions())[0]).toMatchObject({ failures: 0, taken: 0 })
})

test('an upstream that does not end is cut when its time is over', async () => {
  await using world = await openWorld({ settings: { drainMs: 50 } })
  const stream = await midway(world, 'never')
  await leave(world, stream)
  await world.sim.gone(1)
  await world.quiet()
  expect((await world.rows())[0]).toMatchObject({ ended: 'client_left', basis: 'estimated', fault: 'aborted' })
})

test('of one user’s drains the oldest is cut when there are as many as the user may have calls', async () => {
  await using world = await openWorld({ user: { concurrency: 2 } })
  for (const gate of ['one', 'two']) await leave(world, await midway(world, gate))
  expect(drains(world)).toBe(2)
  await leave(world, await midway(world, 'three'))
  await world.sim.gone(1)
  await until(() => drains(world) === 2, 'none was cut')
  for (const gate of ['two', 'three']) world.sim.open(gate)
  await world.quiet()
  expect((await world.rows()).map(({ basis }) => basis)).toEqual(['estimated', 'drained', 'drained'])
})

test('one that is cut already, and still being settled, is not cut in another’s place', async () => {
  const books = controlledBooks()
  await using world = await openWorld({ user: { concurrency: 1 }, adapters: books.adapters, settings: { settleWithinMs: 60_000 } })
  books.books = 'slow'
  for (const [n, gate] of ['one', 'two', 'three'].entries()) {
    await leave(world, await midway(world, gate))
    await world.sim.gone(n)
  }
  expect(drains(world)).toBe(3)
  world.sim.open('three')
  books.letGo()
  await world.quiet()
  expect((await world.rows()).map(({ basis }) => basis)).toEqual(['estimated', 'estimated', 'drained'])
})

test('of all drains the oldest is cut when there are too many', async () => {
  await using world = await openWorld({ settings: { drainsMax: 2 } })
  const targets: Target[] = [world]
  for (let n = 0; n < 2; n++) targets.push({ url: world.url, key: (await world.addKey(await world.addUser())).secret })
  for (const [n, target] of targets.entries()) await leave(world, await midway(world, `call ${n}`, target))
  await world.sim.gone(1)
  for (const n of [1, 2]) world.sim.open(`call ${n}`)
  await world.quiet()
  expect((await world.rows()).map(({ basis }) => basis)).toEqual(['estimated', 'drained', 'drained'])
})

test('an account’s slot is free when its upstream has ended, however long the client takes to read', async () => {
  await using world = await openWorld({ accounts: [{ concurrency: 1 }] })
  await using stream = openStream(world)
  await stream.until('response.completed')
  expect((await send(world)).status).toBe(200)
  await world.quiet()
})
