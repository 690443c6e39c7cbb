import { Fault } from '../../lib/fault.ts'
import type { Caller, CallerLimits } from '../coordinator.ts'
import type { RedisAway, Wire } from './wire.ts'

/** A caller's slot, by the name that it has in Redis. */
export interface CallerSlot {
  readonly id: string
  readonly caller: Caller
}

interface Waiting {
  readonly userId: string
  readonly granted: () => void
  readonly failed: (error: unknown) => void
}

/** The users' lines, in Redis. Slots are known by names that the asker makes: what became of one can be asked, and undone. */
export class RedisCallers {
  readonly #wire: Wire
  readonly #generation: string
  readonly #unheard: (slot: CallerSlot) => void
  readonly #waiting = new Map<string, Waiting>()

  /** `unheard` is told of slots that were given back, and Redis may not have heard of it. */
  constructor(wire: Wire, generation: string, unheard: (slot: CallerSlot) => void) {
    this.#wire = wire
    this.#generation = generation
    this.#unheard = unheard
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Resolves when the slot is taken. Rejects with `line_full`, with the signal's reason, or with `RedisAway`. */
  enter({ id, caller }: CallerSlot, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const over = (then: () => void) => {
        if (!this.#waiting.delete(id)) return
        signal.removeEventListener('abort', left)
        then()
      }
      let hasLeft = false
      const left = () =>
        over(() => {
          hasLeft = true
          this.leave({ id, caller })
          reject(signal.reason)
        })
      const failed = (error: unknown) => over(() => reject(error))
      const granted = () => over(resolve)
      this.#waiting.set(id, { userId: caller.userId, granted, failed })
      signal.addEventListener('abort', left, { once: true })
      this.#ask({ id, caller }).then(answer => {
        if (answer === 'full') failed(new Fault('line_full'))
        else if (answer === 'taken') granted()
        // Should the leaving have overtaken the question, it is said again.
        if (hasLeft) this.leave({ id, caller })
      }, failed)
    })
  }

  /** Gives the slot back, or leaves the line. Nobody waits for that to be heard. */
  leave({ id, caller }: CallerSlot): void {
    this.#wire.run('callers-leave', [rootOf(caller.userId)], [id]).catch(() => this.#unheard({ id, caller }))
  }

  async renew({ userId, keyId, userSlots, keySlots }: CallerLimits): Promise<void> {
    await this.#wire.run('callers-renew', [rootOf(userId)], [keyId, userSlots, keySlots])
  }

  /** Somebody's slot was taken for them. */
  heard(id: string): void {
    this.#waiting.get(id)?.granted()
  }

  /** Asks what became of everybody who waits here. False when Redis does not know one of them. */
  async check(): Promise<boolean> {
    const byUser = Map.groupBy([...this.#waiting], ([, { userId }]) => userId)
    const answers = await Promise.all(
      [...byUser].map(async ([userId, waiting]) => {
        const ids = waiting.map(([id]) => id)
        const states = (await this.#wire.run('callers-check', [rootOf(userId)], ids)) as readonly string[]
        for (const [i, id] of ids.entries()) if (states[i] === 'taken') this.heard(id)
        return ids.some((id, i) => states[i] === 'gone' && this.#waiting.has(id))
      }),
    )
    return !answers.includes(true)
  }

  /** Says that these run, over the limits if need be. Resolves to how many are over. */
  async register(slots: readonly CallerSlot[]): Promise<number> {
    const byUser = Map.groupBy(slots, ({ caller }) => caller.userId)
    const over = await Promise.all(
      [...byUser].map(([userId, ofUser]) => {
        const named = ofUser.flatMap(({ id, caller }) => [id, caller.keyId, caller.userSlots])
        return this.#wire.run('callers-register', [rootOf(userId)], [this.#generation, ...named])
      }),
    )
    return over.reduce((sum: number, count) => sum + Number(count), 0)
  }

  end(why: RedisAway): void {
    for (const { failed } of [...this.#waiting.values()]) failed(why)
  }

  #ask({ id, caller }: CallerSlot): Promise<unknown> {
    const { userId, keyId, userSlots, keySlots, waitingMax } = caller
    return this.#wire.run('callers-enter', [rootOf(userId)], [id, this.#generation, keyId, userSlots, keySlots, waitingMax])
  }
}

/** A user's line is kept in one place of a cluster. */
export function rootOf(userId: string): string {
  return `hg:{user:${userId}}`
}
