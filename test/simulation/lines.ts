import { type Caller, type Coordinator, isOverRate, type LineEntry, type Slot, type Waiter } from '../../src/coordination/coordinator.ts'
import type { LawsParts } from './attempts.ts'
import { type Played, playing } from './played.ts'

interface Standing<Asked> {
  readonly played: Played
  readonly asked: Asked
  readonly signal: AbortSignal
  readonly number: number
  readonly sinceMs: number
}

export interface LineParts extends LawsParts {
  readonly say: (what: string) => void
}

/** Stands before the coordinator and checks that its slots and lines keep what SPEC 1.3 and 1.5 promise. Changes nothing. */
export class LineLaws {
  readonly #parts: LineParts
  /** Slots that were not given back, by "user:u1", "key:u1k0" and "account:a0". */
  readonly #taken = new Map<string, number>()
  readonly #callers = new Set<Standing<Caller>>()
  readonly #entries = new Set<Standing<LineEntry>>()
  /** Those that have their user's slot. */
  readonly #admitted = new Set<Played>()
  /** "pool user" → how many had asked before the event in which they last were given a slot. */
  readonly #turns = new Map<string, number>()
  #number = 0
  /** What comes about in one event comes at once: who joins in it has not waited through a turn in it. */
  #numberBefore = 0

  constructor(parts: LineParts) {
    this.#parts = parts
  }

  over(coordinator: Coordinator): Pick<Coordinator, 'enter' | 'take' | 'wait'> {
    return {
      enter: (caller, waiter) => this.#enter(caller, waiter, coordinator),
      wait: (entry, waiter) => this.#wait(entry, waiter, coordinator),
      take: async limit => {
        const slot = await coordinator.take(limit)
        if (slot === undefined || isOverRate(slot)) return slot
        this.#expectNobodyBefore(limit.accountId)
        return this.#watched(slot, [slot.name])
      },
    }
  }

  /** Between events: whoever could go on has gone on, lines are no longer than they may be, and nobody waits longer. */
  check(): void {
    this.#numberBefore = this.#number
    this.#checkCallers()
    this.#checkEntries()
  }

