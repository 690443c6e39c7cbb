import { expect, test } from 'vitest'
import { median, percentile, shown, slopeOf, tableOf } from './figures.ts'

const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)

for (const [percent, value] of [
  [0, 1],
  [50, 51],
  [99, 100],
  [100, 100],
] as const)
  test(`of 1 to 100, in any order, ${percent} per cent do not exceed ${value}`, () => expect(percentile(hundred, percent)).toBe(value))

test('the median of an odd number is the one in the middle', () => expect(median([9, 1, 5])).toBe(5))

test('nothing has no percentile, and is shown as a dash', () => expect(shown(percentile([], 99))).toBe('–'))

test('columns are as wide as their widest cell, numbers right', () =>
  expect(tableOf(['', 'µs'], [['relay', '50']])).toBe('|       | µs |\n|------:|---:|\n| relay | 50 |'))

test('the slope of a line is its slope, whatever lies beside it by as much on both sides', () => {
  expect(slopeOf([0, 1, 2, 3].map(x => [x, 7 + 3 * x]))).toBe(3)
  expect(
    slopeOf([
      [0, 1],
      [0, -1],
      [2, 5],
      [2, 3],
    ]),
  ).toBe(2)
  expect(slopeOf([[1, 1]])).toBe(0)
})
