import { z } from '@hono/zod-openapi'
import type { Subscription } from '../directory/entities.ts'
import { groupNamesOf } from '../directory/groups.ts'
import type { LimitChanges, SubscriptionLimits } from '../directory/subscriptions.ts'
import { formatUsd, parseUsd } from '../ledger/money.ts'
import { type FilledWindow, isRunning, roomOf, subscriptionFunds, windowKinds } from '../ledger/subscription.ts'
import { timeText, usdOrNull } from './entities.ts'
import { usd } from './fields.ts'
import { labelsOf } from './lookup.ts'
import type { AdminParts } from './ports.ts'

/** The limits of a subscription or of a code for one, as a body has them. */
export const limitFields = {
  dailyLimit: usd.nullable().describe('USD in each 24 h from the start; null is no limit.'),
  weeklyLimit: usd.nullable().describe('USD in each 7 × 24 h from the start.'),
  monthlyLimit: usd.nullable().describe('USD in each 30 × 24 h from the start.'),
}

export const subscriptionSchema = z
  .object({
    id: z.string(),
    user: z.string(),
    group: z.string(),
    state: z.enum(['coming', 'running', 'ended']),
    startsAt: z.string(),
    endsAt: z.string(),
    dailyLimit: z.string().nullable(),
    weeklyLimit: z.string().nullable(),
    monthlyLimit: z.string().nullable(),
  })
  .openapi('Subscription')

const windowSchema = z.object({
  window: z.enum(windowKinds),
  limit: z.string().nullable(),
  used: z.string(),
  held: z.string().describe('For calls that run.'),
  left: z.string().nullable().describe('The limit without what was used and is held; null is no limit.'),
  beginsAt: z.string(),
  resetsAt: z.string().describe('Then the next one begins, if the subscription lasts so long.'),
})

export const subscriptionNowSchema = subscriptionSchema
  .extend({
    windows: z.array(windowSchema).describe('Those of now; of the first moment when it has not begun, of the last one when it has ended.'),
    left: z.string().nullable().describe('The least that is left in any of the windows; null is no limit.'),
  })
  .openapi('SubscriptionNow')

/** Text of USD → nano-dollars. */
export function limitsOf({ dailyLimit, weeklyLimit, monthlyLimit }: Limits<string | null>): SubscriptionLimits {
  return { dailyLimit: limitOf(dailyLimit), weeklyLimit: limitOf(weeklyLimit), monthlyLimit: limitOf(monthlyLimit) }
}

/** The same of a change: what is not named stays undefined. */
export function limitChangesOf(said: Partial<Limits<string | null | undefined>>): LimitChanges {
  const changeOf = (text: string | null | undefined) => (text === undefined ? undefined : limitOf(text))
  return { dailyLimit: changeOf(said.dailyLimit), weeklyLimit: changeOf(said.weeklyLimit), monthlyLimit: changeOf(said.monthlyLimit) }
}

type Limits<Said> = { readonly [Name in keyof SubscriptionLimits]: Said }

/** Reads the names that the views of these need, all at once. */
export async function subscriptionViewer(
  subscriptions: readonly Subscription[],
  parts: Pick<AdminParts, 'database' | 'clock'>,
): Promise<(one: Subscription) => z.input<typeof subscriptionSchema>> {
  const userIds = subscriptions.map(one => one.userId)
  const [emails, groupNames] = await Promise.all([labelsOf(parts, 'user', userIds), groupNamesOf(parts.database)])
  const nowMs = parts.clock.nowMs()
  return one => ({
    id: one.id,
    user: emails.get(one.userId) ?? one.userId,
    group: groupNames.get(one.groupId) ?? one.groupId,
    state: isRunning(one, nowMs) ? 'running' : endedBy(one, nowMs) ? 'ended' : 'coming',
    startsAt: timeText(one.startsAtMs),
    endsAt: timeText(one.endsAtMs),
    dailyLimit: usdOrNull(one.dailyLimit),
    weeklyLimit: usdOrNull(one.weeklyLimit),
    monthlyLimit: usdOrNull(one.monthlyLimit),
  })
}

/** With its windows, reckoned for this moment. */
export async function subscriptionNow(one: Subscription, parts: AdminParts): Promise<z.input<typeof subscriptionNowSchema>> {
  const atMs = Math.min(Math.max(parts.clock.nowMs(), one.startsAtMs), Math.max(one.endsAtMs - 1, one.startsAtMs))
  const windows = await parts.ledger.windows(subscriptionFunds(one, atMs))
  const view = await subscriptionViewer([one], parts)
  return { ...view(one), windows: windows.map(windowView), left: usdOrNull(roomOf(windows).room) }
}

function windowView(window: FilledWindow): z.input<typeof windowSchema> {
  return {
    window: window.kind,
    limit: usdOrNull(window.limit),
    used: formatUsd(window.used),
    held: formatUsd(window.held),
    left: usdOrNull(window.left),
    beginsAt: timeText(window.startsAtMs),
    resetsAt: timeText(window.endsAtMs),
  }
}

/** One that was ended before it began has ended, too. */
function endedBy({ startsAtMs, endsAtMs }: Subscription, nowMs: number): boolean {
  return endsAtMs <= Math.max(startsAtMs, nowMs)
}

function limitOf(text: string | null): bigint | null {
  return text === null ? null : parseUsd(text)
}
