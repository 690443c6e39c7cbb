import type { Condition } from '../coordination/coordinator.ts'
import { type AttemptFault, attemptFaults } from './verdict.ts'

/** How long what kind of fault keeps an account out. */
export interface RestSettings {
  readonly rateRestMs: number
  readonly authRestsMs: readonly number[]
  readonly overloadRestMs: number
  readonly overloadRestMaxMs: number
  readonly modelRestMs: number
  readonly circuitFailures: number
  /** Percent. */
  readonly circuitSuccessMin: number
  readonly circuitRestMs: number
  readonly circuitRestMaxMs: number
  readonly quotaProbeMs: number
}

/** The weight of the newest attempt in the averages. */
const successWeight = 0.05
const firstEventWeight = 0.3
/** A share of successes means nothing before this many attempts. */
const attemptsForRate = 20

/** Nothing keeps the account out. */
const well = {
  restingUntilMs: 0,
  restingWhy: null,
  outSinceMs: null,
  flagged: false,
  failures: 0,
  authFailures: 0,
  overloads: 0,
  circuitSinceMs: null,
  probing: false,
} as const satisfies Partial<Condition>

/** Whether it fares as `well` says, which is what nearly every answer finds. */
function isWell(condition: Condition): boolean {
  const { restingUntilMs, restingWhy, outSinceMs, circuitSinceMs, flagged, probing, failures, authFailures, overloads } = condition
  const isKeptOut = restingUntilMs !== 0 || restingWhy !== null || outSinceMs !== null || circuitSinceMs !== null || flagged || probing
  return !isKeptOut && failures === 0 && authFailures === 0 && overloads === 0
}

/** What an attempt says of its account besides how it went. Milliseconds. */
export interface Sent {
  /** When it was sent, in milliseconds since 1970. */
  readonly sentAtMs: number
  /** How long somebody waited for its first event, where it never came. */
  readonly waitedMs?: number
}

/** A stream has begun. That says how fast the account is, not yet that it is well: some break off every stream they begin. */
export function afterFirstEvent(condition: Condition, firstEventMs: number): Condition {
  const mean = condition.firstEventMs
  return { ...condition, firstEventMs: mean === null ? firstEventMs : averaged(mean, firstEventMs, firstEventWeight) }
}

/** An answer came to its end: whatever kept the account out when the attempt was sent is over. */
export function afterAnswer(condition: Condition, sentAtMs: number): Condition {
  const counted = {
    ...condition,
    successRate: averaged(condition.successRate, 1, successWeight),
    recentAttempts: condition.recentAttempts + 1,
  }
  if (isWell(condition) || isOlder(condition, sentAtMs)) return counted
  return {
    ...counted,
    ...well,
    // One good probe does not wipe out a bad record, but it must not be judged by it at once.
    ...(condition.circuitSinceMs !== null && { successRate: 1, recentAttempts: 0 }),
  }
}

/**
 * The account told of something that it keeps. So it can be reached, and failures in a row are over; whether it may make anything new,
 * which is why it rests, that does not say.
 */
export function afterKept(condition: Condition): Condition {
  return {
    ...condition,
    successRate: averaged(condition.successRate, 1, successWeight),
    recentAttempts: condition.recentAttempts + 1,
    failures: condition.circuitSinceMs === null ? 0 : condition.failures,
  }
}

/** An attempt failed. Pure: what the condition becomes. A client's own fault never comes here. */
export function afterFault(
  condition: Condition,
  fault: AttemptFault,
  model: string,
  { nowMs, sentAtMs, waitedMs = 0, ...rest }: RestSettings & Sent & { nowMs: number },
): Condition {
  // Of many that were under way together the first one's failure is the news, and the others' the same news again.
  const isNews = !isOlder(condition, sentAtMs)
  const before: Condition = isNews ? { ...condition, probing: false } : condition
  const once = isNews ? 1 : 0
  const rests = (restMs: number, why: string) => resting(before, { nowMs, untilMs: nowMs + restMs, why })
  switch (fault.name) {
    case 'limited':
      return rests(fault.askedMs ?? rest.rateRestMs, 'rate limited (429)')
    case 'quota':
      return { ...before, outSinceMs: condition.outSinceMs ?? nowMs, probeAtMs: nowMs + rest.quotaProbeMs, restingWhy: 'quota used up' }
    case 'auth':
    case 'forbidden': {
      const authFailures = condition.authFailures + once
      const restMs = rest.authRestsMs[Math.min(Math.max(0, authFailures - 1), rest.authRestsMs.length - 1)] ?? rest.rateRestMs
      const why = fault.name === 'auth' ? 'credential refused (401)' : 'access forbidden (403)'
      return { ...rests(restMs, why), authFailures, flagged: true }
    }
    case 'overloaded': {
      const overloads = condition.overloads + once
      const restMs = doubling(rest.overloadRestMs, Math.max(0, overloads - 1), rest.overloadRestMaxMs)
      return { ...rests(Math.max(fault.askedMs ?? 0, restMs), 'overloaded'), overloads }
    }
    case 'slow_first_event':
      return slower(before, waitedMs)
    case 'model_not_found':
      return { ...before, modelRests: withModelRest(condition, model, { nowMs, untilMs: nowMs + rest.modelRestMs }) }
    default:
      return isNews && attemptFaults[fault.name].blames ? afterFailure(before, fault, nowMs, rest) : before
  }
}

