import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Soon } from '../lib/soon.ts'
import { type Database, DatabaseAway, type Statement, statement } from '../storage/database.ts'
import type { Daybook } from './daybook.ts'
import { type Ends, Posting } from './posting.ts'
import type { Purses } from './purses.ts'
import { shortHoldSteps } from './short-way.ts'
import type { Slip, Slips } from './slips.ts'
import { type HoldRequest, holdSteps, type Settle } from './steps.ts'

/**
 * Holds that are at hand: granted at once, out of money that is known to be free, and written as slips that outlive this process. Their calls end
 * in the daybook, and nobody waits for the books: they hear of both when somebody looks, or else of many calls at one stroke.
 *
 * It can be so because nobody but this process has the books, and everything that it asks of them goes through `database`: whoever reads or writes
 * what a call leaves finds all of it there. The books' own guards stand behind as before: no balance can fall below zero.
 */
export interface AtHand<End> {
  /** The books, for everybody. Whoever writes to wallets by it changes what is free, so that it is looked at again. */
  readonly database: Database
  /** The same for whoever tells `Purses` what it takes and gives back. */
  readonly spending: Pick<Database, 'read' | 'commit'>
  /**
   * Whether all that is wanted is set aside, and on file: at once where few calls run, else at the end of this turn of the event loop, when all
   * slips of the turn are written together. No when it is to be asked of the books. To be asked once of a call, and before anything else is.
   */
  hold(request: HoldRequest): Soon<boolean>
  /**
   * Settles a call whose hold is at hand. Undefined when it is not, or the cost is beyond it. Resolves when the end is on the disk; rejects when
   * neither daybook nor books took it, which are asked again.
   */
  settle(settle: Settle, end: End): Promise<void> | undefined
  /**
   * While the books are being told of the call's hold: whoever is to end it there waits, because they may not take it. Then it is at hand again.
   * Never rejects.
   */
  telling(callId: string): Promise<void> | undefined
  /** Lets go of a hold at hand, as if it had never been. False when it is not, so that the books are to release it. */
  letGo(callId: string): boolean
  /** The books fail, or are late: until they have written something again, each hold is asked of them. */
  doubt(): void
  /** Calls that have ended and that the books do not have yet. */
  readonly unposted: number
  /** Tells the books of every call that has ended. */
  post(): Promise<void>
  /** Tells the books of every hold, too. */
  close(): Promise<void>
}

export interface AtHandParts<End> {
  /** The books as they are. */
  readonly books: Database
  readonly slips: Slips
  readonly daybook: Daybook
  readonly ends: Ends<End>
  readonly purses: Purses
  readonly clock: Clock
  readonly log: Pick<Log, 'error' | 'warn'>
  /** How long the books may take to answer before no money is lent on their word. Milliseconds. */
  readonly settleWithinMs: number
}

interface Held {
  readonly slip: Slip
  readonly number: number
  /** The books were told, or it is about to be on the disk how it ended. */
  isTold: boolean
  /** While the books have not answered. */
  telling: Promise<void> | undefined
}

const fewHeld = 3
/** A file that refuses is said once in a while, not at each call. */
const sayEveryMs = 60_000

export function openAtHand<End>(parts: AtHandParts<End>): AtHand<End> {
  return new HoldsAtHand(parts)
}

class HoldsAtHand<End> implements AtHand<End> {
  readonly database: Database
  readonly spending: Pick<Database, 'read' | 'commit'>
  readonly #parts: AtHandParts<End>
  readonly #posting: Posting<End>
  /** All of which the books have not said that they know, the oldest first. */
  readonly #held = new Map<string, Held>()
  /** Who waits for the slips of this turn to be on file; told whether they are. */
  #writing: ((isWritten: boolean) => void)[] | undefined
  #doWrite = true
  #saidMs = Number.NEGATIVE_INFINITY

