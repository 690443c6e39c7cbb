import { expect, test } from 'vitest'
import { between, randomFrom } from '../../test/chance.ts'
import { Ranks } from './ranks.ts'

test.for([0, 1, 2, 3, 31, 32, 33, 100, 1000])('of %s numbers the rank and the count are those of a sorted list', size => {
  const chance = randomFrom(size)
  const ranks = new Ranks(size)
  const model = new Set<number>()
  for (let step = 0; size > 0 && step < 300; step += 1) {
    const number = between(chance, 0, size - 1)
    const isIn = chance() < 0.6
    ranks.set(number, isIn)
    if (isIn) model.add(number)
    else model.delete(number)
    const sorted = [...model].sort((one, other) => one - other)
    const rank = between(chance, 0, sorted.length)
    expect(ranks.at(rank) < size ? ranks.at(rank) : undefined).toBe(sorted[rank])
    const below = between(chance, 0, size)
    expect(ranks.below(below)).toBe(sorted.filter(one => one < below).length)
    expect(ranks.has(number)).toBe(isIn)
  }
  expect(ranks.at(model.size)).toBeGreaterThanOrEqual(size)
})
