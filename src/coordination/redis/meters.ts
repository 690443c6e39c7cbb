import type { Coordinator, Meter, OverRate } from '../coordinator.ts'
import type { Wire } from './wire.ts'

/** Requests and tokens per minute, in Redis: what one owner has is kept in one place of a cluster. */
export function redisMeters(wire: Wire, nowMs: () => number): Pick<Coordinator, 'spend' | 'correct'> {
  return {
    async spend(meters) {
      const [first] = meters
      if (first === undefined) return undefined
      return overRate((await wire.run('meters-spend', [rootOf(first)], [written(meters), nowMs()])) as readonly [string, number] | null)
    },
    async correct(meters) {
      const byOwner = Map.groupBy(meters, ({ owner }) => owner)
      await Promise.all([...byOwner.values()].map(ofOne => wire.run('meters-correct', [rootOf(ofOne[0]!)], [written(ofOne), nowMs()])))
    },
  }
}

/** As the scripts read them: nothing when there are none. */
export function written(meters: readonly Meter[] = []): string {
  return meters.length === 0 ? '' : JSON.stringify(meters.map(({ name, perMinute, amount }) => [name, perMinute, amount]))
}

/** What a script said of meters that have no room; undefined when it said nothing. */
export function overRate(said: readonly (string | number)[] | null): OverRate | undefined {
  const [name, retryAfterMs] = said ?? []
  return name === undefined || retryAfterMs === undefined ? undefined : { name: String(name), retryAfterMs: Number(retryAfterMs) }
}

function rootOf({ owner }: Meter): string {
  return `hg:{${owner}}`
}
