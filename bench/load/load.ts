import { type Lane, openLane } from './lane.ts'
import type { Heard } from './reader.ts'

/** Where the load goes, and what it is. */
export interface Load {
  readonly port: number
  /** Whole requests, of several keys, sent in turn. */
  readonly requests: readonly Buffer[]
  /** Why an answer is wrong, in a few words; undefined when it is right. A wrong answer ends the run. */
  readonly wrong: (heard: Heard) => string | undefined
}

/** What a load was answered. Times in milliseconds. */
export interface Answered {
  readonly calls: number
  readonly events: number
  readonly seconds: number
  /** From when a call was due until its answer was whole. */
  readonly tookMs: readonly number[]
  /** From when a stream was due until its first event. */
  readonly firstEventMs: readonly number[]
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
      while (performance.now() < untilMs) await tally.call(lane, performance.now())
    }),
  )
  return tally.answered()
}

/** So many calls at once, and no more. */
export async function allAtOnce(load: Load, count: number): Promise<Answered> {
  using lanes = await openLanes(load.port, count)
  const tally = newTally(load)
  const dueMs = performance.now()
  await Promise.all(lanes.all.map(lane => tally.call(lane, dueMs)))
  return tally.answered()
}

async function openLanes(port: number, count: number): Promise<Disposable & { readonly all: readonly Lane[] }> {
  const all = await Promise.all(Array.from({ length: count }, () => openLane(port)))
  return { all, [Symbol.dispose]: () => all.forEach(lane => void lane.close()) }
}

/** Counts what is answered, and lets nothing pass that is wrong. */
function newTally({ requests, wrong }: Load) {
  const tookMs: number[] = []
  const firstEventMs: number[] = []
  const startedMs = performance.now()
  let sent = 0
  let events = 0
  let longestSilenceMs = 0
  return {
    async call(lane: Lane, dueMs: number): Promise<void> {
      const heard = await lane.call(requests[(sent += 1) % requests.length]!)
      const why = wrong(heard)
      if (why !== undefined)
        throw new WrongAnswer(
          `${why}: status ${heard.status}, ${heard.bytes} bytes, ${heard.events} events, ${heard.tail.toString().slice(-300)}`,
        )
      tookMs.push(performance.now() - dueMs)
      if (heard.events > 0) firstEventMs.push(heard.firstEventMs - dueMs)
      events += heard.events
      longestSilenceMs = Math.max(longestSilenceMs, heard.longestSilenceMs)
    },
    answered: (): Answered => ({
      calls: tookMs.length,
      events,
      seconds: (performance.now() - startedMs) / 1000,
      ...{ tookMs, firstEventMs, longestSilenceMs },
    }),
  }
}
