import { randomFillSync } from 'node:crypto'

const poolBytes = 4096
const randomPerId = 10
const pool = Buffer.alloc(poolBytes)
let next = poolBytes

/**
 * A UUIDv7 (RFC 9562): sorts by the time it was made, which is what lets the books be cut by ranges of it.
 * Random bytes are drawn 4 KiB at a time, because drawing ten costs more than the call they name.
 */
export function newId(nowMs: number): string {
  if (next + randomPerId > poolBytes) {
    randomFillSync(pool)
    next = 0
  }
  const random = pool.subarray(next, next + randomPerId).toString('hex')
  next += randomPerId
  const time = Math.floor(nowMs).toString(16).padStart(12, '0')
  const variant = ((Number.parseInt(random[3]!, 16) & 0x3) | 0x8).toString(16)
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(7, 19)}`
}

/** When a UUIDv7 was made, in milliseconds since 1970; undefined for anything else. */
export function timeOfId(id: string): number | undefined {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(id) ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : undefined
}
