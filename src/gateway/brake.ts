import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { lru } from '../lib/lru.ts'

/**
 * Slows down a key whose client does nothing but repeat what is refused: some retry every 429 for ever, some at once. What they
 * ask for again and again must not cost a reading of the body, the books or an upstream each time.
 *
 * Each process brakes by what it saw itself. To ask the coordinator would cost every call of every key a round trip, for a
 * bound that only has to be a bound: with several nodes a key has as many refusals as there are nodes times that many.
 */
export interface Brake {
  /** Throws the fault `looping` while the key is slowed down. Looks at memory only. */
  check(keyId: string): void
  /** A call of the key was refused; `why`, in words for its client. */
  refused(keyId: string, why: string): void
  /** A call of the key was served: whatever there was is over. */
  served(keyId: string): void
  /** Whether this refusal by the brake is to be put on the books: one in a minute is, for as long as the loop goes on. */
  isToldInBooks(keyId: string): boolean
}

/** What is known of a key that was refused lately. Milliseconds are the clock's elapsed ones. */
interface Loop {
  /** Refusals that have not yet run off; a minute takes off as many as are allowed in it. */
  level: number
  atMs: number
  /** How often in a row it was slowed down. */
  strikes: number
  untilMs: number
  why: string
  toldAtMs: number
}

const keysMax = 100_000
const minuteMs = 60_000
const firstMs = 1_000
const longestMs = 60_000
/** Who is quiet for so long after the brake was let go has stopped looping, and begins anew. */
const forgottenMs = 60_000
const whyCharsMax = 200

/** `refusalsPerMinute` 0 never slows anybody down. */
export function openBrake(refusalsPerMinute: number, clock: Clock): Brake {
  const loops = lru<Loop>(keysMax)

  function loopOf(keyId: string): Loop {
    const found = loops.get(keyId)
    if (found !== undefined) return found
    const begun: Loop = { level: 0, atMs: clock.elapsedMs(), strikes: 0, untilMs: 0, why: '', toldAtMs: Number.NEGATIVE_INFINITY }
    loops.set(keyId, begun)
    return begun
  }

  return {
    check(keyId) {
      const loop = loops.get(keyId)
      const leftMs = loop === undefined ? 0 : loop.untilMs - clock.elapsedMs()
      if (loop === undefined || leftMs <= 0) return
      throw new Fault('looping', { values: { why: loop.why }, retryAfterSeconds: leftMs / 1000 })
    },

    refused(keyId, why) {
      if (refusalsPerMinute === 0) return
      const loop = loopOf(keyId)
      const nowMs = clock.elapsedMs()
      if (nowMs < loop.untilMs) return // It was begun before the brake.
      loop.why = why.slice(0, whyCharsMax).replace(/\.$/, '')
      note(loop, nowMs, refusalsPerMinute)
    },

    served: keyId => loops.delete(keyId),

    isToldInBooks(keyId) {
      const loop = loops.get(keyId)
      const nowMs = clock.elapsedMs()
      if (loop === undefined || nowMs - loop.toldAtMs < minuteMs) return false
      loop.toldAtMs = nowMs
      return true
    },
  }
}

/** One more refusal, of a key that is not slowed down at this moment. */
function note(loop: Loop, nowMs: number, refusalsPerMinute: number): void {
  if (loop.strikes > 0 && nowMs - loop.untilMs < forgottenMs) return slowDown(loop, nowMs) // The first one after it was let go.
  loop.strikes = 0
  loop.level = Math.max(0, loop.level - ((nowMs - loop.atMs) * refusalsPerMinute) / minuteMs) + 1
  loop.atMs = nowMs
  if (loop.level > refusalsPerMinute) slowDown(loop, nowMs)
}

function slowDown(loop: Loop, nowMs: number): void {
  const ms = Math.min(longestMs, firstMs * 2 ** Math.min(loop.strikes, 30))
  loop.strikes += 1
  loop.untilMs = nowMs + ms
  loop.level = 0
}

/** Others' doing: somebody's who may not use the key, or who left, and the brake's own. */
const noLoop: ReadonlySet<string> = new Set(['key_invalid', 'address_denied', 'client_left', 'looping'])

/** Whether a refusal speaks for a client that loops. What is our own doing passes with us, and the key is not to wait longer for that. */
export function isOfALoop({ fault, entry }: Fault): boolean {
  return entry.source !== 'gateway' && !noLoop.has(fault)
}
