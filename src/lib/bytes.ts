/**
 * A copy that keeps nothing else in memory. A buffer that is a part of a larger one keeps all of it, be that what a socket read at once or
 * the pool of 64 KiB that Node cuts small buffers from: what stays for as long as a call must not.
 */
export function exactly(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  copy.set(bytes)
  return copy
}

/** Slices as one, which keeps nothing else in memory either. One alone is not copied. */
export function joined(slices: readonly Buffer[], bytes: number): Buffer {
  if (slices.length === 1) return slices[0]!
  const whole = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (const slice of slices) at += slice.copy(whole, at)
  return whole
}