  constructor(parts: AtHandParts<End>) {
    const { books, purses, settleWithinMs } = parts
    this.#parts = parts
    this.#posting = new Posting({
      ...parts,
      books: { commit: (steps, durability) => this.#written(books.commit(steps, durability)) },
      ended: ({ slip, settle, looks }, isOnDisk) => {
        if (isOnDisk) purses.gave(slip.walletId, slip.want - settle.cost, looks)
        this.#held.delete(slip.callId)
      },
      lateMs: settleWithinMs,
      onTrouble: () => this.doubt(),
    })
    this.spending = {
      read: (statement, values) => {
        if (concerns(statement).calls) void this.post()
        if (concerns(statement).holds) void this.#tellAll()
        return this.#heard(books.read(statement, values))
      },
      commit: (steps, durability) => {
        void this.post()
        if (steps.some(step => concerns(step.statement).holds)) void this.#tellAll()
        return this.#written(books.commit(steps, durability))
      },
    }
    this.database = {
      ...this.spending,
      engine: books.engine,
      // Reports have a connection of their own, which sees only what was committed before.
      report: async (statement, values) => {
        if (concerns(statement).calls) await this.post()
        if (concerns(statement).holds) await this.#tellAll()
        return books.report(statement, values)
      },
      commit: (steps, durability) => {
        if (steps.some(step => concerns(step.statement).wallets)) purses.forget()
        return this.spending.commit(steps, durability)
      },
      close: () => books.close(),
    }
  }

  hold(request: HoldRequest): Soon<boolean> {
    const { callId, funds, floor, want, halfOfFree } = request
    if (funds.kind !== 'wallet' || !this.#doWrite) return false
    const most = floor > want ? floor : want
    if (!this.#parts.purses.has(funds.walletId, halfOfFree ? 2n * most : most)) return false
    const slip: Slip = { ...request, walletId: funds.walletId }
    const [oldest] = this.#held.values()
    const number = this.#parts.slips.add(slip, oldest?.number)
    if (number === undefined) {
      // No room, perhaps because a call of long ago still runs: the books hear of all.
      void this.#tellAll()
      return false
    }
    this.#parts.purses.took(funds.walletId, want)
    this.#held.set(callId, { slip, number, isTold: false, telling: undefined })
    // Among few there is nobody to share a write with.
    if (this.#held.size <= fewHeld && this.#writing === undefined) return this.#flush() || !this.letGo(callId)
    return this.#onFile(callId)
  }

  settle(settle: Settle, end: End): Promise<void> | undefined {
    const held = this.#atHand(settle.callId)
    if (held === undefined || settle.cost > held.slip.want) return undefined
    // From now on whoever looks is told of the end. But its slip is needed until that is on the disk: this process may die before.
    held.isTold = true
    return this.#posting.add({ slip: held.slip, settle, end, looks: this.#parts.purses.looks })
  }

  telling(callId: string): Promise<void> | undefined {
    return this.#held.get(callId)?.telling
  }

  letGo(callId: string): boolean {
    const held = this.#atHand(callId)
    if (held === undefined) return false
    this.#held.delete(callId)
    this.#parts.purses.gave(held.slip.walletId, held.slip.want, this.#parts.purses.looks)
    try {
      this.#parts.slips.strike(held.number)
    } catch (error) {
      // Should this process die now, the call has a row that says so, and costs nothing.
      this.#say(error)
    }
    return true
  }

  doubt(): void {
    this.#doWrite = false
    this.#parts.purses.forget()
  }

  get unposted(): number {
    return this.#posting.size
  }

  post(): Promise<void> {
    return this.#posting.post()
  }

  async close(): Promise<void> {
    await this.#tellAll()
    await this.#posting.close()
  }

  #atHand(callId: string): Held | undefined {
    const held = this.#held.get(callId)
    return held?.isTold ? undefined : held
  }

  #onFile(callId: string): Promise<boolean> {
    if (this.#writing === undefined) {
      this.#writing = []
      setImmediate(this.#flushAll)
    }
    const writing = this.#writing
    return new Promise(resolve => {
      // Where the file refuses, the hold never was, unless somebody looked meanwhile, so that the books have it.
      writing.push(isWritten => resolve(isWritten || !this.letGo(callId)))
    })
  }

  readonly #flushAll = (): void => {
    const writing = this.#writing!
    this.#writing = undefined
    const isWritten = this.#flush()
    for (const tell of writing) tell(isWritten)
  }

  #flush(): boolean {
    try {
      this.#parts.slips.flush()
      return true
    } catch (error) {
      this.#say(error)
      return false
    }
  }

  /** Commands are done in the order of asking, so whoever asks the books after this finds every hold there. */
  async #tellAll(): Promise<void> {
    const telling: Promise<void>[] = []
    for (const held of this.#held.values()) if (!held.isTold) telling.push((held.telling = this.#tell(held)))
    await Promise.all(telling)
  }

  async #tell(held: Held): Promise<void> {
    const { books, log } = this.#parts
    held.isTold = true
    try {
      await this.#written(tellBooks(books, held.slip))
      this.#held.delete(held.slip.callId)
    } catch (error) {
      held.isTold = false
      if (!(error instanceof DatabaseAway)) log.error({ call: held.slip.callId, err: error }, 'the books do not take a hold')
    } finally {
      held.telling = undefined
    }
  }

  /** Money that cannot be checked is not spent, */
  async #heard<Answer>(asked: Promise<Answer>): Promise<Answer> {
    try {
      return await asked
    } catch (error) {
      this.#parts.purses.forget()
      throw error
    }
  }

  /** and none when it could not be charged, though it can be read how much there is: a disk may be full. */
  async #written<Answer>(asked: Promise<Answer>): Promise<Answer> {
    try {
      const answer = await asked
      this.#doWrite = true
      return answer
    } catch (error) {
      this.doubt()
      throw error
    }
  }

  #say(error: unknown): void {
    const { clock, log } = this.#parts
    const nowMs = clock.elapsedMs()
    if (nowMs - this.#saidMs < sayEveryMs) return
    this.#saidMs = nowMs
    log.warn({ err: error }, 'holds cannot be written to their file; each is asked of the books')
  }
}

