import type { Clock, Timer } from '../../lib/clock.ts'
import { Fault } from '../../lib/fault.ts'
import type { AccountLimit, LineEntry, OverRate } from '../coordinator.ts'
import { givenBack } from '../meters.ts'
import type { RedisConditions } from './conditions.ts'
import { overRate, written } from './meters.ts'
import type { RedisAway, Wire } from './wire.ts'

/** A slot of one of these accounts, by the name that it has in Redis. */
export interface AccountSlot {
  readonly id: string
  readonly accounts: readonly AccountLimit[]
}

/** Whose turn came: the slot was taken, unless the account's rates had no room. */
export interface AccountTurn {
  readonly accountId: string
  readonly over: OverRate | undefined
}

interface Waiting {
  readonly slot: AccountSlot
  /** Redis has said so. Before, nobody can say that it has forgotten it. */
  isInLine: boolean
  readonly granted: (turn: AccountTurn) => void
  readonly failed: (error: unknown) => void
}

interface Parts {
  readonly wire: Wire
  readonly generation: string
  /** Everybody's. */
  readonly nowMs: () => number
  readonly clock: Clock
  readonly conditions: RedisConditions
  /** Is told of slots that were given back, and Redis may not have heard of it. */
  readonly unheard: (slot: AccountSlot) => void
}

/** All accounts and pools are kept in one place of a cluster: a freed slot goes to whoever is next in all of them. */
export const poolsRoot = 'hg:{pools}'

/** A timer of more than 2³¹ − 1 ms fires at once. Whoever rests longer is looked at again in between. */
const timerMaxMs = 60 * 60 * 1000

/** The accounts' slots and the pools' lines, in Redis. */
export class RedisPools {
  readonly #parts: Parts
  readonly #waiting = new Map<string, Waiting>()
  #waking: Timer | undefined
  #wakesAtMs = Number.POSITIVE_INFINITY

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Whether it was taken, or what its rates said. */
  async take(id: string, { accountId, slots, meters }: AccountLimit): Promise<boolean | OverRate> {
    const { wire, generation, nowMs, conditions } = this.#parts
    const args = [id, generation, accountId, slots, nowMs(), written(meters)]
    const answer = (await wire.run('pools-take', [poolsRoot], args)) as [number, number, string, ...(string | number)[]]
    const [isTaken, taken, version, ...fullest] = answer
    conditions.noteTaken(accountId, { taken, version, isTaken: isTaken === 1 })
    return overRate(fullest) ?? isTaken === 1
  }

  /** Resolves when an account's turn has come. Rejects with `line_full`, with the signal's reason, or with `RedisAway`. */
  wait(id: string, entry: LineEntry, signal: AbortSignal): Promise<AccountTurn> {
    signal.throwIfAborted()
    const slot = { id, accounts: entry.accounts }
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
          this.leave(slot, 'unserved')
          reject(signal.reason)
        })
      const failed = (error: unknown) => over(() => reject(error))
      const granted = (turn: AccountTurn) => over(() => resolve(turn))
      const waiting: Waiting = { slot, isInLine: false, granted, failed }
      this.#waiting.set(id, waiting)
      signal.addEventListener('abort', left, { once: true })
      this.#ask(id, entry).then(([state, detail = '', ...fullest]) => {
        if (state === 'full') failed(new Fault('line_full'))
        else if (state === 'taken' || state === 'over') granted({ accountId: detail, over: overRate(fullest) })
        else {
          waiting.isInLine = true
          this.#wakeAt(Number(detail))
        }
        // Should the leaving have overtaken the question, it is said again.
        if (hasLeft) this.leave(slot, 'unserved')
      }, failed)
    })
  }

  /** Gives the slot back, or leaves the line; one that was never served has spent nothing. Nobody waits for that to be heard. */
  leave(slot: AccountSlot, was: 'served' | 'unserved' = 'served'): void {
    const { wire, nowMs, conditions, unheard } = this.#parts
    const { id, accounts } = slot
    if (was === 'served' && accounts.length === 1) conditions.noteGiven(accounts[0]!.accountId)
    const named = accounts.flatMap(({ accountId, meters = [] }) => [accountId, was === 'served' ? '' : written(givenBack(meters))])
    wire.run('pools-leave', [poolsRoot], [id, nowMs(), ...named]).catch(() => unheard(slot))
  }

  /** Somebody's slot was taken for them. If its rates have no room, it is given back now that they know. */
  heard(id: string, accountId: string, over: OverRate | undefined): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    waiting.granted({ accountId, over })
    if (over !== undefined) this.leave({ id, accounts: [{ accountId, slots: 0 }] })
  }

  /** Asks what became of everybody who waits here, and whose rest is over. False when Redis does not know one of them. */
  async check(): Promise<boolean> {
    const { wire, nowMs } = this.#parts
    const waiting = [...this.#waiting.values()].map(({ slot }) => slot)
    if (waiting.length === 0) return true
    const asked = waiting.flatMap(({ id, accounts }) => [id, `,${accounts.map(({ accountId }) => accountId).join(',')},`])
    const [wakesAt, ...states] = (await wire.run('pools-check', [poolsRoot], [nowMs(), ...asked])) as readonly string[]
    let isKnown = true
    waiting.forEach(({ id }, i) => {
      const [state, accountId = '', ...fullest] = states[i]!.split(' ')
      if (state === 'taken') this.heard(id, accountId, overRate(fullest))
      if (state === 'gone' && this.#waiting.get(id)?.isInLine) isKnown = false
    })
    this.#wakeAt(Number(wakesAt))
    return isKnown
  }

  /** Says that these run, over the limits if need be. Resolves to how many are over. */
  async register(slots: readonly { readonly id: string; readonly account: AccountLimit }[]): Promise<number> {
    if (slots.length === 0) return 0
    const { wire, generation, nowMs } = this.#parts
    const named = slots.flatMap(({ id, account }) => [id, account.accountId, account.slots])
    return Number(await wire.run('pools-register', [poolsRoot], [generation, nowMs(), ...named]))
  }

  end(why: RedisAway): void {
    this.#waking?.[Symbol.dispose]()
    for (const { failed } of [...this.#waiting.values()]) failed(why)
  }

  async #ask(id: string, entry: LineEntry): Promise<readonly string[]> {
    const { wire, generation, nowMs } = this.#parts
    const { pool, userId, accounts, waitingMax, only } = entry
    const limits = accounts.flatMap(({ accountId, slots, meters }) => [accountId, slots, written(meters)])
    const args = [id, generation, nowMs(), pool, userId, waitingMax, only?.name ?? '', only?.waitingMax ?? 0, ...limits]
    return (await wire.run('pools-wait', [poolsRoot], args)) as readonly string[]
  }

  /** A rest that ends while somebody waits must wake them: no slot will be freed on an account that runs nothing. */
  #wakeAt(atMs: number): void {
    const { clock, nowMs } = this.#parts
    if (atMs === 0 || this.#waiting.size === 0) return
    if (this.#waking !== undefined && this.#wakesAtMs <= atMs) return
    this.#waking?.[Symbol.dispose]()
    this.#wakesAtMs = atMs
    this.#waking = clock.after(Math.min(Math.max(0, atMs - nowMs()), timerMaxMs), () => {
      this.#waking = undefined
      // If Redis is away, whoever asked for it knows already.
      this.check().catch(() => {})
    })
  }
}
