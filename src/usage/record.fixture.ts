import { type AttemptRow, type CallRow, noUsage } from './record.ts'

export const startMs = Date.UTC(2026, 9, 1)

/** The row of a call that was refused, as bare as a row can be. */
export function refusal(id: string): CallRow {
  return {
    ...{ id, userId: 'u', keyId: 'k', groupId: null, accountId: null, path: '/v1/responses', stream: false, requestedModel: null },
    ...{ servedModel: null, tier: null, priceId: null, status: 429, ended: 'refused', fault: 'money_short', basis: 'none', usage: noUsage },
    ...{
      held: 0n,
      cost: 0n,
      uncollectedWhy: null,
      attempts: 0,
      lineMs: 0,
      firstTokenMs: null,
      durationMs: 1,
      address: '192.0.2.1',
      userAgent: null,
    },
    ...{ instructionsAdded: false, outputLoweredTo: null, repaired: null, upstreamRequestId: null, beganAtMs: startMs },
  }
}

/** One that answered, unless it is said otherwise. */
export function attempt(callId: string, number: number, given: Partial<AttemptRow> = {}): AttemptRow {
  const sent = { callId, number, accountId: 'a', model: 'm-1', beganAtMs: startMs, status: 200, fault: null }
  return { ...sent, firstEventMs: 1, durationMs: 2, upstreamRequestId: 'req_1', answered: true, ...given }
}
