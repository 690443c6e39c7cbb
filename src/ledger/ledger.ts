import type { Clock } from '../lib/clock.ts'
import { type Database, type Row, statement } from '../storage/database.ts'
import { checkBooks, type Difference } from './check.ts'
import { adjust, type EntryPage, type Posted, type Posting, post, readEntries } from './entries.ts'
import { type Refunded, type Refunding, refund } from './refund.ts'
import { anotherWay, shortHoldSteps } from './short-way.ts'
import { expireSteps, extendSteps, type Funds, fundsOf, type HoldRequest, holdSteps, lastingLease, releaseSteps } from './steps.ts'
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

  /** Keeps every hold of one gateway alive for `ttlMs` from now, by the books' own clock. `about` says how it fares, as JSON. */
  renewLease(leaseId: string, ttlMs: number, about?: string): Promise<void>

  /** Of a gateway that stops. One that still has open holds is left to run out, because its journal may know their ends. */
  endLease(leaseId: string): Promise<void>

  /** For whoever alone can have these books: all others have died, and need not be waited for. */
  endOtherLeases(leaseId: string): Promise<void>

  /** Gateways whose lease runs, the oldest first. */
  leases(): Promise<readonly Lease[]>

  /**
   * Ends holds whose gateway has not renewed its lease, gives their money back and writes each call's row. Says how many ended;
   * `expireRoundMax` means that there may be more. What has to be waited for before is the caller's to know.
   */
  expireHolds(): Promise<number>

  /** Every difference between sums that should agree; empty when all is well. Reads all of the books. */
  check(): Promise<readonly Difference[]>
}

export type Held =
  | { readonly granted: bigint }
  | { readonly refused: 'short' }
  | { readonly refused: 'window'; readonly window: 'Daily' | 'Weekly' | 'Monthly'; readonly resetsAtMs: number }

export interface Lease {
  readonly id: string
  /** Since it was first renewed. */
  readonly ageMs: number
  /** Since it was last renewed. */
  readonly silentMs: number
  readonly about: string
}

/**
 * The time by which leases run out: milliseconds since 1970. Gateways that share their books need one clock for it, that of the server:
 * by its own, one that is a minute ahead would take all others for dead.
 */
export type LeaseTime = () => Promise<number>

/** So that a round never stands long before a settle. */
export const expireRoundMax = 200

export interface LedgerOptions {
  /** Default: the clock's. */
  readonly leaseTime?: LeaseTime | undefined
  /** Where holds are asked for and released, when whoever does so keeps `Purses`. Default: the database. */
  readonly spending?: Pick<Database, 'read' | 'commit'> | undefined
}

export function openLedger(database: Pick<Database, 'read' | 'report' | 'commit'>, clock: Clock, options: LedgerOptions = {}): Ledger {
  const { leaseTime = async () => clock.nowMs(), spending = database } = options
  return {
    async free(walletId) {
      const [row] = await database.read(readWallet, [walletId])
      return row && { balance: row.balance as bigint, held: row.held as bigint }
    },
    room: funds => readRoom(database, funds),
    windows: funds => readWindows(database, funds),
    hold: request => hold(spending, request),
    extend: (callId, funds, to) => extend(database, callId, funds, to),
    async release(callId, funds) {
      await spending.commit(releaseSteps(callId, funds), 'ordered')
    },
    credit: posting => post(database, clock, 'credit', posting),
    debit: posting => post(database, clock, 'debit', posting),
    adjust: posting => adjust(database, clock, posting),
    refund: refunding => refund(database, clock, refunding),
    entriesOf: (walletId, page) => readEntries(database, walletId, page),
    async renewLease(leaseId, ttlMs, about = '{}') {
      const nowMs = await leaseTime()
      await database.commit([{ statement: writeLease, values: [leaseId, nowMs + ttlMs, nowMs, about] }], 'ordered')
    },
    async endLease(leaseId) {
      await database.commit([{ statement: deleteLease, values: [leaseId] }], 'ordered')
    },
    async endOtherLeases(leaseId) {
      await database.commit([{ statement: deleteOtherLeases, values: [leaseId, lastingLease] }], 'ordered')
    },
    async leases() {
      const nowMs = await leaseTime()
      return (await database.read(selectLeases, [nowMs, lastingLease])).map(row => leaseOf(row, nowMs))
    },
    expireHolds: async () => expireHolds(database, await leaseTime()),
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

async function expireHolds(database: Pick<Database, 'read' | 'commit'>, nowMs: number): Promise<number> {
  const due = await database.read(listDue, [nowMs, expireRoundMax])
  const ends = await Promise.all(due.map(row => database.commit(expireSteps(row.id as string, fundsOf(row), nowMs), 'ordered')))
  if (due.length < expireRoundMax) await database.commit([{ statement: dropLeases, values: [nowMs] }], 'ordered')
  return ends.filter(end => end.done).length
}

function leaseOf({ id, since, heard_at, about }: Row, nowMs: number): Lease {
  const ago = (at: Row[string] | undefined) => Math.max(0, nowMs - Number(at))
  return { id: id as string, ageMs: ago(since), silentMs: ago(heard_at), about: about as string }
}

const readWallet = statement('select balance, held from wallets where id = $1')
const readHold = statement('select state, amount from holds where id = $1')

const writeLease = statement(`insert into leases (id, expires_at, since, heard_at, about) values ($1, $2, $3, $3, $4)
  on conflict (id) do update set expires_at = excluded.expires_at, heard_at = excluded.heard_at, about = excluded.about`)

const isUnused = `not exists (select 1 from holds where holds.lease_id = leases.id and holds.state = 'held')`
const deleteLease = statement(`delete from leases where id = $1 and ${isUnused}`)
const deleteOtherLeases = statement('delete from leases where id <> $1 and id <> $2')
const selectLeases = statement('select id, since, heard_at, about from leases where expires_at > $1 and id <> $2 order by since, id')

const listDue =
  statement(`select holds.id, holds.wallet_id, holds.subscription_id, holds.began_at, subscriptions.starts_at, subscriptions.ends_at
  from holds left join leases on leases.id = holds.lease_id left join subscriptions on subscriptions.id = holds.subscription_id
  where holds.state = 'held' and (leases.expires_at is null or leases.expires_at <= $1) limit $2`)

const dropLeases = statement(`delete from leases where expires_at <= $1 and ${isUnused}`)
