import type { NodeNow, Pool } from './admin/ports.ts'
import type { Gateway } from './gateway/gateway.ts'
import { resting, resumed } from './upstreams/rest.ts'
import { testAccount } from './upstreams/test-account.ts'

/** Calls being handled, and of these the ones in their user's line. */
export interface CallsNow {
  readonly running: () => number
  readonly waiting: () => number
}

/** What the control plane may see of the data plane, and do to it. The two do not know each other; they meet here. */
export function openPool(gateway: Gateway, calls: CallsNow, version: string): Pool {
  const { coordinator, clock, settings, drain, leaseId } = gateway
  const startedMs = clock.elapsedMs()
  const now = (): NodeNow => ({
    id: leaseId,
    version,
    uptimeMs: Math.round(clock.elapsedMs() - startedMs),
    callsInFlight: calls.running(),
    callsWaiting: calls.waiting(),
    drains: drain.count,
  })
  return {
    conditions: ids => coordinator.conditions(ids),
    testAccount: (account, model) => testAccount(account, model, { ...gateway, settings }),
    async restAccount(accountId, untilMs, why) {
      await coordinator.change(accountId, condition => resting(condition, { nowMs: clock.nowMs(), untilMs, why }))
    },
    async resumeAccount(accountId) {
      await coordinator.change(accountId, resumed)
    },
    nodes: async () => [now()],
  }
}
