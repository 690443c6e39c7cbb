import { expect, test } from 'vitest'
import type { Condition } from '../coordination/coordinator.ts'
import type { Account } from '../directory/entities.ts'
import { candidate } from './candidate.fixture.ts'
import { leastBad, leastLoaded, muchFaster } from './select.ts'

type Said = Partial<Account & Condition>

const never = () => {
  throw new Error('no lot was to be drawn')
}

const choices: readonly (readonly [string, Readonly<Record<string, Said>>, string | undefined])[] = [
  ['nobody, of nobody', {}, undefined],
  ['the lowest priority number, however loaded', { a: { priority: 2 }, b: { priority: 1, taken: 9 } }, 'b'],
  ['the least loaded', { a: { taken: 3 }, b: { taken: 2 }, c: { taken: 4 } }, 'b'],
  ['by share, not by number', { a: { taken: 3, concurrency: 10 }, b: { taken: 2, concurrency: 5 } }, 'a'],
  ['by weight', { a: { taken: 1 }, b: { taken: 2, weight: 2 } }, 'b'],
  ['counting the call that is to come', { a: { taken: 0, concurrency: 1 }, b: { taken: 5, concurrency: 10 } }, 'b'],
  ['one without a limit before one with', { a: { taken: 0 }, b: { taken: 500, concurrency: 0 } }, 'b'],
  ['of equals the longest unused', { a: { lastUsedMs: 5 }, b: { lastUsedMs: 3 }, c: { lastUsedMs: 4 } }, 'b'],
  ['of equals without a limit the longest unused', { a: { lastUsedMs: 5, concurrency: 0 }, b: { lastUsedMs: 3, concurrency: -1 } }, 'b'],
  ['one that is not slow', { a: { firstEventMs: 4000 }, b: { firstEventMs: 500, taken: 1 } }, 'b'],
  ['not by small differences of time', { a: { firstEventMs: 900, lastUsedMs: 1 }, b: { firstEventMs: 200, lastUsedMs: 2 } }, 'a'],
  [
    'a probe that is due, when it was longest unused: its record keeps it from all other calls already',
    { a: { lastUsedMs: 5 }, b: { successRate: 0.2, firstEventMs: 9000, circuitSinceMs: 1, lastUsedMs: 3 } },
    'b',
  ],
  ['one that fails less', { a: { successRate: 0.5 }, b: { successRate: 0.95, taken: 1 } }, 'b'],
  [
    'one that fails fast, and so is never busy, attracts nobody',
    { a: { successRate: 0.6, concurrency: 100 }, b: { taken: 3, concurrency: 100 } },
    'b',
  ],
]

test.for(choices)('%s', ([, said, wanted]) => {
  const chosen = leastLoaded(
    Object.entries(said).map(([name, one]) => candidate(name, one)),
    never,
  )
  expect(chosen?.account.name).toBe(wanted)
})

test('of many the better of two drawn by lot', () => {
  const many = Array.from({ length: 40 }, (_, n) => candidate(`a${n}`, { taken: n % 10 }))
  const lots = [0.1, 0.2]
  expect(leastLoaded(many, () => lots.shift()!)?.account.name).toBe('a4')
  expect(lots).toEqual([])
  const others = [0.99, 0.05]
  expect(leastLoaded(many, () => others.shift()!)?.account.name).toBe('a2')
})

test('many of a higher priority number are not drawn from', () => {
  const many = Array.from({ length: 40 }, (_, n) => candidate(`a${n}`, { priority: 2 }))
  expect(leastLoaded([...many, candidate('first', { priority: 1, taken: 9 })], never)?.account.name).toBe('first')
})

const bad: readonly (readonly [string, Readonly<Record<string, Said>>, string | undefined])[] = [
  ['nobody, of nobody', {}, undefined],
  ['the one that failed least lately', { a: { successRate: 0.2 }, b: { successRate: 0.7 }, c: { successRate: 0.5 } }, 'b'],
  ['the lowest priority number first', { a: { successRate: 0.7, priority: 2 }, b: { successRate: 0.1, priority: 1 } }, 'b'],
]

test.for(bad)('of those that are all failing: %s', ([, said, wanted]) => {
  const chosen = leastBad(
    Object.entries(said).map(([name, one]) => candidate(name, one)),
    never,
  )
  expect(chosen?.account.name).toBe(wanted)
})

const slow: readonly (readonly [number | null, readonly (number | null)[], readonly number[]])[] = [
  [null, [100], []],
  [900, [100], []],
  [1000, [100], [100]],
  [3000, [1000], []],
  [3001, [1000], [1000]],
  [9000, [4000, 2000, 2500], [2000, 2500]],
  [9000, [null], []],
  [9000, [null, 1], [1]],
  [9000, [], []],
]

test.for(slow)('a session with %s ms to the first token beside %j leaves for one of %j', ([mine, others, wanted]) => {
  const time = (firstEventMs: number | null) => candidate('a', { firstEventMs })
  expect(muchFaster(time(mine), others.map(time)).map(({ condition }) => condition.firstEventMs)).toEqual(wanted)
})
