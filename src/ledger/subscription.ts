import { type Database, type Step, statement } from '../storage/database.ts'

/** What the ledger reads of a subscription. Its start never changes: the windows are counted from it. Limits are nano-dollars. */
export interface SubscriptionTerms {
  readonly id: string
  readonly startsAtMs: number
  readonly endsAtMs: number
  readonly dailyLimit: bigint | null
  readonly weeklyLimit: bigint | null
  readonly monthlyLimit: bigint | null
}

export type WindowKind = 'daily' | 'weekly' | 'monthly'

/** One stretch of a subscription's time. What is held and charged in it stays below its limit; null is no limit. */
export interface Window {
  readonly kind: WindowKind
  readonly startsAtMs: number
  readonly endsAtMs: number
  readonly limit: bigint | null
}

/** What is left in the window that has the least left; `room` is never below zero, and null when no window has a limit. */
export interface Room {
  readonly room: bigint | null
  /** The one with the least left; null when none has a limit. */
  readonly window: Window | null
}

export const windowKinds: readonly WindowKind[] = ['daily', 'weekly', 'monthly']

const dayMs = 24 * 60 * 60 * 1000
/** Windows are 24 h, 7 × 24 h and 30 × 24 h: whole days of UTC, whatever a clock on the wall does. */
export const windowLengthMs: Readonly<Record<WindowKind, number>> = { daily: dayMs, weekly: 7 * dayMs, monthly: 30 * dayMs }

/** It runs from its start until before its end. */
export function isRunning(subscription: SubscriptionTerms, atMs: number): boolean {
  return subscription.startsAtMs <= atMs && atMs < subscription.endsAtMs
}

/** The three windows that a moment lies in. A call belongs to those in which it began, however long it lasts. */
export function windowsOf(subscription: SubscriptionTerms, atMs: number): readonly Window[] {
  const limits = { daily: subscription.dailyLimit, weekly: subscription.weeklyLimit, monthly: subscription.monthlyLimit }
  return windowKinds.map(kind => {
    const lengthMs = windowLengthMs[kind]
    const startsAtMs = subscription.startsAtMs + Math.floor((atMs - subscription.startsAtMs) / lengthMs) * lengthMs
    return { kind, startsAtMs, endsAtMs: startsAtMs + lengthMs, limit: limits[kind] }
  })
}

/** Of these windows, the one with the least left, when `taken` has been held and used in each; of two, the one that lasts longer. */
export function leastRoom(windows: readonly Window[], taken: (kind: WindowKind) => bigint): Room {
  let least: Room = { room: null, window: null }
  for (const window of windows) {
    if (window.limit === null) continue
    const left = window.limit - taken(window.kind)
    const room = left > 0n ? left : 0n
    if (least.room === null || room <= least.room) least = { room, window }
  }
  return least
}

/** What the ledger keeps of a subscription with each hold: enough to find the rows of its windows again. */
export interface SubscriptionFunds {
  readonly kind: 'subscription'
  readonly subscriptionId: string
  /** The windows in which the call began. */
  readonly windows: readonly Window[]
}

export function subscriptionFunds(subscription: SubscriptionTerms, beganAtMs: number): SubscriptionFunds {
  return { kind: 'subscription', subscriptionId: subscription.id, windows: windowsOf(subscription, beganAtMs) }
}

/** Daily, weekly, monthly: the values of `$2`, `$3` and `$4` in `theseWindows`, after the subscription's id. */
export function windowValues({ subscriptionId, windows }: SubscriptionFunds): [string, ...bigint[]] {
  return [subscriptionId, ...windowKinds.map(kind => BigInt(windows.find(window => window.kind === kind)!.startsAtMs))]
}

/** The rows of `windows` that `windowValues` names. */
export const theseWindows = `windows.subscription_id = $1 and (windows.kind = 'daily' and windows.starts_at = $2
  or windows.kind = 'weekly' and windows.starts_at = $3 or windows.kind = 'monthly' and windows.starts_at = $4)`

/**
 * One row, `room`: the least that is left in those windows, never below zero; null when there is no limit. The limits are
 * those in the books, not the caller's, whose copy may be a second old.
 */
export const selectRoom = `select case when least < 0 then 0 else least end as room from (select min(case windows.kind
  when 'daily' then daily_limit when 'weekly' then weekly_limit else monthly_limit end - windows.used - windows.held) as least
  from windows join subscriptions on subscriptions.id = windows.subscription_id where ${theseWindows}) as windows_left`

/**
 * Before anything is held in windows: nobody else is reckoning with them, and their rows exist. An engine that lets
 * transactions overlap would otherwise reckon the room of several rows while another transaction changes them.
 */
export function windowSteps(funds: SubscriptionFunds): readonly Step[] {
  return [lockStep(funds), { statement: openWindows, values: windowValues(funds) }]
}

/** Until the transaction ends, nobody else holds or settles in this subscription. */
export function lockStep({ subscriptionId }: SubscriptionFunds): Step {
  return { statement: lock, values: [subscriptionId], rows: 1, otherwise: 'subscription_unknown' }
}

/** What is left for a call that began in these windows, from the books. */
export async function readRoom(database: Pick<Database, 'read'>, funds: SubscriptionFunds): Promise<Room> {
  const windows = await readWindows(database, funds)
  const taken = new Map(windows.map(({ kind, used, held }) => [kind, used + held]))
  return leastRoom(windows, kind => taken.get(kind) ?? 0n)
}

/** A window as it stands in the books; amounts are nano-dollars. */
export interface WindowNow extends Window {
  readonly used: bigint
  readonly held: bigint
  /** Never below zero; null when the window has no limit. */
  readonly left: bigint | null
}

/** The same windows with the limits in the books, and what is used and held in each. */
export async function readWindows(database: Pick<Database, 'read'>, funds: SubscriptionFunds): Promise<readonly WindowNow[]> {
  const rows = await database.read(readTaken, windowValues(funds))
  const byKind = new Map(rows.map(row => [row.kind, row]))
  return funds.windows.map(window => {
    const limit = (rows[0]?.[`${window.kind}_limit`] ?? null) as bigint | null
    const row = byKind.get(window.kind)
    const used = (row?.used ?? 0n) as bigint
    const held = (row?.held ?? 0n) as bigint
    const left = limit === null ? null : limit > used + held ? limit - used - held : 0n
    return { ...window, limit, used, held, left }
  })
}

const readTaken = statement(`select daily_limit, weekly_limit, monthly_limit, windows.kind, windows.used, windows.held
  from subscriptions left join windows on ${theseWindows} where subscriptions.id = $1`)

const lock = statement('update subscriptions set starts_at = starts_at where id = $1')

const openWindows = statement(`insert into windows (subscription_id, kind, starts_at, used, held)
  values ($1, 'daily', $2, 0, 0), ($1, 'weekly', $3, 0, 0), ($1, 'monthly', $4, 0, 0)
  on conflict (subscription_id, kind, starts_at) do nothing`)
