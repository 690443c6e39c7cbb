import { setInterval as every } from 'node:timers/promises'
import { cpuMicros, memoryMiB } from './cores.ts'
import { percentile } from './figures.ts'
import { type Answered, allAtOnce, keepInFlight, type Load } from './load/load.ts'
import type { Ask } from './load/request.ts'

/** What one run showed. Not a number: nobody measured it. */
export interface Figures {
  readonly perSecond: number
  /** Of the whole gateway, per call or per event. */
  readonly cpuMicros: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly firstEventP50Ms: number
  readonly firstEventP99Ms: number
  readonly longestSilenceMs: number
  /** The most while it ran. */
  readonly memoryMiB: number
  /** Of the core that the load and the upstream have: how much of it they used. */
  readonly loadBusy: number
}

/** One kind of load. */
export interface Scenario {
  readonly name: string
  readonly about: string
  readonly unit: 'call' | 'event'
  readonly ask: Ask
  /** How much of it is run before it counts. */
  readonly warmUp?: (load: Load) => Promise<Answered>
  readonly run: (load: Load) => Promise<Answered>
}

const warmUpMs = 200
const json = { unit: 'call', ask: { stream: false } } as const

function closed(name: string, about: string, inFlight: number, ms: number): Scenario {
  return { name, about, ...json, warmUp: load => keepInFlight(load, inFlight, warmUpMs), run: load => keepInFlight(load, inFlight, ms) }
}

const many = 1_000

export const scenarios: readonly Scenario[] = [
  closed('json50', 'JSON calls, 50 in flight', 50, 1_200),
  closed('json200', 'JSON calls, 200 in flight', 200, 1_200),
  { ...closed('kept50', 'JSON calls whose responses are kept, 50 in flight', 50, 1_000), ask: { stream: false, store: true } },
  closed('one', 'JSON calls, one in flight', 1, 800),
  {
    name: 'streams',
    about: '100 streams of 100 events, 10 ms apart',
    unit: 'event',
    ask: { stream: true, gapMs: 10 },
    run: load => keepInFlight(load, 100, 1_500),
  },
  {
    name: 'thousand',
    about: `${many} streams at once, 100 events each, 20 ms apart`,
    unit: 'event',
    ask: { stream: true, gapMs: 20 },
    run: load => allAtOnce(load, many),
  },
]

/** Who is measured, and who loads them. */
export interface Measured {
  readonly load: Load
  readonly gatewayPids: readonly number[]
  readonly loadPids: readonly number[]
}

/** Returns also how many calls were made in all, warm-up included, which the books must hold. */
export async function measure(scenario: Scenario, { load, gatewayPids, loadPids }: Measured): Promise<{ figures: Figures; calls: number }> {
  const warmed = (await scenario.warmUp?.(load))?.calls ?? 0
  const watching = new AbortController()
  const memory = watchMemory(gatewayPids, watching.signal)
  const before = { gateway: cpuMicros(gatewayPids), load: cpuMicros(loadPids), atMs: performance.now() }
  const answered = await scenario.run(load)
  const tookMicros = (performance.now() - before.atMs) * 1000
  const used = { gateway: cpuMicros(gatewayPids) - before.gateway, load: cpuMicros(loadPids) - before.load }
  watching.abort()
  const count = scenario.unit === 'call' ? answered.calls : answered.events
  const figures = {
    perSecond: count / answered.seconds,
    cpuMicros: gatewayPids.length === 0 ? Number.NaN : used.gateway / count,
    ...{ p50Ms: percentile(answered.tookMs, 50), p99Ms: percentile(answered.tookMs, 99) },
    firstEventP50Ms: percentile(answered.firstEventMs, 50),
    firstEventP99Ms: percentile(answered.firstEventMs, 99),
    longestSilenceMs: scenario.ask.stream ? answered.longestSilenceMs : Number.NaN,
    memoryMiB: await memory,
    loadBusy: used.load / tookMicros,
  }
  return { figures, calls: warmed + answered.calls }
}

const memoryEveryMs = 100

async function watchMemory(pids: readonly number[], signal: AbortSignal): Promise<number> {
  if (pids.length === 0) return Number.NaN
  let most = memoryMiB(pids)
  try {
    for await (const _ of every(memoryEveryMs, undefined, { signal })) most = Math.max(most, memoryMiB(pids))
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return most
}
