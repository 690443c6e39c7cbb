import { Redis } from 'ioredis'
import { type RedisServer, startRedis } from '../../test/redis-server.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { inMemory } from './memory.ts'
import { openRedis, type RedisChange, type RedisCoordinator, type RedisOptions } from './redis.ts'

/** One Redis, and coordinators on it. */
export interface RedisBed extends AsyncDisposable {
  readonly server: RedisServer
  /** For looking at it, and for breaking it. */
  readonly redis: Redis
  /** Whoever is open when the bed goes is closed. */
  open(options?: Partial<RedisOptions>): Promise<RedisCoordinator & { readonly changes: readonly RedisChange[] }>
  /** Forgets everything, and everybody. */
  clear(): Promise<void>
}

let names = 0

export async function openBed(...as: Parameters<typeof startRedis>): Promise<RedisBed> {
  const server = await startRedis(...as)
  const redis = new Redis(server.url, { retryStrategy: () => 20 })
  redis.on('error', () => {}) // It is killed on purpose.
  const opened = new Set<RedisCoordinator>()

  async function closeAll(): Promise<void> {
    await Promise.all([...opened].map(one => one[Symbol.asyncDispose]()))
    opened.clear()
  }

  return {
    server,
    redis,
    async open(options = {}) {
      names += 1
      const changes: RedisChange[] = []
      const coordinator = await openRedis({
        url: server.url,
        timeoutMs: 250,
        leaseMs: 30_000,
        process: `p${names}`,
        clock: systemClock,
        openAlone: () => inMemory(options.clock ?? systemClock),
        onChange: change => changes.push(change),
        ...options,
      })
      opened.add(coordinator)
      return Object.assign(coordinator, { changes })
    },
    async clear() {
      await closeAll()
      await redis.flushall()
    },
    async [Symbol.asyncDispose]() {
      await closeAll()
      redis.disconnect()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** By a clock that a test moves: nothing but the test lets time pass, and nobody is called silent or dead for it. */
export function stillTime(clock: Clock): Partial<RedisOptions> {
  return { clock, isClockShared: true, timeoutMs: 1e12, leaseMs: 1e12 }
}

/**
 * Resolves when everybody who can go on has: what was sent has been answered, what was published for it was heard. An operation
 * that concerns nobody comes after all others on its connection; what it was overtaken by is there a turn of the loop later.
 */
export async function settled(lines: Pick<RedisCoordinator, 'renew' | 'isAlone'>): Promise<void> {
  if (lines.isAlone) throw new Error('this coordinator goes on alone, and tests nothing of Redis')
  for (let round = 0; round < 3; round++) {
    await lines.renew({ userId: 'nobody', keyId: 'none', userSlots: 1, keySlots: 1 })
    await new Promise(resolve => setImmediate(resolve))
  }
}
