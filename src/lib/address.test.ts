import { expect, test } from 'vitest'
import { blockListOf, hasAddress, isPublicAddress } from './address.ts'

test.for<[readonly string[], string, boolean]>([
  [['192.0.2.1'], '192.0.2.1', true],
  [['192.0.2.1'], '192.0.2.2', false],
  [['192.0.2.1'], '::ffff:192.0.2.1', true],
  [['192.0.2.1'], '::FFFF:192.0.2.1', true],
  [['192.0.2.1'], '::ffff:c000:201', true],
  [['::ffff:192.0.2.1'], '192.0.2.1', true],
  [['::ffff:192.0.2.0/120'], '192.0.2.9', true],
  [['::ffff:192.0.2.0/120'], '192.0.3.9', false],
  [['192.0.2.0/24'], '192.0.2.255', true],
  [['192.0.2.0/24'], '192.0.3.0', false],
  [['192.0.2.77/24'], '192.0.2.1', true],
  [['0.0.0.0/0'], '203.0.113.9', true],
  [['0.0.0.0/0'], '2001:db8::1', false],
  [['::/0'], '2001:db8::1', true],
  [['2001:db8::/32'], '2001:db8:ffff::1', true],
  [['2001:db8::/32'], '2001:DB8::1', true],
  [['2001:db8::/32'], '2001:db9::1', false],
  [['10.0.0.0/8', '2001:db8::1'], '2001:0db8:0::0001', true],
  [[], '192.0.2.1', false],
  [['192.0.2.1'], '', false],
  [['192.0.2.1'], 'localhost', false],
])('%j has %s: %s', ([ranges, address, expected]) => {
  expect(hasAddress(blockListOf(ranges), address)).toBe(expected)
})

test.for(['', 'localhost', '10.0.0', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0/8x', '2001:db8::/129', '300.1.1.1'])(
  '"%s" is refused by its name',
  range => {
    expect(() => blockListOf(['10.0.0.1', range])).toThrow(RangeError)
    expect(() => blockListOf([range])).toThrow(`"${range}"`)
  },
)

test.for<[string, boolean]>([
  ['8.8.8.8', true],
  ['2606:4700:4700::1111', true],
  ['10.1.2.3', false],
  ['172.15.255.255', true],
  ['172.16.0.0', false],
  ['172.31.255.255', false],
  ['172.32.0.0', true],
  ['192.168.0.1', false],
  ['127.0.0.1', false],
  ['169.254.169.254', false],
  ['100.64.0.1', false],
  ['0.0.0.0', false],
  ['224.0.0.1', false],
  ['255.255.255.255', false],
  ['::1', false],
  ['::', false],
  ['fe80::1', false],
  ['fd00::1', false],
  ['ff02::1', false],
  ['64:ff9b::a00:1', false],
  ['2002:a00:1::', false],
  ['::ffff:8.8.8.8', true],
  ['::ffff:10.0.0.1', false],
  ['::ffff:7f00:1', false],
  ['::ffff:808:808', false],
  ['localhost', false],
  ['', false],
])('%s is public: %s', ([address, expected]) => {
  expect(isPublicAddress(address)).toBe(expected)
})