/**
 * What is known of an account grows old while nobody uses it: after `halfLifeMs` half of what speaks against it is forgotten. Else one
 * that failed or dawdled once would never be chosen again beside others that are idle, and nobody would learn that it is well.
 */
export function aged(condition: Condition, nowMs: number, halfLifeMs: number): Condition {
  const { successRate, firstEventMs, lastUsedMs } = condition
  if (successRate === 1 && firstEventMs === null) return condition
  const kept = 2 ** (-Math.max(0, nowMs - lastUsedMs) / halfLifeMs)
  return { ...condition, successRate: 1 - (1 - successRate) * kept, firstEventMs: firstEventMs === null ? null : firstEventMs * kept }
}

/** An attempt ended without saying anything about the account: the client left, or sent nonsense. An older one was no probe. */
export function afterNothing(condition: Condition, sentAtMs: number): Condition {
  return condition.probing && !isOlder(condition, sentAtMs) ? withoutProbe(condition) : condition
}

/** The probe was never sent: the mark is taken back. */
export function withoutProbe(condition: Condition): Condition {
  return { ...condition, probing: false }
}

/** A call goes out to see whether the account is still out: nobody else does meanwhile. */
export function withProbe(condition: Condition): Condition {
  return { ...condition, probing: true }
}

/** The operator says that it is well again. */
export function resumed(condition: Condition): Condition {
  return {
    ...condition,
    ...well,
    successRate: 1,
    recentAttempts: 0,
    modelRests: {},
  }
}

export function resting(condition: Condition, { nowMs, untilMs, why }: { nowMs: number; untilMs: number; why: string }): Condition {
  return { ...condition, restingUntilMs: Math.max(condition.restingUntilMs, untilMs), restingSinceMs: nowMs, restingWhy: why }
}

/**
 * Whether an attempt was sent before whatever keeps the account out now, so that it says nothing about that. In the same
 * millisecond counts as before: nobody is chosen at the moment when a rest begins, and a probe comes later.
 */
function isOlder({ restingSinceMs, outSinceMs, circuitSinceMs }: Condition, sentAtMs: number): boolean {
  return sentAtMs <= Math.max(restingSinceMs, outSinceMs ?? 0, circuitSinceMs ?? 0)
}

function afterFailure(condition: Condition, fault: AttemptFault, nowMs: number, rest: RestSettings): Condition {
  const failures = condition.failures + 1
  const successRate = averaged(condition.successRate, 0, successWeight)
  const recentAttempts = condition.recentAttempts + 1
  const failing = { ...condition, failures, successRate, recentAttempts }
  const isOpen = condition.circuitSinceMs !== null
  const opens = failures >= rest.circuitFailures || (recentAttempts >= attemptsForRate && successRate * 100 < rest.circuitSuccessMin)
  if (!isOpen && !opens) return failing
  const probes = Math.max(0, failures - rest.circuitFailures)
  const probeAtMs = nowMs + doubling(rest.circuitRestMs, probes, rest.circuitRestMaxMs)
  return { ...failing, circuitSinceMs: condition.circuitSinceMs ?? nowMs, probeAtMs, restingWhy: `failing (${fault.name})` }
}

/** It took at least so long. Its average may have been worse before, and must not look better for what we did not wait to see. */
function slower(condition: Condition, waitedMs: number): Condition {
  return afterFirstEvent(condition, Math.max(condition.firstEventMs ?? 0, waitedMs))
}

function doubling(firstMs: number, times: number, maxMs: number): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(times, 30))
}

function averaged(mean: number, next: number, weight: number): number {
  return mean + (next - mean) * weight
}

/** Where nothing lists the models, clients make up their names: neither their number nor their length may grow with that. */
const modelRestsMax = 100
const modelNameMax = 200

/** Rests that are over are dropped, so that the record stays small. */
function withModelRest(
  { modelRests }: Condition,
  model: string,
  { nowMs, untilMs }: { nowMs: number; untilMs: number },
): Record<string, number> {
  if (model.length > modelNameMax) return { ...modelRests }
  const live = Object.entries(modelRests).filter(([name, until]) => until > nowMs && name !== model)
  return Object.fromEntries([...live.slice(1 - modelRestsMax), [model, untilMs]])
}
