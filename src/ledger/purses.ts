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
  /** So much is set aside. */
  took(walletId: string, amount: bigint): void
  /**
   * The books are asked, perhaps more than once, to set so much aside; what they granted goes to the function that is returned. Who looks
   * meanwhile may see it or not.
   */
  ask(walletId: string, want: bigint): (granted: bigint) => void
  /** How many looks have begun: what the books are asked now is seen by all that come after. */
  readonly looks: number
  /** So much of what was taken is free again, as the books were told when so many `looks` had begun. Who looked later has seen it. */
  gave(walletId: string, amount: bigint, looks: number): void
  /** Somebody else changed what is free, or the books failed: it is to be looked at again. Of all wallets when none is named. */
  forget(walletId?: string): void
}

const pursesMax = 10_000

interface Purse {
  free: bigint
  readonly untilMs: number
  /** Which look it was. */
  readonly look: number
}

interface Look {
  readonly walletId: string
  readonly number: number
  taken: bigint
}

/** What was seen counts for `lastsMs`: not long where others spend of the same wallets. */
export function openPurses(clock: Clock, lastsMs: number): Purses {
  const known = lru<Purse>(pursesMax)
  const looking = new Set<Look>()
  const asked = new Map<string, bigint>()
  let looks = 0

  function give(walletId: string, amount: bigint, since: number): void {
    const purse = known.get(walletId)
    if (purse !== undefined && since >= purse.look) purse.free += amount
  }

  function take(walletId: string, amount: bigint): void {
    const purse = known.get(walletId)
    if (purse !== undefined) purse.free -= amount
    for (const look of looking) if (look.walletId === walletId) look.taken += amount
  }

  function remember(walletId: string, more: bigint): void {
    const sum = (asked.get(walletId) ?? 0n) + more
    if (sum === 0n) asked.delete(walletId)
    else asked.set(walletId, sum)
  }

  return {
    has(walletId, amount) {
      const purse = known.get(walletId)
      return purse !== undefined && purse.free >= amount && clock.elapsedMs() < purse.untilMs
    },
    look(walletId) {
      const look = { walletId, number: ++looks, taken: asked.get(walletId) ?? 0n }
      looking.add(look)
      return free => {
        if (!looking.delete(look) || free === undefined) return
        known.set(walletId, { free: free - look.taken, untilMs: clock.elapsedMs() + lastsMs, look: look.number })
      }
    },
    took: take,
    ask(walletId, want) {
      take(walletId, want)
      remember(walletId, want)
      return granted => {
        remember(walletId, -want)
        // Every look since has had it taken off.
        give(walletId, want - granted, Number.POSITIVE_INFINITY)
      }
    },
    get looks() {
      return looks
    },
    gave: give,
    forget(walletId) {
      if (walletId === undefined) known.clear()
      else known.delete(walletId)
      // Who is just looking may be told what was true before.
      for (const look of looking) if (walletId === undefined || look.walletId === walletId) looking.delete(look)
    },
  }
}
