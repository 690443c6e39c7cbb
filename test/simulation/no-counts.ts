import type { TokenCounter } from '../../src/protocols/count-in-worker.ts'

/** A thread has a time of its own: where time is played, estimates go by the rule of bytes. */
export const noCounts: TokenCounter = { count: async () => undefined, close: async () => {} }
