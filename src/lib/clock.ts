/** Time as a parameter, so that a whole run can be replayed. */
export interface Clock {
  /** Milliseconds since 1970, UTC. May jump; never used to measure. */
  nowMs(): number
  /** Milliseconds that only grow. For durations. */
  elapsedMs(): number
  /** Calls `then` once, after `ms`. The timer does not keep the program alive. */
  after(ms: number, then: () => void): Timer
}

export interface Timer extends Disposable {
  /** Starts the wait anew. Cheap: for silence that is broken a thousand times a second. */
  restart(): void
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
  after: (ms, then) => new SystemTimer(ms, then),
}

class SystemTimer implements Timer {
  readonly #timeout: NodeJS.Timeout

  constructor(ms: number, then: () => void) {
    this.#timeout = setTimeout(then, ms)
    this.#timeout.unref()
  }

  restart(): void {
    this.#timeout.refresh()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timeout)
  }
}
