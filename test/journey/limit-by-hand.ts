import { type Clock, systemClock } from '../../src/lib/clock.ts'

/** No other wait in the gateway is as long, so that the clock can tell it by its length. */
export const limitMs = 77_777

/** The system's clock, but the limit passes only when the test says so. */
export function limitByHand(): { readonly clock: Clock; readonly waiting: number; pass(): void } {
  const waiting = new Set<() => void>()
  return {
    get waiting() {
      return waiting.size
    },
    pass() {
      for (const then of [...waiting]) {
        waiting.delete(then)
        then()
      }
    },
    clock: {
      ...systemClock,
      after(ms, then) {
        if (ms !== limitMs) return systemClock.after(ms, then)
        waiting.add(then)
        return { restart: () => {}, [Symbol.dispose]: () => void waiting.delete(then) }
      },
    },
  }
}
