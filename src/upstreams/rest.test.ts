import { expect, test } from 'vitest'
import { type Condition, calm } from '../coordination/coordinator.ts'
import { afterAnswer, afterFault, afterFirstEvent, afterNothing, aged, type RestSettings, resting, resumed, withProbe } from './rest.ts'
import type { AttemptFault, AttemptFaultName } from './verdict.ts'

const settings: RestSettings = {
  rateRestMs: 60_000,
  authRestsMs: [60_000, 300_000, 1_800_000],
  overloadRestMs: 10_000,
  overloadRestMaxMs: 600_000,
  modelRestMs: 600_000,
  circuitFailures: 5,
  circuitSuccessMin: 80,
  circuitRestMs: 10_000,
  circuitRestMaxMs: 600_000,
  quotaProbeMs: 3_600_000,
}

const start = 1_000_000

/** An account, and the time: a failure or an answer comes a second after it was sent, unless `sentAtMs` says otherwise. */
function newAccount(condition: Condition = calm) {
  let now = start
  const account = {
    condition,
    fails(name: AttemptFaultName, more: Partial<AttemptFault> & { sentAtMs?: number } = {}) {
      const { sentAtMs = now, ...fault } = more
      now = Math.max(now, sentAtMs) + 1000
      account.condition = afterFault(account.condition, { name, status: null, ...fault }, 'sim', { ...settings, nowMs: now, sentAtMs })
      return account
    },
    answers({ sentAtMs = now, firstEventMs = 100 }: { sentAtMs?: number; firstEventMs?: number | null } = {}) {
      now = Math.max(now, sentAtMs) + 1000
      if (firstEventMs !== null) account.begins(firstEventMs)
      account.condition = afterAnswer(account.condition, sentAtMs)
      return account
    },
    /** A stream begins; whether it comes to its end is another matter. */
    begins(firstEventMs: number) {
      account.condition = afterFirstEvent(account.condition, firstEventMs)
      return account
    },
    /** Passes the rest. */
    rests() {
      now = Math.max(now, account.condition.restingUntilMs, account.condition.probeAtMs)
      return account
    },
    /** Seconds from now. */
    get restS() {
      return (account.condition.restingUntilMs - now) / 1000
    },
    get probeS() {
      return (account.condition.probeAtMs - now) / 1000
    },
    get now() {
      return now
    },
  }
  return account
}

const limits: readonly (readonly [string, Partial<AttemptFault>, number])[] = [
  ['what it asked for', { askedMs: 17_000 }, 17],
  ['a minute when it asked for nothing', {}, 60],
  ['not at all when it asked for none', { askedMs: 0 }, 0],
]

test.for(limits)('a 429 rests the account for %s', ([, fault, seconds]) => {
  const account = newAccount().fails('limited', fault)
  expect(account.restS).toBe(seconds)
  expect(account.condition).toMatchObject({ failures: 0, flagged: false, successRate: 1 })
})

test('a shorter rest never ends a longer one', () => {
  const account = newAccount().fails('limited', { askedMs: 90_000 })
  account.fails('limited', { askedMs: 1000, sentAtMs: start })
  expect(account.restS).toBe(89)
})

test.for(['auth', 'forbidden'] as const)('%s rests for 1, 5, 30 and again 30 minutes, and is flagged', name => {
  const account = newAccount()
  const minutes = [1, 2, 3, 4].map(() => account.rests().fails(name).restS / 60)
  expect(minutes).toEqual([1, 5, 30, 30])
  expect(account.condition).toMatchObject({ flagged: true, outSinceMs: null, circuitSinceMs: null })
})

test('overload rests for 10 seconds, doubling to 10 minutes', () => {
  const account = newAccount()
  const seconds = Array.from({ length: 8 }, () => account.rests().fails('overloaded').restS)
  expect(seconds).toEqual([10, 20, 40, 80, 160, 320, 600, 600])
  expect(account.rests().fails('overloaded', { askedMs: 900_000 }).restS).toBe(900)
})

