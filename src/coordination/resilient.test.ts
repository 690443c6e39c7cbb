import { afterEach, beforeEach, expect, test } from 'vitest'
import { freePort, onRedis } from '../../test/redis-server.ts'
import { until } from '../../test/world.ts'
import { systemClock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import type { Caller, Slot } from './coordinator.ts'
import { inMemory } from './memory.ts'
import { openBed, type RedisBed, settled } from './redis.fixture.ts'
import { openRedis, type RedisCoordinator } from './redis.ts'
import { slotOf } from './slots.fixture.ts'

const patient = new AbortController()
const caller = (userSlots: number): Caller => ({ userId: 'u', keyId: 'k', userSlots, keySlots: 0, waitingMax: 100 })
const a = { accountId: 'a', slots: 2 }
const running = 'hg:{user:u}:run'

/** Its heart beats once a second. */
const leaseMs = 10_000

onRedis('while Redis is silent', () => {
  let bed: RedisBed
  beforeEach(async () => {
    bed = await openBed()
  })
  afterEach(() => bed[Symbol.asyncDispose]())

  const give = (slot: Slot) => slot[Symbol.asyncDispose]()

  async function openTwo() {
    const one = await bed.open({ leaseMs })
    const other = await bed.open({ leaseMs })
    await until(() => one.nodes === 2, 'they do not see each other')
    return [one, other] as const
  }

  const alone = (...all: readonly RedisCoordinator[]) => until(() => all.every(({ isAlone }) => isAlone), 'nobody notices the silence')
  const together = (...all: readonly RedisCoordinator[]) => until(() => all.every(({ isAlone }) => !isAlone), 'they do not come back')

  test('each goes on with its share of a limit, what runs already counted, and says so; on return nobody is over', async () => {
    const [one, other] = await openTwo()
    const slots = [await one.enter(caller(4), patient)]
    bed.server.pause()
    slots.push(await one.enter(caller(4), patient))
    expect(one.isAlone).toBe(true)
    expect(one.changes.at(-1)).toMatchObject({ kind: 'alone', nodes: 2 })
    const third = one.enter(caller(4), patient)
    slots.push(await other.enter(caller(4), patient), await other.enter(caller(4), patient))
    const fifth = other.enter(caller(4), patient)
    expect(one.linesNow()).toMatchObject({ callersRunning: 2, callersWaiting: 1 })
    expect(other.linesNow()).toMatchObject({ callersRunning: 2, callersWaiting: 1 })

    bed.server.resume()
    await together(one, other)
    expect(one.changes.at(-1)).toEqual({ kind: 'together', slots: 2, over: 0 })
    await until(async () => (await bed.redis.hlen(running)) === 4, 'what runs was not said')
    for (const slot of slots) await give(slot)
    for (const slot of await Promise.all([third, fifth])) await give(slot)
    await Promise.all([settled(one), settled(other)])
    expect(await bed.redis.keys('hg:{user:*')).toEqual([])
  })

  test('what every account runs is counted too, and its condition is known', async () => {
    const [one, other] = await openTwo()
    const slot = await one.take(a)
    await one.change('a', condition => ({ ...condition, failures: 3 }))
    bed.server.pause()
    await alone(one, other)
    expect(await one.take(a)).toBeUndefined()
    expect(await other.take(a)).toBeDefined()
    expect(await one.conditions(['a'])).toMatchObject([{ failures: 3, taken: 1 }])
    await one.change('a', condition => ({ ...condition, failures: condition.failures + 1 }))
    bed.server.resume()
    await together(one, other)
    const fresh = await bed.open()
    expect(await fresh.conditions(['a'])).toMatchObject([{ failures: 4, taken: 2 }])
    await give(slotOf(slot))
  })

  test('a slot of which nobody knows whether Redis gave it is given back on return', async () => {
    const one = await bed.open({ leaseMs })
    bed.server.pause()
    await give(await one.enter(caller(1), patient))
    bed.server.resume()
    await together(one)
    await settled(one)
    expect(await bed.redis.hlen(running)).toBe(0)
  })

  test('whoever leaves just then is not in line afterwards', async () => {
    const one = await bed.open({ leaseMs })
    const slot = await one.enter(caller(1), patient)
    const leaving = new AbortController()
    bed.server.pause()
    const waiting = one.enter(caller(1), leaving)
    leaving.abort(new Fault('client_left'))
    await expect(waiting).rejects.toMatchObject({ fault: 'client_left' })
    await alone(one)
    await give(slot)
    bed.server.resume()
    await together(one)
    await settled(one)
    expect(await bed.redis.keys('hg:{user:*')).toEqual([])
  })

  test('whoever waits keeps their place, into the silence and out of it', async () => {
    const one = await bed.open({ leaseMs })
    const order: number[] = []
    let slot = await one.enter(caller(1), patient)
    const enter = (number: number) =>
      one.enter(caller(1), patient).then(got => {
        order.push(number)
        return got
      })
    const waiting = [1, 2, 3].map(enter)
    await settled(one)
    bed.server.pause()
    await alone(one)
    waiting.push(enter(4))
    await give(slot)
    slot = await waiting[0]!
    bed.server.resume()
    await together(one)
    for (const next of waiting.slice(1)) {
      await give(slot)
      slot = await next
    }
    expect(order).toEqual([1, 2, 3, 4])
  })

  test('after a Redis that forgot everything each says what it runs, and what is over is counted', async () => {
    const [one, other] = await openTwo()
    const slots = [await one.enter(caller(2), patient), await one.enter(caller(2), patient)]
    await one.change('a', condition => ({ ...condition, failures: 3 }))
    await bed.server.kill()
    await alone(one, other)
    slots.push(await other.enter(caller(2), patient))
    await bed.server.start()
    await together(one, other)
    const over = [one, other]
      .map(({ changes }) => changes.at(-1))
      .reduce((sum, change) => sum + (change?.kind === 'together' ? change.over : 0), 0)
    expect(over).toBe(1)
    expect(await other.conditions(['a'])).toMatchObject([{ failures: 3 }])

    // Nobody is admitted until below the limit.
    let isIn = false
    const next = other.enter(caller(2), patient)
    void next.then(() => (isIn = true))
    await give(slots[0]!)
    await Promise.all([settled(one), settled(other)])
    expect(isIn).toBe(false)
    await give(slots[1]!)
    await next
  })

  test('who waits in a Redis that forgets it without being silent waits all the same', async () => {
    const one = await bed.open({ leaseMs })
    const slot = await one.enter(caller(1), patient)
    const next = one.enter(caller(1), patient)
    await settled(one)
    await bed.redis.flushall()
    await until(() => one.changes.filter(({ kind }) => kind === 'together').length === 2, 'nobody notices')
    await give(slot)
    await next
  })

  test('a gateway does not start beside a Redis that is not there, and says what to do', async () => {
    const port = await freePort()
    const opening = openRedis({
      url: `redis://:secret@127.0.0.1:${port}`,
      timeoutMs: 250,
      leaseMs,
      process: 'p',
      clock: systemClock,
      openAlone: () => inMemory(systemClock),
      onChange: () => {},
    })
    await expect(opening).rejects.toThrow(
      `Redis at 127.0.0.1:${port} does not answer (connect ECONNREFUSED 127.0.0.1:${port}); start it, or correct HEADGATE_REDIS_URL.`,
    )
  })
})
