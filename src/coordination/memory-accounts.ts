import type { Clock, Timer } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { Changes } from './changes.ts'
import {
  type AccountLimit,
  type Condition,
  type Coordinator,
  calm,
  type Known,
  type LineEntry,
  type Meter,
  type OverRate,
  type Slot,
  type Turn,
  type Waiter,
} from './coordinator.ts'
import type { MinuteMeters } from './memory-meters.ts'
import { newSlot } from './slot.ts'

interface AccountState {
  readonly id: string
  condition: Condition
  /** The newest limit that anybody named. */
  slots: number
  /** Those in any pool's line who may use this account. */
  waiting: number
  waking: Timer | undefined
}

interface Waiting {
  readonly entry: LineEntry
  readonly grant: (turn: Turn) => void
}

/** One pool: who waits, by user. The order of the users is the order of their turns. */
interface Pool {
  readonly users: Map<string, Waiting[]>
  waiting: number
}

/** A timer of more than 2³¹ − 1 ms fires at once. Whoever rests longer is looked at again in between. */
const timerMaxMs = 60 * 60 * 1000

const noMeters: readonly Meter[] = []

/** The accounts' slots and conditions, and the pools' lines. */
export class AccountLines implements Pick<Coordinator, 'take' | 'wait' | 'conditions' | 'known' | 'change'> {
  readonly #clock: Clock
  readonly #meters: MinuteMeters
  readonly #accounts = new Map<string, AccountState>()
  readonly #pools = new Map<string, Pool>()
  /** How many wait for one account by a binding. */
  readonly #bound = new Map<string, number>()
  readonly #changes = new Changes()
  readonly #known: Known

