import { createRequire } from 'node:module'
import { afterAll, expect, test } from 'vitest'
import type { Coordinator } from '../../src/coordination/coordinator.ts'
import { send } from '../client.ts'
import { onRedis, type RedisServer, startRedis } from '../redis-server.ts'
import { gauge, openWorld, until } from '../world.ts'

const loaded = () => Object.keys(createRequire(import.meta.url).cache).some(path => path.includes('ioredis'))
const call = { model: 'sim' }

test('without a Redis nothing of it is even loaded', async () => {
  await using world = await openWorld()
  expect((await send(world, { body: call })).status).toBe(200)
  expect(loaded()).toBe(false)
  expect(await gauge(world, 'headgate_coordinator')).toBe(1)
})

onRedis('with a Redis', () => {
  let server: RedisServer
  const open = async (settings = {}) => {
    server ??= await startRedis()
    return openWorld({ settings: { redisUrl: server.url, ...settings } })
  }
  afterAll(() => server?.[Symbol.asyncDispose]())

  test('a call passes, and leaves nothing behind', async () => {
    await using world = await open()
    expect(loaded()).toBe(true)
    expect((await send(world, { body: call })).status).toBe(200)
    await world.quiet()
    expect(await gauge(world, 'headgate_alone')).toBe(0)
  })

  test('while it is silent calls pass, the gateway is ready and says what is wrong; then it is over', async () => {
    await using world = await open()
    server.pause()
    expect((await send(world, { body: call })).status).toBe(200)
    const ready = await fetch(`${world.url}/readyz`)
    expect(ready.status).toBe(200)
    expect(await ready.json()).toMatchObject({ ready: true, troubles: [expect.stringContaining('Redis is silent')] })
    expect(await gauge(world, 'headgate_alone')).toBe(1)
    server.resume()
    await until(async () => (await gauge(world, 'headgate_alone')) === 0, 'it does not come back')
    expect((await send(world, { body: call })).status).toBe(200)
    await world.quiet()
  })

  const rates = { requestsPerMinute: 100, tokensPerMinute: 100_000 }
  const ofAll = { user: rates, keyDraft: rates, accounts: [rates] }
  test.each([
    { what: 'a streamed call', more: {}, headers: {} },
    { what: 'a call of a session', more: {}, headers: { session_id: 's' } },
    { what: 'one whose user, key and account have rates', more: ofAll, headers: {} },
    { what: 'one of a session, with all of these rates', more: ofAll, headers: { session_id: 's' } },
  ])('$what waits for Redis three times before the upstream, and twice after', async ({ more, headers }) => {
    server ??= await startRedis()
    const waits = { before: 0, after: 0 }
    let isSent = false
    const wrapCoordinator = <Port extends Coordinator>(port: Port) =>
      countWaits(port, () => {
        waits[isSent ? 'after' : 'before'] += 1
      })
    await using world = await openWorld({ ...more, settings: { redisUrl: server.url }, adapters: { wrapCoordinator } })
    void world.sim.seen(1).then(() => {
      isSent = true
    })
    expect((await send(world, { body: { ...call, stream: true }, headers })).status).toBe(200)
    await world.quiet()
    expect(waits).toEqual({ before: 3, after: 2 })
  })
})

/** What is answered at once, or concerns no call. */
const unwaited: ReadonlySet<string | symbol> = new Set(['linesNow', 'known', 'onAnnounced', 'announce'])

/** Tells of each time that nobody goes on before a reply has come: what is asked together is waited for once. */
function countWaits<Port extends Coordinator>(port: Port, waited: () => void): Port {
  let pending = 0
  const watched = async (answer: Promise<unknown>): Promise<unknown> => {
    let isThere = false
    const there = () => {
      isThere = true
    }
    answer.then(there, there)
    // No reply of anybody's comes within microtasks.
    for (let i = 0; i < 100 && !isThere; i++) await undefined
    if (isThere) return answer
    if (pending === 0) waited()
    pending += 1
    return answer.finally(() => {
      pending -= 1
    })
  }
  return new Proxy(port, {
    get(target, name) {
      const found: unknown = Reflect.get(target, name)
      if (typeof found !== 'function' || unwaited.has(name)) return found
      return (...asked: readonly unknown[]) => watched(Promise.resolve(Reflect.apply(found, target, asked)))
    },
  })
}
