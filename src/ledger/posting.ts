import type { Clock, Timer } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import { type Listed, Roster } from '../lib/roster.ts'
import { type Database, DatabaseAway, type Step } from '../storage/database.ts'
import type { Daybook, Line } from './daybook.ts'
import type { Slip } from './slips.ts'
import type { Settle } from './steps.ts'

/** A call that has ended, whose hold the books have not heard of either: its cost is within what was set aside. */
export interface Ended<End> {
  readonly slip: Slip
  readonly settle: Settle
  /** All that there is to say of it, as whoever ends calls has it. */
  readonly end: End
  /** How often somebody had looked at what is free as it ended. */
  readonly looks: number
}

/** What whoever ends calls knows of an end. */
export interface Ends<End> {
  /** All that there is to say of it, as JSON: by this line it is known from then on. */
  lineOf(ended: Ended<End>): string
  endIn(line: string): End
  /** What is committed for these lines: the money as `wholeSettlesSteps` has it, the calls' rows and all the rest. */
  stepsOf(lines: readonly string[]): readonly Step[]
  /** The books do not take it as it is. Whoever resolves has it from now on. */
  refused(end: End, cause: unknown): Promise<void>
}

export interface PostingParts<End> {
  readonly books: Pick<Database, 'commit'>
  readonly daybook: Daybook
  readonly ends: Ends<End>
  readonly clock: Clock
  readonly log: Pick<Log, 'error' | 'warn'>
  /** It is on the disk; or neither daybook nor books took it now, and it is tried again. */
  readonly ended: (ended: Ended<End>, isOnDisk: boolean) => void
  /** The books have not answered for so long that no money should be lent on their word. Milliseconds. */
  readonly lateMs: number
  /** They are late, or refuse. */
  readonly onTrouble: () => void
}

/** Calls wait so long for others, and no more of them share a commit. */
const postEveryMs = 100
const batchMax = 256
const againMs = 1000
/** A file that refuses is said once in a while, not at each call. */
const sayEveryMs = 60_000

/**
 * From the daybook to the books. What has ended is on the disk first, which is all that anybody waits for. The books take it with many others: when
 * there are enough, after a while, or when somebody looks, who then finds it there.
 */
export class Posting<End> {
  readonly #parts: PostingParts<End>
  /** Of which the books have not been told, the oldest first. */
  #waiting: Entry<End>[] = []
  /** All that they have not said they have. */
  readonly #open = new Roster<Entry<End>>()
  readonly #sending = new Set<Promise<void>>()
  #timer: Timer | undefined
  #isTimed = false
  /** They took nothing: until it is tried again, nobody but who looks asks them. */
  #isPutOff = false
  #saidMs = Number.NEGATIVE_INFINITY

  constructor(parts: PostingParts<End>) {
    this.#parts = parts
  }

  /** Resolves when it is on the disk, in the daybook or in the books. Rejects when neither took it in time; it is tried again. */
  add(ended: Ended<End>): Promise<void> {
    const { daybook, ends } = this.#parts
    const line = ends.lineOf(ended)
    return new Promise((resolve, reject) => {
      const entry = new Entry(this, line, { ended, resolve, reject })
      this.#waiting.push(entry)
      this.#open.add(entry)
      entry.number = daybook.add(line, entry)
      if (entry.number === undefined) void this.#postNow(entry)
      else this.#postSoon()
    })
  }

  /** What became of an entry's line. */
  heard(entry: Entry<End>, error: unknown): void {
    if (error === undefined) return this.#over(entry)
    this.#say(error)
    void this.#postNow(entry)
  }

