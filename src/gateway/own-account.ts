import type { Principal } from '../directory/snapshot.ts'
import { formatUsd } from '../ledger/money.ts'
import { isRunning, subscriptionFunds, type WindowNow } from '../ledger/subscription.ts'
import { Fault } from '../lib/fault.ts'
import type { OwnSum } from '../usage/own.ts'
import type { Call } from '../usage/report.ts'
import { authenticate } from './authenticate.ts'
import { orBooksAway } from './books-away.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { readOwnQuery } from './own-query.ts'
import { newReceipt } from './receipt.ts'

/** What a key may ask about itself. GET or HEAD. */
export const ownAccountPaths: ReadonlySet<string> = new Set(['/v1/credits', '/v1/usage'])

type Parts = Pick<Gateway, 'clock' | 'directory' | 'ledger' | 'log' | 'metrics' | 'ownUsage' | 'settings'>

/**
 * Tells callers what they have and what they used. Asked for as often as a shell draws its prompt: so no line, no slot, no
 * hold and no row, only who asks is checked as for any call. Never rejects.
 */
export async function tellOwnAccount(client: Client, path: string, gateway: Parts): Promise<void> {
  try {
    const principal = await authenticate(client, newReceipt(client, path, gateway.clock), gateway)
    const told = path === '/v1/credits' ? await creditsOf(principal, gateway) : await usageOf(principal, client, gateway)
    client.answer(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }, Buffer.from(JSON.stringify(told)))
  } catch (error) {
    refuse(Fault.from(error), client, gateway)
  }
  await client.over
}

function refuse(fault: Fault, client: Client, { log, metrics }: Parts): void {
  if (fault.fault === 'unforeseen') log.error({ call: client.id, err: fault.cause }, 'an own account could not be told')
  if (fault.entry.status === 401 || fault.entry.status === 403) metrics.unauthenticated.inc({ fault: fault.fault })
  client.refuse(fault, '')
}

/** Read where holds are placed, by two or three indexed statements: as much as any call's first look at the money. */
async function creditsOf({ user, groups, subscriptions }: Principal, gateway: Parts) {
  const { ledger, clock } = gateway
  const nowMs = clock.nowMs()
  const groupNames = new Map(groups.map(({ id, name }) => [id, name]))
  const running = subscriptions.filter(one => groupNames.has(one.groupId) && isRunning(one, nowMs))
  const asked = Promise.all([ledger.free(user.walletId), ...running.map(one => ledger.windows(subscriptionFunds(one, nowMs)))] as const)
  const [wallet, ...windows] = await orBooksAway(asked, gateway)
  if (wallet === undefined) throw new Error(`The user ${user.id} has no wallet.`)
  const { balance, held } = wallet
  return {
    object: 'credits',
    currency: 'usd',
    balance: formatUsd(balance),
    held: formatUsd(held),
    free: formatUsd(balance - held),
    subscriptions: running.map(({ id, groupId, startsAtMs, endsAtMs }, index) => ({
      object: 'subscription',
      id,
      group: groupNames.get(groupId),
      starts_at: seconds(startsAtMs),
      ends_at: seconds(endsAtMs),
      windows: windows[index]!.map(windowView),
    })),
  }
}

function windowView({ kind, limit, used, held, left, endsAtMs }: WindowNow) {
  return {
    window: kind,
    limit: limit === null ? null : formatUsd(limit),
    used: formatUsd(used),
    held: formatUsd(held),
    left: left === null ? null : formatUsd(left),
    resets_at: seconds(endsAtMs),
  }
}

async function usageOf({ key, user }: Principal, client: Client, gateway: Parts) {
  const { scope, sums, ...page } = readOwnQuery(client.request.url ?? '')
  const whose = scope === 'user' ? { userId: user.id } : { keyId: key.id }
  const { ownUsage, clock } = gateway
  const asked = Promise.all([ownUsage.calls(whose, page), sums ? ownUsage.sums(whose, clock.nowMs()) : undefined] as const)
  const [{ calls, hasMore }, all] = await orBooksAway(asked, gateway)
  const data = calls.map(callView)
  const list = { object: 'list', data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null, has_more: hasMore }
  return all === undefined ? list : { ...list, sums: all.map(sumView) }
}

/** Which account served it, and under which name, is the operator's business. */
function callView(call: Call) {
  const { id, beganAtMs, keyId, path, requestedModel, stream, status, ended, fault, usage, cost, uncollected, basis } = call
  return {
    object: 'usage.call',
    id,
    began_at: seconds(beganAtMs),
    key_id: keyId,
    path,
    model: requestedModel,
    stream,
    status,
    ended,
    fault,
    input_tokens: usage.inputTokens,
    cached_tokens: usage.cachedTokens,
    output_tokens: usage.outputTokens,
    reasoning_tokens: usage.reasoningTokens,
    cost: formatUsd(cost),
    uncollected: formatUsd(uncollected),
    basis,
    duration_ms: call.durationMs,
  }
}

function sumView({ days, calls, inputTokens, cachedTokens, outputTokens, cost, uncollected }: OwnSum) {
  return {
    days,
    calls: Number(calls),
    input_tokens: Number(inputTokens),
    cached_tokens: Number(cachedTokens),
    output_tokens: Number(outputTokens),
    cost: formatUsd(cost),
    uncollected: formatUsd(uncollected),
  }
}

/** Since 1970, as OpenAI's objects have their times. */
function seconds(ms: number): number {
  return Math.floor(ms / 1000)
}