/**
 * Puts what is left of a process that died into the books, where its lease has run out: what becomes of it is the ledger's to say. What the
 * books know already, or have known and cut, stays as it is.
 */
export async function takeUp(books: Database, left: readonly Slip[]): Promise<void> {
  for (const slip of left) {
    const known = await books.read(selectKnown, [slip.callId])
    if (known.length === 0) await tellBooks(books, slip)
  }
}

/** There is always room for it, unless somebody took from the wallet behind our back; then what is free is held. */
async function tellBooks(books: Pick<Database, 'commit'>, slip: Slip): Promise<void> {
  const request: HoldRequest = { ...slip, funds: { kind: 'wallet', walletId: slip.walletId }, floor: 0n, halfOfFree: false }
  const told = await books.commit(shortHoldSteps(request)!, 'ordered')
  if (!told.done) await books.commit(holdSteps(request), 'ordered')
}

/** What a statement may see or change. */
interface Concern {
  /** Anything that a call leaves. */
  readonly calls: boolean
  readonly holds: boolean
  readonly wallets: boolean
}

const concerning = new Map<string, Concern>()
const tables = {
  calls: /\b(wallets|holds|entries|calls|attempts|owners|account_days)\b/i,
  holds: /\b(wallets|holds)\b/i,
  wallets: /\bwallets\b/i,
}

/** By its text, which is looked at once. */
function concerns({ sql }: Statement): Concern {
  let concern = concerning.get(sql)
  if (concern === undefined) {
    concern = { calls: tables.calls.test(sql), holds: tables.holds.test(sql), wallets: tables.wallets.test(sql) }
    concerning.set(sql, concern)
  }
  return concern
}

const selectKnown = statement(`select 1 as known from holds where id = $1 union all select 1 from calls where id = $1
  union all select 1 from retention where cut_before > $1`)
