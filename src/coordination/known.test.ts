import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { onRedis, redisProgram } from '../../test/redis-server.ts'
import { manualClock } from '../ledger/books.fixture.ts'
import { type AccountLimit, type Coordinator, calm } from './coordinator.ts'
import { inMemory } from './memory.ts'
import { openBed, type RedisBed, settled, stillTime } from './redis.fixture.ts'
import { slotOf } from './slots.fixture.ts'

let bed: RedisBed | undefined
afterAll(() => bed?.[Symbol.asyncDispose]())

/** What a coordinator of either kind promises of `known`, once it has been asked for the account. */
const engines: readonly { readonly name: string; open(): Promise<Coordinator> }[] = [
  { name: 'in memory', open: async () => inMemory(manualClock(77)) },
  ...(redisProgram === undefined ? [] : [{ name: 'in Redis', open: inRedis }]),
]

async function inRedis(): Promise<Coordinator> {
  bed ??= await openBed()
  await bed.clear()
  return bed.open(stillTime(manualClock(77)))
}

const a: AccountLimit = { accountId: 'a', slots: 2 }

describe.each(engines)('what is known of accounts, $name', ({ open }) => {
  test('is what was last read, taken, given back or changed, and every change of it is told', async () => {
    const lines = await open()
    await lines.conditions(['a', 'b'])
    const known = lines.known()
    expect([known.of('a'), known.of('b'), known.of('stranger')]).toEqual([calm, calm, calm])

    let seen = known.changes
    const news = () => {
      const told = new Set(known.changedSince(seen))
      seen = known.changes
      return [...told]
    }
    const slot = slotOf(await lines.take(a))
    expect(news()).toEqual(['a'])
    expect(known.of('a')).toMatchObject({ taken: 1, lastUsedMs: 77 })
    await lines.change('b', condition => ({ ...condition, failures: 3 }))
    expect(news()).toEqual(['b'])
    expect(known.of('b').failures).toBe(3)
    await slot[Symbol.asyncDispose]()
    expect(news()).toEqual(['a'])
    expect(known.of('a').taken).toBe(0)
    expect(news()).toEqual([])
    expect(lines.known()).toBe(known)
  })

  test('cannot be told of one who asks after very many changes', async () => {
    const lines = await open()
    const known = lines.known()
    const seen = known.changes
    await Promise.all(Array.from({ length: 5_000 }, () => lines.change('a', condition => ({ ...condition, failures: 1 }))))
    for (let n = 0; known.changes - seen < 5_000; n += 1) await lines.change(`a${n}`, condition => ({ ...condition, failures: 1 }))
    expect(known.changedSince(seen)).toBeUndefined()
    expect(known.changedSince(known.changes - 2)).toHaveLength(2)
  })
})

onRedis('what is known of accounts on several nodes', () => {
  let shared: RedisBed
  beforeAll(async () => {
    shared = await openBed()
  })
  beforeEach(() => shared.clear())
  afterAll(() => shared[Symbol.asyncDispose]())

  const ids = Array.from({ length: 1_000 }, (_, n) => `a${n}`)

  test('what one node learns of any of 1,000 accounts the others know within a second of calls, who ask for two at a time', async () => {
    const clock = manualClock(0)
    const one = await shared.open(stillTime(clock))
    const other = await shared.open(stillTime(clock))
    await one.conditions(ids)
    await other.change('a700', condition => ({ ...condition, restingUntilMs: 30_000 }))
    expect(one.known().of('a700').restingUntilMs).toBe(0)
    for (let passedMs = 0; passedMs < 1_000; passedMs += 51) {
      clock.advance(51)
      await one.conditions(['a1', 'a2'])
    }
    expect(one.known().of('a700').restingUntilMs).toBe(30_000)
  })

  test('whoever leaves the line of an account gives back no slot of it', async () => {
    const lines = await shared.open(stillTime(manualClock(0)))
    const only: AccountLimit = { accountId: 'a', slots: 1 }
    await lines.conditions(['a'])
    await lines.take(only)
    const leaving = new AbortController()
    const waited = lines.wait({ pool: 'p', userId: 'u', accounts: [only], waitingMax: 1 }, leaving)
    leaving.abort(new Error('it leaves'))
    await expect(waited).rejects.toThrow('it leaves')
    expect(lines.known().of('a').taken).toBe(1)
  })

  test('a call asks Redis for few accounts, however many there are', async () => {
    const clock = manualClock(0)
    const lines = await shared.open(stillTime(clock))
    await lines.conditions(ids)
    await settled(lines)
    const before = await askedOf(shared)
    clock.advance(51)
    for (let call = 0; call < 100; call += 1) await lines.conditions(['a1', 'a2'])
    expect((await askedOf(shared)) - before).toBeLessThanOrEqual(2 + 64)
  })

  /** How many accounts Redis has been asked for: each costs one HMGET. */
  async function askedOf({ redis }: RedisBed): Promise<number> {
    const stats = await redis.info('commandstats')
    return Number(/cmdstat_hmget:calls=(\d+)/.exec(stats)?.[1] ?? 0)
  }
})
