import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { amount, amountOrNull, text, textOrNull, whole, wholeOrNull } from './cells.ts'
import { hashOfCode, hintOfCode, newCode } from './code-secret.ts'
import type { Page } from './pages.ts'
import { insertStep, type Made, type RowValues, step } from './steps.ts'
import type { SubscriptionLimits } from './subscriptions.ts'

/** What somebody was given, to be redeemed once. Its terms never change. */
export interface Code {
  readonly id: string
  /** The last letters, to tell codes apart. */
  readonly hint: string
  readonly gives: Gift
  readonly reason: string
  readonly author: string
  readonly madeAtMs: number
  /** It may be redeemed before then; null is for ever. */
  readonly expiresAtMs: number | null
  readonly voidedAtMs: number | null
  /** Who redeemed it, when, and what came of it. */
  readonly redeemed: Redeemed | null
}

/** What a code turns into. */
export type Gift = CreditGift | SubscriptionGift

export interface CreditGift {
  readonly kind: 'credit'
  /** Nano-dollars, above zero. */
  readonly amount: bigint
}

export interface SubscriptionGift extends SubscriptionLimits {
  readonly kind: 'subscription'
  readonly groupId: string
  /** Of 24 hours. */
  readonly days: number
}

export interface Redeemed {
  readonly userId: string
  readonly atMs: number
  readonly entryId: string | null
  readonly subscriptionId: string | null
}

export type CodeDraft = Pick<Code, 'gives' | 'reason' | 'author' | 'expiresAtMs'>

export type CodeState = 'open' | 'redeemed' | 'void' | 'expired'

/** A new code and its secret, which is nowhere else: who is not told now will never know it. */
export function makeCode(draft: CodeDraft, nowMs: number): Made<Code> & { readonly secret: string } {
  const secret = newCode()
  const entity: Code = { ...draft, id: newId(nowMs), hint: hintOfCode(secret), madeAtMs: nowMs, voidedAtMs: null, redeemed: null }
  const record = { ...recordOf(entity), hash: hashOfCode(secret)! }
  return { entity, secret, steps: [insertStep('codes', record, 'Chance made a code that exists already; make it again.')] }
}

/** Nobody will ever redeem it. */
export function voidCode({ id }: Code, nowMs: number): Step[] {
  const otherwise = 'This code was redeemed or made void already.'
  const sql = 'update codes set voided_at = $2 where id = $1 and redeemed_at is null and voided_at is null'
  return [step(sql, [id, nowMs], { rows: 1, otherwise })]
}

export function stateOf({ redeemed, voidedAtMs, expiresAtMs }: Code, nowMs: number): CodeState {
  if (redeemed !== null) return 'redeemed'
  if (voidedAtMs !== null) return 'void'
  return expiresAtMs !== null && expiresAtMs <= nowMs ? 'expired' : 'open'
}

/** The code that somebody typed. */
export async function findTypedCode(database: Database, typed: string): Promise<Code | undefined> {
  const hash = hashOfCode(typed)
  if (hash === undefined) return undefined
  const [row] = await database.report(codeByHash, [hash])
  return row && codeOf(row)
}

export async function findCode(database: Database, id: string): Promise<Code | undefined> {
  const [row] = await database.report(codeById, [id])
  return row && codeOf(row)
}

/** All that were ever made, or those that may be redeemed at a moment. */
export async function listCodes(database: Database, { after = '', limit }: Page, openAtMs?: number): Promise<Code[]> {
  const rows =
    openAtMs === undefined ? await database.report(codePage, [after, limit]) : await database.report(openCodePage, [after, limit, openAtMs])
  return rows.map(codeOf)
}

const columns = `id, hint, amount, group_id, days, daily_limit, weekly_limit, monthly_limit, reason, author, made_at,
  expires_at, voided_at, redeemed_by, redeemed_at, entry_id, subscription_id`
const codeByHash = statement(`select ${columns} from codes where hash = $1`)
const codeById = statement(`select ${columns} from codes where id = $1`)
const codePage = statement(`select ${columns} from codes where id > $1 order by id limit $2`)
const openCodePage = statement(`select ${columns} from codes where id > $1
  and redeemed_at is null and voided_at is null and (expires_at is null or expires_at > $3) order by id limit $2`)

function recordOf({ id, hint, gives, reason, author, madeAtMs, expiresAtMs }: Code): RowValues {
  const terms: RowValues =
    gives.kind === 'credit'
      ? { amount: gives.amount }
      : {
          group_id: gives.groupId,
          days: gives.days,
          daily_limit: gives.dailyLimit,
          weekly_limit: gives.weeklyLimit,
          monthly_limit: gives.monthlyLimit,
        }
  return { id, hint, kind: gives.kind, ...terms, reason, author, made_at: madeAtMs, expires_at: expiresAtMs }
}

function codeOf(row: Row): Code {
  const redeemedAtMs = wholeOrNull(row, 'redeemed_at')
  return {
    id: text(row, 'id'),
    hint: text(row, 'hint'),
    gives: giftOf(row),
    reason: text(row, 'reason'),
    author: text(row, 'author'),
    madeAtMs: whole(row, 'made_at'),
    expiresAtMs: wholeOrNull(row, 'expires_at'),
    voidedAtMs: wholeOrNull(row, 'voided_at'),
    redeemed: redeemedAtMs === null ? null : redeemedOf(row, redeemedAtMs),
  }
}

function giftOf(row: Row): Gift {
  const groupId = textOrNull(row, 'group_id')
  if (groupId === null) return { kind: 'credit', amount: amount(row, 'amount') }
  return {
    kind: 'subscription',
    groupId,
    days: whole(row, 'days'),
    dailyLimit: amountOrNull(row, 'daily_limit'),
    weeklyLimit: amountOrNull(row, 'weekly_limit'),
    monthlyLimit: amountOrNull(row, 'monthly_limit'),
  }
}

function redeemedOf(row: Row, atMs: number): Redeemed {
  return {
    userId: text(row, 'redeemed_by'),
    atMs,
    entryId: textOrNull(row, 'entry_id'),
    subscriptionId: textOrNull(row, 'subscription_id'),
  }
}
