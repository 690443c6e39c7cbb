import { postSteps } from '../ledger/entries.ts'
import { newId } from '../lib/id.ts'
import type { Step } from '../storage/database.ts'
import type { Code, CreditGift, SubscriptionGift } from './codes.ts'
import type { User } from './entities.ts'
import { step } from './steps.ts'
import { lockUserStep, subscriptionColumns } from './subscriptions.ts'

/** Somebody turns a code into what it gives. */
export interface Redemption {
  readonly code: Code
  readonly user: Pick<User, 'id' | 'walletId'>
  /** Who does it, for the ledger's entry. */
  readonly author: string
}

const dayMs = 24 * 60 * 60 * 1000

/**
 * One transaction: the code is taken, and what it gives is given. Each guard is a sentence. Taking comes first, so of many
 * who redeem one code at once the first has it, and all others find it gone; a later guard that fails undoes the taking.
 */
export function redeemSteps(redemption: Redemption, nowMs: number): readonly Step[] {
  const { id, gives, expiresAtMs } = redemption.code
  const { user } = redemption
  const taken = 'This code was redeemed before; a code is good once.'
  const expired = `This code expired at ${new Date(expiresAtMs ?? nowMs).toISOString()}.`
  return [
    step(takeCode, [id, user.id, nowMs], { rows: 1, otherwise: taken }),
    step(selectNotVoid, [id], { rows: 1, otherwise: 'This code was made void.' }),
    step(selectUnexpired, [id, nowMs], { rows: 1, otherwise: expired }),
    lockUserStep(user.id),
    ...(gives.kind === 'credit' ? creditSteps(redemption, gives, nowMs) : subscriptionSteps(redemption, gives, nowMs)),
  ]
}

function creditSteps({ code, user, author }: Redemption, { amount }: CreditGift, nowMs: number): readonly Step[] {
  const posting = { kind: 'redeem', walletId: user.walletId, amount, reference: code.id, reason: code.reason, author } as const
  return [...postSteps('credit', posting, nowMs), step(noteEntry, [code.id])]
}

/**
 * The last subscription of this user to this group that has not ended is extended when it has the limits of the code. With
 * other limits a new one begins when that one ends; when there is none, one begins now. What the last one is, the books say,
 * not whoever read them before: two codes at once give the days of both.
 */
function subscriptionSteps({ code, user }: Redemption, gives: SubscriptionGift, nowMs: number): readonly Step[] {
  const { groupId, dailyLimit, weeklyLimit, monthlyLimit } = gives
  const line = [user.id, groupId, nowMs, gives.days * dayMs, dailyLimit, weeklyLimit, monthlyLimit]
  const paid = 'The group of this code is paid from balances now; set its pays to "subscription" first.'
  return [
    step(selectPaidBySubscription, [groupId], { rows: 1, otherwise: paid }),
    step(extendLast, line),
    step(insertAfterLast, [...line, newId(nowMs)]),
    step(noteSubscription, [user.id, groupId, nowMs, code.id], { rows: 1, otherwise: 'This code was removed meanwhile.' }),
  ]
}

const takeCode = 'update codes set redeemed_by = $2, redeemed_at = $3 where id = $1 and redeemed_at is null'
const selectNotVoid = 'select 1 as good from codes where id = $1 and voided_at is null'
const selectUnexpired = 'select 1 as good from codes where id = $1 and (expires_at is null or expires_at > $2)'
const selectPaidBySubscription = `select 1 as paid from groups where id = $1 and pays = 'subscription'`

const noteEntry = `update codes set entry_id = (select entries.id from entries where entries.kind = 'redeem' and reference = $1) where id = $1`

/** Of the user `$1` to the group `$2`, at `$3`: the running or coming one that ends last. They never overlap, so it is one. */
const last = `select id from subscriptions where user_id = $1 and group_id = $2 and ends_at > $3 and ends_at > starts_at
  order by ends_at desc limit 1`

const sameLimits = `daily_limit is not distinct from $5 and weekly_limit is not distinct from $6 and monthly_limit is not distinct from $7`

const extendLast = `update subscriptions set ends_at = ends_at + $4 where id = (${last}) and ${sameLimits}`

/** Nothing when the last one has the same limits: then the step before has extended it. The casts tell PostgreSQL what the values are. */
const insertAfterLast = `insert into subscriptions (${subscriptionColumns})
  select cast($8 as text), cast($1 as text), cast($2 as text), begins, begins + $4, cast($5 as bigint), cast($6 as bigint), cast($7 as bigint)
  from (select coalesce(max(ends_at), $3) as begins from subscriptions where id = (${last})) as line
  where not exists (select 1 from subscriptions where id = (${last}) and ${sameLimits})`

const noteSubscription = `update codes set subscription_id = (${last}) where id = $4`