  constructor(clock: Clock, meters: MinuteMeters) {
    this.#clock = clock
    this.#meters = meters
    const changes = this.#changes
    this.#known = {
      of: id => this.#accounts.get(id)?.condition ?? calm,
      get changes() {
        return changes.count
      },
      changedSince: count => changes.since(count),
      isAll: true,
    }
  }

  async wait(entry: LineEntry, { signal }: Waiter): Promise<Turn> {
    signal.throwIfAborted()
    for (const limit of entry.accounts) {
      const state = this.#note(limit)
      if (isFree(state) && this.#isAwake(state)) return this.#turn(state, limit)
    }
    const isFull = (this.#pools.get(entry.pool)?.waiting ?? 0) >= entry.waitingMax
    if (isFull || (entry.only && (this.#bound.get(entry.only.name) ?? 0) >= entry.only.waitingMax)) throw new Fault('line_full')

    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        entry,
        grant: turn => {
          signal.removeEventListener('abort', leave)
          resolve(turn)
        },
      }
      const leave = () => {
        const pool = this.#pools.get(entry.pool)
        if (pool) this.#removeFrom(entry.pool, pool, waiting)
        reject(signal.reason)
      }
      this.#join(waiting)
      for (const { accountId } of entry.accounts) this.#wakeLater(this.#stateOf(accountId))
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  take(limit: AccountLimit): Slot | OverRate | undefined {
    const state = this.#note(limit)
    if (!isFree(state)) return undefined
    return this.#meters.spend(limit.meters ?? noMeters) ?? this.#takeSlot(state)
  }

  async conditions(ids: readonly string[]): Promise<readonly Condition[]> {
    return ids.map(this.#known.of)
  }

  known(): Known {
    return this.#known
  }

  change(id: string, change: (condition: Condition) => Condition): Condition {
    const state = this.#stateOf(id)
    const { condition: before } = state
    const { taken, lastUsedMs } = before
    const changed = change(before)
    if (changed === before) return before
    // What is taken is counted here alone.
    state.condition = changed.taken === taken && changed.lastUsedMs === lastUsedMs ? changed : { ...changed, taken, lastUsedMs }
    this.#changes.note(id)
    if (state.waiting > 0) this.#advance(state)
    return state.condition
  }

  now(): { accountsTaken: number; accountsWaiting: number } {
    let accountsTaken = 0
    let accountsWaiting = 0
    for (const { condition } of this.#accounts.values()) accountsTaken += condition.taken
    for (const { waiting } of this.#pools.values()) accountsWaiting += waiting
    return { accountsTaken, accountsWaiting }
  }

  #stateOf(id: string): AccountState {
    let state = this.#accounts.get(id)
    if (state === undefined) {
      state = { id, condition: calm, slots: 0, waiting: 0, waking: undefined }
      this.#accounts.set(id, state)
    }
    return state
  }

  #turn(state: AccountState, { meters = noMeters }: AccountLimit): Turn {
    const over = this.#meters.spend(meters)
    return over === undefined ? { accountId: state.id, slot: this.#takeSlot(state) } : { accountId: state.id, over }
  }

  #takeSlot(state: AccountState): Slot {
    state.condition = { ...state.condition, taken: state.condition.taken + 1, lastUsedMs: this.#clock.nowMs() }
    this.#changes.note(state.id)
    return newSlot(`account:${state.id}`, () => {
      state.condition = { ...state.condition, taken: state.condition.taken - 1 }
      this.#changes.note(state.id)
      if (state.waiting > 0) this.#advance(state)
    })
  }

  /** Hands the account's free slots to those in line, a user's turn at a time, a pool's turn at a time. */
  #advance(state: AccountState): void {
    while (state.waiting > 0 && isFree(state) && this.#isAwake(state)) {
      if (!this.#grantNext(state)) return
    }
    this.#wakeLater(state)
  }

  #grantNext(state: AccountState): boolean {
    for (const [name, pool] of this.#pools) {
      for (const [userId, entries] of pool.users) {
        const waiting = entries.find(({ entry }) => entry.accounts.some(({ accountId }) => accountId === state.id))
        if (waiting === undefined) continue
        this.#removeFrom(name, pool, waiting)
        // The user's next turn comes after everybody else's, and so does the pool's.
        if (pool.users.delete(userId) && entries.length > 0) pool.users.set(userId, entries)
        if (this.#pools.delete(name) && pool.waiting > 0) this.#pools.set(name, pool)
        waiting.grant(this.#turn(state, waiting.entry.accounts.find(({ accountId }) => accountId === state.id)!))
        return true
      }
    }
    return false
  }

  /** A rest that ends while somebody waits must wake them: no slot will be freed on an account that runs nothing. */
  #wakeLater(state: AccountState): void {
    state.waking?.[Symbol.dispose]()
    state.waking = undefined
    const restMs = state.condition.restingUntilMs - this.#clock.nowMs()
    if (state.waiting === 0 || restMs <= 0) return
    state.waking = this.#clock.after(Math.min(restMs, timerMaxMs), () => this.#advance(state))
  }

  #isAwake({ condition }: AccountState): boolean {
    return condition.restingUntilMs <= this.#clock.nowMs() && condition.outSinceMs === null && condition.circuitSinceMs === null
  }

  #join(waiting: Waiting): void {
    const { pool: name, userId, accounts: limits, only } = waiting.entry
    const pool = this.#pools.get(name) ?? { users: new Map(), waiting: 0 }
    this.#pools.set(name, pool)
    const entries = pool.users.get(userId) ?? []
    pool.users.set(userId, entries)
    entries.push(waiting)
    pool.waiting += 1
    for (const { accountId } of limits) this.#stateOf(accountId).waiting += 1
    if (only) this.#bound.set(only.name, (this.#bound.get(only.name) ?? 0) + 1)
  }

  #removeFrom(name: string, pool: Pool, waiting: Waiting): void {
    const { userId, accounts: limits, only } = waiting.entry
    const entries = pool.users.get(userId) ?? []
    const at = entries.indexOf(waiting)
    if (at === -1) return
    entries.splice(at, 1)
    if (entries.length === 0) pool.users.delete(userId)
    pool.waiting -= 1
    if (pool.waiting === 0) this.#pools.delete(name)
    for (const { accountId } of limits) this.#stateOf(accountId).waiting -= 1
    if (!only) return
    const left = this.#bound.get(only.name)! - 1
    if (left === 0) this.#bound.delete(only.name)
    else this.#bound.set(only.name, left)
  }

  #note({ accountId, slots }: AccountLimit): AccountState {
    const state = this.#stateOf(accountId)
    const raised = state.slots > 0 && (slots <= 0 || slots > state.slots)
    state.slots = slots
    if (raised && state.waiting > 0) this.#advance(state)
    return state
  }
}

function isFree({ slots, condition }: AccountState): boolean {
  return slots <= 0 || condition.taken < slots
}
