import type { Clock } from '../lib/clock.ts'
import type { Coordinator, LinesNow } from './coordinator.ts'
import { AccountLines } from './memory-accounts.ts'
import { CallerLines } from './memory-callers.ts'
import { MinuteMeters } from './memory-meters.ts'
import { sessions } from './memory-sessions.ts'

/** For one process: everything is decided at once, in memory, and handed over without polling. */
export function inMemory(clock: Clock): Coordinator & { linesNow(): LinesNow } {
  const meters = new MinuteMeters(clock)
  const callers = new CallerLines(meters)
  const accounts = new AccountLines(clock, meters)
  const bindings = sessions(clock)
  return {
    enter: (caller, waiter) => callers.enter(caller, waiter),
    renew: limits => callers.renew(limits),
    take: limit => accounts.take(limit),
    wait: (entry, waiter) => accounts.wait(entry, waiter),
    conditions: ids => accounts.conditions(ids),
    known: () => accounts.known(),
    change: (id, change) => accounts.change(id, change),
    spend: asked => meters.spend(asked),
    correct: used => meters.correct(used),
    ...bindings,
    // There is nobody else to tell, and nobody who would.
    announce: async () => {},
    onAnnounced: () => ({ [Symbol.dispose]() {} }),
    linesNow: () => ({ ...callers.now(), ...accounts.now() }),
  }
}
