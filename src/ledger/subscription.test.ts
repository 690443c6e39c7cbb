import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isRunning, leastRoom, windowKinds, windowLengthMs, windowsOf } from './subscription.ts'

const startsAtMs = Date.parse('2026-10-24T12:34:56.789Z')
const terms = { id: 's', startsAtMs, endsAtMs: Date.parse('2027-10-24T00:00:00Z'), dailyLimit: 1n, weeklyLimit: 2n, monthlyLimit: null }

const dayMs = 86_400_000

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

/** Nights on which a clock on some wall is put forward or back, leap days, ends of years: a day of a subscription is 24 h all the same. */
const starts = [
  '2026-03-29T00:59:59.999Z', // An hour that Europe skips begins a moment later.
  '2026-10-25T00:30:00.000Z', // Europe has this hour twice.
  '2026-03-08T09:59:59.999Z', // The same in North America,
  '2026-11-01T08:30:00.000Z', // and there in autumn.
  '2026-04-04T15:59:59.999Z', // And in Australia.
  '2028-02-28T23:59:59.999Z',
  '2028-02-29T12:00:00.000Z',
  '2027-12-31T23:59:59.999Z',
  '1970-01-01T00:00:00.000Z',
]
test.each(starts)('from %s on, every window is whole days of 24 h, one after the other', text => {
  const from = Date.parse(text)
  const subscription = { ...terms, startsAtMs: from, endsAtMs: from + 800 * dayMs }
  // Counted day by day, as a person would with a calendar of UTC, and not by division.
  const begun = { daily: from, weekly: from, monthly: from }
  for (let day = 0; day < 800; day++) {
    const atMs = from + day * dayMs
    expect(new Date(atMs).toISOString().slice(11)).toBe(text.slice(11))
    begun.daily = atMs
    if (day % 7 === 0) begun.weekly = atMs
    if (day % 30 === 0) begun.monthly = atMs
    for (const moment of [atMs, atMs + dayMs / 2, atMs + dayMs - 1]) {
      expect(windowsOf(subscription, moment).map(({ kind, startsAtMs }) => [kind, startsAtMs])).toEqual(Object.entries(begun))
    }
  }
})

test('two moments are in one window exactly when no start of a window lies between them', () => {
  const anyStart = fc.integer({ min: Date.UTC(2020), max: Date.UTC(2040) })
  const since = fc.nat({ max: 400 * dayMs })
  fc.assert(
    fc.property(anyStart, since, since, (from, one, two) => {
      const subscription = { ...terms, startsAtMs: from, endsAtMs: from + 400 * dayMs }
      const [first, second] = [one, two].map(ms => windowsOf(subscription, from + ms))
      for (const [index, kind] of windowKinds.entries()) {
        const lengthMs = windowLengthMs[kind]
        const between = (one - (one % lengthMs)) / lengthMs !== (two - (two % lengthMs)) / lengthMs
        expect(first![index]!.startsAtMs !== second![index]!.startsAtMs).toBe(between)
      }
    }),
  )
})

test('an extension changes no window: they are counted from the start', () => {
  fc.assert(
    fc.property(fc.nat({ max: 400 * dayMs }), fc.nat({ max: 400 * dayMs }), (sinceMs, byMs) => {
      const longer = { ...terms, endsAtMs: terms.endsAtMs + byMs }
      expect(windowsOf(longer, startsAtMs + sinceMs)).toEqual(windowsOf(terms, startsAtMs + sinceMs))
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
