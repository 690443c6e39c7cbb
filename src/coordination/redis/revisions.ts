import type { Clock, Timer } from '../../lib/clock.ts'
import type { Coordinator } from '../coordinator.ts'
import { RedisAway, type Wire } from './wire.ts'

const key = 'hg:revision'
const channel = 'hg:revision'

/** How often it is asked whether the directory has changed: a notification may have been lost. A revoked key works no longer than twice this. */
const askMs = 2_000

/**
 * How the gateways learn that one of them has changed the directory: a number that grows, and a notification so that nobody has to
 * wait for it. While Redis is silent nobody can know, so each takes it that something has changed, as often as it would have asked.
 */
export class Revisions implements Pick<Coordinator, 'announce' | 'onAnnounced'> {
  readonly #wire: Wire
  readonly #clock: Clock
  readonly #isAlone: () => boolean
  readonly #listeners = new Set<() => Promise<void>>()
  #seen = ''
  #isOwed = false
  #isAsking = false
  #isAskedAgain = false
  #next: Timer | undefined
  #isOver = false

  constructor(wire: Wire, clock: Clock, isAlone: () => boolean) {
    this.#wire = wire
    this.#clock = clock
    this.#isAlone = isAlone
    wire.hear(channel, () => this.#ask())
    this.#askLater()
  }

  async announce(): Promise<void> {
    try {
      const mine = String(await this.#wire.command('INCR', key))
      // What this one wrote itself it has read.
      if (BigInt(mine) === BigInt(this.#seen || '0') + 1n) this.#seen = mine
      this.#isOwed = false
      await this.#wire.command('PUBLISH', channel, mine)
    } catch (error) {
      if (!(error instanceof RedisAway)) throw error
      this.#isOwed = true
    }
  }

  onAnnounced(changed: () => Promise<void>): Disposable {
    this.#listeners.add(changed)
    return { [Symbol.dispose]: () => void this.#listeners.delete(changed) }
  }

  end(): void {
    this.#isOver = true
    this.#next?.[Symbol.dispose]()
  }

  /** One at a time; whoever asks meanwhile has it asked once more. */
  #ask(): void {
    if (this.#isOver) return
    this.#isAskedAgain = this.#isAsking
    if (this.#isAsking) return
    this.#next?.[Symbol.dispose]()
    this.#isAsking = true
    this.#askOnce()
      .catch(() => {}) // Redis or the books are away: it is asked again soon.
      .then(() => {
        this.#isAsking = false
        if (this.#isAskedAgain) this.#ask()
        else this.#askLater()
      })
  }

  #askLater(): void {
    if (!this.#isOver) this.#next = this.#clock.after(askMs, () => this.#ask())
  }

  async #askOnce(): Promise<void> {
    if (this.#isOwed) await this.announce()
    const newest = this.#isAlone() ? undefined : String((await this.#wire.command('GET', key)) ?? '')
    if (newest === this.#seen) return
    await Promise.all([...this.#listeners].map(changed => changed()))
    this.#seen = newest ?? '' // Only now: what failed is tried again.
  }
}
