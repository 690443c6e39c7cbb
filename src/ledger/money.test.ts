import fc from 'fast-check'
import { expect, test } from 'vitest'
import { divideHalfUp, divideUp, formatDecimal, formatUsd, NotDecimal, parseDecimal, parseUsd } from './money.ts'

test.each([
  ['5', 5_000_000_000n, '5.00'],
  ['0.000000001', 1n, '0.000000001'],
  ['12.50', 12_500_000_000n, '12.50'],
  ['0.120', 120_000_000n, '0.12'],
  ['-0.75', -750_000_000n, '-0.75'],
  ['000.1', 100_000_000n, '0.10'],
])('%s USD is %s nano-dollars and is written %s', (text, nanos, written) => {
  expect(parseUsd(text)).toBe(nanos)
  expect(formatUsd(nanos)).toBe(written)
})

test.each(['', '.', '1.', '.5', '+1', '1e3', '1,5', ' 1', '1 ', '0x10', '--1', 'NaN', '١', '1'.repeat(31), '0.0000000001'])(
  '"%s" is no amount',
  text => {
    expect(() => parseUsd(text)).toThrow(NotDecimal)
  },
)

test('every amount and every decimal comes back as it was', () => {
  const integer = fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n })
  const whole = fc.property(integer, nanos => {
    expect(parseUsd(formatUsd(nanos))).toBe(nanos)
  })
  const decimal = fc.property(integer, fc.nat({ max: 6 }), (units, scale) => {
    expect(parseDecimal(formatDecimal({ units, scale }))).toEqual({ units, scale })
  })
  fc.assert(whole)
  fc.assert(decimal)
})

/** Amount, divisor, half up, up. */
test.each([
  [0n, 10n, 0n, 0n],
  [4n, 10n, 0n, 1n],
  [5n, 10n, 1n, 1n],
  [10n, 10n, 1n, 1n],
  [11n, 10n, 1n, 2n],
  [1n, 3n, 0n, 1n],
  [2n, 3n, 1n, 1n],
])('%s / %s is %s half up and %s up', (amount, by, halfUp, up) => {
  expect([divideHalfUp(amount, by), divideUp(amount, by)]).toEqual([halfUp, up])
})
