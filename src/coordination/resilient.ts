import type { Soon } from '../lib/soon.ts'
import type {
  AccountLimit,
  Caller,
  CallerLimits,
  Condition,
  Coordinator,
  Known,
  LineEntry,
  LinesNow,
  Meter,
  OverRate,
  Slot,
  Turn,
  Waiter,
} from './coordinator.ts'
import { calm, isOverRate } from './coordinator.ts'
import type { NamedSlot, Running, Together } from './redis/together.ts'
import { RedisAway } from './redis/wire.ts'
import { accountShare, callerShare, entryShare, limitsShare, metersShare } from './shares.ts'
import { newSlot } from './slot.ts'

/** Agrees within this process only. */
export type Alone = Coordinator & { linesNow(): LinesNow }

export interface ResilientParts {
  /** This process, as its slots name it. */
  readonly process: string
  /** For as long as Redis is silent. */
  readonly openAlone: () => Alone
  /** Among so many every limit is shared while they cannot ask each other. */
  readonly nodes: () => number
  /** This process has been still for so long that the others take it for dead. */
  readonly hasLapsed: () => boolean
  readonly onAlone: (why: Error) => void
  readonly onTogether: (said: { readonly slots: number; readonly over: number }) => void
}

/** What this process has, wherever it counts. */
type Holding = Running & {
  /** Or may be. */
  isInRedis: boolean
  inMemory: Promise<Slot | undefined> | undefined
}

type What = { readonly caller: Caller } | { readonly account: AccountLimit }

/** Where something was done: in Redis, or in memory. */
type Side = Together | undefined

const patient: Waiter = new AbortController()

/**
 * Agrees with the others while Redis answers, and goes on alone while it does not, with this process's share of every limit. On
 * return it first says what it runs. Whoever stood in one line when that changes stands in the other then, in the same order.
 */
export class Resilient implements Omit<Coordinator, 'announce' | 'onAnnounced'> {
  readonly #parts: ResilientParts
  readonly #holdings = new Set<Holding>()
  /** What Redis may have and nobody here: given back while it was silent, or nobody knows whether it was taken. */
  #lost: NamedSlot[] = []
  #together: Side
  #alone: Alone
  #returned = new AbortController()
  /** Accounts of which this process knows something: what the others said, and what it saw while alone. */
  #known: ReadonlyMap<string, Condition> = new Map()
  readonly #changed = new Set<string>()
  #slots = 0

  constructor(parts: ResilientParts) {
    this.#parts = parts
    this.#alone = parts.openAlone()
  }

  get isAlone(): boolean {
    return this.#together === undefined
  }

