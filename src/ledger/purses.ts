import type { Clock } from '../lib/clock.ts'
import { lru } from '../lib/lru.ts'

/**
 * What is known to be free in wallets, in nano-dollars: never more than there is, as far as this gateway's own doing goes. What is taken
 * is taken off before the books are asked, and what comes back counts when they have said so.
 */
export interface Purses {
  /** Whether the wallet is known to have so much free. No when nobody looked: then the books are to be asked. */
  has(walletId: string, amount: bigint): boolean
  /**
   * Begins to look, before the books are asked: what they say is free goes to the function that is returned, or undefined when they do not
   * say. What is taken meanwhile is taken off.
   */
  look(walletId: string): (free: bigint | undefined) => void
  /** So much is set aside, or may be. */
  took(walletId: string, amount: bigint): void
  /** So much of what was taken is free again, and the books know. */
  gave(walletId: string, amount: bigint): void
  /** Somebody else changed what is free, or the books failed: it is to be looked at again. Of all wallets when none is named. */
  forget(walletId?: string): void
}

const pursesMax = 10_000

interface Purse {
  free: bigint
  readonly untilMs: number
}

interface Look {
  readonly walletId: string
  taken: bigint
}

/** What was seen counts for `lastsMs`: not long where others spend of the same wallets. */
export function openPurses(clock: Clock, lastsMs: number): Purses {
  const known = lru<Purse>(pursesMax)
  const looking = new Set<Look>()

  return {
    has(walletId, amount) {
      const purse = known.get(walletId)
      return purse !== undefined && purse.free >= amount && clock.elapsedMs() < purse.untilMs
    },
    look(walletId) {
      const look = { walletId, taken: 0n }
      looking.add(look)
      return free => {
        if (looking.delete(look) && free !== undefined)
          known.set(walletId, { free: free - look.taken, untilMs: clock.elapsedMs() + lastsMs })
      }
    },
    took(walletId, amount) {
      const purse = known.get(walletId)
      if (purse !== undefined) purse.free -= amount
      for (const look of looking) if (look.walletId === walletId) look.taken += amount
    },
    gave(walletId, amount) {
      const purse = known.get(walletId)
      if (purse !== undefined) purse.free += amount
    },
    forget(walletId) {
      if (walletId === undefined) known.clear()
      else known.delete(walletId)
      // Who is just looking may be told what was true before.
      for (const look of looking) if (walletId === undefined || look.walletId === walletId) looking.delete(look)
    },
  }
}
