import { expect, test } from 'vitest'
import { type Clock, systemClock } from '../lib/clock.ts'
import { Fault, type FaultName, faults } from '../lib/fault.ts'
import { isOfALoop, openBrake } from './brake.ts'

function openAt(refusalsPerMinute: number) {
  let nowMs = 5_000
  const clock: Clock = { ...systemClock, elapsedMs: () => nowMs }
  const brake = openBrake(refusalsPerMinute, clock)
  return {
    ...brake,
    pass: (ms: number) => void (nowMs += ms),
    refuse(times: number, key = 'k') {
      for (let n = 0; n < times; n++) brake.refused(key, 'Insufficient balance.')
    },
    /** Seconds until the key may be used again; 0 when it may now. */
    wait(key = 'k'): number {
      try {
        brake.check(key)
        return 0
      } catch (error) {
        if (error instanceof Fault && error.fault === 'looping') return error.retryAfterSeconds!
        throw error
      }
    },
  }
}

test('as many as are allowed in a minute slow nobody down, and one more does', () => {
  const brake = openAt(10)
  brake.refuse(10)
  expect(brake.wait()).toBe(0)
  brake.refuse(1)
  expect([brake.wait(), brake.wait('another')]).toEqual([1, 0])
})

test('a client that is refused now and then is never slowed down', () => {
  const brake = openAt(10)
  for (let n = 0; n < 1_000; n++) {
    brake.refuse(1)
    brake.pass(6_000)
    expect(brake.wait()).toBe(0)
  }
})

test('a loop that goes on waits longer each time, up to a minute, with one call in between', () => {
  const brake = openAt(10)
  brake.refuse(11)
  const waits: number[] = []
  for (let n = 0; n < 9; n++) {
    const seconds = brake.wait()
    waits.push(seconds)
    brake.pass(seconds * 1000 - 1)
    expect(brake.wait()).toBe(1)
    brake.pass(1)
    expect(brake.wait()).toBe(0)
    brake.refuse(1)
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
})

test('what was begun before the brake and is refused during it makes nothing longer', () => {
  const brake = openAt(10)
  brake.refuse(50)
  expect(brake.wait()).toBe(1)
})

test('a served call ends it, and all is as if nothing had been', () => {
  const brake = openAt(10)
  brake.refuse(11)
  brake.served('k')
  expect(brake.wait()).toBe(0)
  brake.refuse(10)
  expect(brake.wait()).toBe(0)
  brake.refuse(1)
  expect(brake.wait()).toBe(1)
})

test('whoever is quiet for a minute begins anew', () => {
  const brake = openAt(10)
  brake.refuse(11)
  brake.pass(1_000 + 60_000)
  brake.refuse(10)
  expect(brake.wait()).toBe(0)
  brake.refuse(1)
  expect(brake.wait()).toBe(1)
})

test('one refusal in a minute is put on the books, for as long as it goes on', () => {
  const brake = openAt(10)
  expect(brake.isToldInBooks('k')).toBe(false)
  brake.refuse(11)
  expect([brake.isToldInBooks('k'), brake.isToldInBooks('k')]).toEqual([true, false])
  brake.pass(59_999)
  expect(brake.isToldInBooks('k')).toBe(false)
  brake.pass(1)
  expect(brake.isToldInBooks('k')).toBe(true)
})

test('the last refusal is told, without its full stop', () => {
  const brake = openAt(0 + 1)
  brake.refuse(2)
  expect(() => brake.check('k')).toThrow('the last of them because: Insufficient balance; please')
})

test('0 slows nobody down', () => {
  const brake = openAt(0)
  brake.refuse(10_000)
  expect(brake.wait()).toBe(0)
})

test.each<[FaultName, boolean]>([
  ['money_short', true],
  ['window_used', true],
  ['rate_exceeded', true],
  ['line_full', true],
  ['body_unparsable', true],
  ['model_unserved', true],
  ['upstream_limited', true],
  ['upstream_unavailable', true],
  ['books_away', false],
  ['stopping', false],
  ['bodies_full', false],
  ['accounts_unavailable', false],
  ['unforeseen', false],
  ['key_invalid', false],
  ['address_denied', false],
  ['client_left', false],
  ['looping', false],
])('%s speaks for a loop: %s', (name, is) => {
  expect(faults[name]).toBeDefined()
  expect(isOfALoop(new Fault(name))).toBe(is)
})
