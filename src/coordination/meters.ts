import { Fault } from '../lib/fault.ts'
import type { Meter, OverRate } from './coordinator.ts'

/** The opposite of what was spent, to correct it by. */
export function givenBack(meters: readonly Meter[]): Meter[] {
  return meters.map(meter => ({ ...meter, amount: -meter.amount }))
}

/** What a caller is told whose meter has no room. It is one of these. */
export function rateExceeded(meters: readonly Meter[], { name, retryAfterMs }: OverRate): Fault {
  const full = meters.find(meter => meter.name === name)!
  const [whose = '', , what = ''] = name.split(':')
  return new Fault('rate_exceeded', { values: { whose, what, limit: full.perMinute }, retryAfterSeconds: retryAfterMs / 1000 })
}
