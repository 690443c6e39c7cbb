import type { Clock } from '../../lib/clock.ts'
import { type Listed, Roster } from '../../lib/roster.ts'

/** Something that waits for its client. */
export interface Waits extends Listed {
  /** In the clock's elapsed milliseconds; written by where it waits. */
  waitsSinceMs: number
}

/** Those who wait for the same thing equally long, and one timer for all of them. */
export class Waiting<Member extends Waits> {
  readonly #members = new Roster<Member>()
  readonly #clock: Clock
  readonly #ms: number
  readonly #tooLong: (member: Member) => void
  #isLooking = false

  /** `tooLong` is told of whoever waits for `ms`, and waits no more. */
  constructor(clock: Clock, ms: number, tooLong: (member: Member) => void) {
    this.#clock = clock
    this.#ms = ms
    this.#tooLong = tooLong
  }

  add(member: Member): void {
    member.waitsSinceMs = this.#clock.elapsedMs()
    this.#members.add(member)
    if (!this.#isLooking) this.#lookAfter(this.#ms)
  }

  delete(member: Member): void {
    this.#members.delete(member)
  }

  all(): readonly Member[] {
    return this.#members.all()
  }

  #lookAfter(ms: number): void {
    this.#isLooking = true
    this.#clock.after(ms, () => this.#look())
  }

  #look(): void {
    this.#isLooking = false
    const untilMs = this.#clock.elapsedMs() - this.#ms
    let first = this.#members.first
    while (first !== undefined && first.waitsSinceMs <= untilMs) {
      this.#members.delete(first)
      this.#tooLong(first)
      first = this.#members.first
    }
    if (first !== undefined) this.#lookAfter(Math.max(1, Math.ceil(first.waitsSinceMs - untilMs)))
  }
}
