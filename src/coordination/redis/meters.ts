import type { Coordinator, Meter } from '../coordinator.ts'
import type { Wire } from './wire.ts'

/** Requests and tokens per minute, in Redis: what one owner has is kept in one place of a cluster. */
export function redisMeters(wire: Wire, nowMs: () => number): Pick<Coordinator, 'spend' | 'correct'> {
  const amounts = (meters: readonly Meter[]) => [nowMs(), ...meters.flatMap(({ perMinute, amount }) => [perMinute, amount])]
  return {
    async spend(meters) {
      const full = (await wire.run('meters-spend', meters.map(keyOf), amounts(meters))) as [number, number] | null
      return full === null ? { granted: true } : { granted: false, name: meters[full[0] - 1]!.name, retryAfterMs: full[1] }
    },
    async correct(meters) {
      const byOwner = Map.groupBy(meters, ({ owner }) => owner)
      await Promise.all([...byOwner.values()].map(ofOne => wire.run('meters-correct', ofOne.map(keyOf), amounts(ofOne))))
    },
  }
}

function keyOf({ owner, name }: Meter): string {
  return `hg:{${owner}}:meter:${name}`
}
