import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Lane, openLane } from './lane.ts'
import type { Heard } from './reader.ts'

/** Where the load goes, and what it is. */
export interface Load {
  readonly port: number
  /** Whole requests, of several keys, sent in turn. */
  readonly requests: readonly Buffer[]
  /** Why an answer is wrong, in a few words; undefined when it is right. A wrong answer ends the run. */
  readonly wrong: (heard: Heard) => string | undefined
  /** Told of every right answer, how long it took, as in `Answered`, and how long after it was sent it was whole. */
  readonly told?: (heard: Heard, tookMs: number, sinceSentMs: number) => void
}

/** What a load was answered. Times in milliseconds. */
export interface Answered {
  readonly calls: number
  readonly events: number
  readonly seconds: number
  /**
   * Until the answer was whole, from when the call's bytes were handed to the system; where it found no connection free, which is the
   * gateway's doing, from when it was due.
   */
  readonly tookMs: readonly number[]
  /** Until the first event of a stream, from when `tookMs` begins. */
  readonly firstEventMs: readonly number[]
  /** The load's own doing, that is in neither: from when a call was due until `tookMs` begins. */
  readonly lateMs: readonly number[]
  /** Between two events of a stream. */
  readonly longestSilenceMs: number
}

/** Thrown for the first answer that is not right. */
export class WrongAnswer extends Error {
  override readonly name = 'WrongAnswer'
}

/** Closed loop: so many calls at a time, each followed by the next, until the time is over and the last answer whole. */
export async function keepInFlight(load: Load, inFlight: number, ms: number): Promise<Answered> {
  using lanes = await openLanes(load.port, inFlight)
  const tally = newTally(load)
  const untilMs = performance.now() + ms
  await Promise.all(
    lanes.all.map(async lane => {
      while (performance.now() < untilMs) await tally.call(lane, { dueMs: performance.now(), foundLane: true })
    }),
  )
  return tally.answered()
}

/** So many calls at once, and no more. */
export async function allAtOnce(load: Load, count: number): Promise<Answered> {
  using lanes = await openLanes(load.port, count)
  const tally = newTally(load)
  const dueMs = performance.now()
  await Promise.all(lanes.all.map(lane => tally.call(lane, { dueMs, foundLane: false })))
  return tally.answered()
}

/** When calls of an open loop are due. */
export interface Arrivals {
  readonly perSecond: number
  readonly ms: number
  /** Calls that are due before are made, and not counted: until it is as full as it will be. */
  readonly countedFromMs?: number
  /** Connections. A call that finds none free waits for one, and its time runs. */
  readonly lanes: number
  /** From 0 to below 1; arrivals are as random as those of many people who do not know of each other (Poisson). */
  readonly chance: () => number
}

/** Open loop: calls come when they are due, whatever became of those before, so that a queue at the gateway is not hidden. */
export async function arrive(load: Load, arrivals: Arrivals): Promise<Answered> {
  using lanes = await openLanes(load.port, arrivals.lanes)
  const tally = newTally(load, arrivals.countedFromMs)
  const due = newQueue()
  const pacer = new Worker(new URL('./pacer.ts', import.meta.url))
  pacer.on('exit', due.end)
  await once(pacer, 'message') // It is there. A machine that is slow to start a thread must not make the first calls late.
  pacer.postMessage(dueTimes(arrivals))
  pacer.on('message', (atMs: number) => due.add(atMs - performance.timeOrigin))
  try {
    await Promise.all(
      lanes.all.map(async lane => {
        for (let one = await due.take(); one !== undefined; one = await due.take()) await tally.call(lane, one)
      }),
    )
  } finally {
    await pacer.terminate()
  }
  return tally.answered()
}

/** A call that is to be made. */
interface Due {
  readonly dueMs: number
  /** A connection was free when it became due, so that whatever kept it from being sent at once was the load itself. */
  readonly foundLane: boolean
}

/** Due times, each for one taker; the taker that came last is served first, so that few connections carry a small load. */
function newQueue() {
  const waiting: number[] = []
  const takers: ((due: Due | undefined) => void)[] = []
  let isOver = false
  return {
    add(dueMs: number): void {
      const taker = takers.pop()
      if (taker === undefined) waiting.push(dueMs)
      else taker({ dueMs, foundLane: true })
    },
    take(): Promise<Due | undefined> {
      const dueMs = waiting.shift()
      if (dueMs !== undefined) return Promise.resolve({ dueMs, foundLane: false })
      if (isOver) return Promise.resolve(undefined)
      return new Promise(resolve => takers.push(resolve))
    },
    end(): void {
      isOver = true
      for (const taker of takers.splice(0)) taker(undefined)
    },
  }
}

/** Time enough for the due times to reach the pacer. */
const leadMs = 50

function dueTimes({ perSecond, ms, chance }: Arrivals): Float64Array {
  const beginMs = performance.timeOrigin + performance.now() + leadMs
  const due: number[] = []
  for (let at = 0; at < ms; at += (-Math.log(1 - chance()) * 1000) / perSecond) due.push(beginMs + at)
  return Float64Array.from(due)
}

async function openLanes(port: number, count: number): Promise<Disposable & { readonly all: readonly Lane[] }> {
  const all = await Promise.all(Array.from({ length: count }, () => openLane(port)))
  return { all, [Symbol.dispose]: () => all.forEach(lane => void lane.close()) }
}

/** Counts what is answered, and lets nothing pass that is wrong. */
function newTally({ requests, wrong, told }: Load, countedFromMs = 0) {
  const tookMs: number[] = []
  const firstEventMs: number[] = []
  const lateMs: number[] = []
  const startedMs = performance.now()
  let sent = 0
  let events = 0
  let longestSilenceMs = 0
  return {
    async call(lane: Lane, { dueMs, foundLane }: Due): Promise<void> {
      let sentMs = dueMs
      const heard = await lane.call(requests[(sent += 1) % requests.length]!, () => {
        sentMs = performance.now()
      })
      const fromMs = foundLane ? sentMs : dueMs
      const why = wrong(heard)
      if (why !== undefined) throw new WrongAnswer(`${why}: ${shownWrong(heard)}`)
      const endedMs = performance.now()
      const took = endedMs - fromMs
      told?.(heard, took, endedMs - sentMs)
      events += heard.events
      longestSilenceMs = Math.max(longestSilenceMs, heard.longestSilenceMs)
      if (dueMs - startedMs < countedFromMs) return
      tookMs.push(took)
      lateMs.push(fromMs - dueMs)
      if (heard.events > 0) firstEventMs.push(heard.firstEventMs - fromMs)
    },
    answered: (): Answered => ({
      ...{ calls: sent, events, seconds: (performance.now() - startedMs) / 1000 },
      ...{ tookMs, firstEventMs, lateMs, longestSilenceMs },
    }),
  }
}

function shownWrong({ status, bytes, events, tail }: Heard): string {
  return `status ${status}, ${bytes} bytes, ${events} events, ending in ${tail.toString().slice(-300)}`
}
