import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { divideHalfUp, divideUp, formatDecimal, formatUsd, NotDecimal, parseDecimal, parseUsd } from './money.ts'

test.for<[string, bigint, string]>([
  ['0', 0n, '0.00'],
  ['-0', 0n, '0.00'],
  ['1', 1_000_000_000n, '1.00'],
  ['5.00', 5_000_000_000n, '5.00'],
  ['0.5', 500_000_000n, '0.50'],
  ['0.000000001', 1n, '0.000000001'],
  ['0.000123', 123_000n, '0.000123'],
  ['1.230000000', 1_230_000_000n, '1.23'],
  ['-0.75', -750_000_000n, '-0.75'],
  ['007', 7_000_000_000n, '7.00'],
  ['12345678901234567.123456789', 12_345_678_901_234_567_123_456_789n, '12345678901234567.123456789'],
])('%s USD are %s nano-dollars, written %s', ([text, nanos, written]) => {
  expect(parseUsd(text)).toBe(nanos)
  expect(formatUsd(nanos)).toBe(written)
})

test.for(['', ' ', '.5', '5.', '+1', '1e3', '1,5', '1 ', '0x1', 'Infinity', '--1', '1.2.3', '½', '1'.repeat(31)])(
  '"%s" is no decimal',
  text => {
    expect(() => parseDecimal(text)).toThrow(NotDecimal)
  },
)

test('less than a nano-dollar is refused, not rounded', () => {
  expect(() => parseUsd('0.0000000001')).toThrow('nine decimals')
  expect(() => parseUsd('1.0000000000')).toThrow('nine decimals')
})

test.for(['0', '1', '-1', '0.5', '1.50', '0.0050', '-0.05', '123.456'])('the decimal %s stays as it was written', text => {
  expect(formatDecimal(parseDecimal(text))).toBe(text)
})

const nanos = fc.bigInt(-(10n ** 20n), 10n ** 20n)

test('every amount survives its text', () => {
  fc.assert(fc.property(nanos, amount => parseUsd(formatUsd(amount)) === amount))
})

describe('division', () => {
  test.for<[bigint, bigint, bigint, bigint]>([
    [0n, 10n, 0n, 0n],
    [1n, 10n, 0n, 1n],
    [4n, 10n, 0n, 1n],
    [5n, 10n, 1n, 1n],
    [10n, 10n, 1n, 1n],
    [14n, 10n, 1n, 2n],
    [15n, 10n, 2n, 2n],
    [1n, 3n, 0n, 1n],
    [2n, 3n, 1n, 1n],
    [3n, 2n, 2n, 2n],
  ])('%i / %i is %i half up, and %i up', ([amount, by, halfUp, up]) => {
    expect([divideHalfUp(amount, by), divideUp(amount, by)]).toEqual([halfUp, up])
  })

  test('half up is at most half away, up is never below', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 30n), fc.bigInt(1n, 10n ** 12n), (amount, by) => {
        const away = 2n * (divideHalfUp(amount, by) * by - amount)
        const above = divideUp(amount, by) * by - amount
        return away > -by && away <= by && above >= 0n && above < by
      }),
    )
  })
})
