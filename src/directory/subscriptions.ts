import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { amountOrNull, text, whole } from './cells.ts'
import type { Subscription } from './entities.ts'
import type { Page } from './pages.ts'
import { type Made, step } from './steps.ts'

/** What an operator says of a subscription. */
export type SubscriptionDraft = Omit<Subscription, 'id'>

/** Two of one user for one group never run at the same time: nobody could say which of them pays. */
export function makeSubscription(draft: SubscriptionDraft, nowMs: number): Made<Subscription> {
  const entity: Subscription = { ...draft, id: newId(nowMs) }
  const { id, userId, groupId, startsAtMs, endsAtMs, dailyLimit, weeklyLimit, monthlyLimit } = entity
  const values = [id, userId, groupId, startsAtMs, endsAtMs, dailyLimit, weeklyLimit, monthlyLimit]
  const otherwise = 'This user has a subscription to this group in that time already; end it first, or begin after it.'
  return { entity, steps: [step(insertApart, values, { rows: 1, otherwise })] }
}

/** Ends it now; one that has not begun never will. Calls that began before keep their windows. */
export function endSubscription({ id, startsAtMs }: Subscription, nowMs: number): Step[] {
  const otherwise = 'This subscription has ended already.'
  return [
    step('update subscriptions set ends_at = $2 where id = $1 and ends_at > $2', [id, Math.max(startsAtMs, nowMs)], { rows: 1, otherwise }),
  ]
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

const oneSubscription = statement(`select ${subscriptionColumns} from subscriptions where id = $1`)
const subscriptionPage = statement(`select ${subscriptionColumns} from subscriptions where id > $1 order by id limit $2`)
const subscriptionPageOfUser = statement(
  `select ${subscriptionColumns} from subscriptions where user_id = $3 and id > $1 order by id limit $2`,
)

/** The casts tell PostgreSQL what the values are; a select list does not. */
const insertApart = `insert into subscriptions (${subscriptionColumns})
  select cast($1 as text), cast($2 as text), cast($3 as text), cast($4 as bigint), cast($5 as bigint),
    cast($6 as bigint), cast($7 as bigint), cast($8 as bigint)
  where not exists (select 1 from subscriptions where user_id = $2 and group_id = $3 and starts_at < $5 and ends_at > $4)`
