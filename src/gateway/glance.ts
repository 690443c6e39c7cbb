import { lru } from '../directory/lru.ts'
import type { Clock } from '../lib/clock.ts'

/**
 * What was last seen to be free in wallets. The first look at the money only spares a call that cannot be paid its time in line,
 * and the hold says for sure: so one look serves all calls of the next moment, and most calls ask the books one question less.
 */
export interface Glance {
  /** Whether the wallet had so much free, in nano-dollars, when it was looked at lately. No when nobody looked: then the books are to be asked. */
  sawFree(walletId: string, floor: bigint): boolean
  saw(walletId: string, free: bigint): void
  /** A hold has taken so much of it. */
  took(walletId: string, granted: bigint): void
  /** It turned out to have less. */
  forget(walletId: string): void
}

const lastsMs = 1_000
const walletsMax = 10_000

export function openGlance(clock: Clock): Glance {
  const seen = lru<{ free: bigint; readonly untilMs: number }>(walletsMax)
  return {
    sawFree(walletId, floor) {
      const wallet = seen.get(walletId)
      return wallet !== undefined && wallet.free >= floor && clock.elapsedMs() < wallet.untilMs
    },
    saw(walletId, free) {
      seen.set(walletId, { free, untilMs: clock.elapsedMs() + lastsMs })
    },
    took(walletId, granted) {
      const wallet = seen.get(walletId)
      if (wallet !== undefined) wallet.free -= granted
    },
    forget: walletId => seen.delete(walletId),
  }
}
