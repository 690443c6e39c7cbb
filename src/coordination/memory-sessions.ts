import type { Clock } from '../lib/clock.ts'
import type { Coordinator } from './coordinator.ts'

const bindingsMax = 100_000

/** Which account a session's prompt cache is warm at. The longest unused binding is forgotten first. */
export function sessions(clock: Clock): Pick<Coordinator, 'session' | 'bindSession'> {
  const bindings = new Map<string, { accountId: string; untilMs: number }>()

  function bind(key: string, accountId: string, ttlMs: number): void {
    bindings.delete(key) // So that it goes to the end: a Map keeps the order of insertion.
    if (bindings.size >= bindingsMax) {
      const oldest = bindings.keys().next()
      if (!oldest.done) bindings.delete(oldest.value)
    }
    bindings.set(key, { accountId, untilMs: clock.nowMs() + ttlMs })
  }

  return {
    session(key, ttlMs) {
      const found = bindings.get(key)
      if (found === undefined) return undefined
      if (found.untilMs <= clock.nowMs()) {
        bindings.delete(key)
        return undefined
      }
      bind(key, found.accountId, ttlMs)
      return found.accountId
    },
    bindSession(key, accountId, ttlMs) {
      bind(key, accountId, ttlMs)
    },
  }
}
