import { z } from '@hono/zod-openapi'
import type { Condition } from '../coordination/coordinator.ts'
import type { Account } from '../directory/entities.ts'
import { timeTextOrNull } from './entities.ts'

/** How an account fares now, for a person: one state, why, and until when. */
export const conditionSchema = z
  .object({
    state: z.enum(['ok', 'resting', 'out', 'circuit open', 'disabled']),
    reason: z.string().nullable(),
    until: z.string().nullable().describe('When a rest ends, or when the next probe may go out.'),
    inFlight: z.number(),
    flagged: z.boolean().describe('Its credential was refused: somebody should look.'),
  })
  .openapi('Condition')

export function conditionView(account: Pick<Account, 'disabled'>, condition: Condition, nowMs: number): z.input<typeof conditionSchema> {
  const same = { inFlight: condition.taken, flagged: condition.flagged }
  const probe = timeTextOrNull(condition.probeAtMs || null)
  if (account.disabled) return { state: 'disabled', reason: 'an operator disabled it', until: null, ...same }
  if (condition.outSinceMs !== null) return { state: 'out', reason: condition.restingWhy ?? 'its quota is used up', until: probe, ...same }
  if (condition.circuitSinceMs !== null)
    return { state: 'circuit open', reason: condition.restingWhy ?? 'it failed too often', until: probe, ...same }
  if (condition.restingUntilMs > nowMs)
    return { state: 'resting', reason: condition.restingWhy, until: timeTextOrNull(condition.restingUntilMs), ...same }
  const models = Object.entries(condition.modelRests).filter(([, untilMs]) => untilMs > nowMs)
  if (models.length === 0) return { state: 'ok', reason: null, until: null, ...same }
  return { state: 'ok', reason: `it said that it does not have ${models.map(([model]) => model).join(', ')}`, until: null, ...same }
}
