import { expect, test } from 'vitest'
import { firstIdOf, newId, timeOfId } from './id.ts'

test('ids are UUIDs of version 7, all different', () => {
  const ids = Array.from({ length: 5_000 }, () => newId(1_760_000_000_123.9))
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(new Set(ids).size).toBe(ids.length)
})

test('ids sort by the time they were made', () => {
  const times = [0, 1, 999, 1_000, 1_760_000_000_000, 1_760_000_000_001, 2 ** 48 - 1]
  const ids = times.map(newId)
  expect(ids.toSorted()).toEqual(ids)
})

test.for([0, 1, 1_760_000_000_123, 2 ** 48 - 1])('an id says that it was made at %i', timeMs => {
  expect(timeOfId(newId(timeMs))).toBe(timeMs)
})

test.for([1_000, 1_760_000_000_123, 2 ** 48 - 1])('ids made from %i on sort behind its first, and those before it in front', timeMs => {
  const first = firstIdOf(timeMs)
  expect([newId(timeMs), first, newId(timeMs - 1_000)].toSorted()).toMatchObject([expect.anything(), first, expect.anything()])
})

test.for(['', 'resp_123', '01a206ab-d859-42f1-b505-b2a0f8599984', 'x1a206ab-d859-72f1-b505-b2a0f8599984'])('"%s" says nothing', id => {
  expect(timeOfId(id)).toBeUndefined()
})
