import type { NodeNow, Pool } from './admin/ports.ts'
import type { Gateway } from './gateway/gateway.ts'
import { resting, resumed } from './upstreams/rest.ts'
import { testAccount } from './upstreams/test-account.ts'

/** What the control plane may see of the data plane, and do to it. The two do not know each other; they meet here. */
export function openPool(gateway: Gateway, running: () => number, version: string): Pool {
  const { coordinator, clock, settings, drain, leaseId } = gateway
  const startedMs = clock.elapsedMs()
  const now = async (): Promise<NodeNow> => ({
    id: leaseId,
    version,
    uptimeMs: Math.round(clock.elapsedMs() - startedMs),
    callsInFlight: running(),
    callsWaiting: await gauge(gateway, 'headgate_calls_waiting'),
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
    nodes: async () => [await now()],
  }
}

async function gauge({ metrics }: Gateway, name: string): Promise<number> {
  const metric = await metrics.registry.getSingleMetric(name)?.get()
  return metric?.values[0]?.value ?? 0
}
