import { expect, test } from 'vitest'
import { Pieces } from './pieces.ts'

test.for([1, 250, 1024, 1025, 16_384])('a piece of %i bytes stays as it was when its buffer is read into again', bytes => {
  const pieces = new Pieces()
  const buffer = Buffer.alloc(16_384, 'a')
  const first = pieces.copyOf(buffer, 0, bytes)
  buffer.fill('b')
  const second = pieces.copyOf(buffer, 16_384 - bytes, 16_384)
  expect(first.equals(Buffer.alloc(bytes, 'a'))).toBe(true)
  expect(second.equals(Buffer.alloc(bytes, 'b'))).toBe(true)
})

test('a piece keeps no more than 4 KiB, or itself', () => {
  const pieces = new Pieces()
  const sizes = [1, 250, 1000, 1024, 1025, 5000, 16_384, 700]
  for (const bytes of [...sizes, ...sizes])
    expect(pieces.copyOf(Buffer.alloc(bytes + 2), 1, bytes + 1).buffer.byteLength).toBeLessThanOrEqual(Math.max(bytes, 4096))
})
