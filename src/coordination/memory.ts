import type { Clock } from '../lib/clock.ts'
import type { Coordinator } from './coordinator.ts'
import { AccountLines } from './memory-accounts.ts'
import { CallerLines } from './memory-callers.ts'
import { minuteMeters } from './memory-meters.ts'
import { sessions } from './memory-sessions.ts'

/** What an operator and the tests want to see of the lines. */
export interface LinesNow {
  readonly callersRunning: number
  readonly callersWaiting: number
  readonly accountsTaken: number
  readonly accountsWaiting: number
}

/** For one process: everything is decided at once, in memory, and handed over without polling. */
export function inMemory(clock: Clock): Coordinator & { linesNow(): LinesNow } {
  const callers = new CallerLines()
  const accounts = new AccountLines(clock)
  const meters = minuteMeters(clock)
  const bindings = sessions(clock)
  return {
    enter: (caller, signal) => callers.enter(caller, signal),
    renew: limits => callers.renew(limits),
    take: limit => accounts.take(limit),
    wait: (entry, signal) => accounts.wait(entry, signal),
    conditions: ids => accounts.conditions(ids),
    change: (id, change) => accounts.change(id, change),
    ...meters,
    ...bindings,
    linesNow: () => ({ ...callers.now(), ...accounts.now() }),
  }
}
