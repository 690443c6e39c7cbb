import type { Sim } from '../../sim/sim.ts'

/** A call as the upstream had it: from its request's headers to its answer's end. Milliseconds. */
export interface Run {
  /** Of its account. */
  readonly key: string
  /** What the client wrote of itself into `metadata`, which passes unchanged. */
  readonly who: Readonly<Record<string, string>>
  readonly fromMs: number
  /** Infinity while it runs. */
  readonly untilMs: number
}

/** In the order in which they came. */
export function runsOf({ attempts }: Pick<Sim, 'attempts'>): readonly Run[] {
  return attempts.map(({ key, body, atMs, endedMs = Number.POSITIVE_INFINITY }) => {
    const { metadata = {} } = JSON.parse(String(body)) as { metadata?: Record<string, string> }
    return { key, who: metadata, fromMs: atMs, untilMs: endedMs }
  })
}

/** The most that ran at once. One that began in the moment in which another ended came after it. */
export function mostAtOnce(runs: readonly Run[]): number {
  const changes = runs.flatMap(({ fromMs, untilMs }) => [
    { atMs: fromMs, by: 1 },
    { atMs: untilMs, by: -1 },
  ])
  changes.sort((one, other) => one.atMs - other.atMs || one.by - other.by)
  let now = 0
  let most = 0
  for (const { by } of changes) most = Math.max(most, (now += by))
  return most
}

/** The same of each of some kind. */
export function mostAtOnceOf(runs: readonly Run[], kind: (run: Run) => string): Readonly<Record<string, number>> {
  return Object.fromEntries([...Map.groupBy(runs, kind)].map(([name, those]) => [name, mostAtOnce(those)]))
}
