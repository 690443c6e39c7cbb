import type { Principal } from '../directory/snapshot.ts'
import { formatUsd } from '../ledger/money.ts'
import { type FilledWindow, isRunning, subscriptionFunds } from '../ledger/subscription.ts'
import type { OwnSum } from '../usage/own.ts'
import type { Call } from '../usage/report.ts'
import { orBooksAway } from './books-away.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { readOwnQuery } from './own-query.ts'

type Parts = Pick<Gateway, 'clock' | 'ledger' | 'ownUsage' | 'settings'>

/** `GET /v1/credits`. Read where holds are placed, by two or three indexed statements: as much as any call's first look at the money. */
export async function tellCredits({ user, groups, subscriptions }: Principal, _: Client, gateway: Parts): Promise<object> {
  const { ledger, clock } = gateway
  const nowMs = clock.nowMs()
  const groupNames = new Map(groups.map(({ id, name }) => [id, name]))
  const running = subscriptions.filter(one => groupNames.has(one.groupId) && isRunning(one, nowMs))
  const ask = () => Promise.all([ledger.free(user.walletId), ...running.map(one => ledger.windows(subscriptionFunds(one, nowMs)))] as const)
  const [wallet, ...windows] = await orBooksAway(ask, gateway)
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

function windowView({ kind, limit, used, held, left, endsAtMs }: FilledWindow) {
  return {
    window: kind,
    limit: limit === null ? null : formatUsd(limit),
    used: formatUsd(used),
    held: formatUsd(held),
    left: left === null ? null : formatUsd(left),
    resets_at: seconds(endsAtMs),
  }
}

/** `GET /v1/usage`. */
export async function tellUsage({ key, user }: Principal, client: Client, gateway: Parts): Promise<object> {
  const { scope, sums, ...page } = readOwnQuery(client.request.url ?? '')
  const whose = scope === 'user' ? { userId: user.id } : { keyId: key.id }
  const { ownUsage, clock } = gateway
  const ask = () => Promise.all([ownUsage.calls(whose, page), sums ? ownUsage.sums(whose, clock.nowMs()) : undefined] as const)
  const [{ calls, hasMore }, all] = await orBooksAway(ask, gateway)
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
