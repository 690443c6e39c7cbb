import { expect, test } from 'vitest'
import { checksum, checksumDigits } from './checksum.ts'

// The first is the check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
test.for([
  ['123456789', 'cbf43926'],
  ['', '00000000'],
  ['a', 'e8b7be43'],
])('of "%s" it is %s', ([text, sum]) => {
  expect(checksum(text!)).toBe(sum)
  expect(checksum(Buffer.from(text!))).toBe(sum)
})

test('it has as many digits as it says, in front of them noughts', () => {
  const sums = Array.from({ length: 5_000 }, (_, number) => checksum(String(number)))
  expect(sums.every(sum => sum.length === checksumDigits && /^[0-9a-f]+$/.test(sum))).toBe(true)
  expect(sums.some(sum => sum.startsWith('00'))).toBe(true)
})
