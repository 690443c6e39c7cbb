import type { Clock, Timer } from '../../src/lib/clock.ts'

interface Planned {
  dueMs: number
  /** Of two for the same moment, the one that was planned first comes first. */
  number: number
  readonly then: () => void
}

/** Some day in January 2027. */
const startMs = 1_800_000_000_000

/** Time that passes only when all that could happen by now has happened, so that a run depends on nothing but its seed. */
export class VirtualClock implements Clock {
  readonly #planned = new Set<Planned>()
  #elapsedMs = 0
  #count = 0

  nowMs(): number {
    return startMs + this.#elapsedMs
  }

  elapsedMs(): number {
    return this.#elapsedMs
  }

  after(ms: number, then: () => void): Timer {
    const planned = { dueMs: 0, number: 0, then }
    const plan = () => {
      planned.dueMs = this.#elapsedMs + Math.max(0, ms)
      planned.number = this.#count++
      this.#planned.add(planned)
    }
    plan()
    return { restart: plan, [Symbol.dispose]: () => void this.#planned.delete(planned) }
  }

  /** How many timers nobody has disposed of, and that have not come due. */
  get pending(): number {
    return this.#planned.size
  }

  /** Lets the next thing happen, and all that follows from it at once. False when there is none. */
  async step(): Promise<boolean> {
    let next: Planned | undefined
    for (const one of this.#planned) if (next === undefined || isSooner(one, next)) next = one
    if (next === undefined) return false
    this.#planned.delete(next)
    this.#elapsedMs = next.dueMs
    next.then()
    await quiet()
    return true
  }
}

function isSooner(one: Planned, other: Planned): boolean {
  return one.dueMs < other.dueMs || (one.dueMs === other.dueMs && one.number < other.number)
}

/** Ticks and promises all come before the event loop's next turn, however many follow from each other; nothing here waits for more. */
function quiet(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
