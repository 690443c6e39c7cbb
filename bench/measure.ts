import { setInterval as every } from 'node:timers/promises'
import { memoryMiB, threadsOf } from './cores.ts'
import { percentile } from './figures.ts'
import type { Load } from './load/load.ts'
import type { Scenario } from './scenarios.ts'

/** What one run showed. Not a number: nothing was measured. */
export interface Figures {
  readonly perSecond: number
  readonly seconds: number
  /** CPU time of the whole gateway, all its threads, per call or per event. */
  readonly cpuMicros: number
  /** Of that, what its main thread used. */
  readonly mainMicros: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly firstP50Ms: number
  readonly firstP99Ms: number
  /** How late the load itself was with a call, which is in no other figure. */
  readonly lateP99Ms: number
  readonly silenceMs: number
  /** Resident, the most while it ran. */
  readonly memoryMiB: number
  /** Of the core that the load and the upstream share, how much they used. */
  readonly loadBusy: number
}

/** Who is measured, and who loads them. */
export interface Measured {
  readonly load: Load
  /** Calls a second, where the scenario asks for them. */
  readonly perSecond: number
  readonly gatewayPids: readonly number[]
  readonly loadPids: readonly number[]
}

/** Returns also how many calls were made, which the books must hold. Rejects at the first wrong answer. */
export async function measure(scenario: Scenario, measured: Measured): Promise<{ readonly figures: Figures; readonly calls: number }> {
  const { load, perSecond, gatewayPids, loadPids } = measured
  const watching = new AbortController()
  const memory = watchMemory(gatewayPids, watching.signal)
  const before = { gateway: cpuOf(gatewayPids), load: cpuOf(loadPids), atMs: performance.now() }
  try {
    const answered = await scenario.run(load, perSecond)
    const elapsedMicros = (performance.now() - before.atMs) * 1000
    const after = { gateway: cpuOf(gatewayPids), load: cpuOf(loadPids) }
    const count = scenario.unit === 'call' ? answered.calls : answered.events
    const each = (micros: number) => (gatewayPids.length === 0 ? Number.NaN : micros / count)
    watching.abort()
    const figures = {
      ...{ perSecond: count / answered.seconds, seconds: answered.seconds },
      cpuMicros: each(after.gateway.all - before.gateway.all),
      mainMicros: each(after.gateway.main - before.gateway.main),
      ...{ p50Ms: percentile(answered.tookMs, 50), p99Ms: percentile(answered.tookMs, 99) },
      ...{ firstP50Ms: percentile(answered.firstEventMs, 50), firstP99Ms: percentile(answered.firstEventMs, 99) },
      lateP99Ms: percentile(answered.lateMs, 99),
      silenceMs: scenario.ask.stream ? answered.longestSilenceMs : Number.NaN,
      memoryMiB: await memory,
      loadBusy: (after.load.all - before.load.all) / elapsedMicros,
    }
    return { figures, calls: answered.calls }
  } finally {
    watching.abort()
  }
}

function cpuOf(pids: readonly number[]): { readonly all: number; readonly main: number } {
  const threads = threadsOf(pids)
  const sum = (some: typeof threads) => some.reduce((all, { micros }) => all + micros, 0)
  return { all: sum(threads), main: sum(threads.filter(({ isMain }) => isMain)) }
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