test.for(['auth', 'overloaded'] as const)('ten calls that were under way together meet %s once', name => {
  const account = newAccount()
  const once = newAccount().fails(name)
  for (let n = 0; n < 10; n++) account.fails(name, { sentAtMs: start })
  expect(account.condition).toMatchObject({ authFailures: once.condition.authFailures, overloads: once.condition.overloads })
  expect(account.restS).toBe(once.restS)
})

test('an answer ends what it was sent into, and growing rests begin anew', () => {
  const account = newAccount().fails('overloaded').rests().fails('overloaded').rests().answers()
  expect(account.condition).toMatchObject({ restingUntilMs: 0, overloads: 0, restingWhy: null })
  expect(account.fails('overloaded').restS).toBe(10)
})

test.for(['limited', 'auth', 'overloaded', 'quota'] as const)('an answer that was under way before %s does not end it', name => {
  const account = newAccount().fails(name)
  const before = account.condition
  account.answers({ sentAtMs: start })
  const { restingUntilMs, restingWhy, outSinceMs, flagged, overloads, authFailures } = before
  expect(account.condition).toMatchObject({ restingUntilMs, restingWhy, outSinceMs, flagged, overloads, authFailures })
})

test('the operator’s rest stands, whatever was under way', () => {
  const account = newAccount(resting(calm, { nowMs: start + 5, untilMs: start + 50_000, why: 'maintenance' })).answers({ sentAtMs: start })
  expect(account.condition).toMatchObject({ restingUntilMs: start + 50_000, restingWhy: 'maintenance' })
  expect(resumed(account.condition)).toMatchObject({ restingUntilMs: 0, restingWhy: null })
})

test('used up quota takes it out until a slow probe succeeds', () => {
  const account = newAccount().fails('quota')
  expect(account.condition).toMatchObject({ outSinceMs: start + 1000, restingUntilMs: 0, failures: 0 })
  expect(account.probeS).toBe(3600)
  account.condition = withProbe(account.condition)
  account.rests().fails('quota')
  expect(account.condition).toMatchObject({ outSinceMs: start + 1000, probing: false })
  expect(account.probeS).toBe(3600)
  expect(account.rests().answers().condition.outSinceMs).toBeNull()
})

test('a model that is not there rests the pair, and nothing else', () => {
  const { condition, now } = newAccount().fails('model_not_found')
  expect(condition).toEqual({ ...calm, modelRests: { sim: now + 600_000 } })
})

test('rests of models that are over are forgotten', () => {
  const account = newAccount({ ...calm, modelRests: { old: start - 1, other: start + 9_000_000 } }).fails('model_not_found')
  expect(Object.keys(account.condition.modelRests)).toEqual(['other', 'sim'])
})

test('five failures in a row open the circuit; a probe that fails doubles the wait; one that succeeds closes it', () => {
  const account = newAccount()
  for (let n = 0; n < 4; n++) account.fails('server')
  expect(account.condition).toMatchObject({ failures: 4, circuitSinceMs: null })
  account.fails('reset')
  expect(account.condition.circuitSinceMs).toBe(account.now)
  const waits = [account.probeS]
  for (let n = 0; n < 7; n++) {
    account.rests()
    account.condition = withProbe(account.condition)
    waits.push(account.fails('first_event_timeout').probeS)
    expect(account.condition.probing).toBe(false)
  }
  expect(waits).toEqual([10, 20, 40, 80, 160, 320, 600, 600])
  expect(account.rests().answers().condition).toMatchObject({ circuitSinceMs: null, failures: 0, successRate: 1 })
})

test('what was under way when the circuit opened does not lengthen it', () => {
  const account = newAccount()
  for (let n = 0; n < 20; n++) account.fails('server', { sentAtMs: start })
  expect(account.condition.failures).toBe(5)
  expect(account.condition.probeAtMs - (account.condition.circuitSinceMs ?? 0)).toBe(10_000)
})

test('an answer between failures begins the count anew', () => {
  const account = newAccount()
  for (let n = 0; n < 4; n++) account.fails('server')
  account.answers()
  for (let n = 0; n < 4; n++) account.fails('server')
  expect(account.condition.circuitSinceMs).toBeNull()
})

