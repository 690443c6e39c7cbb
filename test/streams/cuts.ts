import fc from 'fast-check'

/** Places within so many bytes at which a stream is cut, in order and each once; many of them close together now and then. */
export function cuts(length: number): fc.Arbitrary<readonly number[]> {
  const anywhere = fc.array(fc.integer({ min: 1, max: length - 1 }), { maxLength: 40 })
  const close = fc
    .tuple(fc.integer({ min: 1, max: length - 1 }), fc.integer({ min: 1, max: 30 }))
    .map(([from, count]) => Array.from({ length: count }, (_, n) => Math.min(from + n, length - 1)))
  return fc.oneof(anywhere, close).map(at => [...new Set(at)].sort((a, b) => a - b))
}

export function cutAt(bytes: Buffer, at: readonly number[]): Buffer[] {
  return [...at, bytes.length].map((stop, n) => bytes.subarray(n === 0 ? 0 : at[n - 1], stop))
}
