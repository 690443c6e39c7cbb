import { Fault } from '../../lib/fault.ts'
import type { Caller, CallerLimits } from '../coordinator.ts'
import { givenBack, rateExceeded } from '../meters.ts'
import { overRate, written } from './meters.ts'
import type { RedisAway, Wire } from './wire.ts'

/** A caller's slot, by the name that it has in Redis. */
export interface CallerSlot {
  readonly id: string
  readonly caller: Caller
}

interface Waiting {
  readonly userId: string
  /** Redis has said so. Before, nobody can say that it has forgotten it. */
  isInLine: boolean
  readonly granted: () => void
  readonly failed: (error: unknown) => void
}

interface Parts {
  readonly wire: Wire
  readonly generation: string
  /** Everybody's. */
  readonly nowMs: () => number
  /** Is told of slots that were given back, and Redis may not have heard of it. */
  readonly unheard: (slot: CallerSlot) => void
}

/** The users' lines, in Redis. Slots are known by names that the asker makes: what became of one can be asked, and undone. */
export class RedisCallers {
  readonly #parts: Parts
  readonly #waiting = new Map<string, Waiting>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Resolves when the slot is taken. Rejects with `line_full` or `rate_exceeded`, with the signal's reason, or with `RedisAway`. */
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
          this.leave({ id, caller }, 'unserved')
          reject(signal.reason)
        })
      const failed = (error: unknown) => over(() => reject(error))
      const granted = () => over(resolve)
      const waiting: Waiting = { userId: caller.userId, isInLine: false, granted, failed }
      this.#waiting.set(id, waiting)
      signal.addEventListener('abort', left, { once: true })
      this.#ask({ id, caller }).then(([state, ...fullest]) => {
        const full = overRate(fullest)
        if (state === 'full') failed(new Fault('line_full'))
        else if (full !== undefined) failed(rateExceeded(caller.meters ?? [], full))
        else if (state === 'taken') granted()
        else waiting.isInLine = true
        // Should the leaving have overtaken the question, it is said again.
        if (hasLeft) this.leave({ id, caller }, 'unserved')
      }, failed)
    })
  }

  /** Gives the slot back, or leaves the line; one that was never served has spent nothing. Nobody waits for that to be heard. */
  leave({ id, caller }: CallerSlot, was: 'served' | 'unserved' = 'served'): void {
    const { wire, nowMs, unheard } = this.#parts
    const meters = was === 'served' ? '' : written(givenBack(caller.meters ?? []))
    wire.run('callers-leave', [rootOf(caller.userId)], [id, nowMs(), meters]).catch(() => unheard({ id, caller }))
  }

  async renew({ userId, keyId, userSlots, keySlots }: CallerLimits): Promise<void> {
    await this.#parts.wire.run('callers-renew', [rootOf(userId)], [keyId, userSlots, keySlots])
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
        const states = (await this.#parts.wire.run('callers-check', [rootOf(userId)], ids)) as readonly string[]
        for (const [i, id] of ids.entries()) if (states[i] === 'taken') this.heard(id)
        return ids.some((id, i) => states[i] === 'gone' && this.#waiting.get(id)?.isInLine)
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
        return this.#parts.wire.run('callers-register', [rootOf(userId)], [this.#parts.generation, ...named])
      }),
    )
    return over.reduce((sum: number, count) => sum + Number(count), 0)
  }

  end(why: RedisAway): void {
    for (const { failed } of [...this.#waiting.values()]) failed(why)
  }

  async #ask({ id, caller }: CallerSlot): Promise<readonly string[]> {
    const { wire, generation, nowMs } = this.#parts
    const { userId, keyId, userSlots, keySlots, waitingMax, meters } = caller
    const args = [id, generation, keyId, userSlots, keySlots, waitingMax, nowMs(), written(meters)]
    return (await wire.run('callers-enter', [rootOf(userId)], args)) as readonly string[]
  }
}

/** A user's line is kept in one place of a cluster. */
export function rootOf(userId: string): string {
  return `hg:{user:${userId}}`
}
