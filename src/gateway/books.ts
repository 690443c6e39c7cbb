import { ownerSteps } from '../directory/owners.ts'
import type { AtHand } from '../ledger/at-hand.ts'
import { formatUsd } from '../ledger/money.ts'
import type { Owed } from '../ledger/owed.ts'
import type { Purses } from '../ledger/purses.ts'
import { anotherWay, shortSettleSteps } from '../ledger/short-way.ts'
import {
  type Funds,
  type HeldCall,
  type HoldRequest,
  keepSteps,
  lateSettleSteps,
  readSettled,
  releaseSteps,
  type Settle,
  settleSteps,
  type WalletFunds,
} from '../ledger/steps.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Committed, Database, Step } from '../storage/database.ts'
import { DatabaseAway } from '../storage/database.ts'
import { accountDaySteps } from '../usage/account-days.ts'
import { type PendingCall, pendingEndedSteps, pendingSteps } from '../usage/pending.ts'
import { type AttemptRow, type CallRow, callSteps, paidCallSteps } from '../usage/record.ts'

/** Everything that ends a call in the books, as plain values: it may have to wait in the journal. */
export interface CallEnd {
  readonly callId: string
  readonly funds: Funds
  readonly call: HeldCall
  /** Without a charge the hold is released. */
  readonly charge?: { readonly cost: bigint; readonly entryId: string; readonly atMs: number }
  /** Without a row, somebody else writes it. */
  readonly row?: CallRow
  readonly attempts: readonly AttemptRow[]
  /** The call goes on upstream: its hold stays, and this is written down to settle it by. */
  readonly pending?: PendingCall
  /** It went on, and this is its end. */
  readonly endsPending?: boolean
  readonly owners?: readonly Parameters<typeof ownerSteps>[0][]
}

/** Where calls end: the books when they answer in time, else the journal, else memory. Ending never fails and never waits long. */
export interface Books {
  /** Resolves when the end is durable, or when nothing durable would take it. */
  end(end: CallEnd): Promise<void>
  /**
   * Gives back what may be held for a call to which nothing was served. Returns at once. The journal has no part in it: until the
   * books take it, it is tried again from memory, and when this gateway dies its lease ends the hold.
   */
  release(request: HoldRequest): void
  /** Ends kept in memory only, because the journal refused too. */
  readonly unwritten: number
  /** Ends in the journal. */
  readonly owed: number
  /** Puts into the journal what the books do not take as it is; it is tried again from there. Rejects when the journal does. */
  owe(end: CallEnd, cause: unknown): Promise<void>
  /** Takes what is owed to the books; resolves when they took it or are away again. */
  catchUp(): Promise<void>
  close(): Promise<void>
}

export interface BooksParts {
  readonly database: Pick<Database, 'commit'>
  /** Undefined where several share the books. */
  readonly atHand: Pick<AtHand<CallEnd>, 'spending' | 'settle' | 'telling' | 'letGo' | 'doubt' | 'post'> | undefined
  readonly purses: Purses
  readonly journal: Owed<CallEnd>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** How long the books may take to answer before the journal is asked. Milliseconds. */
  readonly settleWithinMs: number
}

const catchUpEveryMs = 1000
/**
 * So many holds wait in memory to be given back, about 5 MB of them: every call that is refused while the books are stuck leaves one
 * that may have taken effect. What is beyond stays held until this gateway ends.
 */
export const unreleasedMax = 10_000
/** What the books refuse is a person's to settle: it is said again and again, but not every second. */
const refusedEveryMs = 60_000

export function openBooks(parts: BooksParts): Books {
  return new BooksWithJournal(parts)
}

class BooksWithJournal implements Books {
  readonly #parts: BooksParts
  /** Ends that neither books nor journal took. */
  readonly #unwritten = new Set<CallEnd>()
  /** Holds to be given back. */
  readonly #unreleased = new Set<HoldRequest>()
  /** How much is asked of the books, and who waits until it is answered. */
  #pending = 0
  #settled: (() => void) | undefined
  #catching: { readonly timer: Timer; readonly atMs: number } | undefined
  #isClosed = false

  constructor(parts: BooksParts) {
    this.#parts = parts
  }

  get unwritten(): number {
    return this.#unwritten.size
  }

  get owed(): number {
    return this.#parts.journal.size
  }