test('under 80 % success lately opens the circuit, but not before twenty attempts', () => {
  const opensAfter = (everyNthFails: number) => {
    const account = newAccount()
    for (let n = 1; n <= 200; n++) {
      if (n % everyNthFails === 0) account.fails('server')
      else account.answers()
      if (account.condition.circuitSinceMs !== null) return n
    }
    return undefined
  }
  expect(opensAfter(2)).toBeGreaterThanOrEqual(20)
  expect(opensAfter(2)).toBeLessThan(40)
  expect(opensAfter(3)).toBeLessThan(100)
  expect(opensAfter(10)).toBeUndefined()
})

const harmless: readonly AttemptFaultName[] = ['aborted', 'body_too_large', 'gateway']

test.for(harmless)('%s never counts against the account', name => {
  const account = newAccount()
  for (let n = 0; n < 50; n++) account.fails(name)
  expect(account.condition).toEqual(calm)
})

test('a probe that came to nothing lets the next one go', () => {
  expect(afterNothing(withProbe(calm), start).probing).toBe(false)
  expect(newAccount(withProbe(calm)).fails('aborted').condition.probing).toBe(false)
})

test('an older call that comes to nothing does not take back the mark of a probe', () => {
  const account = newAccount()
  for (let n = 0; n < 5; n++) account.fails('server')
  const probing = withProbe(account.condition)
  expect(afterNothing(probing, start).probing).toBe(true)
  expect(afterNothing(probing, account.now + 1).probing).toBe(false)
})

test('an account that breaks off every stream it begins has its circuit opened, and no beginning closes it', () => {
  const account = newAccount()
  for (let n = 0; n < 5; n++) account.begins(100).fails('stream_cut')
  expect(account.condition.circuitSinceMs).toBe(account.now)
  account.rests()
  account.condition = withProbe(account.condition)
  expect(account.begins(100).condition).toMatchObject({ probing: true, circuitSinceMs: expect.any(Number) })
})

test('where clients make up the names of models, what is remembered of them stays small', () => {
  let { condition } = newAccount()
  for (let n = 0; n < 300; n++) {
    condition = afterFault(condition, { name: 'model_not_found', status: 404 }, `m${n}`, { ...settings, nowMs: start, sentAtMs: start })
  }
  expect(Object.keys(condition.modelRests)).toHaveLength(100)
  expect(condition.modelRests['m299']).toBeDefined()
  const long = 'm'.repeat(1_000_000)
  expect(
    afterFault(calm, { name: 'model_not_found', status: 404 }, long, { ...settings, nowMs: start, sentAtMs: start }).modelRests,
  ).toEqual({})
})

test('time to first token is averaged over streams alone', () => {
  const account = newAccount().answers({ firstEventMs: 1000 }).answers({ firstEventMs: 2000 })
  expect(account.condition.firstEventMs).toBe(1300)
  expect(account.answers({ firstEventMs: null }).condition.firstEventMs).toBe(1300)
})

test('what speaks against an account is forgotten while nobody uses it, half of it in a half-life', () => {
  const bad: Condition = { ...calm, successRate: 0.6, firstEventMs: 8000, lastUsedMs: start, failures: 3 }
  const after = (ms: number) => aged(bad, start + ms, 30_000)
  expect(after(0)).toEqual(bad)
  expect(after(30_000)).toEqual({ ...bad, successRate: 0.8, firstEventMs: 4000 })
  expect(after(60_000)).toEqual({ ...bad, successRate: 0.9, firstEventMs: 2000 })
  expect(after(-5)).toEqual(bad)
  expect(aged(calm, start, 30_000)).toBe(calm)
})

test('an account that was given up for being slow looks slower than before, never faster', () => {
  const slow = (before: Condition, waitedMs: number) =>
    afterFault(before, { name: 'slow_first_event', status: null }, 'm', { ...settings, nowMs: start, sentAtMs: start - waitedMs, waitedMs })
  expect(slow(calm, 3_000)).toEqual({ ...calm, firstEventMs: 3_000 })
  expect(slow({ ...calm, firstEventMs: 1_000 }, 11_000).firstEventMs).toBe(4_000)
  // It was waited for so long only; that it would have taken longer is what its average says.
  expect(slow({ ...calm, firstEventMs: 9_000 }, 3_000).firstEventMs).toBe(9_000)
})
