import type { Settings } from './config/settings.ts'
import type { Coordinator, LinesNow } from './coordination/coordinator.ts'
import { inMemory } from './coordination/memory.ts'
import type { RedisChange } from './coordination/redis.ts'
import type { Clock } from './lib/clock.ts'
import type { Log } from './lib/log.ts'
import type { Metrics } from './lib/metrics.ts'

/** The coordinator that this gateway runs on, and what an operator wants to know of it. */
export interface InFlight extends AsyncDisposable {
  readonly coordinator: Coordinator & { linesNow(): LinesNow }
  /** Redis is silent, and this gateway keeps to its share of every limit. */
  readonly isAlone: () => boolean
  /** Gateways that share the limits, this one too. */
  readonly nodes: () => number
}

export interface InFlightParts {
  readonly settings: Pick<Settings, 'redisUrl' | 'redisTimeoutMs' | 'leaseMs'>
  /** What its slots are named by. */
  readonly leaseId: string
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** In memory, or in Redis if one is configured. Rejects with a sentence for the operator. */
export async function openInFlight({ settings, leaseId, clock, log, metrics }: InFlightParts): Promise<InFlight> {
  const { redisUrl: url, redisTimeoutMs: timeoutMs, leaseMs } = settings
  metrics.coordinator.set({ kind: url === null ? 'memory' : 'redis' }, 1)
  if (url === null) {
    return { coordinator: inMemory(clock), isAlone: () => false, nodes: () => 1, async [Symbol.asyncDispose]() {} }
  }
  const { openRedis } = await import('./coordination/redis.ts')
  const redis = await openRedis({
    url,
    timeoutMs,
    leaseMs,
    process: leaseId,
    clock,
    openAlone: () => inMemory(clock),
    onChange: change => tell(change, log, metrics),
  })
  return {
    coordinator: redis,
    isAlone: () => redis.isAlone,
    nodes: () => redis.nodes,
    [Symbol.asyncDispose]: () => redis[Symbol.asyncDispose](),
  }
}

function tell(change: RedisChange, log: Log, metrics: Metrics): void {
  switch (change.kind) {
    case 'alone':
      return log.warn({ err: change.why, nodes: change.nodes }, 'Redis is silent: this gateway goes on with its share of every limit')
    case 'together':
      metrics.slotsOver.inc(change.over)
      return log.info({ slots: change.slots, over: change.over }, 'this gateway agrees with the others in Redis')
    case 'freed':
      metrics.slotsFreed.inc(change.slots)
      if (change.slots === 0) return log.info({ gateway: change.process }, 'a gateway is gone; it had no slots')
      return log.warn({ gateway: change.process, slots: change.slots }, 'a gateway is gone: its slots are free')
  }
}
