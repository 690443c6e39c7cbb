import type { Clock, Timer } from './clock.ts'

/**
 * A wait that is put off again and again: by a number, not by a timer, of which there is one at a time. It looks when it fires whether the wait
 * is over, and else goes on for what is left. To start a timer anew with each of a stream's events costs three times as much.
 */
export class Deadline implements Disposable {
  readonly #clock: Clock
  /** No wait that comes later is shorter than that, or else its timer is made anew. */
  readonly #shortestMs: number
  readonly #passed: () => void
  #ms = 0
  #dueMs = 0
  #timer: Timer | undefined
  #firesMs = Number.POSITIVE_INFINITY

  /** Calls `passed` when a wait is over. `shortestMs` is how long the shortest of several waits is, as far as that is known. */
  constructor(clock: Clock, shortestMs: number, passed: () => void) {
    this.#clock = clock
    this.#shortestMs = shortestMs
    this.#passed = passed
  }

  /** Waits so long from now on, for this instead of what was waited for. */
  set(ms: number): void {
    this.#ms = ms
    this.extend()
  }

  /** Begins the wait anew. */
  extend(): void {
    const nowMs = this.#clock.elapsedMs()
    this.#dueMs = nowMs + this.#ms
    if (this.#dueMs < this.#firesMs) this.#arm(nowMs)
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#firesMs = Number.NEGATIVE_INFINITY
  }

  /** Sooner than it must be, where a shorter wait may follow: that needs no other timer then. */
  #arm(nowMs: number): void {
    this.#timer?.[Symbol.dispose]()
    const ms = Math.min(this.#dueMs - nowMs, Math.max(this.#shortestMs, 1))
    this.#firesMs = nowMs + ms
    this.#timer = this.#clock.after(ms, () => this.#fired())
  }

  #fired(): void {
    this.#timer = undefined
    this.#firesMs = Number.POSITIVE_INFINITY
    const nowMs = this.#clock.elapsedMs()
    // A timer may fire a fraction of a millisecond early.
    if (this.#dueMs - nowMs >= 1) this.#arm(nowMs)
    else this.#passed()
  }
}