  /** Whoever asks the books after this finds there all that has ended. Resolves when they answered. */
  async post(): Promise<void> {
    while (this.#waiting.length > 0) this.#send(this.#waiting.splice(0, batchMax))
    await Promise.all([...this.#sending])
  }

  /** Calls that the books do not have yet. */
  get size(): number {
    return this.#open.size
  }

  async close(): Promise<void> {
    await this.post()
    this.#timer?.[Symbol.dispose]()
  }

  async #postNow(entry: Entry<End>): Promise<void> {
    const { clock, lateMs } = this.#parts
    const late = Promise.withResolvers<void>()
    const timer = clock.after(lateMs, late.resolve)
    await Promise.race([this.post(), late.promise])
    timer[Symbol.dispose]()
    this.#over(entry, this.#open.has(entry) ? (entry.error ?? new DatabaseAway(`no answer in ${lateMs} ms`)) : undefined)
  }

  /** Told once: by the daybook or by the books, whoever has it first. */
  #over(entry: Entry<End>, error?: unknown): void {
    const { open } = entry
    if (open === undefined) return
    entry.open = undefined
    this.#parts.ended(open.ended, error === undefined)
    if (error === undefined) open.resolve()
    else open.reject(error)
  }

  /** What comes while the books are at work is for the next time. */
  #postSoon(): void {
    const isEnough = this.#waiting.length >= batchMax && this.#sending.size === 0
    if (isEnough && !this.#isPutOff) return this.#send(this.#waiting.splice(0, batchMax))
    this.#later(postEveryMs)
  }

  #later(ms: number): void {
    if (this.#isTimed) return
    this.#isTimed = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = this.#parts.clock.after(ms, () => {
      this.#isTimed = false
      this.#isPutOff = false
      void this.post()
    })
  }

  #send(batch: readonly Entry<End>[]): void {
    const { clock, lateMs, onTrouble } = this.#parts
    const late = clock.after(lateMs, onTrouble)
    const sending = this.#commit(batch).finally(() => {
      late[Symbol.dispose]()
      this.#sending.delete(sending)
      this.#parts.daybook.posted(this.#oldest())
      if (this.#waiting.length >= batchMax) this.#postSoon()
    })
    this.#sending.add(sending)
  }

  async #commit(batch: readonly Entry<End>[]): Promise<void> {
    const { books, ends } = this.#parts
    try {
      const { done } = await books.commit(ends.stepsOf(batch.map(({ line }) => line)), 'synced')
      if (!done) return await this.#eachAlone(batch)
      for (const entry of batch) this.#inBooks(entry)
    } catch (error) {
      if (!(error instanceof DatabaseAway)) return await this.#eachAlone(batch)
      for (const entry of batch) entry.error = error
      this.#again(batch)
    }
  }

  /**
   * One of them will not do as it is, or is there already; it must not stand in the way of the others. All are asked for at once, so that whoever looks
   * from now on comes behind them; whoever has looked may have been told of too much.
   */
  async #eachAlone(batch: readonly Entry<End>[]): Promise<void> {
    this.#parts.onTrouble()
    const failed: Entry<End>[] = []
    await Promise.all(
      batch.map(async entry => {
        try {
          await this.#alone(entry)
          this.#inBooks(entry)
        } catch (error) {
          entry.error = error
          failed.push(entry)
        }
      }),
    )
    if (failed.length > 0) this.#again(batch.filter(entry => failed.includes(entry)))
  }

  async #alone({ line }: Entry<End>): Promise<void> {
    const { books, ends } = this.#parts
    let cause: unknown
    try {
      const committed = await books.commit(ends.stepsOf([line]), 'synced')
      if (committed.done) return
      cause = new Error(`the books refuse it: ${committed.guard}`)
    } catch (error) {
      if (error instanceof DatabaseAway) throw error
      cause = error
    }
    await ends.refused(ends.endIn(line), cause)
  }

  #inBooks(entry: Entry<End>): void {
    this.#open.delete(entry)
    this.#over(entry)
  }

  #again(batch: readonly Entry<End>[]): void {
    this.#waiting = [...batch, ...this.#waiting]
    this.#parts.onTrouble()
    this.#isPutOff = true
    this.#later(againMs)
  }

  /** The lowest number that the books might not have. */
  #oldest(): number {
    for (let entry = this.#open.first; entry !== undefined; entry = entry.after) if (entry.number !== undefined) return entry.number
    return Number.POSITIVE_INFINITY
  }

  #say(error: unknown): void {
    const { clock, log } = this.#parts
    const nowMs = clock.elapsedMs()
    if (nowMs - this.#saidMs < sayEveryMs) return
    this.#saidMs = nowMs
    log.warn({ err: error }, 'the daybook cannot be written; each call that ends is told to the books')
  }
}

/**
 * Many wait here for a moment. What waits longer than it takes to collect garbage is copied then, twice, and at last looked through with all that is
 * old; so once nobody waits for it any more nothing is left of an end but its line.
 */
class Entry<End> implements Listed, Line {
  before: this | undefined
  after: this | undefined
  /** Of its line; undefined when it has none. */
  number: number | undefined
  /** Why the books did not take it when they were asked last. */
  error: unknown
  /** Until it is told how that went. */
  open: { readonly ended: Ended<End>; readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined
  readonly line: string
  readonly #posting: Posting<End>

  constructor(posting: Posting<End>, line: string, open: Entry<End>['open']) {
    this.#posting = posting
    this.line = line
    this.open = open
  }

  written(error?: unknown): void {
    this.#posting.heard(this, error)
  }
}
