import type { Clock } from '../lib/clock.ts'
import { type Database, statement } from '../storage/database.ts'
import { checkBooks, type Difference } from './check.ts'
import { adjust, type EntryPage, type Posted, type Posting, post, readEntries } from './entries.ts'
import { type Refunded, type Refunding, refund } from './refund.ts'
import { anotherWay, shortHoldSteps } from './short-way.ts'
import { expireSteps, extendSteps, type Funds, fundsOf, type HoldRequest, holdSteps, releaseSteps } from './steps.ts'
import { type FilledWindow, type Room, readRoom, readWindows, type SubscriptionFunds, type WindowKind } from './subscription.ts'

/**
 * Whose money is where. Everything rejects with `DatabaseAway` when the books cannot be reached; it is then unknown
 * whether it took effect, and asking again with the same ids is safe. A call's end is written with `settleSteps` or
 * `releaseSteps` in one transaction with its row: those two are the caller's to commit.
 */
export interface Ledger {
  /** Nano-dollars; undefined when there is no such wallet. What is free is the balance without what is held. */
  free(walletId: string): Promise<{ readonly balance: bigint; readonly held: bigint } | undefined>

  /** What is left in the windows of a subscription. */
  room(funds: SubscriptionFunds): Promise<Room>

  /** The same windows, each with its limit, what was used and is held in it, and what is left. */
  windows(funds: SubscriptionFunds): Promise<readonly FilledWindow[]>

  /**
   * Sets money aside, at most `want`, at least `floor`, or nothing at all. The same call id again is granted the same.
   * Whoever is rejected, or gives up, releases: only the death of the gateway ends a hold that nobody ended.
   */
  hold(request: HoldRequest): Promise<Held>

  /**
   * Sets aside `to` in all for a call that runs, or as much of it as is free; never less than before. The same again changes
   * nothing. `ended`: it has no hold that is open.
   */
  extend(callId: string, funds: Funds, to: bigint): Promise<{ readonly granted: bigint } | { readonly refused: 'ended' }>

  /** Gives back all that is held for a call to which nothing was served. Does nothing when it has ended. */
  release(callId: string, funds: Funds): Promise<void>

  /** Adds money, once by (kind, reference). Throws when the amount is not above zero. */
  credit(posting: Posting): Promise<Posted>
  /** Takes money that is free, once by (kind, reference). Throws when the amount is not above zero. */
  debit(posting: Posting): Promise<Posted>
  /** Adds what is above zero and takes what is below, of what is free; once by its reference. Throws when it is zero. */
  adjust(posting: Omit<Posting, 'kind'>): Promise<Posted>
  /** Gives back what a settled call was charged, or a part of it, once. Throws when the amount is not above zero. */
  refund(refunding: Refunding): Promise<Refunded>

  /** Newest first, at most 1,000. */
  entriesOf(walletId: string, page: { readonly limit: number; readonly cursor: string | null }): Promise<EntryPage>

  /** Keeps every hold of one gateway alive for `ttlMs` from now. */
  renewLease(leaseId: string, ttlMs: number): Promise<void>

  /**
   * Ends holds whose gateway has not renewed its lease, gives their money back and writes each call's row. Before
   * `graceUntilMs` it does nothing: after an outage of the books, journals and renewals come first.
   * Says how many ended; `expireRoundMax` means that there may be more.
   */
  expireHolds(options: { readonly graceUntilMs: number }): Promise<number>

  /** Every difference between sums that should agree; empty when all is well. Reads all of the books. */
  check(): Promise<readonly Difference[]>
}

export type Held =
  | { readonly granted: bigint }
  | { readonly refused: 'short' }
  | { readonly refused: 'window'; readonly window: 'Daily' | 'Weekly' | 'Monthly'; readonly resetsAtMs: number }

/** So that a round never stands long before a settle. */
export const expireRoundMax = 200