  enter(caller: Caller, { signal }: Waiter): Promise<Slot> {
    let asked = caller
    return this.#onOneSide(async side => {
      const id = this.#newId()
      const now = asked
      // Whoever changes sides in line has spent already.
      asked = { ...caller, meters: [] }
      if (side === undefined) {
        const slot = await this.#alone.enter(callerShare(now, this.#parts.nodes()), this.#untilReturned(signal))
        return this.#hold(id, { caller }, side, slot)
      }
      await this.#orLost({ id, caller }, side.callers.enter({ id, caller: now }, signal))
      return this.#hold(id, { caller }, side)
    })
  }

  renew(limits: CallerLimits): Promise<void> {
    return this.#onOneSide(side => side?.callers.renew(limits) ?? this.#alone.renew(limitsShare(limits, this.#parts.nodes())))
  }

  take(account: AccountLimit): Promise<Slot | OverRate | undefined> {
    return this.#onOneSide(async side => {
      const id = this.#newId()
      if (side === undefined) {
        const slot = await this.#alone.take(accountShare(account, this.#parts.nodes()))
        return slot === undefined || isOverRate(slot) ? slot : this.#hold(id, { account }, side, slot)
      }
      const taken = await this.#orLost({ id, accounts: [account] }, side.pools.take(id, account))
      if (taken === false) return undefined
      return taken === true ? this.#hold(id, { account }, side) : taken
    })
  }

  wait(entry: LineEntry, { signal }: Waiter): Promise<Turn> {
    const limitOf = (accountId: string) => entry.accounts.find(account => account.accountId === accountId)!
    return this.#onOneSide(async side => {
      const id = this.#newId()
      if (side === undefined) {
        const turn = await this.#alone.wait(entryShare(entry, this.#parts.nodes()), this.#untilReturned(signal))
        if ('over' in turn) return turn
        const { accountId, slot } = turn
        return { accountId, slot: this.#hold(id, { account: limitOf(accountId) }, side, slot) }
      }
      const { accountId, over } = await this.#orLost({ id, accounts: entry.accounts }, side.pools.wait(id, entry, signal))
      if (over !== undefined) return { accountId, over }
      return { accountId, slot: this.#hold(id, { account: limitOf(accountId) }, side) }
    })
  }

  conditions(ids: readonly string[]): Promise<readonly Condition[]> {
    return this.#onOneSide(side => side?.conditions.of(ids) ?? this.#alone.conditions(ids))
  }

  known(): Known {
    return this.#together?.conditions.known ?? this.#alone.known()
  }

  change(id: string, change: (condition: Condition) => Condition): Promise<Condition> {
    return this.#onOneSide(side => {
      if (side !== undefined) return side.conditions.change(id, change)
      this.#changed.add(id)
      return this.#alone.change(id, change)
    })
  }

  session(key: string, ttlMs: number): Promise<string | undefined> {
    return this.#onOneSide(side => (side ?? this.#alone).session(key, ttlMs))
  }

  /** Nobody waits for that to be heard: whoever asks next, asks after it. */
  async bindSession(key: string, accountId: string, ttlMs: number): Promise<void> {
    unwaited(this.#onOneSide(side => (side ?? this.#alone).bindSession(key, accountId, ttlMs)))
  }

  spend(meters: readonly Meter[]): Promise<OverRate | undefined> {
    return this.#onOneSide(side => side?.spend(meters) ?? this.#alone.spend(metersShare(meters, this.#parts.nodes())))
  }

  /** Nobody waits for that to be heard. */
  async correct(meters: readonly Meter[]): Promise<void> {
    unwaited(this.#onOneSide(side => side?.correct(meters) ?? this.#alone.correct(metersShare(meters, this.#parts.nodes()))))
  }

  linesNow(): LinesNow {
    if (this.#together === undefined) return this.#alone.linesNow()
    const callersRunning = [...this.#holdings].filter(holding => 'caller' in holding).length
    return {
      callersRunning,
      callersWaiting: this.#together.callers.waiting,
      accountsTaken: this.#holdings.size - callersRunning,
      accountsWaiting: this.#together.pools.waiting,
    }
  }

  /** Something of this process's is in Redis, or may be, and should not. */
  giveBack(slot: NamedSlot): void {
    if (this.#together === undefined) this.#lost.push(slot)
    else this.#together.leave(slot)
  }

  /** From now on alone. What runs counts here from the first moment; who waits in Redis waits here, in the same order. */
  goAlone(why: Error): void {
    const together = this.#together
    if (together === undefined) return
    this.#together = undefined
    this.#alone = this.#parts.openAlone()
    this.#returned = new AbortController()
    for (const holding of this.#holdings) this.#keepInMemory(holding)
    this.#known = together.conditions.copy()
    for (const [id, condition] of this.#known) void this.#alone.change(id, () => condition)
    this.#parts.onAlone(why)
    together.end(new RedisAway('this gateway goes on alone', { cause: why }))
  }

  /**
   * With the others again. First it is said what runs, over the limits if need be. `others` is when they have said it too: until
   * then this one takes no more than its share. Then whoever waits here stands in line there.
   * Rejects with `RedisAway` when that was too early, and goes on alone.
   */
  async goTogether(together: Together, others: () => Promise<void>): Promise<void> {
    for (const slot of this.#lost.splice(0)) together.leave(slot)
    await this.#tellConditions(together)
    const said = new Set<Holding>()
    let over = await this.#sayWhatRuns(together, said)
    await others()
    over += await this.#sayWhatRuns(together, said)
    this.#together = together
    for (const slot of this.#lost.splice(0)) together.leave(slot)
    for (const holding of this.#holdings) {
      // What was taken in the very moment of the last word is said now.
      if (said.has(holding)) holding.inMemory = undefined
      else this.#holdHere(holding)
    }
    this.#changed.clear()
    this.#parts.onTogether({ slots: said.size, over })
    this.#returned.abort(new RedisAway('the others are back'))
  }

  /** Whatever has not been said, and what begins meanwhile. Resolves to how many are over. */
  async #sayWhatRuns(together: Together, said: Set<Holding>): Promise<number> {
    for (let over = 0; ; ) {
      const unsaid = [...this.#holdings].filter(holding => !said.has(holding))
      if (unsaid.length === 0) return over
      for (const holding of unsaid) {
        said.add(holding)
        holding.isInRedis = true
      }
      over += await together.register(unsaid)
    }
  }

  /** Does it with the others or alone, and anew when that changes meanwhile. */
  async #onOneSide<Result>(work: (side: Side) => Soon<Result>): Promise<Result> {
    for (;;) {
      if (this.#together !== undefined && this.#parts.hasLapsed()) this.goAlone(new RedisAway('this gateway was still for too long'))
      const side = this.#together
      try {
        return await work(side)
      } catch (error) {
        if (!(error instanceof RedisAway)) throw error
        if (side !== undefined && side === this.#together) this.goAlone(error)
      }
    }
  }

  async #orLost<Result>(slot: NamedSlot, taking: Promise<Result>): Promise<Result> {
    try {
      return await taking
    } catch (error) {
      if (error instanceof RedisAway) this.giveBack(slot)
      throw error
    }
  }

  /** Taken on that side. If this process has changed sides just now, it counts on the new one as well. */
  #hold(id: string, what: What, side: Side, inMemory?: Slot): Slot {
    const holding: Holding = { id, ...what, isInRedis: side !== undefined, inMemory: inMemory && Promise.resolve(inMemory) }
    this.#holdings.add(holding)
    if (side !== this.#together) this.#holdHere(holding)
    const name = 'caller' in what ? `user:${what.caller.userId}` : `account:${what.account.accountId}`
    return newSlot(name, () => {
      this.#holdings.delete(holding)
      void holding.inMemory?.then(slot => slot?.[Symbol.asyncDispose]())
      if (holding.isInRedis) this.giveBack('caller' in what ? { id, caller: what.caller } : { id, accounts: [what.account] })
    })
  }

  #holdHere(holding: Holding): void {
    if (this.#together === undefined) return this.#keepInMemory(holding)
    holding.inMemory = undefined
    holding.isInRedis = true
    // If Redis is away once more, it is said on the next return.
    this.#together.register([holding]).catch(() => {})
  }

  /** Without a limit, and without rates: it runs. */
  #keepInMemory(holding: Holding): void {
    const entering =
      'caller' in holding
        ? this.#alone.enter({ ...holding.caller, userSlots: 0, keySlots: 0, meters: [] }, patient)
        : this.#alone.take({ accountId: holding.account.accountId, slots: 0 })
    holding.inMemory = Promise.resolve(entering).then(slot => (isOverRate(slot) ? undefined : slot))
  }

  #untilReturned(signal: AbortSignal): Waiter {
    return { signal: AbortSignal.any([signal, this.#returned.signal]) }
  }

  /** What was seen while alone is news. What was known before is, if Redis has lost it. */
  async #tellConditions(together: Together): Promise<void> {
    const ids = [...new Set([...this.#known.keys(), ...this.#changed])]
    const mine = await this.#alone.conditions(ids)
    const isNews = (id: string, theirs: Condition) => this.#changed.has(id) || saysNothing(theirs)
    const telling = ids.flatMap((id, i) =>
      saysNothing(mine[i]!) && !this.#changed.has(id)
        ? []
        : [together.conditions.change(id, theirs => (isNews(id, theirs) ? mine[i]! : theirs))],
    )
    await Promise.all(telling)
  }

  #newId(): string {
    this.#slots += 1
    return `${this.#parts.process}:${this.#slots}`
  }
}

/** It fails only when Redis is away, and is then done alone; that is told where it is noticed. */
function unwaited(work: Promise<unknown>): void {
  work.catch(() => {})
}

function saysNothing({ taken, lastUsedMs, ...rest }: Condition): boolean {
  return JSON.stringify({ ...rest, taken: 0, lastUsedMs: 0 }) === JSON.stringify({ ...rest, ...calm })
}
