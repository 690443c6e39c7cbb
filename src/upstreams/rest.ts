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

/** An attempt was answered: whatever kept the account out is over. */
export function afterAnswer(condition: Condition, firstEventMs: number): Condition {
  const mean = condition.firstEventMs
  return {
    ...condition,
    restingUntilMs: 0,
    restingWhy: null,
    outSinceMs: null,
    flagged: false,
    failures: 0,
    authFailures: 0,
    overloads: 0,
    circuitSinceMs: null,
    probing: false,
    // One good probe does not wipe out a bad record, but it must not be judged by it at once.
    successRate: condition.circuitSinceMs === null ? averaged(condition.successRate, 1, successWeight) : 1,
    recentAttempts: condition.circuitSinceMs === null ? condition.recentAttempts + 1 : 0,
    firstEventMs: mean === null ? firstEventMs : averaged(mean, firstEventMs, firstEventWeight),
  }
}

/** An attempt failed. Pure: what the condition becomes. A client's own fault never comes here. */
export function afterFault(
  condition: Condition,
  fault: AttemptFault,
  model: string,
  { nowMs, ...rest }: RestSettings & { nowMs: number },
): Condition {
  const before: Condition = { ...condition, probing: false }
  switch (fault.name) {
    case 'limited':
      return resting(before, nowMs + (fault.askedMs ?? rest.rateRestMs), 'rate limited (429)')
    case 'quota':
      return { ...before, outSinceMs: condition.outSinceMs ?? nowMs, probeAtMs: nowMs + rest.quotaProbeMs, restingWhy: 'quota used up' }
    case 'auth':
    case 'forbidden': {
      const restMs = rest.authRestsMs[Math.min(condition.authFailures, rest.authRestsMs.length - 1)] ?? rest.rateRestMs
      const why = fault.name === 'auth' ? 'credential refused (401)' : 'access forbidden (403)'
      return { ...resting(before, nowMs + restMs, why), authFailures: condition.authFailures + 1, flagged: true }
    }
    case 'overloaded': {
      const restMs = Math.max(fault.askedMs ?? 0, doubling(rest.overloadRestMs, condition.overloads, rest.overloadRestMaxMs))
      return { ...resting(before, nowMs + restMs, 'overloaded'), overloads: condition.overloads + 1 }
    }
    case 'model_not_found':
      return { ...before, modelRests: { ...liveRests(condition, nowMs), [model]: nowMs + rest.modelRestMs } }
    default:
      return attemptFaults[fault.name].blames ? afterFailure(before, fault, nowMs, rest) : before
  }
}

/** An attempt ended without saying anything about the account: the client left, or sent nonsense. */
export function afterNothing(condition: Condition): Condition {
  return condition.probing ? { ...condition, probing: false } : condition
}

/** A call goes out to see whether the account is still out: nobody else does meanwhile. */
export function withProbe(condition: Condition): Condition {
  return { ...condition, probing: true }
}

/** The operator says that it is well again. */
export function resumed(condition: Condition): Condition {
  return {
    ...condition,
    restingUntilMs: 0,
    restingWhy: null,
    outSinceMs: null,
    flagged: false,
    failures: 0,
    authFailures: 0,
    overloads: 0,
    circuitSinceMs: null,
    probing: false,
    successRate: 1,
    recentAttempts: 0,
    modelRests: {},
  }
}

export function resting(condition: Condition, untilMs: number, why: string): Condition {
  return { ...condition, restingUntilMs: Math.max(condition.restingUntilMs, untilMs), restingWhy: why }
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

function doubling(firstMs: number, times: number, maxMs: number): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(times, 30))
}

function averaged(mean: number, next: number, weight: number): number {
  return mean + (next - mean) * weight
}

/** Rests that are over are dropped, so that the record stays small. */
function liveRests({ modelRests }: Condition, nowMs: number): Record<string, number> {
  return Object.fromEntries(Object.entries(modelRests).filter(([, untilMs]) => untilMs > nowMs))
}