export function openLedger(database: Pick<Database, 'read' | 'report' | 'commit'>, clock: Clock): Ledger {
  return {
    async free(walletId) {
      const [row] = await database.read(readWallet, [walletId])
      return row && { balance: row.balance as bigint, held: row.held as bigint }
    },
    room: funds => readRoom(database, funds),
    windows: funds => readWindows(database, funds),
    hold: request => hold(database, request),
    extend: (callId, funds, to) => extend(database, callId, funds, to),
    async release(callId, funds) {
      await database.commit(releaseSteps(callId, funds), 'ordered')
    },
    credit: posting => post(database, clock, 'credit', posting),
    debit: posting => post(database, clock, 'debit', posting),
    adjust: posting => adjust(database, clock, posting),
    refund: refunding => refund(database, clock, refunding),
    entriesOf: (walletId, page) => readEntries(database, walletId, page),
    async renewLease(leaseId, ttlMs) {
      await database.commit([{ statement: writeLease, values: [leaseId, clock.nowMs() + ttlMs] }], 'ordered')
    },
    expireHolds: ({ graceUntilMs }) => expireHolds(database, clock.nowMs(), graceUntilMs),
    check: () => checkBooks(database),
  }
}

async function hold(database: Pick<Database, 'read' | 'commit'>, request: HoldRequest): Promise<Held> {
  const short = shortHoldSteps(request)
  const tried = short && (await database.commit(short, 'ordered'))
  if (tried?.done) return { granted: request.want }
  const isAnotherWay = tried === undefined || tried.guard === anotherWay
  const committed = isAnotherWay ? await database.commit(holdSteps(request), 'ordered') : tried
  if (committed.done) {
    const granted = committed.rows.flat().find(row => 'granted' in row)
    return { granted: granted!.granted as bigint }
  }
  if (committed.guard !== 'short' && committed.guard !== 'held_already') {
    throw new Error(`The hold of call ${request.callId} cannot be placed: ${committed.guard}.`)
  }

  // A repeated request may find its own hold in its way, so that is looked for before the answer is no.
  const [found] = await database.read(readHold, [request.callId])
  if (found !== undefined && found.state !== 'held') throw new Error(`The hold of call ${request.callId} has ended; it is placed once.`)
  if (found !== undefined) return { granted: found.amount as bigint }
  if (request.funds.kind === 'wallet') return { refused: 'short' }
  const { window } = await readRoom(database, request.funds)
  const fullest = window ?? request.funds.windows.at(-1)!
  return { refused: 'window', window: windowNames[fullest.kind], resetsAtMs: fullest.endsAtMs }
}

/** As the refusal says them. */
const windowNames: Readonly<Record<WindowKind, 'Daily' | 'Weekly' | 'Monthly'>> = { daily: 'Daily', weekly: 'Weekly', monthly: 'Monthly' }

async function extend(database: Pick<Database, 'commit'>, callId: string, funds: Funds, to: bigint): ReturnType<Ledger['extend']> {
  const committed = await database.commit(extendSteps(callId, funds, to), 'ordered')
  if (committed.done) return { granted: committed.rows.at(-1)![0]!.granted as bigint }
  if (committed.guard !== 'ended_already') throw new Error(`The hold of call ${callId} cannot be extended: ${committed.guard}.`)
  return { refused: 'ended' }
}

async function expireHolds(database: Pick<Database, 'read' | 'commit'>, nowMs: number, graceUntilMs: number): Promise<number> {
  if (nowMs < graceUntilMs) return 0
  const due = await database.read(listDue, [nowMs, expireRoundMax])
  const ends = await Promise.all(due.map(row => database.commit(expireSteps(row.id as string, fundsOf(row), nowMs), 'ordered')))
  if (due.length < expireRoundMax) await database.commit([{ statement: dropLeases, values: [nowMs] }], 'ordered')
  return ends.filter(end => end.done).length
}

const readWallet = statement('select balance, held from wallets where id = $1')
const readHold = statement('select state, amount from holds where id = $1')

const writeLease = statement(`insert into leases (id, expires_at) values ($1, $2)
  on conflict (id) do update set expires_at = excluded.expires_at`)

const listDue =
  statement(`select holds.id, holds.wallet_id, holds.subscription_id, holds.began_at, subscriptions.starts_at, subscriptions.ends_at
  from holds left join leases on leases.id = holds.lease_id left join subscriptions on subscriptions.id = holds.subscription_id
  where holds.state = 'held' and (leases.expires_at is null or leases.expires_at <= $1) limit $2`)

const dropLeases = statement(`delete from leases where expires_at <= $1
  and not exists (select 1 from holds where holds.lease_id = leases.id and holds.state = 'held')`)
