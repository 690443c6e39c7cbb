import type { Condition } from '../coordination/coordinator.ts'
import type { Account, Capabilities } from '../directory/entities.ts'
import type { CallFacts, Protocol } from '../protocols/protocol.ts'

/** An account that might take a call, the name that its upstream knows the model by, and how it fares. */
export interface Candidate {
  readonly account: Account
  readonly model: string
  readonly condition: Condition
}

/** The upstream's name of a model, or undefined when the account does not serve it. An empty table serves everything, unrenamed. */
export function upstreamModel(account: Account, model: string): string | undefined {
  if (Object.hasOwn(account.models, model)) return account.models[model]
  for (const _ in account.models) return undefined
  return model
}

/** Whose encrypted content it can read. An account of which nobody said anything is alone. */
export function organizationOf({ id, organization }: Account): string {
  return organization === null ? `account ${id}` : `organization ${organization}`
}

/** What the call asks for that the account's server cannot do, in words; undefined when it can do it all. */
export function lacks({ capabilities, proxy }: Account, facts: CallFacts, { name }: Pick<Protocol, 'name'>): string | undefined {
  const tier = facts.serviceTier
  const speaking = spoken[name]
  if (speaking !== undefined && !capabilities[speaking.needs]) return `speaks no ${speaking.says}`
  // A socket is opened directly: what makes tunnels is not to be had by it.
  if (name === 'websocket' && proxy !== null) return 'is behind a proxy, which no WebSocket passes'
  if (!capabilities.stateful && (facts.previousResponseId ?? facts.conversationId) !== undefined) return 'keeps no responses'
  if (facts.background && !(capabilities.background && capabilities.stateful)) return 'runs nothing in the background'
  if (!capabilities.serviceTiers && tier !== undefined && tier !== 'auto' && tier !== 'default')
    return `has no service tier ${tier.slice(0, 20)}`
  if (!capabilities.hostedTools && facts.hasHostedTools) return 'runs no hosted tools'
  return undefined
}

/** All that `lacks` looks at in a call. */
export interface Needs {
  readonly protocol: string
  readonly refers: boolean
  readonly background: boolean
  readonly hostedTools: boolean
  readonly tier: string | undefined
}

export function needsOf(facts: CallFacts, { name }: Pick<Protocol, 'name'>): Needs {
  return {
    protocol: name,
    refers: (facts.previousResponseId ?? facts.conversationId) !== undefined,
    background: facts.background,
    hostedTools: facts.hasHostedTools,
    tier: facts.serviceTier?.slice(0, tierCharsMax),
  }
}

/** Two calls with the same needs lack the same of every account. */
export function needTheSame(one: Needs, other: Needs): boolean {
  const { protocol, refers, background, hostedTools, tier } = one
  return (
    protocol === other.protocol &&
    refers === other.refers &&
    background === other.background &&
    hostedTools === other.hostedTools &&
    tier === other.tier
  )
}

/** Far longer than the name of any tier, and than what is told of one. */
const tierCharsMax = 40

/** By the protocol's name: what the account must be able to do. */
const spoken: Readonly<Record<string, { readonly needs: keyof Capabilities; readonly says: string }>> = {
  responses: { needs: 'responses', says: 'Responses API' },
  chat: { needs: 'chat', says: 'Chat Completions API' },
  embeddings: { needs: 'embeddings', says: 'Embeddings API' },
  websocket: { needs: 'websocket', says: 'WebSocket' },
  compact: { needs: 'compact', says: 'compaction' },
  inputTokens: { needs: 'responses', says: 'Responses API' },
}

/** Whether an account may be given a call now. `probe`: it is out, but one call may find out whether it still is. */
export type Readiness = 'free' | 'full' | 'probe' | 'circuit' | 'resting' | 'out' | 'disabled'

export function readinessOf(candidate: Candidate, nowMs: number): Readiness {
  const { account, condition } = candidate
  if (account.disabled) return 'disabled'
  if (condition.restingUntilMs > nowMs || restsFromModel(candidate, nowMs)) return 'resting'
  const isFull = !hasRoom(candidate)
  if (condition.outSinceMs !== null || condition.circuitSinceMs !== null) {
    if (condition.probeAtMs <= nowMs && !condition.probing && !isFull) return 'probe'
    return condition.outSinceMs !== null ? 'out' : 'circuit'
  }
  return isFull ? 'full' : 'free'
}

export function hasRoom({ account, condition }: Candidate): boolean {
  return account.concurrency <= 0 || condition.taken < account.concurrency
}

/** The account said that it does not have this model. */
export function restsFromModel({ model, condition }: Candidate, nowMs: number): boolean {
  return (condition.modelRests[model] ?? 0) > nowMs
}

/** When a rest of this account or of this model there ends; undefined when it does not rest. */
export function restsUntilMs({ model, condition }: Candidate, nowMs: number): number | undefined {
  const untilMs = Math.max(condition.restingUntilMs, condition.modelRests[model] ?? 0)
  return untilMs > nowMs ? untilMs : undefined
}

/**
 * Why nobody can take the call: "all resting until …", "2 resting until …, 1 out of quota". How many and why is the client's to
 * know; what the accounts are called is the operator's.
 */
export function whyNot(candidates: readonly Candidate[], nowMs: number): string {
  const byReason = Map.groupBy(candidates, candidate => kindOfReason(readinessOf(candidate, nowMs)))
  const parts = [...byReason].map(([, alike]) => {
    const first = alike.reduce((a, b) => (endOf(b, nowMs) < endOf(a, nowMs) ? b : a))
    const count = candidates.length === 1 ? '' : byReason.size === 1 ? 'all ' : `${alike.length} `
    return count + reasonOf(first, nowMs)
  })
  return parts.join(', ')
}

function kindOfReason(readiness: Readiness): Readiness {
  return readiness === 'probe' ? 'circuit' : readiness
}

/** The first to end is the one that counts. */
function endOf(candidate: Candidate, nowMs: number): number {
  return restsUntilMs(candidate, nowMs) ?? candidate.condition.probeAtMs
}

function reasonOf(candidate: Candidate, nowMs: number): string {
  const { condition } = candidate
  const readiness = readinessOf(candidate, nowMs)
  const untilMs = restsUntilMs(candidate, nowMs)
  if (readiness === 'resting' && untilMs !== undefined) return `resting until ${new Date(untilMs).toISOString()}`
  if (readiness === 'out') return 'out of quota'
  if (readiness === 'circuit' || readiness === 'probe') {
    return `failing, next probe at ${new Date(Math.max(nowMs, condition.probeAtMs)).toISOString()}`
  }
  return readiness === 'full' ? 'busy' : readiness
}