  end(ending: CallEnd): Promise<void> {
    const paid = paidOf(ending)
    const written = paid && !ending.endsPending ? this.#parts.atHand?.settle(paid.settle, ending) : undefined
    if (written === undefined) return this.#endInBooks(ending)
    // Written down at once, and in the books later.
    this.#pending += 1
    return written.then(this.#forget, error => this.#owe(ending, error).finally(this.#forget))
  }

  async #endInBooks(ending: CallEnd): Promise<void> {
    const { atHand, settleWithinMs } = this.#parts
    // They are just being told of its hold: should they not take it, it is at hand again, and they would take this for the end of another.
    const telling = atHand?.telling(ending.callId)
    const told = telling && (await within(telling, this.#parts))
    if (told !== undefined && told !== 'late') return this.end(ending)
    const answered = told ?? (await within(this.#track(commitEnd(this.#parts, ending, 'in time')), this.#parts))
    if (answered === 'late') await this.#owe(ending, new DatabaseAway(`no answer in ${settleWithinMs} ms`))
    else if ('failed' in answered) await this.#owe(ending, answered.failed)
    else if (isRefused(answered.committed)) await this.#owe(ending, new Error(`the books refuse it: ${answered.committed.guard}`))
    else this.#noteCommitted(answered.committed, ending)
  }

  release(request: HoldRequest): void {
    const { atHand } = this.#parts
    if (atHand?.letGo(request.callId)) return
    const telling = atHand?.telling(request.callId)
    if (telling !== undefined) return void this.#track(telling.then(() => this.release(request)))
    void this.#track(this.#giveBack(request).catch(() => this.#giveBackLater(request)))
  }

  async owe(ending: CallEnd, cause: unknown): Promise<void> {
    const { journal, log } = this.#parts
    await journal.add(ending)
    log.warn({ call: ending.callId, err: cause }, 'the books do not take the end of a call; it is in the journal')
    this.#catchUpLater(catchUpEveryMs)
  }

  async catchUp(): Promise<void> {
    const { journal, log } = this.#parts
    try {
      for (const ending of this.#unwritten) {
        await journal.add(ending)
        this.#unwritten.delete(ending)
      }
    } catch {
      // The journal still refuses; the books may take them.
    }
    try {
      for (const ending of this.#unwritten) {
        await this.#takeLate(ending)
        this.#unwritten.delete(ending)
      }
      await journal.replay(ending => this.#takeLate(ending))
      for (const request of this.#unreleased) {
        await this.#giveBack(request)
        this.#unreleased.delete(request)
      }
      if (journal.size > 0) this.#catchUpLater(refusedEveryMs)
    } catch (error) {
      log.warn({ owed: journal.size, err: error }, 'the books are still away')
      this.#catchUpLater(catchUpEveryMs)
    }
  }

  async close(): Promise<void> {
    if (this.#pending > 0) await new Promise<void>(resolve => (this.#settled = resolve))
    await this.#parts.atHand?.post()
    await this.catchUp()
    this.#isClosed = true
    this.#catching?.timer[Symbol.dispose]()
    await this.#parts.journal[Symbol.asyncDispose]()
  }

  #track<Result>(work: Promise<Result>): Promise<Result> {
    this.#pending += 1
    work.then(this.#forget, this.#forget)
    return work
  }

  readonly #forget = () => {
    this.#pending -= 1
    if (this.#pending === 0) this.#settled?.()
  }

  /** Rejects with `DatabaseAway`. What the books refuse for another reason stays held. */
  async #giveBack(request: HoldRequest): Promise<void> {
    const { callId, funds } = request
    try {
      await commitEnd(this.#parts, { callId, funds, call: request, attempts: [] }, 'in time')
    } catch (error) {
      if (error instanceof DatabaseAway) throw error
      this.#leaveHeld(request, error)
    }
  }

  #giveBackLater(request: HoldRequest): void {
    if (this.#unreleased.size >= unreleasedMax) return this.#leaveHeld(request, new Error(`${unreleasedMax} others wait for the same`))
    this.#unreleased.add(request)
    this.#catchUpLater(catchUpEveryMs)
  }

  #leaveHeld({ callId }: HoldRequest, cause: unknown): void {
    this.#parts.log.error({ call: callId, err: cause }, 'a hold cannot be given back; it ends with this gateway')
  }

  /** The books did not answer in time, or not at all: whatever they did, the journal repeats it harmlessly. */
  async #owe(ending: CallEnd, cause: unknown): Promise<void> {
    const { atHand, journal, log } = this.#parts
    atHand?.doubt()
    try {
      await journal.add(ending)
      if (journal.size === 1) log.warn({ call: ending.callId, err: cause }, 'the books do not answer in time; charges go to the journal')
    } catch (error) {
      this.#unwritten.add(ending)
      log.error(
        { call: ending.callId, end: plain(ending), err: error },
        'neither books nor journal took the end of a call; it is in memory',
      )
    }
    this.#catchUpLater(catchUpEveryMs)
  }

  /** Throws what the journal reports to a person, when the books refuse the end itself. */
  async #takeLate(ending: CallEnd): Promise<void> {
    const committed = await commitEnd(this.#parts, ending, 'late')
    if (isRefused(committed)) throw new Error(`the books refuse it: ${committed.guard}`)
    this.#noteCommitted(committed, ending)
  }

  /** The sooner of what is planned and this. */
  #catchUpLater(ms: number): void {
    const { clock } = this.#parts
    const atMs = clock.elapsedMs() + ms
    if (this.#isClosed || (this.#catching !== undefined && this.#catching.atMs <= atMs)) return
    this.#catching?.timer[Symbol.dispose]()
    const timer = clock.after(ms, () => {
      this.#catching = undefined
      void this.#track(this.catchUp())
    })
    this.#catching = { timer, atMs }
  }

  #noteCommitted(committed: Committed, { charge, callId, row }: CallEnd): void {
    const { log, metrics } = this.#parts
    if (charge === undefined) return
    const settled = readSettled(committed, charge.cost)
    if (settled === undefined) {
      // The journal repeats what a slow commit did after all; that is what call ids are for.
      log.info({ call: callId, guard: committed.done ? null : committed.guard }, 'the call had been settled before')
      return
    }
    const uncollected = charge.cost - settled.charged
    if (uncollected <= 0n) return
    const why = settled.isLate ? 'hold_expired' : (row?.uncollectedWhy ?? '')
    metrics.uncollectedUsd.inc({ why }, Number(uncollected) / 1e9)
    log.warn({ call: callId, uncollected: formatUsd(uncollected), why }, 'a call cost more than could be taken')
  }
}

/** Undone, and not because it had been done before: that is what call ids are for. */
function isRefused(committed: Committed): committed is Extract<Committed, { done: false }> {
  return !committed.done && committed.guard !== 'ended_already'
}

/** One transaction: the hold's end (or that it stays), the call's row with its attempts, and the owners of what was made upstream. */
async function commitEnd(parts: BooksParts, end: CallEnd, when: 'in time' | 'late'): Promise<Committed> {
  const short = when === 'in time' ? await commitShort(parts, end) : undefined
  if (short?.done || (short !== undefined && short.guard !== anotherWay)) return short
  const { charge, row, attempts, pending } = end
  const rows = row === undefined ? [] : callSteps(row, attempts)
  const isPromised = charge !== undefined || pending !== undefined
  const steps = [...holdStepsOf(end, when === 'late' ? end.call : undefined), ...rows, ...stepsBeside(end)]
  // What is only given back may be spent; what a charge takes beyond its hold is to be looked at.
  const database = isPromised ? parts.database : (parts.atHand?.spending ?? parts.database)
  return database.commit(steps, isPromised ? 'synced' : 'ordered')
}

/** A call that is over, and that a wallet pays: nearly all are. */
interface Paid {
  readonly settle: Settle & { readonly funds: WalletFunds }
  readonly row: CallRow
}

function paidOf({ callId, funds, charge, row, pending }: CallEnd): Paid | undefined {
  if (charge === undefined || row === undefined || pending !== undefined || funds.kind !== 'wallet') return undefined
  return { settle: { callId, funds, cost: charge.cost, entryId: charge.entryId, atMs: charge.atMs }, row }
}

/** Undefined when the cost may be more than the hold, so that it is to be reckoned what can be taken. */
async function commitShort({ database, atHand, purses }: BooksParts, end: CallEnd): Promise<Committed | undefined> {
  const paid = paidOf(end)
  const steps = paid && shortSettleSteps(paid.settle, paid.row.held)
  if (paid === undefined || steps === undefined) return undefined
  const { settle, row } = paid
  const { looks } = purses
  const committed = await (atHand?.spending ?? database).commit(
    [...steps, ...paidCallSteps(row, end.attempts), ...accountDaySteps([row]), ...stepsBeside(end)],
    'synced',
  )
  if (committed.done) purses.gave(settle.funds.walletId, row.held - settle.cost, looks)
  return committed
}

function stepsBeside({ callId, owners = [], pending, endsPending }: CallEnd): readonly Step[] {
  const steps = owners.flatMap(owner => ownerSteps(owner))
  if (pending !== undefined) steps.push(...pendingSteps(pending))
  if (endsPending) steps.push(...pendingEndedSteps(callId))
  return steps
}

function holdStepsOf({ callId, funds, charge, pending }: CallEnd, late: HeldCall | undefined): readonly Step[] {
  if (pending !== undefined) return keepSteps(callId, funds, late)
  if (charge === undefined) return releaseSteps(callId, funds)
  const settle = { ...charge, callId, funds }
  return late === undefined ? settleSteps(settle) : lateSettleSteps(settle, late)
}

async function within<Result>(
  work: Promise<Result>,
  { clock, settleWithinMs }: BooksParts,
): Promise<{ readonly committed: Result } | { readonly failed: unknown } | 'late'> {
  return new Promise(resolve => {
    // When the timer is late itself, the answer may stand right behind it: one more turn, and it has been read.
    const timer = clock.after(settleWithinMs, () => setImmediate(() => resolve('late')))
    work.then(
      committed => {
        timer[Symbol.dispose]()
        resolve({ committed })
      },
      failed => {
        timer[Symbol.dispose]()
        resolve({ failed })
      },
    )
  })
}

/** For the log: amounts as text. */
function plain(end: CallEnd): unknown {
  return JSON.parse(JSON.stringify(end, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)))
}
