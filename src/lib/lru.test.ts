import { expect, test } from 'vitest'
import { lru } from './lru.ts'

test('the entry that was asked for least recently goes first', () => {
  const kept = lru<number>(2)
  kept.set('a', 1)
  kept.set('b', 2)
  kept.get('a')
  kept.set('c', 3)
  expect([kept.get('a'), kept.get('b'), kept.get('c'), kept.size]).toEqual([1, undefined, 3, 2])
  kept.set('a', 4)
  kept.set('d', 5)
  expect([kept.get('a'), kept.get('c'), kept.get('d'), kept.size]).toEqual([4, undefined, 5, 2])
  kept.clear()
  expect([kept.get('a'), kept.size]).toEqual([undefined, 0])
})
