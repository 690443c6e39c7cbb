import { randomFrom } from '../test/chance.ts'
import { type Answered, allAtOnce, arrive, keepInFlight, type Load } from './load/load.ts'
import type { Ask } from './load/request.ts'

/** One kind of load. */
export interface Scenario {
  readonly name: string
  readonly about: string
  readonly unit: 'call' | 'event'
  readonly ask: Ask
  /** Where it would show nothing of others: only for those who keep books. */
  readonly booksOnly?: boolean
  /** It is told how many calls a second are half of what can be served. */
  readonly isHalfLoad?: boolean
  readonly run: (load: Load, perSecond: number) => Promise<Answered>
}

const json = { unit: 'call', ask: { stream: false } } as const

function inFlight(count: number, ms: number): Pick<Scenario, 'run'> {
  return { run: load => keepInFlight(load, count, ms) }
}

/** Arrivals are the same for everybody, and the same in every run. */
const seed = 6

const many = 1_000
const streamMs = 1_000
/** Four hundred streams are counted: of a hundred the 99th would be a single one's luck. */
const countedMs = 4 * streamMs

export const scenarios: readonly Scenario[] = [
  { name: 'json50', about: 'JSON calls, 50 in flight', ...json, ...inFlight(50, 1_000) },
  { name: 'json200', about: 'JSON calls, 200 in flight', ...json, ...inFlight(200, 1_000) },
  {
    name: 'kept50',
    about: 'JSON calls whose responses the upstream keeps, 50 in flight',
    ...{ unit: 'call', ask: { stream: false, store: true }, booksOnly: true },
    ...inFlight(50, 1_000),
  },
  { name: 'one', about: 'JSON calls, one at a time', ...json, ...inFlight(1, 700) },
  {
    name: 'half',
    about: 'JSON calls that come at random, half as many as Headgate can serve',
    ...json,
    isHalfLoad: true,
    run: (load, perSecond) => arrive(load, { perSecond, ms: 1_000, lanes: 200, chance: randomFrom(seed) }),
  },
  {
    name: 'streams',
    about: '100 streams at a time of 100 events, 10 ms apart, that begin at random',
    unit: 'event',
    ask: { stream: true, gapMs: 10 },
    run: load => arrive(load, { perSecond: 100, ms: streamMs + countedMs, countedFromMs: streamMs, lanes: 300, chance: randomFrom(seed) }),
  },
  {
    name: 'thousand',
    about: `${many} streams at once of 100 events, 20 ms apart`,
    unit: 'event',
    ask: { stream: true, gapMs: 20 },
    run: load => allAtOnce(load, many),
  },
]
