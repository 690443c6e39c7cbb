import type { Clock, Timer } from '../lib/clock.ts'
import type { Caller, Coordinator, LinesNow, Slot, Waiter } from './coordinator.ts'
import { beat, type Dead, endLease, reap } from './redis/lease.ts'
import { openNews } from './redis/news.ts'
import { type NamedSlot, openTogether, type Together } from './redis/together.ts'
import { openWire, RedisAway, type Wire } from './redis/wire.ts'
import { type Alone, Resilient } from './resilient.ts'

export interface RedisOptions {
  /** redis://[[user]:password@]host[:port][/database], or rediss:// */
  readonly url: string
  /** After this silence of Redis this process goes on alone. */
  readonly timeoutMs: number
  /** After this silence of a process its slots are free. */
  readonly leaseMs: number
  /** Nobody else has this name. It must not contain a colon. */
  readonly process: string
  readonly clock: Clock
  readonly openAlone: () => Alone
  readonly onChange: (change: RedisChange) => void
  /** For replays: this clock is everybody's, whatever Redis's own says. */
  readonly isClockShared?: boolean
}

/** What an operator should hear. */
export type RedisChange =
  | { readonly kind: 'alone'; readonly why: Error; readonly nodes: number }
  | { readonly kind: 'together'; readonly slots: number; readonly over: number }
  | { readonly kind: 'freed'; readonly process: string; readonly slots: number }

export interface RedisCoordinator extends Coordinator, AsyncDisposable {
  enter(caller: Caller, waiter: Waiter): Promise<Slot>
  linesNow(): LinesNow
  /** Redis is silent, and this process goes on by its share. */
  readonly isAlone: boolean
  /** Processes that were alive when Redis was last heard, this one too. */
  readonly nodes: number
}

/** A process says so often within a lease that it is alive, and counts as dead after so much of it: all is over within the lease. */
const beatShare = 0.1
const silenceShare = 0.8
/** While alone, how often it is tried whether Redis answers. */
const tryMs = 1_000
/** After a silence, how long the first that is back waits until all others have tried, too; no beat may be missed for it. */
const returnMs = 2 * tryMs
const returnShare = 0.2
/** How often those who wait are asked after, should a notification be lost. */
const checkMs = 1_000
/** Below this nobody's clock is called wrong. */
const aheadMinMs = 100

/** Agrees through Redis, and alone while Redis is silent. Rejects with a sentence when it is not there to begin with. */
export async function openRedis(options: RedisOptions): Promise<RedisCoordinator> {
  let heart: Heart | undefined
  const wire = await openWire({
    ...options,
    onAway: why => heart?.goAlone(why),
    onReady: () => heart?.beatNow(),
    onDeaf: () => heart?.check(),
  })
  await wire.connect()
  heart = new Heart(wire, options)
  try {
    await heart.beat()
  } catch (error) {
    wire.close()
    const { cause = error } = error as Error
    throw new Error(
      `Redis answers, but cannot be used (${(cause as Error).message}); a gateway needs version 7 or newer, or Valkey, and all its commands.`,
      { cause: error },
    )
  }
  heart.run()
  return coordinatorOf(heart, wire)
}

function coordinatorOf(heart: Heart, wire: Wire): RedisCoordinator {
  const { lines } = heart
  const news = openNews(wire)
  return {
    enter: (caller, waiter) => lines.enter(caller, waiter),
    renew: limits => lines.renew(limits),
    take: account => lines.take(account),
    wait: (entry, waiter) => lines.wait(entry, waiter),
    conditions: ids => lines.conditions(ids),
    known: () => lines.known(),
    change: (id, change) => lines.change(id, change),
    session: (key, ttlMs) => lines.session(key, ttlMs),
    bindSession: (key, accountId, ttlMs) => lines.bindSession(key, accountId, ttlMs),
    spend: meters => lines.spend(meters),
    correct: meters => lines.correct(meters),
    ...news,
    linesNow: () => lines.linesNow(),
    get isAlone() {
      return lines.isAlone
    },
    get nodes() {
      return heart.nodes
    },
    async [Symbol.asyncDispose]() {
      await heart.end()
      wire.close()
    },
  }
}

/** Keeps this process's lease, frees what the dead had, and decides when this process goes on alone and when with the others. */
class Heart {
  readonly lines: Resilient
  readonly #wire: Wire
  readonly #options: RedisOptions
  #nodes = 1
  /** How far everybody's time is ahead of this process's. */
  #aheadMs = 0
  #beatenMs = 0
  #together: Together | undefined
  #beating: Promise<void> | undefined
  #nextBeat: Timer | undefined
  #nextCheck: Timer | undefined
  #isOver = false

