import fc from 'fast-check'
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

/** Seldom cleared, or it would hardly ever be full. */
const what = fc.constantFrom(...Array(10).fill('set'), ...Array(5).fill('get'), ...Array(5).fill('delete'), 'clear')
const act = fc.tuple(what, fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.nat())

test('whatever is done, it keeps what a list of the latest would keep', () => {
  fc.assert(
    fc.property(fc.array(act, { minLength: 30, maxLength: 60 }), acts => {
      const kept = lru<number>(3)
      let list: (readonly [string, number])[] = []
      for (const [what, key, value] of acts) {
        const known = list.find(([name]) => name === key)
        if (what === 'get') expect(kept.get(key)).toBe(known?.[1])
        if (what === 'set') kept.set(key, value)
        if (what === 'delete') kept.delete(key)
        if (what === 'clear') kept.clear()
        const others = what === 'clear' ? [] : list.filter(([name]) => name !== key)
        const used = what === 'set' ? ([key, value] as const) : what === 'get' ? known : undefined
        list = used === undefined ? others : [used, ...others].slice(0, 3)
        expect(kept.size).toBe(list.length)
      }
      for (const [key, value] of list) expect(kept.get(key)).toBe(value)
    }),
    { numRuns: 200 },
  )
})
