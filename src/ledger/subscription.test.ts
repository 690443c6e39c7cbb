import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isRunning, leastRoom, windowLengthMs, windowsOf } from './subscription.ts'

const startsAtMs = Date.parse('2026-10-24T12:34:56.789Z')
const terms = { id: 's', startsAtMs, endsAtMs: Date.parse('2027-10-24T00:00:00Z'), dailyLimit: 1n, weeklyLimit: 2n, monthlyLimit: null }

/** A moment, and when its day, its week and its month begin. The wall clocks of Europe change on 2026-10-25; the windows do not. */
const moments = `
  2026-10-24T12:34:56.789Z  2026-10-24T12:34:56.789Z  2026-10-24T12:34:56.789Z  2026-10-24T12:34:56.789Z
  2026-10-25T12:34:56.788Z  2026-10-24T12:34:56.789Z  2026-10-24T12:34:56.789Z  2026-10-24T12:34:56.789Z
  2026-10-25T12:34:56.789Z  2026-10-25T12:34:56.789Z  2026-10-24T12:34:56.789Z  2026-10-24T12:34:56.789Z
  2026-10-31T12:34:56.788Z  2026-10-30T12:34:56.789Z  2026-10-24T12:34:56.789Z  2026-10-24T12:34:56.789Z
  2026-10-31T12:34:56.789Z  2026-10-31T12:34:56.789Z  2026-10-31T12:34:56.789Z  2026-10-24T12:34:56.789Z
  2026-11-23T12:34:56.789Z  2026-11-23T12:34:56.789Z  2026-11-21T12:34:56.789Z  2026-11-23T12:34:56.789Z
  2027-02-28T23:59:59.999Z  2027-02-28T12:34:56.789Z  2027-02-27T12:34:56.789Z  2027-02-21T12:34:56.789Z
`
test.each(
  moments
    .trim()
    .split('\n')
    .map(line => line.trim()),
)('the windows of %s', line => {
  const [at, ...starts] = line.split(/\s+/)
  expect(windowsOf(terms, Date.parse(at!)).map(window => new Date(window.startsAtMs).toISOString())).toEqual(starts)
})

test('every moment lies in exactly the windows that are reckoned for it', () => {
  fc.assert(
    fc.property(fc.nat({ max: 400 * 86_400_000 }), sinceMs => {
      for (const { kind, startsAtMs: begins, endsAtMs } of windowsOf(terms, startsAtMs + sinceMs)) {
        expect(begins).toBeLessThanOrEqual(startsAtMs + sinceMs)
        expect(endsAtMs).toBeGreaterThan(startsAtMs + sinceMs)
        expect(endsAtMs - begins).toBe(windowLengthMs[kind])
        expect((begins - startsAtMs) % windowLengthMs[kind]).toBe(0)
      }
    }),
  )
})

test('it runs from its start until before its end', () => {
  expect([terms.startsAtMs - 1, terms.startsAtMs, terms.endsAtMs - 1, terms.endsAtMs].map(atMs => isRunning(terms, atMs))).toEqual([
    false,
    true,
    true,
    false,
  ])
})

/** Limits of day, week and month, what was taken in each, what is left, and the window that says so. */
const rooms = `
  10  50  90    4  4  4    6  daily
  10  50  90    4 45 60    5  weekly
  10  50  90    4 45 86    4  monthly
  10  50  90    5 45 60    5  weekly    of two that have equally little, the one that lasts longer
  10  50  90   11 50 60    0  weekly    what was taken beyond a limit that was lowered is not owed back
  -   -   90    9  9  9   81  monthly
  -   -   -     9  9  9    -  -
`
test.each(
  rooms
    .trim()
    .split('\n')
    .map(line => line.trim()),
)('what is left: %s', line => {
  const [daily, weekly, monthly, inDay, inWeek, inMonth, room, kind] = line.split(/\s+/)
  const limit = (text: string) => (text === '-' ? null : BigInt(text))
  const windows = windowsOf({ ...terms, dailyLimit: limit(daily!), weeklyLimit: limit(weekly!), monthlyLimit: limit(monthly!) }, startsAtMs)
  const taken = { daily: BigInt(inDay!), weekly: BigInt(inWeek!), monthly: BigInt(inMonth!) }
  const left = leastRoom(windows, each => taken[each])
  expect([`${left.room ?? '-'}`, left.window?.kind ?? '-']).toEqual([room, kind])
})
