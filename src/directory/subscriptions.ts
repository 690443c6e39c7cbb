import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { amountOrNull, text, whole } from './cells.ts'
import type { Subscription } from './entities.ts'
import type { Page } from './pages.ts'
import { type Made, step } from './steps.ts'

/** What an operator says of a subscription. */
export type SubscriptionDraft = Omit<Subscription, 'id'>

/** The most that may be charged in each window, in nano-dollars; null is no limit. */
export type SubscriptionLimits = Pick<Subscription, 'dailyLimit' | 'weeklyLimit' | 'monthlyLimit'>

/** What is undefined stays as it is. */
export type LimitChanges = { readonly [Name in keyof SubscriptionLimits]: SubscriptionLimits[Name] | undefined }

/** Two of one user for one group never run at the same time: nobody could say which of them pays. */
export function makeSubscription(draft: SubscriptionDraft, nowMs: number): Made<Subscription> {
  const entity: Subscription = { ...draft, id: newId(nowMs) }
  const { id, userId, groupId, startsAtMs, endsAtMs, dailyLimit, weeklyLimit, monthlyLimit } = entity
  const values = [id, userId, groupId, startsAtMs, endsAtMs, dailyLimit, weeklyLimit, monthlyLimit]
  const otherwise = 'This user has a subscription to this group in that time already; end it first, or begin after it.'
  return { entity, steps: [lockUserStep(userId), step(insertApart, values, { rows: 1, otherwise })] }
}

/** By so much time, or until a moment, in milliseconds. */
export type Extension = { readonly byMs: number } | { readonly untilMs: number }

/**
 * Moves its end, within the books: two extensions by some days at once give the days of both. Its start stays, and so do its
 * windows. One that has ended has a hole after it, which no extension could fill: a new one begins with windows of its own.
 */
export function extendSubscription({ id, userId, startsAtMs }: Subscription, extension: Extension, nowMs: number): Step[] {
  const stillRuns = [id, Math.max(startsAtMs, nowMs)]
  const ended = 'This subscription has ended, and what has ended is not extended; assign a new one.'
  const taken = 'Another subscription of this user to this group begins before that; end it first, or extend the last one.'
  const steps = [lockUserStep(userId), step(selectRunningOn, stillRuns, { rows: 1, otherwise: ended })]
  if ('byMs' in extension) return [...steps, step(extendBy, [id, extension.byMs], { rows: 1, otherwise: taken })]
  const values = [id, extension.untilMs]
  const shorter = 'This subscription lasts until then already, or longer; an extension takes a later time.'
  return [
    ...steps,
    step('select 1 as earlier from subscriptions where id = $1 and ends_at < $2', values, { rows: 1, otherwise: shorter }),
    step(extendUntil, values, { rows: 1, otherwise: taken }),
  ]
}

/** Changes the limits that are named. They hold at once, for what is left of the windows that run as well. */
export function limitSubscription({ id, userId, startsAtMs }: Subscription, limits: LimitChanges, nowMs: number): Step[] {
  const named = limitColumns.filter(([field]) => limits[field] !== undefined)
  const sets = named.map(([, column], index) => `${column} = $${index + 3}`)
  const values = [id, Math.max(startsAtMs, nowMs), ...named.map(([field]) => limits[field] ?? null)]
  const otherwise = 'This subscription has ended; its limits mean nothing any more.'
  if (named.length === 0) return []
  return [
    lockUserStep(userId),
    step(`update subscriptions set ${sets.join(', ')} where id = $1 and ends_at > $2`, values, { rows: 1, otherwise }),
  ]
}

/** Ends it now; one that has not begun never will. Calls that began before keep their windows. */
export function endSubscription({ id, userId, startsAtMs }: Subscription, nowMs: number): Step[] {
  const otherwise = 'This subscription has ended already.'
  const values = [id, Math.max(startsAtMs, nowMs)]
  return [
    lockUserStep(userId),
    step('update subscriptions set ends_at = $2 where id = $1 and ends_at > $2', values, { rows: 1, otherwise }),
  ]
}

/**
 * Until the transaction ends, nobody else changes this user's subscriptions. The guards look at several rows, and where
 * transactions overlap a row that another one is about to write cannot be seen.
 */
export function lockUserStep(userId: string): Step {
  return step('update users set created_at = created_at where id = $1', [userId], {
    rows: 1,
    otherwise: 'This user was removed meanwhile.',
  })
}

export async function findSubscription(database: Database, id: string): Promise<Subscription | undefined> {
  const [row] = await database.report(oneSubscription, [id])
  return row && subscriptionOf(row)
}

/** Of one user, or of everybody. Ended ones too. */
export async function listSubscriptions(database: Database, { after = '', limit }: Page, userId?: string): Promise<Subscription[]> {
  const rows =
    userId === undefined
      ? await database.report(subscriptionPage, [after, limit])
      : await database.report(subscriptionPageOfUser, [after, limit, userId])
  return rows.map(subscriptionOf)
}

export const subscriptionColumns = 'id, user_id, group_id, starts_at, ends_at, daily_limit, weekly_limit, monthly_limit'

export function subscriptionOf(row: Row): Subscription {
  return {
    id: text(row, 'id'),
    userId: text(row, 'user_id'),
    groupId: text(row, 'group_id'),
    startsAtMs: whole(row, 'starts_at'),
    endsAtMs: whole(row, 'ends_at'),
    dailyLimit: amountOrNull(row, 'daily_limit'),
    weeklyLimit: amountOrNull(row, 'weekly_limit'),
    monthlyLimit: amountOrNull(row, 'monthly_limit'),
  }
}

const limitColumns = [
  ['dailyLimit', 'daily_limit'],
  ['weeklyLimit', 'weekly_limit'],
  ['monthlyLimit', 'monthly_limit'],
] as const

const oneSubscription = statement(`select ${subscriptionColumns} from subscriptions where id = $1`)
const subscriptionPage = statement(`select ${subscriptionColumns} from subscriptions where id > $1 order by id limit $2`)
const subscriptionPageOfUser = statement(
  `select ${subscriptionColumns} from subscriptions where user_id = $3 and id > $1 order by id limit $2`,
)

/** One that was ended before it began lasts no time at all, and is in nobody's way. The casts tell PostgreSQL what the values are; a select list does not. */
const insertApart = `insert into subscriptions (${subscriptionColumns})
  select cast($1 as text), cast($2 as text), cast($3 as text), cast($4 as bigint), cast($5 as bigint),
    cast($6 as bigint), cast($7 as bigint), cast($8 as bigint)
  where not exists (select 1 from subscriptions where user_id = $2 and group_id = $3
    and starts_at < $5 and ends_at > $4 and starts_at < ends_at)`

const selectRunningOn = 'select 1 as running from subscriptions where id = $1 and ends_at > $2'

const extendBy = extendTo('ends_at + $2')
const extendUntil = extendTo('$2')

function extendTo(end: string): string {
  return `update subscriptions set ends_at = ${end} where id = $1
    and not exists (select 1 from subscriptions as other where other.user_id = subscriptions.user_id
      and other.group_id = subscriptions.group_id and other.id <> subscriptions.id
      and other.starts_at < ${end.replace('ends_at', 'subscriptions.ends_at')} and other.ends_at > subscriptions.starts_at
      and other.starts_at < other.ends_at)`
}
