import { randomFillSync } from 'node:crypto'

const poolBytes = 4096
const randomPerId = 10
const pool = Buffer.alloc(poolBytes)
/** The same bytes as text: to write one long text costs less than many short ones. */
let poolText = ''
let nextRandom = poolBytes

/** Twelve bits after the time count within one millisecond; they start in the lower half, so that there is room to count. */
const counterMax = 0xfff
const counterStartMask = 0x7ff
let lastMs = 0
/** As an id begins with it. Many ids are made in a millisecond, and to write it in hexadecimal costs as much as all the rest. */
let lastTime = timeText(lastMs)
let counter = 0

/**
 * A UUIDv7 (RFC 9562, with the counter of its 6.2): sorts by the time it was made, within one process even in the same
 * millisecond, which is what lets the books be cut by ranges of it. Random bytes are drawn 4 KiB at a time, because drawing
 * ten costs more than the call they name.
 */
export function newId(nowMs: number): string {
  if (nextRandom + randomPerId > poolBytes) {
    randomFillSync(pool)
    poolText = pool.toString('hex')
    nextRandom = 0
  }
  const start = pool.readUInt16BE(nextRandom) & counterStartMask
  const random = poolText.slice((nextRandom + 2) * 2, (nextRandom + randomPerId) * 2)
  nextRandom += randomPerId
  count(Math.floor(nowMs), start)
  const counted = digits[counter >> 8]! + digits[(counter >> 4) & 0xf]! + digits[counter & 0xf]!
  // Two bits of the digit are random, two say what kind of UUID it is.
  const variant = digits[8 + (pool[nextRandom - 1]! & 0x3)]!
  return `${lastTime}-7${counted}-${variant}${random.slice(0, 3)}-${random.slice(3, 15)}`
}

const digits = '0123456789abcdef'

/** When a UUIDv7 was made, in milliseconds since 1970; undefined for anything else. */
export function timeOfId(id: string): number | undefined {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(id) ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : undefined
}

/** Sorts before every UUIDv7 that was made at that moment or later. */
export function firstIdOf(atMs: number): string {
  return timeText(Math.floor(atMs))
}

function timeText(ms: number): string {
  const time = ms.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}`
}

/** A call's id is made within this of its beginning. */
export const idSlackMs = 60_000

/** Finds the millisecond to write. When the count of one is used up, the next one is borrowed: order matters more than a thousandth. */
function count(nowMs: number, start: number): void {
  const isAgain = nowMs === lastMs || (nowMs < lastMs && lastMs - nowMs <= borrowedMsMax)
  if (isAgain && counter < counterMax) {
    counter += 1
    return
  }
  lastMs = isAgain ? lastMs + 1 : nowMs
  lastTime = timeText(lastMs)
  counter = start
}

/** A clock that was set back further than this is believed. */
const borrowedMsMax = 10
