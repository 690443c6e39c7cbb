import type { Pool } from './admin/ports.ts'
import type { Gateway } from './gateway/gateway.ts'
import type { Nodes } from './nodes.ts'
import { resting, resumed } from './upstreams/rest.ts'
import { testAccount } from './upstreams/test-account.ts'

/** What the control plane may see of the data plane, and do to it. The two do not know each other; they meet here. */
export function openPool(gateway: Gateway, nodes: Nodes): Pool {
  const { coordinator, clock, settings } = gateway
  return {
    conditions: ids => coordinator.conditions(ids),
    testAccount: (account, model) => testAccount(account, model, { ...gateway, settings }),
    async restAccount(accountId, untilMs, why) {
      await coordinator.change(accountId, condition => resting(condition, { nowMs: clock.nowMs(), untilMs, why }))
    },
    async resumeAccount(accountId) {
      await coordinator.change(accountId, resumed)
    },
    nodes: () => nodes.all(),
  }
}
