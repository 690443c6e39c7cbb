import type { Clock } from '../lib/clock.ts'
import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { balanceMost } from './money.ts'

/** An unchanging line of the ledger. A wallet's balance is the sum of its entries. */
export interface Entry {
  readonly id: string
  readonly walletId: string
  readonly kind: EntryKind
  /** What caused it: a call, a payment, a redeemed code. Unique within its kind, so a repeated cause has no second effect. */
  readonly reference: string
  /** Nano-dollars; credits are above zero, charges and debits below. */
  readonly amount: bigint
  readonly reason: string | null
  /** Who did it; null for charges, which nobody does by hand. */
  readonly author: string | null
  readonly createdAtMs: number
}

export type EntryKind = 'charge' | 'credit' | 'debit' | 'refund' | 'redeem' | 'adjustment'

/** Money that comes or goes by somebody's decision. */
export interface Posting {
  readonly walletId: string
  /** Nano-dollars, above zero. */
  readonly amount: bigint
  readonly reference: string
  readonly reason: string | null
  readonly author: string | null
  /** `credit` or `debit` when it is left out. */
  readonly kind?: Exclude<EntryKind, 'charge' | 'refund'>
}

/**
 * `repeated`: the same posting was made before, and has no second effect.
 * `short`: the money is not there, or is held. `full`: the balance would be more than `balanceMost`.
 * `reference_used`: for something else. `wallet_unknown`: no such wallet.
 */
export type Posted =
  | { readonly balance: bigint; readonly repeated: boolean }
  | { readonly refused: 'short' | 'full' | 'reference_used' | 'wallet_unknown' }

export interface EntryPage {
  readonly entries: readonly Entry[]
  /** Give it back for the entries before these; null at the end. */
  readonly cursor: string | null
}

/** An empty wallet for a new user. A balance that does not begin at zero would have no entry to explain it. */
export function openWalletStep(walletId: string, userId: string): Step {
  return { statement: insertWallet, values: [walletId, userId] }
}

/** Guards: `posted_already` (or no such wallet), then `short` or `walletFull`. The second step returns the new `balance`. For a redeemed code beside its own steps. */
export function postSteps(direction: 'credit' | 'debit', posting: Posting, nowMs: number): readonly Step[] {
  const { walletId, reference, reason, author, kind = direction } = posting
  if (posting.amount <= 0n) throw new Error(`A ${direction} must be above zero, not ${posting.amount}.`)
  const amount = direction === 'credit' ? posting.amount : -posting.amount
  return [
    {
      statement: insertEntry,
      values: [walletId, newId(nowMs), kind, reference, amount, reason, author, nowMs],
      rows: 1,
      otherwise: 'posted_already',
    },
    { statement: moveBalance, values: [walletId, amount], rows: 1, otherwise: direction === 'credit' ? walletFull : 'short' },
  ]
}

/** A guard that is a sentence: who redeems a code is told so. */
export const walletFull = 'The balance would be more than 9000000000 USD, which is the most that a wallet can have.'

/** Adds or takes, once by (kind, reference). Takes nothing that is held, and nothing below zero. */
export async function post(
  database: Pick<Database, 'read' | 'commit'>,
  clock: Clock,
  direction: 'credit' | 'debit',
  posting: Posting,
): Promise<Posted> {
  const committed = await database.commit(postSteps(direction, posting, clock.nowMs()), 'synced')
  if (committed.done) return { balance: committed.rows[1]![0]!.balance as bigint, repeated: false }
  if (committed.guard === 'short') return { refused: 'short' }
  if (committed.guard === walletFull) return { refused: 'full' }
  const [wallet] = await database.read(readBalance, [posting.walletId])
  if (wallet === undefined) return { refused: 'wallet_unknown' }
  const [found] = await database.read(readEntry, [posting.kind ?? direction, posting.reference])
  const amount = direction === 'credit' ? posting.amount : -posting.amount
  if (found?.wallet_id !== posting.walletId || found.amount !== amount) return { refused: 'reference_used' }
  return { balance: wallet.balance as bigint, repeated: true }
}

/** A correction: what is above zero is added, what is below is taken, as a debit takes it. */
export async function adjust(database: Pick<Database, 'read' | 'commit'>, clock: Clock, posting: Omit<Posting, 'kind'>): Promise<Posted> {
  const { amount } = posting
  const adjustment = { ...posting, kind: 'adjustment' } as const
  return amount < 0n ? post(database, clock, 'debit', { ...adjustment, amount: -amount }) : post(database, clock, 'credit', adjustment)
}

/** Newest first. */
export async function readEntries(
  database: Pick<Database, 'report'>,
  walletId: string,
  page: { readonly limit: number; readonly cursor: string | null },
): Promise<EntryPage> {
  const limit = Math.min(Math.max(page.limit, 1), pageEntriesMax)
  const rows =
    page.cursor === null
      ? await database.report(listNewest, [walletId, limit])
      : await database.report(listBefore, [walletId, limit, page.cursor])
  const entries = rows.map(toEntry)
  return { entries, cursor: entries.length < limit ? null : entries.at(-1)!.id }
}

const pageEntriesMax = 1_000

function toEntry(row: Row): Entry {
  return {
    id: row.id as string,
    walletId: row.wallet_id as string,
    kind: row.kind as EntryKind,
    reference: row.reference as string,
    amount: row.amount as bigint,
    reason: row.reason as string | null,
    author: row.author as string | null,
    createdAtMs: Number(row.created_at),
  }
}

const insertWallet = statement('insert into wallets (id, user_id, balance, held) values ($1, $2, 0, 0)')

const insertEntry = statement(`insert into entries (id, wallet_id, kind, reference, amount, reason, author, created_at)
  select $2, id, $3, $4, $5, $6, $7, $8 from wallets where id = $1 on conflict (kind, reference) do nothing`)

const moveBalance = statement(`update wallets set balance = balance + $2
  where id = $1 and ${balanceMost} - balance >= $2 and ($2 > 0 or balance - held + $2 >= 0) returning balance`)

const readBalance = statement('select balance from wallets where id = $1')
const readEntry = statement('select wallet_id, amount from entries where kind = $1 and reference = $2')
const listNewest = statement('select * from entries where wallet_id = $1 order by id desc limit $2')
const listBefore = statement('select * from entries where wallet_id = $1 and id < $3 order by id desc limit $2')