  #checkCallers(): void {
    const { broke, settings, clock, directory } = this.#parts
    const nowMs = clock.elapsedMs()
    for (const { name, hasLeft } of this.#admitted) if (hasLeft) broke(`${name} has left and keeps the slot of its user`)
    for (const { played, asked, sinceMs } of this.#callers) {
      if (this.#fits(asked, nowMs)) broke(`${played.name} waits for a slot of its user that is free`)
      if (nowMs > sinceMs + settings.lineTimeoutMs) broke(`${played.name} waits for a slot of its user since ${sinceMs}`)
    }
    for (const [userId, waiting] of Map.groupBy(this.#callers, ({ asked }) => asked.userId)) {
      const limit = directory.limitSince(userId, waiting[0]!.played.beganMs)
      const waitingMax = Math.max(Number.isFinite(limit) ? limit : keyLimit(waiting), 1) + settings.lineExtra
      if (waiting.length > waitingMax) broke(`${waiting.length} calls of ${userId} wait, at most ${waitingMax} may`)
    }
  }

  #checkEntries(): void {
    const { broke, settings, clock } = this.#parts
    const nowMs = clock.elapsedMs()
    for (const { played, asked, sinceMs } of this.#entries) {
      const free = asked.accounts.find(({ accountId }) => this.#isFree(accountId))
      if (free !== undefined) broke(`${played.name} waits in the pool's line, and ${free.accountId} is free`)
      // Who joins when the time is up is told so at once.
      const untilMs = Math.max(played.slotSinceMs! + settings.lineTimeoutMs + holdingMs, sinceMs)
      if (nowMs > untilMs) broke(`${played.name} waits in the pool's line; its user's slot is its own since ${played.slotSinceMs}`)
    }
    for (const [pool, waiting] of Map.groupBy(this.#entries, ({ asked }) => asked.pool))
      if (waiting.length > settings.poolWaitingMax) broke(`${waiting.length} calls wait in the line of ${pool}`)
    for (const [name, waiting] of Map.groupBy(this.#entries, ({ asked }) => asked.only?.name))
      if (name !== undefined && waiting.length > settings.stickyWaiting) broke(`${waiting.length} calls wait for ${name}`)
  }

  taken(name: string): number {
    return this.#taken.get(name) ?? 0
  }

  /** When all is over: what was not given back. */
  leaks(): readonly string[] {
    return [...this.#taken].filter(([, count]) => count !== 0).map(([name, count]) => `${count} of ${name}`)
  }

  async #enter(asked: Caller, waiter: Waiter, coordinator: Coordinator): Promise<Slot> {
    const standing = this.#stand(asked, waiter.signal)
    const { userId, keyId } = asked
    this.#callers.add(standing)
    try {
      const slot = await coordinator.enter(asked, waiter)
      const { broke, clock, say } = this.#parts
      const { played } = standing
      if (!this.#fits(asked, played.beganMs)) broke(`${played.name} has a slot of ${userId} or ${keyId} that is one too many`)
      const older = this.#waiting(this.#callers).find(
        one => one.number < standing.number && one.asked.userId === userId && this.#fits(one.asked, clock.elapsedMs()),
      )
      if (older !== undefined) broke(`${played.name} has a slot of ${userId} before ${older.played.name}, which came first`)
      played.slotSinceMs = clock.elapsedMs()
      say(`${played.name} has a slot of ${userId}`)
      this.#admitted.add(played)
      return this.#watched(slot, [`user:${userId}`, `key:${keyId}`], () => this.#admitted.delete(played))
    } finally {
      this.#callers.delete(standing)
    }
  }

  async #wait(asked: LineEntry, waiter: Waiter, coordinator: Coordinator): ReturnType<Coordinator['wait']> {
    const standing = this.#stand(asked, waiter.signal)
    this.#entries.add(standing)
    try {
      const turn = await coordinator.wait(asked, waiter)
      this.#entries.delete(standing)
      this.#expectTurn(standing, turn.accountId)
      this.#parts.say(`${standing.played.name} has come to ${turn.accountId} in line`)
      return 'slot' in turn ? { ...turn, slot: this.#watched(turn.slot, [turn.slot.name]) } : turn
    } finally {
      this.#entries.delete(standing)
    }
  }

  #stand<Asked>(asked: Asked, signal: AbortSignal): Standing<Asked> {
    return { played: playing.getStore()!, asked, signal, number: this.#number++, sinceMs: this.#parts.clock.elapsedMs() }
  }

  /** Users have their turns, and within a user the oldest entry that may use the account is the next. */
  #expectTurn({ asked: { pool, userId }, number, played }: Standing<LineEntry>, accountId: string): void {
    const { broke } = this.#parts
    const last = this.#turns.get(`${pool} ${userId}`) ?? -1
    for (const other of this.#waitingFor(accountId)) {
      if (other.asked.pool !== pool) continue
      if (other.asked.userId === userId) {
        if (other.number < number) broke(`${played.name} has ${accountId} before ${other.played.name} of the same user`)
      } else if (other.number < last && (this.#turns.get(`${pool} ${other.asked.userId}`) ?? -1) < last) {
        broke(`${userId} has a second turn at ${accountId} with ${played.name}, and ${other.played.name} waited through both`)
      }
    }
    // Who found a free account at once had no turn: nobody else was waiting for it.
    if (number < this.#numberBefore) this.#turns.set(`${pool} ${userId}`, this.#numberBefore)
  }

  /** A slot that is free while somebody stands in line for it is theirs. */
  #expectNobodyBefore(accountId: string): void {
    if (!this.#isAwake(accountId)) return
    const [first] = this.#waitingFor(accountId)
    if (first !== undefined)
      this.#parts.broke(`${playing.getStore()?.name} takes ${accountId} before ${first.played.name}, which is in line`)
  }

  #waitingFor(accountId: string): Standing<LineEntry>[] {
    return this.#waiting(this.#entries).filter(({ asked }) => asked.accounts.some(one => one.accountId === accountId))
  }

  /** Whoever has given up is out of the line before their promise says so. */
  #waiting<Asked>(all: Iterable<Standing<Asked>>): Standing<Asked>[] {
    return [...all].filter(({ signal }) => !signal.aborted)
  }

  #watched(slot: Slot, names: readonly string[], onBack: () => void = () => {}): Slot {
    const count = (by: number) => {
      for (const name of names) this.#taken.set(name, this.taken(name) + by)
    }
    let isHeld = true
    count(1)
    return {
      name: slot.name,
      [Symbol.asyncDispose]: () => {
        if (isHeld) {
          count(-1)
          onBack()
        }
        isHeld = false
        return slot[Symbol.asyncDispose]()
      },
    }
  }

  /** Whether a call with that key may run beside those that do, by the largest limit since then. */
  #fits({ userId, keyId, keySlots }: Caller, sinceMs: number): boolean {
    const ofUser = this.taken(`user:${userId}`)
    const ofKey = this.taken(`key:${keyId}`)
    return ofUser < this.#parts.directory.limitSince(userId, sinceMs) && (keySlots <= 0 || ofKey < keySlots)
  }

  #isFree(accountId: string): boolean {
    const { concurrency, disabled } = this.#parts.directory.snapshot().accounts.get(accountId)!
    const taken = this.taken(`account:${accountId}`)
    return !disabled && (concurrency <= 0 || taken < concurrency) && this.#isAwake(accountId)
  }

  /** At the very moment when a rest ends, whoever waits for that is told one after the other. */
  #isAwake(accountId: string): boolean {
    const { restingUntilMs, outSinceMs, circuitSinceMs } = this.#parts.conditionOf(accountId)
    return restingUntilMs < this.#parts.clock.nowMs() && outSinceMs === null && circuitSinceMs === null
  }
}

/** Between the slot and the moment from which the wait is counted the books are asked for the hold. */
const holdingMs = 500

function keyLimit(waiting: readonly Standing<Caller>[]): number {
  return Math.max(...waiting.map(({ asked }) => asked.keySlots))
}