  constructor(wire: Wire, options: RedisOptions) {
    this.#wire = wire
    this.#options = options
    const { process, openAlone, clock, leaseMs, onChange } = options
    this.lines = new Resilient({
      process,
      openAlone,
      nodes: () => this.#nodes,
      hasLapsed: () => clock.elapsedMs() - this.#beatenMs > leaseMs * silenceShare,
      onAlone: why => this.#isOver || onChange({ kind: 'alone', why, nodes: this.#nodes }),
      onTogether: said => onChange({ kind: 'together', ...said }),
    })
    wire.hear(`hg:to:${process}`, message => this.#together?.heard(message))
  }

  get nodes(): number {
    return this.#nodes
  }

  /** From now on by itself. */
  run(): void {
    const { clock, leaseMs } = this.#options
    this.#nextBeat = clock.after(this.lines.isAlone ? tryMs : leaseMs * beatShare, () => this.beatNow())
    this.#nextCheck ??= clock.after(checkMs, () => this.check())
  }

  beatNow(): void {
    if (this.#isOver || this.#beating !== undefined) return
    this.#nextBeat?.[Symbol.dispose]()
    this.#beating = this.beat()
      .catch(() => {}) // Redis is away, which was told when it was noticed. The next beat finds out whether it still is.
      .then(() => {
        this.#beating = undefined
        if (!this.#isOver) this.run()
      })
  }

  /** Says that this process is alive, comes back if it was away, and frees what the dead had. Rejects with `RedisAway`. */
  async beat(): Promise<void> {
    const { process, leaseMs, clock } = this.#options
    const sentMs = clock.elapsedMs()
    const heard = await beat(this.#wire, process, leaseMs * silenceShare)
    this.#noteTime(heard.serverMs + (clock.elapsedMs() - sentMs) / 2 - clock.nowMs())
    this.#beatenMs = sentMs
    this.#nodes = heard.nodes
    const wasSilent = this.lines.isAlone && this.#together !== undefined
    if (heard.isNew) this.goAlone(new RedisAway('the others took this gateway for dead, or Redis has forgotten it'))
    if (this.lines.isAlone) await this.#goTogether(heard.generation, wasSilent)
    for (const one of heard.dead) await this.#free(one)
  }

  goAlone(why: Error): void {
    this.lines.goAlone(why)
  }

  /** Asks after those who wait. Whom Redis does not know has waited for nothing. */
  check(): void {
    const { clock } = this.#options
    const again = () => {
      this.#nextCheck?.[Symbol.dispose]()
      if (!this.#isOver) this.#nextCheck = clock.after(checkMs, () => this.check())
    }
    if (this.lines.isAlone || this.#together === undefined) return again()
    this.#together
      .check()
      .then(isKnown => {
        if (isKnown) return
        this.goAlone(new RedisAway('Redis has forgotten who waits'))
        this.beatNow()
      })
      .catch(() => {}) // Redis is away, which was told when it was noticed.
      .then(again)
  }

  /** Nothing is said of it to anybody: what this process still has is freed by the others. */
  async end(): Promise<void> {
    this.#isOver = true
    this.#nextBeat?.[Symbol.dispose]()
    this.#nextCheck?.[Symbol.dispose]()
    await this.#beating
    if (!this.lines.isAlone) await endLease(this.#wire, this.#options.process).catch(() => {}) // Then the lease ends by itself.
    this.goAlone(new RedisAway('this gateway ends'))
  }

  async #goTogether(generation: string, wasSilent: boolean): Promise<void> {
    const { clock, leaseMs } = this.#options
    const unheard = (slot: NamedSlot) => this.lines.giveBack(slot)
    const together = openTogether({ wire: this.#wire, clock, generation, aheadMs: () => this.#aheadMs, unheard })
    this.#together = together // Before anybody can wait there, and hear that it is their turn.
    const waitMs = Math.min(returnMs, leaseMs * returnShare)
    await this.lines.goTogether(together, () => new Promise(resolve => (wasSilent ? void clock.after(waitMs, resolve) : resolve())))
  }

  async #free(dead: Dead): Promise<void> {
    const { clock, onChange } = this.#options
    const slots = await reap(this.#wire, dead, () => clock.nowMs() + this.#aheadMs)
    onChange({ kind: 'freed', process: dead.process, slots })
  }

  /** Clocks that are right differ by little. What hangs on time must not jump with every beat. */
  #noteTime(aheadMs: number): void {
    if (this.#options.isClockShared || Math.abs(aheadMs - this.#aheadMs) < aheadMinMs) return
    this.#aheadMs = Math.round(aheadMs)
  }
}
