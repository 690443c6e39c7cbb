import { Fault } from '../lib/fault.ts'

/** So many at once of each user, without a line: whoever is beyond is asked to come back. */
export class AtOnce {
  readonly #most: number
  readonly #running = new Map<string, number>()

  constructor(most: number) {
    this.#most = most
  }

  /** Throws `line_full`. Disposing of it makes room for another. */
  enter(userId: string): Disposable {
    const running = this.#running.get(userId) ?? 0
    if (running >= this.#most) throw new Fault('line_full')
    this.#running.set(userId, running + 1)
    return { [Symbol.dispose]: () => this.#leave(userId) }
  }

  #leave(userId: string): void {
    const running = (this.#running.get(userId) ?? 0) - 1
    if (running > 0) this.#running.set(userId, running)
    else this.#running.delete(userId)
  }
}
